;;! covers: proxy_set_property
;;! about: One value of 2 MiB, in one phase and still there in others.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| set property large = 0
;;!   response_headers| get = 0
;;!   response_headers| bytes = 2097152
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(memory (export "memory") 64)

(on request_headers
  (call $set_property @"large" (i32.const 0) (i32.const 2097152))
  (i32.const 0))
(on response_headers
  (call $show @"get" (call $proxy_get_property @"large" (i32.const 16) (i32.const 20)))
  (call $show @"bytes" (i32.load (i32.const 20)))
  (i32.const 0))
