;;! covers: proxy_http_call proxy_on_http_call_response
;;! about: A call that runs into its timeout and one to a dead endpoint come back as answers; 0 is no timeout.
;;! step: GET /x | x-kit-do: timeout
;;! step: GET /x | x-kit-do: dead
;;! step: GET /x | x-kit-do: zero
;;! expect:
;;!   # GET /x | x-kit-do: timeout
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "504"
;;!   http_call_response| body is there = 1
;;!   ^ GET /slow x-kit-call="1"
;;!   ^ GET /x x-kit-do="timeout"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: dead
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "503"
;;!   http_call_response| body is there = 1
;;!   ^ GET /x x-kit-do="dead"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: zero
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| body is there = 1
;;!   ^ GET /x x-kit-call="1"
;;!   ^ GET /x x-kit-do="zero"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 116)) (then (call $show @"call" (call $fetch @"origin" @"/slow" (i32.const 200)))))
  (if (call $doing_is (i32.const 100)) (then (call $show @"call" (call $fetch @"dead" @"/" (i32.const 3000)))))
  (if (call $doing_is (i32.const 122)) (then (call $show @"call" (call $fetch @"origin" @"/x" (i32.const 0)))))
  (i32.const 1))
(on http_call_response
  (call $get (i32.const 6) @":status")
  (call $show @"body is there" (i32.ne (local.get $size) (i32.const 0)))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
