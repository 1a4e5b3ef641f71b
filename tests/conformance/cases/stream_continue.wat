;;! covers: proxy_continue_stream
;;! about: Continuing a request that is not paused, from its own headers callback; types that do not exist.
;;! deviation: Envoy 1.40 sends the request's head twice, which an HTTP/1 upstream takes for two requests; here the call is without effect
;;! option: upstream-races
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| request = 0
;;!   request_headers| upstream = 12
;;!   request_headers| type 4 = 2
;;!   request_headers| type 9 = 2
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x
;;!   request_headers| request = 0
;;!   request_headers| upstream = 12
;;!   request_headers| type 4 = 2
;;!   request_headers| type 9 = 2
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $show @"request" (call $proxy_continue_stream (i32.const 0)))
  (call $show @"upstream" (call $proxy_continue_stream (i32.const 3)))
  (call $show @"type 4" (call $proxy_continue_stream (i32.const 4)))
  (call $show @"type 9" (call $proxy_continue_stream (i32.const 9)))
  (i32.const 0))
