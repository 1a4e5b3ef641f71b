;;! covers: proxy_on_request_headers proxy_continue_stream proxy_set_effective_context proxy_on_http_call_response
;;! about: Headers held until a call is answered; meanwhile the body waits, then comes at once. Headers stay mutable.
;;! step: POST /echo | x-kit-a: 1 || body
;;! step: GET /echo | x-kit-a: 1
;;! expect:
;;!   # POST /echo | x-kit-a: 1 || body
;;!   request_headers| call = 0
;;!   http_call_response| root context = 1
;;!   http_call_response| get 0 "x-kit-a" = 2
;;!   http_call_response| effective = 0
;;!   http_call_response| get 0 "x-kit-a" = 0 "1"
;;!   http_call_response| add 0 "x-kit-held" = 0
;;!   http_call_response| continue = 0
;;!   http_call_response| again = 0
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "body"
;;!   ^ GET /call x-kit-call="1"
;;!   ^ POST /echo x-kit-a="1" x-kit-held="yes" body "body"
;;!   > 200 body "body"
;;!   # GET /echo | x-kit-a: 1
;;!   request_headers| call = 0
;;!   http_call_response| root context = 1
;;!   http_call_response| get 0 "x-kit-a" = 2
;;!   http_call_response| effective = 0
;;!   http_call_response| get 0 "x-kit-a" = 0 "1"
;;!   http_call_response| add 0 "x-kit-held" = 0
;;!   http_call_response| continue = 0
;;!   http_call_response| again = 0
;;!   ^ GET /call x-kit-call="1"
;;!   ^ GET /echo x-kit-a="1" x-kit-held="yes"
;;!   > 200

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $show @"call" (call $fetch @"origin" @"/call" (i32.const 5000)))
  (i32.const 1))
(on request_body
  ;; The end of a body may come by itself, when the call was answered before it.
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (call $show @"end" (local.get $end))
  (call $buffer (i32.const 0) (i32.const 0) (i32.const 100))
  (i32.const 0))
(on http_call_response
  (call $show @"root context" (i32.eq (local.get $ctx) (i32.const 1)))
  (call $get (i32.const 0) @"x-kit-a")
  (call $show @"effective" (call $proxy_set_effective_context (global.get $stream)))
  (call $get (i32.const 0) @"x-kit-a")
  (call $add (i32.const 0) @"x-kit-held" @"yes")
  (call $show @"continue" (call $proxy_continue_stream (i32.const 0)))
  (call $show @"again" (call $proxy_continue_stream (i32.const 0))))
