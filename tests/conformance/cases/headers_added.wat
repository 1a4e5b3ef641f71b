;;! covers: proxy_add_header_map_value
;;! about: A value added to a field that Envoy has one place for stands behind the one that is there.
;;! step: GET /x
;;! step: GET /x | if-range: one
;;! expect:
;;!   # GET /x
;;!   request_headers| add 0 "if-range" = 0
;;!   request_headers| get 0 "if-range" = 0 "more"
;;!   request_headers| add 0 "if-range" = 0
;;!   request_headers| get 0 "if-range" = 0 "more,again"
;;!   request_headers| add 0 "if-range" = 0
;;!   request_headers| get 0 "if-range" = 0 "more,again"
;;!   request_headers| add 0 "x-kit-a" = 0
;;!   request_headers| add 0 "x-kit-a" = 0
;;!   request_headers| get 0 "x-kit-a" = 0 "more"
;;!   ^ GET /x x-kit-a="more" x-kit-a="again"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | if-range: one
;;!   request_headers| add 0 "if-range" = 0
;;!   request_headers| get 0 "if-range" = 0 "one,more"
;;!   request_headers| add 0 "if-range" = 0
;;!   request_headers| get 0 "if-range" = 0 "one,more,again"
;;!   request_headers| add 0 "if-range" = 0
;;!   request_headers| get 0 "if-range" = 0 "one,more,again"
;;!   request_headers| add 0 "x-kit-a" = 0
;;!   request_headers| add 0 "x-kit-a" = 0
;;!   request_headers| get 0 "x-kit-a" = 0 "more"
;;!   ^ GET /x x-kit-a="more" x-kit-a="again"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $add (i32.const 0) @"if-range" @"more")
  (call $get (i32.const 0) @"if-range")
  (call $add (i32.const 0) @"if-range" @"again")
  (call $get (i32.const 0) @"if-range")
  (call $add (i32.const 0) @"if-range" @"")
  (call $get (i32.const 0) @"if-range")
  (call $add (i32.const 0) @"x-kit-a" @"more")
  (call $add (i32.const 0) @"x-kit-a" @"again")
  (call $get (i32.const 0) @"x-kit-a")
  (i32.const 0))
