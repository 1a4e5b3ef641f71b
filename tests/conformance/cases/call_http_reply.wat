;;! covers: proxy_on_http_call_response proxy_send_local_response
;;! about: A reply sent from a call's callback, on the stream that waits for it.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "401"
;;!   http_call_response| reply = 0
;;!   http_call_response| reply = 0
;;!   ^ GET /status/401 x-kit-call="1"
;;!   > 401 content-type="text/plain" body "who are you"

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $show @"call" (call $fetch @"origin" @"/status/401" (i32.const 5000)))
  (i32.const 1))
(on http_call_response
  (call $get (i32.const 6) @":status")
  (call $reply (i32.const 500) @"on the root context")
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (call $reply (i32.const 401) @"who are you"))
