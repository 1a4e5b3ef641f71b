;;! covers: proxy_done
;;! about: Said before anybody asked.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| stream = 1
;;!   request_headers| root = 1
;;!   request_headers| again = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $show @"stream" (call $proxy_done))
  (drop (call $proxy_set_effective_context (i32.const 1)))
  (call $show @"root" (call $proxy_done))
  (call $show @"again" (call $proxy_done))
  (i32.const 0))
