;;! covers: proxy_continue_stream
;;! about: Continuing a response that is not paused, from its own headers callback.
;;! deviation: Envoy 1.40 sends the response's head twice, the second in the body's place; here the call is without effect
;;! option: upstream-races
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   response_headers| response = 0
;;!   > 200 x-kit-up="yes" body "HTTP/"
;;! expect-pillion:
;;!   # GET /x
;;!   response_headers| response = 0
;;!   > 200 x-kit-up="yes" body "hello"

(on response_headers
  (call $show @"response" (call $proxy_continue_stream (i32.const 1)))
  (i32.const 0))
