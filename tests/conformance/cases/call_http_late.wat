;;! covers: proxy_http_call proxy_on_http_call_response proxy_get_status
;;! about: A call whose time is up before its answer, and after the answer's head, over HTTP/1.1 and HTTP/2; one that finds no server.
;;! option: upstream-races
;;! step: GET /x | x-kit-do: head
;;! step: GET /x | x-kit-do: body
;;! step: GET /x | x-kit-do: Head
;;! step: GET /x | x-kit-do: Body
;;! step: GET /x | x-kit-do: dead
;;! expect:
;;!   # GET /x | x-kit-do: head
;;!   request_headers| call = 0
;;!   http_call_response| headers = 3
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "504"
;;!   http_call_response| get 6 "x-kit-up" = 1
;;!   http_call_response| get 6 "content-length" = 0 "24"
;;!   http_call_response| get 6 "content-type" = 0 "text/plain"
;;!   http_call_response| pairs 6 = 0 :status="504"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body = 24
;;!   http_call_response| buffer 4 0+200 = 0 "upstream request timeout"
;;!   http_call_response| get_status code 0 = 0 empty
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: body
;;!   request_headers| call = 0
;;!   http_call_response| headers = 0
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 2
;;!   http_call_response| get 6 "x-kit-up" = 2
;;!   http_call_response| get 6 "content-length" = 2
;;!   http_call_response| get 6 "content-type" = 2
;;!   http_call_response| pairs 6 = 0 empty
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body = 0
;;!   http_call_response| buffer 4 0+200 = 1
;;!   http_call_response| get_status code 11 = 0 "reset"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Head
;;!   request_headers| call = 0
;;!   http_call_response| headers = 3
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "504"
;;!   http_call_response| get 6 "x-kit-up" = 1
;;!   http_call_response| get 6 "content-length" = 0 "24"
;;!   http_call_response| get 6 "content-type" = 0 "text/plain"
;;!   http_call_response| pairs 6 = 0 :status="504"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body = 24
;;!   http_call_response| buffer 4 0+200 = 0 "upstream request timeout"
;;!   http_call_response| get_status code 11 = 0 empty
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Body
;;!   request_headers| call = 0
;;!   http_call_response| headers = 0
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 2
;;!   http_call_response| get 6 "x-kit-up" = 2
;;!   http_call_response| get 6 "content-length" = 2
;;!   http_call_response| get 6 "content-type" = 2
;;!   http_call_response| pairs 6 = 0 empty
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body = 0
;;!   http_call_response| buffer 4 0+200 = 1
;;!   http_call_response| get_status code 11 = 0 "reset"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: dead
;;!   request_headers| call = 0
;;!   http_call_response| headers = 3
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "503"
;;!   http_call_response| get 6 "x-kit-up" = 1
;;!   http_call_response| get 6 "content-length" = 0 "98"
;;!   http_call_response| get 6 "content-type" = 0 "text/plain"
;;!   http_call_response| pairs 6 = 0 :status="503"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| body = 98
;;!   http_call_response| buffer 4 0+200 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
;;!   http_call_response| get_status code 11 = 0 empty
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 104)) (then (call $show @"call" (call $fetch @"origin" @"/slow" (i32.const 400)))))
  (if (call $doing_is (i32.const 98)) (then (call $show @"call" (call $fetch @"origin" @"/stall/body" (i32.const 400)))))
  (if (call $doing_is (i32.const 72)) (then (call $show @"call" (call $fetch @"origin-h2" @"/slow" (i32.const 400)))))
  (if (call $doing_is (i32.const 66)) (then (call $show @"call" (call $fetch @"origin-h2" @"/stall/body" (i32.const 400)))))
  (if (call $doing_is (i32.const 100)) (then (call $show @"call" (call $fetch @"dead" @"/x" (i32.const 5000)))))
  (i32.const 1))
(on http_call_response
  (call $show @"headers" (local.get $headers))
  (call $show @"trailers" (local.get $trailers))
  (call $get (i32.const 6) @":status")
  (call $get (i32.const 6) @"x-kit-up")
  (call $get (i32.const 6) @"content-length")
  (call $get (i32.const 6) @"content-type")
  (call $list (i32.const 6))
  (call $list (i32.const 7))
  (call $show @"body" (local.get $size))
  (call $buffer (i32.const 4) (i32.const 0) (i32.const 200))
  (call $status_of_call)
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
