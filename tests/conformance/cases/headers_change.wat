;;! covers: proxy_add_header_map_value proxy_replace_header_map_value proxy_remove_header_map_value
;;! about: Add, replace, remove on both sides: order, repeated fields, missing ones, case of names, maps out of phase.
;;! step: GET /twice | x-kit-a: 1 | x-kit-b: 2 | x-kit-b: 3 | x-kit-c: 4
;;! expect:
;;!   # GET /twice | x-kit-a: 1 | x-kit-b: 2 | x-kit-b: 3 | x-kit-c: 4
;;!   request_headers| add 0 "X-Kit-New" = 0
;;!   request_headers| add 0 "x-kit-a" = 0
;;!   request_headers| add 0 "x-kit-void" = 0
;;!   request_headers| replace 0 "x-kit-b" = 0
;;!   request_headers| replace 0 "x-kit-missing" = 0
;;!   request_headers| remove 0 "x-kit-c" = 0
;;!   request_headers| remove 0 "x-kit-c" = 0
;;!   request_headers| add 2 "x-kit-a" = 2
;;!   request_headers| replace 2 "x-kit-a" = 2
;;!   request_headers| remove 2 "x-kit-a" = 2
;;!   request_headers| add 1 "x-kit-a" = 2
;;!   request_headers| add 9 "x-kit-a" = 2
;;!   request_headers| pairs 0 = 0 :authority="kit" :path="/twice" :method="GET" :scheme="http" x-kit-a="1" x-kit-new="n" x-kit-a="again" x-kit-void="" x-kit-b="only" x-kit-missing="added"
;;!   response_headers| add 0 "x-kit-late" = 2
;;!   response_headers| replace 0 "x-kit-late" = 2
;;!   response_headers| remove 0 "x-kit-a" = 2
;;!   response_headers| add 2 "x-kit-new" = 0
;;!   response_headers| replace 2 "x-kit-rep" = 0
;;!   response_headers| replace 2 ":status" = 0
;;!   response_headers| remove 2 "x-kit-nothing" = 0
;;!   response_headers| pairs 2 = 0 :status="203" x-kit-new="r" x-kit-rep="one of two"
;;!   log| add 0 "x-kit-late" = 2
;;!   log| get 0 "x-kit-new" = 0 "n"
;;!   log| get 2 "x-kit-new" = 0 "r"
;;!   ^ GET /twice x-kit-a="1" x-kit-a="again" x-kit-b="only" x-kit-missing="added" x-kit-new="n" x-kit-void=""
;;!   > 203 x-kit-new="r" x-kit-rep="one of two" body "twice"

(on request_headers
  (call $add (i32.const 0) @"X-Kit-New" @"n")
  (call $add (i32.const 0) @"x-kit-a" @"again")
  (call $add (i32.const 0) @"x-kit-void" @"")
  (call $replace (i32.const 0) @"x-kit-b" @"only")
  (call $replace (i32.const 0) @"x-kit-missing" @"added")
  (call $remove (i32.const 0) @"x-kit-c")
  (call $remove (i32.const 0) @"x-kit-c")
  (call $add (i32.const 2) @"x-kit-a" @"no map")
  (call $replace (i32.const 2) @"x-kit-a" @"no map")
  (call $remove (i32.const 2) @"x-kit-a")
  (call $add (i32.const 1) @"x-kit-a" @"no map")
  (call $add (i32.const 9) @"x-kit-a" @"no map")
  (call $list (i32.const 0))
  (i32.const 0))
(on response_headers
  (call $add (i32.const 0) @"x-kit-late" @"gone")
  (call $replace (i32.const 0) @"x-kit-late" @"gone")
  (call $remove (i32.const 0) @"x-kit-a")
  (call $add (i32.const 2) @"x-kit-new" @"r")
  (call $replace (i32.const 2) @"x-kit-rep" @"one of two")
  (call $replace (i32.const 2) @":status" @"203")
  (call $remove (i32.const 2) @"x-kit-nothing")
  (call $list (i32.const 2))
  (i32.const 0))
(on log
  (call $add (i32.const 0) @"x-kit-late" @"read only")
  (call $get (i32.const 0) @"x-kit-new")
  (call $get (i32.const 2) @"x-kit-new"))
