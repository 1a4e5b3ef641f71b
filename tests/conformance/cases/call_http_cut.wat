;;! covers: proxy_on_http_call_response
;;! about: Calls whose server cuts them, before its answer and within its body, over HTTP/1.1 and HTTP/2.
;;! option: upstream-races
;;! step: GET /x | x-kit-do: head
;;! step: GET /x | x-kit-do: body
;;! step: GET /x | x-kit-do: Head
;;! step: GET /x | x-kit-do: Body
;;! step: GET /x | x-kit-do: no HTTP
;;! expect:
;;!   # GET /x | x-kit-do: head
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "503"
;;!   http_call_response| get 6 "x-kit-up" = 1
;;!   http_call_response| pairs 6 = 0 :status="503"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body is there = 1
;;!   http_call_response| buffer 4 0+200 = 0 "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
;;!   http_call_response| get_status code 0 = 0 empty
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: body
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 0
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 2
;;!   http_call_response| get 6 "x-kit-up" = 2
;;!   http_call_response| pairs 6 = 0 empty
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body is there = 0
;;!   http_call_response| buffer 4 0+200 = 1
;;!   http_call_response| get_status code 11 = 0 "reset"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Head
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "503"
;;!   http_call_response| get 6 "x-kit-up" = 1
;;!   http_call_response| pairs 6 = 0 :status="503"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body is there = 1
;;!   http_call_response| buffer 4 0+200 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
;;!   http_call_response| get_status code 11 = 0 empty
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Body
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 0
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 2
;;!   http_call_response| get 6 "x-kit-up" = 2
;;!   http_call_response| pairs 6 = 0 empty
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body is there = 0
;;!   http_call_response| buffer 4 0+200 = 1
;;!   http_call_response| get_status code 11 = 0 "reset"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: no HTTP
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "502"
;;!   http_call_response| get 6 "x-kit-up" = 1
;;!   http_call_response| pairs 6 = 0 :status="502"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body is there = 1
;;!   http_call_response| buffer 4 0+200 = 0 "upstream connect error or disconnect/reset before headers. reset reason: protocol error"
;;!   http_call_response| get_status code 11 = 0 empty
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 104)) (then (call $show @"call" (call $fetch @"origin" @"/cut/head" (i32.const 2000)))))
  (if (call $doing_is (i32.const 98)) (then (call $show @"call" (call $fetch @"origin" @"/cut/body" (i32.const 2000)))))
  (if (call $doing_is (i32.const 72)) (then (call $show @"call" (call $fetch @"origin-h2" @"/cut/head" (i32.const 2000)))))
  (if (call $doing_is (i32.const 66)) (then (call $show @"call" (call $fetch @"origin-h2" @"/cut/body" (i32.const 2000)))))
  (if (call $doing_is (i32.const 110)) (then (call $show @"call" (call $fetch @"bytes" @"/x" (i32.const 2000)))))
  (i32.const 1))
(on http_call_response
  (call $show @"there are headers" (i32.ne (local.get $headers) (i32.const 0)))
  (call $show @"trailers" (local.get $trailers))
  (call $get (i32.const 6) @":status")
  (call $get (i32.const 6) @"x-kit-up")
  (call $list (i32.const 6))
  (call $list (i32.const 7))
  (call $show @"body is there" (i32.ne (local.get $size) (i32.const 0)))
  (call $buffer (i32.const 4) (i32.const 0) (i32.const 200))
  (call $status_of_call)
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
