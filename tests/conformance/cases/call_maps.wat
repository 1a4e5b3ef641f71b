;;! covers: proxy_http_call proxy_get_header_map_value proxy_get_header_map_pairs proxy_get_header_map_size proxy_add_header_map_value proxy_remove_header_map_value proxy_get_buffer_bytes
;;! about: The maps and buffers of calls: where they can be read, and what they answer where they are not.
;;! step: GET /x
;;! step: GET /x | x-kit-do: trailers
;;! expect:
;;!   # GET /x
;;!   request_headers| get 4 ":status" = 2
;;!   request_headers| get 5 ":status" = 2
;;!   request_headers| get 6 ":status" = 2
;;!   request_headers| get 7 ":status" = 2
;;!   request_headers| pairs 4 = 0 empty
;;!   request_headers| pairs 6 = 0 empty
;;!   request_headers| size 4 = 2
;;!   request_headers| size 6 = 2
;;!   request_headers| size 7 = 2
;;!   request_headers| add 6 "x-kit-a" = 2
;;!   request_headers| add 7 "x-kit-a" = 2
;;!   request_headers| remove 6 = 2
;;!   request_headers| remove 4 = 2
;;!   request_headers| buffer 4 0+100 = 1
;;!   request_headers| buffer 5 0+100 = 0 empty
;;!   request_headers| call = 0
;;!   http_call_response| get 4 ":status" = 2
;;!   http_call_response| get 5 ":status" = 2
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| get 7 ":status" = 2
;;!   http_call_response| pairs 4 = 0 empty
;;!   http_call_response| pairs 6 = 0 :status="200" x-kit-rep="one" x-kit-rep="two"
;;!   http_call_response| size 4 = 2
;;!   http_call_response| size 6 = 2
;;!   http_call_response| size 7 = 2
;;!   http_call_response| add 6 "x-kit-a" = 2
;;!   http_call_response| add 7 "x-kit-a" = 2
;;!   http_call_response| remove 6 = 2
;;!   http_call_response| remove 4 = 2
;;!   http_call_response| buffer 4 0+100 = 0 "twice"
;;!   http_call_response| buffer 5 0+100 = 0 empty
;;!   http_call_response| on the stream
;;!   http_call_response| get 4 ":status" = 2
;;!   http_call_response| get 5 ":status" = 2
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| get 7 ":status" = 2
;;!   http_call_response| pairs 4 = 0 empty
;;!   http_call_response| pairs 6 = 0 :status="200" x-kit-rep="one" x-kit-rep="two"
;;!   http_call_response| size 4 = 2
;;!   http_call_response| size 6 = 2
;;!   http_call_response| size 7 = 2
;;!   http_call_response| add 6 "x-kit-a" = 2
;;!   http_call_response| add 7 "x-kit-a" = 2
;;!   http_call_response| remove 6 = 2
;;!   http_call_response| remove 4 = 2
;;!   http_call_response| buffer 4 0+100 = 0 "twice"
;;!   http_call_response| buffer 5 0+100 = 0 empty
;;!   log| get 4 ":status" = 1
;;!   log| get 5 ":status" = 1
;;!   log| get 6 ":status" = 1
;;!   log| get 7 ":status" = 1
;;!   log| pairs 4 = 0 empty
;;!   log| pairs 6 = 0 empty
;;!   log| size 4 = 2
;;!   log| size 6 = 2
;;!   log| size 7 = 2
;;!   log| add 6 "x-kit-a" = 2
;;!   log| add 7 "x-kit-a" = 2
;;!   log| remove 6 = 2
;;!   log| remove 4 = 2
;;!   log| buffer 4 0+100 = 1
;;!   log| buffer 5 0+100 = 0 empty
;;!   ^ GET /twice x-kit-call="1"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: trailers
;;!   request_headers| get 4 ":status" = 2
;;!   request_headers| get 5 ":status" = 2
;;!   request_headers| get 6 ":status" = 2
;;!   request_headers| get 7 ":status" = 2
;;!   request_headers| pairs 4 = 0 empty
;;!   request_headers| pairs 6 = 0 empty
;;!   request_headers| size 4 = 2
;;!   request_headers| size 6 = 2
;;!   request_headers| size 7 = 2
;;!   request_headers| add 6 "x-kit-a" = 2
;;!   request_headers| add 7 "x-kit-a" = 2
;;!   request_headers| remove 6 = 2
;;!   request_headers| remove 4 = 2
;;!   request_headers| buffer 4 0+100 = 1
;;!   request_headers| buffer 5 0+100 = 0 empty
;;!   request_headers| call = 0
;;!   http_call_response| get 4 ":status" = 2
;;!   http_call_response| get 5 ":status" = 2
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| get 7 ":status" = 1
;;!   http_call_response| pairs 4 = 0 empty
;;!   http_call_response| pairs 6 = 0 :status="200"
;;!   http_call_response| size 4 = 2
;;!   http_call_response| size 6 = 2
;;!   http_call_response| size 7 = 2
;;!   http_call_response| add 6 "x-kit-a" = 2
;;!   http_call_response| add 7 "x-kit-a" = 2
;;!   http_call_response| remove 6 = 2
;;!   http_call_response| remove 4 = 2
;;!   http_call_response| buffer 4 0+100 = 0 "hello"
;;!   http_call_response| buffer 5 0+100 = 0 empty
;;!   http_call_response| on the stream
;;!   http_call_response| get 4 ":status" = 2
;;!   http_call_response| get 5 ":status" = 2
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| get 7 ":status" = 1
;;!   http_call_response| pairs 4 = 0 empty
;;!   http_call_response| pairs 6 = 0 :status="200"
;;!   http_call_response| size 4 = 2
;;!   http_call_response| size 6 = 2
;;!   http_call_response| size 7 = 2
;;!   http_call_response| add 6 "x-kit-a" = 2
;;!   http_call_response| add 7 "x-kit-a" = 2
;;!   http_call_response| remove 6 = 2
;;!   http_call_response| remove 4 = 2
;;!   http_call_response| buffer 4 0+100 = 0 "hello"
;;!   http_call_response| buffer 5 0+100 = 0 empty
;;!   log| get 4 ":status" = 1
;;!   log| get 5 ":status" = 1
;;!   log| get 6 ":status" = 1
;;!   log| get 7 ":status" = 1
;;!   log| pairs 4 = 0 empty
;;!   log| pairs 6 = 0 empty
;;!   log| size 4 = 2
;;!   log| size 6 = 2
;;!   log| size 7 = 2
;;!   log| add 6 "x-kit-a" = 2
;;!   log| add 7 "x-kit-a" = 2
;;!   log| remove 6 = 2
;;!   log| remove 4 = 2
;;!   log| buffer 4 0+100 = 1
;;!   log| buffer 5 0+100 = 0 empty
;;!   ^ GET /trailers x-kit-call="1"
;;!   ^ GET /x x-kit-do="trailers"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(func $look
  (call $get (i32.const 4) @":status")
  (call $get (i32.const 5) @":status")
  (call $get (i32.const 6) @":status")
  (call $get (i32.const 7) @":status")
  (call $list (i32.const 4))
  (call $list (i32.const 6))
  (call $show @"size 4" (call $proxy_get_header_map_size (i32.const 4) (i32.const 16)))
  (call $show @"size 6" (call $proxy_get_header_map_size (i32.const 6) (i32.const 16)))
  (call $show @"size 7" (call $proxy_get_header_map_size (i32.const 7) (i32.const 16)))
  (call $add (i32.const 6) @"x-kit-a" @"x")
  (call $add (i32.const 7) @"x-kit-a" @"x")
  (call $show @"remove 6" (call $proxy_remove_header_map_value (i32.const 6) @"x"))
  (call $show @"remove 4" (call $proxy_remove_header_map_value (i32.const 4) @"x"))
  (call $buffer (i32.const 4) (i32.const 0) (i32.const 100))
  (call $buffer (i32.const 5) (i32.const 0) (i32.const 100)))
(on request_headers
  (call $look)
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 116))
    (then (call $show @"call" (call $fetch @"origin-h2" @"/trailers" (i32.const 5000))) (return (i32.const 1))))
  (call $show @"call" (call $fetch @"origin" @"/twice" (i32.const 5000)))
  (i32.const 1))
(on http_call_response
  (call $look)
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (call $say @"on the stream")
  (call $look)
  (drop (call $proxy_continue_stream (i32.const 0))))
(on log (call $look))
