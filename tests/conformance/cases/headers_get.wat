;;! covers: proxy_get_header_map_value proxy_on_request_headers proxy_on_response_headers
;;! about: Values of headers: case of the name, repeated, missing, pseudo, maps that are not there, wrong types.
;;! step: GET /twice?q=1 | X-Kit-One: 1 | x-kit-rep: a | x-kit-rep: b | x-kit-empty: 
;;! expect:
;;!   # GET /twice?q=1 | X-Kit-One: 1 | x-kit-rep: a | x-kit-rep: b | x-kit-empty:
;;!   request_headers| get 0 ":path" = 0 "/twice?q=1"
;;!   request_headers| get 0 ":method" = 0 "GET"
;;!   request_headers| get 0 ":authority" = 0 "kit"
;;!   request_headers| get 0 ":scheme" = 0 "http"
;;!   request_headers| get 0 "x-kit-one" = 0 "1"
;;!   request_headers| get 0 "X-KIT-ONE" = 0 "1"
;;!   request_headers| get 0 "x-kit-rep" = 0 "a"
;;!   request_headers| get 0 "x-kit-none" = 1
;;!   request_headers| get 0 "host" = 0 "kit"
;;!   request_headers| get 0 "" = 1
;;!   request_headers| get 1 "x-kit-one" = 2
;;!   request_headers| get 2 ":status" = 2
;;!   request_headers| get 3 "x-kit-one" = 2
;;!   request_headers| get 6 "x-kit-one" = 2
;;!   request_headers| get 8 "x-kit-one" = 2
;;!   request_headers| get 99 "x-kit-one" = 2
;;!   request_headers| value bad pointer = 6
;;!   response_headers| get 0 ":path" = 2
;;!   response_headers| get 2 ":status" = 0 "200"
;;!   response_headers| get 2 "x-kit-rep" = 0 "one"
;;!   response_headers| get 3 "x-kit-rep" = 2
;;!   ^ GET /twice?q=1 x-kit-empty="" x-kit-one="1" x-kit-rep="a" x-kit-rep="b"
;;!   > 200 x-kit-rep="one" x-kit-rep="two" body "twice"

(on request_headers
  (call $get (i32.const 0) @":path")
  (call $get (i32.const 0) @":method")
  (call $get (i32.const 0) @":authority")
  (call $get (i32.const 0) @":scheme")
  (call $get (i32.const 0) @"x-kit-one")
  (call $get (i32.const 0) @"X-KIT-ONE")
  (call $get (i32.const 0) @"x-kit-rep")
  (call $get (i32.const 0) @"x-kit-none")
  (call $get (i32.const 0) @"host")
  (call $get (i32.const 0) @"")
  (call $get (i32.const 1) @"x-kit-one")
  (call $get (i32.const 2) @":status")
  (call $get (i32.const 3) @"x-kit-one")
  (call $get (i32.const 6) @"x-kit-one")
  (call $get (i32.const 8) @"x-kit-one")
  (call $get (i32.const 99) @"x-kit-one")
  (call $show @"value bad pointer" (call $proxy_get_header_map_value (i32.const 0) (i32.const 0x7ffffff0) (i32.const 16) (i32.const 16) (i32.const 20)))
  (i32.const 0))
(on response_headers
  (call $get (i32.const 0) @":path")
  (call $get (i32.const 2) @":status")
  (call $get (i32.const 2) @"x-kit-rep")
  (call $get (i32.const 3) @"x-kit-rep")
  (i32.const 0))
