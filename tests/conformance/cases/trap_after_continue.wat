;;! covers: trap proxy_continue_stream
;;! about: A stream that a call's answer let go on before it trapped.
;;! deviation: Envoy sends the request on, and answers 503 itself; here it reaches nobody
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| call = 0
;;!   ^ GET /status/200 x-kit-call="1"
;;!   ^ GET /x
;;!   > 503
;;! expect-pillion:
;;!   # GET /x
;;!   request_headers| call = 0
;;!   ^ GET /status/200 x-kit-call="1"
;;!   > 503

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $show @"call" (call $fetch @"origin" @"/status/200" (i32.const 5000)))
  (i32.const 1))
(on http_call_response
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0)))
  (unreachable))
