;;! covers: proxy_on_response_headers proxy_continue_stream
;;! about: Response headers held until a call is answered, then changed and let go.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   response_headers| call = 0
;;!   http_call_response| get 2 "x-kit-up" = 0 "yes"
;;!   http_call_response| add 2 "x-kit-held" = 0
;;!   http_call_response| continue = 0
;;!   response_body| end = 1
;;!   response_body| buffer 1 0+100 = 0 "hello"
;;!   ^ GET /call x-kit-call="1"
;;!   ^ GET /x
;;!   > 200 x-kit-held="yes" x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(on response_headers
  (global.set $stream (local.get $ctx))
  (call $show @"call" (call $fetch @"origin" @"/call" (i32.const 5000)))
  (i32.const 1))
(on response_body
  (call $show @"end" (local.get $end))
  (call $buffer (i32.const 1) (i32.const 0) (i32.const 100))
  (i32.const 0))
(on http_call_response
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (call $get (i32.const 2) @"x-kit-up")
  (call $add (i32.const 2) @"x-kit-held" @"yes")
  (call $show @"continue" (call $proxy_continue_stream (i32.const 1))))
