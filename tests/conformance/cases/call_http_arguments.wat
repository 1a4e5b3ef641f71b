;;! covers: proxy_http_call proxy_on_http_call_response
;;! about: What a call's fields may be.
;;! deviation: a path without a slash, which Envoy writes as it is, is answered 400 like what it does not write; the body's length and framing are the proxy's to say, where Envoy sends the guest's and waits for a body that never comes
;;! step: GET /x | x-kit-do: a path with a space
;;! step: GET /x | x-kit-do: b path with a control character
;;! step: GET /x | x-kit-do: c path with CRLF
;;! step: GET /x | x-kit-do: d path without a slash
;;! step: GET /x | x-kit-do: e empty path
;;! step: GET /x | x-kit-do: f method with a space
;;! step: GET /x | x-kit-do: g method in small letters
;;! step: GET /x | x-kit-do: h method with CRLF
;;! step: GET /x | x-kit-do: i empty method
;;! step: GET /x | x-kit-do: j authority with a space
;;! step: GET /x | x-kit-do: k empty authority
;;! step: GET /x | x-kit-do: l value with CRLF
;;! step: GET /x | x-kit-do: m value with NUL
;;! step: GET /x | x-kit-do: n value with a control character
;;! step: GET /x | x-kit-do: o name with a space
;;! step: GET /x | x-kit-do: p name with CRLF
;;! step: GET /x | x-kit-do: q empty name
;;! step: GET /x | x-kit-do: r unknown pseudo header
;;! step: GET /x | x-kit-do: s status
;;! step: GET /x | x-kit-do: t value with high bytes
;;! step: GET /x | x-kit-do: u CONNECT
;;! step: GET /x | x-kit-do: v name in capitals
;;! step: GET /x | x-kit-do: w value with space around
;;! step: GET /x | x-kit-do: x path with high bytes
;;! step: GET /x | x-kit-do: y path with a fragment
;;! step: GET /x | x-kit-do: z connection and length
;;! step: GET /x | x-kit-do: A host field
;;! step: GET /x | x-kit-do: B te
;;! expect:
;;!   # GET /x | x-kit-do: a path with a space
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="a path with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: b path with a control character
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="b path with a control character"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: c path with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="c path with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: d path without a slash
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="d path without a slash"
;;!   ^ GET ? x-kit-a="1" x-kit-call="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: e empty path
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="e empty path"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: f method with a space
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="f method with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: g method in small letters
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="g method in small letters"
;;!   ^ get /x x-kit-a="1" x-kit-call="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: h method with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="h method with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: i empty method
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="i empty method"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: j authority with a space
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="j authority with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: k empty authority
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="1" x-kit-call="1"
;;!   ^ GET /x x-kit-do="k empty authority"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: l value with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="l value with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: m value with NUL
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="m value with NUL"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: n value with a control character
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="n value with a control character"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: o name with a space
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="o name with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: p name with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="p name with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: q empty name
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="q empty name"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: r unknown pseudo header
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-call="1"
;;!   ^ GET /x x-kit-do="r unknown pseudo header"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: s status
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-call="1"
;;!   ^ GET /x x-kit-do="s status"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: t value with high bytes
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="\xc3\xa4" x-kit-call="1"
;;!   ^ GET /x x-kit-do="t value with high bytes"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: u CONNECT
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="u CONNECT"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: v name in capitals
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="1" x-kit-call="1"
;;!   ^ GET /x x-kit-do="v name in capitals"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: w value with space around
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="1" x-kit-call="1"
;;!   ^ GET /x x-kit-do="w value with space around"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: x path with high bytes
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="x path with high bytes"
;;!   ^ GET /ä x-kit-a="1" x-kit-call="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: y path with a fragment
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="1" x-kit-call="1"
;;!   ^ GET /x x-kit-do="y path with a fragment"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: z connection and length
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "504"
;;!   http_call_response| buffer 4 0+150 = 0 "upstream request timeout"
;;!   ^ GET /x x-kit-call="1" cut short
;;!   ^ GET /x x-kit-do="z connection and length"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: A host field
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="A host field"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: B te
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "504"
;;!   http_call_response| buffer 4 0+150 = 0 "upstream request timeout"
;;!   ^ GET /x x-kit-call="1" cut short
;;!   ^ GET /x x-kit-do="B te"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: a path with a space
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="a path with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: b path with a control character
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="b path with a control character"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: c path with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="c path with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: d path without a slash
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="d path without a slash"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: e empty path
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="e empty path"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: f method with a space
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="f method with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: g method in small letters
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="g method in small letters"
;;!   ^ get /x x-kit-a="1" x-kit-call="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: h method with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="h method with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: i empty method
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="i empty method"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: j authority with a space
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="j authority with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: k empty authority
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="1" x-kit-call="1"
;;!   ^ GET /x x-kit-do="k empty authority"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: l value with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="l value with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: m value with NUL
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="m value with NUL"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: n value with a control character
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="n value with a control character"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: o name with a space
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="o name with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: p name with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="p name with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: q empty name
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "400"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="q empty name"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: r unknown pseudo header
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-call="1"
;;!   ^ GET /x x-kit-do="r unknown pseudo header"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: s status
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-call="1"
;;!   ^ GET /x x-kit-do="s status"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: t value with high bytes
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="\xc3\xa4" x-kit-call="1"
;;!   ^ GET /x x-kit-do="t value with high bytes"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: u CONNECT
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="u CONNECT"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: v name in capitals
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="1" x-kit-call="1"
;;!   ^ GET /x x-kit-do="v name in capitals"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: w value with space around
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="1" x-kit-call="1"
;;!   ^ GET /x x-kit-do="w value with space around"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: x path with high bytes
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="x path with high bytes"
;;!   ^ GET /ä x-kit-a="1" x-kit-call="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: y path with a fragment
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-a="1" x-kit-call="1"
;;!   ^ GET /x x-kit-do="y path with a fragment"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: z connection and length
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-call="1"
;;!   ^ GET /x x-kit-do="z connection and length"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: A host field
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-do="A host field"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: B te
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "hello"
;;!   ^ GET /x x-kit-call="1"
;;!   ^ GET /x x-kit-do="B te"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(func $one (param $m i32) (param $mn i32) (param $p i32) (param $pn i32) (param $a i32) (param $an i32)
  (param $k i32) (param $kn i32) (param $v i32) (param $vn i32)
  (local $at i32) (local $n i32) (local $s i32)
  (call $map_begin (i32.const 5))
  (call $pair @":method" (local.get $m) (local.get $mn))
  (call $pair @":path" (local.get $p) (local.get $pn))
  (call $pair @":authority" (local.get $a) (local.get $an))
  (call $pair @"x-kit-call" @"1")
  (call $pair (local.get $k) (local.get $kn) (local.get $v) (local.get $vn))
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (local.set $s (call $proxy_http_call @"origin" (local.get $at) (local.get $n)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 16)))
  (call $show @"call" (local.get $s))
  (global.set $refused (local.get $s)))
