;;! covers: proxy_http_call proxy_on_http_call_response proxy_get_header_map_value proxy_get_buffer_bytes
;;! about: A call and its answer: headers, body, trailers, counts; where they can be read.
;;! step: GET /x
;;! step: GET /x | x-kit-do: trailers
;;! step: GET /x | x-kit-do: post
;;! expect:
;;!   # GET /x
;;!   request_headers| call = 0
;;!   request_headers| token is set = 1
;;!   http_call_response| body = 5
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 6 = 0 :status="200" x-kit-rep="one" x-kit-rep="two"
;;!   http_call_response| headers are its pairs = 1
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+100 = 0 "twice"
;;!   http_call_response| add 6 "x-kit-a" = 2
;;!   http_call_response| get 2 ":status" = 2
;;!   log| get 6 ":status" = 1
;;!   log| buffer 4 0+100 = 1
;;!   ^ GET /twice x-kit-call="1"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: trailers
;;!   request_headers| call = 0
;;!   http_call_response| body = 5
;;!   http_call_response| trailers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 6 = 0 :status="200"
;;!   http_call_response| headers are its pairs = 1
;;!   http_call_response| pairs 7 = 0 x-kit-checksum="5"
;;!   http_call_response| buffer 4 0+100 = 0 "hello"
;;!   http_call_response| add 6 "x-kit-a" = 2
;;!   http_call_response| get 2 ":status" = 2
;;!   log| get 6 ":status" = 1
;;!   log| buffer 4 0+100 = 1
;;!   ^ GET /trailers x-kit-call="1"
;;!   ^ GET /x x-kit-do="trailers"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: post
;;!   request_headers| call = 0
;;!   http_call_response| body = 8
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 6 = 0 :status="200"
;;!   http_call_response| headers are its pairs = 1
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+100 = 0 "the body"
;;!   http_call_response| add 6 "x-kit-a" = 2
;;!   http_call_response| get 2 ":status" = 2
;;!   log| get 6 ":status" = 1
;;!   log| buffer 4 0+100 = 1
;;!   ^ GET /x x-kit-do="post"
;;!   ^ POST /echo x-kit-call="2" body "the body"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 116))
    (then (call $show @"call" (call $fetch @"origin-h2" @"/trailers" (i32.const 5000))) (return (i32.const 1))))
  (if (call $doing_is (i32.const 112))
    (then (call $show @"call" (call $post)) (return (i32.const 1))))
  (call $show @"call" (call $fetch @"origin" @"/twice" (i32.const 5000)))
  (call $show @"token is set" (i32.ne (i32.load (i32.const 16)) (i32.const 0)))
  (i32.const 1))
(func $post (result i32) (local $at i32) (local $n i32)
  (call $map_begin (i32.const 4))
  (call $pair @":method" @"POST")
  (call $pair @":path" @"/echo")
  (call $pair @":authority" @"call-call_http")
  (call $pair @"x-kit-call" @"2")
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (call $proxy_http_call @"origin" (local.get $at) (local.get $n) @"the body" (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 16)))
(on http_call_response
  (call $show @"body" (local.get $size))
  (call $show @"trailers" (local.get $trailers))
  (call $get (i32.const 6) @":status")
  (call $list (i32.const 6))
  (call $show @"headers are its pairs" (i32.eq (local.get $headers) (i32.load (i32.load (i32.const 16)))))
  (call $list (i32.const 7))
  (call $buffer (i32.const 4) (i32.const 0) (i32.const 100))
  (call $add (i32.const 6) @"x-kit-a" @"read only?")
  (call $get (i32.const 2) @":status")
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(on log (call $get (i32.const 6) @":status") (call $buffer (i32.const 4) (i32.const 0) (i32.const 100)))
