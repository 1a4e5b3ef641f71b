;;! covers: abi_0_1_0 proxy_get_configuration proxy_continue_request proxy_continue_response proxy_clear_route_cache
;;! about: The marker 0.1.0: callbacks without the end of stream, missing headers that are empty, functions since renamed.
;;! abi: 0_1_0
;;! plugin: old
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   configure| configuration = 0
;;!   configure| "old"
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| get 0 "x-kit-a" = 0 "1"
;;!   request_headers| get 0 "x-kit-none" = 0 empty
;;!   request_headers| clear = 0
;;!   http_call_response| continue request = 0
;;!   response_headers| get 2 "x-kit-up" = 0 "yes"
;;!   http_call_response| continue response = 0
;;!   ^ GET /call x-kit-call="1"
;;!   ^ GET /call x-kit-call="1"
;;!   ^ GET /x x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(on configure
  (call $show @"configuration" (call $proxy_get_configuration (i32.const 16) (i32.const 20)))
  (call $begin) (call $quoted (i32.load (i32.const 16)) (i32.load (i32.const 20))) (call $end)
  (i32.const 1))
(func (export "proxy_on_request_headers") (param $ctx i32) (param $n i32) (result i32)
  (call $enter @"request_headers")
  (call $get (i32.const 0) @"x-kit-a")
  (call $get (i32.const 0) @"x-kit-none")
  (call $show @"clear" (call $proxy_clear_route_cache))
  (global.set $stream (local.get $ctx))
  (drop (call $fetch @"origin" @"/call" (i32.const 5000)))
  (i32.const 1))
(func (export "proxy_on_response_headers") (param $ctx i32) (param $n i32) (result i32)
  (call $enter @"response_headers")
  (call $get (i32.const 2) @"x-kit-up")
  (global.set $responding (i32.const 1))
  (drop (call $fetch @"origin" @"/call" (i32.const 5000)))
  (i32.const 1))
(on http_call_response
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (if (global.get $responding)
    (then (call $show @"continue response" (call $proxy_continue_response)))
    (else (call $show @"continue request" (call $proxy_continue_request)))))
(global $responding (mut i32) (i32.const 0))
(global $stream (mut i32) (i32.const 0))
