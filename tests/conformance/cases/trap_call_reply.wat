;;! covers: trap proxy_on_http_call_response proxy_send_local_response
;;! about: A reply that a call's callback gave before it trapped.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| call = 0
;;!   http_call_response| reply = 0
;;!   ^ GET /status/200 x-kit-call="1"
;;!   > 503

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $show @"call" (call $fetch @"origin" @"/status/200" (i32.const 5000)))
  (i32.const 1))
(on http_call_response
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (call $reply (i32.const 200) @"welcome")
  (unreachable))
