;;! covers: proxy_http_call
;;! about: What an HTTP/2 server is told of the scheme that a call names.
;;! step: GET /x | x-kit-do: a none
;;! step: GET /x | x-kit-do: b http
;;! step: GET /x | x-kit-do: c https
;;! step: GET /x | x-kit-do: d another
;;! step: GET /x | x-kit-do: f empty
;;! step: GET /x | x-kit-do: g two
;;! step: GET /x | x-kit-do: h another, with x-forwarded-proto
;;! step: GET /x | x-kit-do: i none, with x-forwarded-proto
;;! step: GET /x | x-kit-do: j http, with x-forwarded-proto
;;! expect:
;;!   # GET /x | x-kit-do: a none
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "http"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="a none"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: b http
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "http"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="b http"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: c https
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "https"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="c https"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: d another
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "http"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="d another"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: f empty
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "http"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="f empty"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: g two
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "http"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="g two"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: h another, with x-forwarded-proto
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "https"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="h another, with x-forwarded-proto"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: i none, with x-forwarded-proto
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "https"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="i none, with x-forwarded-proto"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: j http, with x-forwarded-proto
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "http"
;;!   ^ GET /scheme
;;!   ^ GET /x x-kit-do="j http, with x-forwarded-proto"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(global $refused (mut i32) (i32.const 0))
(func $one (param $k i32) (param $kn i32) (param $a i32) (param $an i32) (param $l i32) (param $ln i32) (param $b i32) (param $bn i32)
  (local $at i32) (local $n i32)
  (call $map_begin (i32.add (i32.const 3) (i32.add (i32.ne (local.get $kn) (i32.const 0)) (i32.ne (local.get $ln) (i32.const 0)))))
  (call $pair @":method" @"GET")
  (call $pair @":path" @"/scheme")
  (call $pair @":authority" @"call-call_http_scheme")
  (if (local.get $kn) (then (call $pair (local.get $k) (local.get $kn) (local.get $a) (local.get $an))))
  (if (local.get $ln) (then (call $pair (local.get $l) (local.get $ln) (local.get $b) (local.get $bn))))
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (global.set $refused (call $proxy_http_call @"origin-h2" (local.get $at) (local.get $n)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 16)))
  (call $show @"call" (global.get $refused)))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 97)) (then (call $one @"" @"" @"" @"")))
  (if (call $doing_is (i32.const 98)) (then (call $one @":scheme" @"http" @"" @"")))
  (if (call $doing_is (i32.const 99)) (then (call $one @":scheme" @"https" @"" @"")))
  (if (call $doing_is (i32.const 100)) (then (call $one @":scheme" @"ftp" @"" @"")))
  (if (call $doing_is (i32.const 102)) (then (call $one @":scheme" @"" @"" @"")))
  (if (call $doing_is (i32.const 103)) (then (call $one @":scheme" @"https" @":scheme" @"https")))
  (if (call $doing_is (i32.const 104)) (then (call $one @":scheme" @"ftp" @"x-forwarded-proto" @"https")))
  (if (call $doing_is (i32.const 105)) (then (call $one @"" @"" @"x-forwarded-proto" @"https")))
  (if (call $doing_is (i32.const 106)) (then (call $one @":scheme" @"http" @"x-forwarded-proto" @"https")))
  (i32.eqz (global.get $refused)))
(on http_call_response
  (call $get (i32.const 6) @":status")
  (call $buffer (i32.const 4) (i32.const 0) (i32.const 150))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