(global $refused (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (global.set $refused (i32.const 0))
  (call $note_do)
  (if (call $doing_is (i32.const 97)) (then
    (call $one @"GET" @"/a b" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 98)) (then
    (call $one @"GET" @"/a\01b" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 99)) (then
    (call $one @"GET" @"/a\0d\0ab" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 100)) (then
    (call $one @"GET" @"abc" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 101)) (then
    (call $one @"GET" @"" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 102)) (then
    (call $one @"GE T" @"/x" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 103)) (then
    (call $one @"get" @"/x" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 104)) (then
    (call $one @"GET\0d\0a" @"/x" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 105)) (then
    (call $one @"" @"/x" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 106)) (then
    (call $one @"GET" @"/x" @"call-call_http arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 107)) (then
    (call $one @"GET" @"/x" @"" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 108)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"x-kit-a" @"1\0d\0ax-kit-b: 2")))
  (if (call $doing_is (i32.const 109)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"x-kit-a" @"1\002")))
  (if (call $doing_is (i32.const 110)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"x-kit-a" @"1\012")))
  (if (call $doing_is (i32.const 111)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"x-kit a" @"1")))
  (if (call $doing_is (i32.const 112)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"x-kit-a\0d\0ax-kit-b" @"1")))
  (if (call $doing_is (i32.const 113)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"" @"1")))
  (if (call $doing_is (i32.const 114)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @":kit" @"1")))
  (if (call $doing_is (i32.const 115)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @":status" @"200")))
  (if (call $doing_is (i32.const 116)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"x-kit-a" @"\c3\a4")))
  (if (call $doing_is (i32.const 117)) (then
    (call $one @"CONNECT" @"/x" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 118)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"X-Kit-A" @"1")))
  (if (call $doing_is (i32.const 119)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"x-kit-a" @"  1  ")))
  (if (call $doing_is (i32.const 120)) (then
    (call $one @"GET" @"/\c3\a4" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 121)) (then
    (call $one @"GET" @"/x#y" @"call-call_http_arguments" @"x-kit-a" @"1")))
  (if (call $doing_is (i32.const 122)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"content-length" @"7")))
  (if (call $doing_is (i32.const 65)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"host" @"other")))
  (if (call $doing_is (i32.const 66)) (then
    (call $one @"GET" @"/x" @"call-call_http_arguments" @"transfer-encoding" @"chunked")))
  (i32.eqz (global.get $refused)))
(on http_call_response
  (call $show @"there are headers" (i32.ne (local.get $headers) (i32.const 0)))
  (call $get (i32.const 6) @":status")
  (call $buffer (i32.const 4) (i32.const 0) (i32.const 150))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
