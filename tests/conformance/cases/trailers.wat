;;! covers: proxy_on_request_trailers proxy_on_response_trailers proxy_get_header_map_value proxy_add_header_map_value proxy_get_header_map_pairs
;;! about: Trailers both ways over HTTP/2: read, added, replaced, removed; the end is told by the trailers.
;;! step: h2 POST /h2/echo || abc ||| x-kit-one: 1 | x-kit-two: 2
;;! expect:
;;!   # h2 POST /h2/echo || abc ||| x-kit-one: 1 | x-kit-two: 2
;;!   request_headers| end = 0
;;!   request_body| size = 3
;;!   request_body| end = 0
;;!   request_body| get 1 "x-kit-one" = 2
;;!   request_trailers| n = 2
;;!   request_trailers| get 1 "x-kit-one" = 0 "1"
;;!   request_trailers| pairs 1 = 0 x-kit-one="1" x-kit-two="2"
;;!   request_trailers| add 1 "x-kit-three" = 0
;;!   request_trailers| replace 1 "x-kit-one" = 0
;;!   request_trailers| remove 1 "x-kit-two" = 0
;;!   request_trailers| add 0 "x-kit-too-late" = 2
;;!   response_headers| end = 0
;;!   response_body| size = 3
;;!   response_body| end = 0
;;!   response_trailers| n = 2
;;!   response_trailers| pairs 3 = 0 x-kit-three="3" x-kit-one="eins"
;;!   response_trailers| pairs 1 = 0 empty
;;!   response_trailers| add 3 "x-kit-four" = 0
;;!   response_trailers| add 2 "x-kit-too-late" = 2
;;!   log| pairs 1 = 0 empty
;;!   log| pairs 3 = 0 x-kit-three="3" x-kit-one="eins" x-kit-four="4"
;;!   ^ POST /echo body "abc" trailer x-kit-three="3" trailer x-kit-one="eins"
;;!   > 200 body "abc" trailer x-kit-three="3" trailer x-kit-one="eins" trailer x-kit-four="4"

(on request_headers (call $show @"end" (local.get $end)) (i32.const 0))
(on request_body (call $show @"size" (local.get $size)) (call $show @"end" (local.get $end)) (call $get (i32.const 1) @"x-kit-one") (i32.const 0))
(on request_trailers
  (call $show @"n" (local.get $n))
  (call $get (i32.const 1) @"x-kit-one")
  (call $list (i32.const 1))
  (call $add (i32.const 1) @"x-kit-three" @"3")
  (call $replace (i32.const 1) @"x-kit-one" @"eins")
  (call $remove (i32.const 1) @"x-kit-two")
  (call $add (i32.const 0) @"x-kit-too-late" @"1")
  (i32.const 0))
(on response_headers (call $show @"end" (local.get $end)) (i32.const 0))
(on response_body (call $show @"size" (local.get $size)) (call $show @"end" (local.get $end)) (i32.const 0))
(on response_trailers
  (call $show @"n" (local.get $n))
  (call $list (i32.const 3))
  (call $list (i32.const 1))
  (call $add (i32.const 3) @"x-kit-four" @"4")
  (call $add (i32.const 2) @"x-kit-too-late" @"1")
  (i32.const 0))
(on log (call $list (i32.const 1)) (call $list (i32.const 3)))
