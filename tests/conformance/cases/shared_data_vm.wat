;;! covers: proxy_set_shared_data proxy_get_shared_data
;;! about: What the start of the VM put there a stream reads: one store for all threads of a vm_id.
;;! step: GET /x
;;! expect:
;;!   configure| set = 0
;;!   # GET /x
;;!   request_headers| shared "from-root" = 0 "seen"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on configure (call $show @"set" (call $proxy_set_shared_data @"from-root" @"seen" (i32.const 0))) (i32.const 1))
(on request_headers (call $shared @"from-root") (i32.const 0))
