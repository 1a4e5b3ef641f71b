;;! covers: proxy_http_call proxy_on_http_call_response proxy_set_effective_context
;;! about: A call outlives its stream: the answer still comes, the stream's context is gone.
;;! step: GET /x
;;! step: wait effective
;;! expect:
;;!   # GET /x
;;!   log| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| effective = 2
;;!   ^ GET /call x-kit-call="1"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # wait effective

(global $stream (mut i32) (i32.const 0))
(on log
  (global.set $stream (local.get $ctx))
  (call $show @"call" (call $fetch @"origin" @"/call" (i32.const 5000))))
(on http_call_response
  (call $get (i32.const 6) @":status")
  (call $show @"effective" (call $proxy_set_effective_context (global.get $stream))))
