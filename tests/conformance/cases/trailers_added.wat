;;! covers: proxy_add_header_map_value proxy_get_header_map_value proxy_on_request_trailers proxy_on_response_trailers
;;! about: Trailers that a filter adds behind the last bytes of a body without them: who sees what.
;;! chain: a b c
;;! step: h2 POST /h2/echo || abc
;;! expect:
;;!   # h2 POST /h2/echo || abc
;;!   a: request_body| size = 3
;;!   a: request_body| end = 1
;;!   b: request_body| size = 3
;;!   b: request_body| end = 1
;;!   b: request_body| get 1 "x-kit-one" = 2
;;!   b: request_body| add 1 "x-kit-one" = 0
;;!   b: request_body| get 1 "x-kit-one" = 0 "1"
;;!   b: request_body| add 3 "x-kit-one" = 2
;;!   c: request_body| size = 3
;;!   c: request_body| end = 0
;;!   c: request_trailers| n = 1
;;!   c: request_trailers| pairs 1 = 0 x-kit-one="1"
;;!   c: response_body| size = 3
;;!   c: response_body| end = 0
;;!   b: response_body| size = 3
;;!   b: response_body| end = 0
;;!   a: response_body| size = 3
;;!   a: response_body| end = 0
;;!   c: response_trailers| n = 1
;;!   c: response_trailers| pairs 3 = 0 x-kit-one="1"
;;!   b: response_trailers| n = 1
;;!   b: response_trailers| pairs 3 = 0 x-kit-one="1"
;;!   a: response_trailers| n = 1
;;!   a: response_trailers| pairs 3 = 0 x-kit-one="1"
;;!   a: log| pairs 1 = 0 empty
;;!   a: log| pairs 3 = 0 x-kit-one="1"
;;!   b: log| pairs 1 = 0 empty
;;!   b: log| pairs 3 = 0 x-kit-one="1"
;;!   c: log| pairs 1 = 0 empty
;;!   c: log| pairs 3 = 0 x-kit-one="1"
;;!   ^ POST /echo body "abc" trailer x-kit-one="1"
;;!   > 200 body "abc" trailer x-kit-one="1"

;; Which filter of the chain this is: its configuration's letter. The middle one adds.
(global $me (mut i32) (i32.const 0))
(on configure
  (drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
  (global.set $me (i32.load8_u (i32.load (i32.const 16))))
  (i32.const 1))
(func $adds (result i32) (i32.eq (global.get $me) (i32.const 98)))
(on request_headers (call $note_do) (i32.const 0))
(on request_body
  (call $show @"size" (local.get $size))
  (call $show @"end" (local.get $end))
  (if (call $adds) (then
    (call $get (i32.const 1) @"x-kit-one")
    (call $add (i32.const 1) @"x-kit-one" @"1")
    (call $get (i32.const 1) @"x-kit-one")
    (call $add (i32.const 3) @"x-kit-one" @"1")))
  (i32.const 0))
(on request_trailers (call $show @"n" (local.get $n)) (call $list (i32.const 1)) (i32.const 0))
(on response_body
  (call $show @"size" (local.get $size))
  (call $show @"end" (local.get $end))
  (if (i32.and (call $adds) (local.get $end)) (then (call $add (i32.const 3) @"x-kit-two" @"2")))
  (i32.const 0))
(on response_trailers (call $show @"n" (local.get $n)) (call $list (i32.const 3)) (i32.const 0))
(on log (call $list (i32.const 1)) (call $list (i32.const 3)))
