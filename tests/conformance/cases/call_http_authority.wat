;;! covers: proxy_http_call proxy_on_http_call_response
;;! about: The authority of a call is whatever a field can be.
;;! step: GET /x | x-kit-do: a plain
;;! step: GET /x | x-kit-do: b empty
;;! step: GET /x | x-kit-do: c name of Istio
;;! step: GET /x | x-kit-do: d word for a port
;;! step: GET /x | x-kit-do: e port too large
;;! step: GET /x | x-kit-do: f user
;;! step: GET /x | x-kit-do: g slash
;;! step: GET /x | x-kit-do: h escape
;;! step: GET /x | x-kit-do: i high bytes
;;! step: GET /x | x-kit-do: j no text
;;! step: GET /x | x-kit-do: k star
;;! step: GET /x | x-kit-do: l comma
;;! step: GET /x | x-kit-do: m semicolon
;;! step: GET /x | x-kit-do: n space
;;! step: GET /x | x-kit-do: o address
;;! step: GET /x | x-kit-do: p bare address
;;! step: GET /x | x-kit-do: q dot at the end
;;! step: GET /x | x-kit-do: r underscore
;;! step: GET /x | x-kit-do: s space around
;;! step: GET /x | x-kit-do: t tab
;;! step: GET /x | x-kit-do: u CRLF
;;! step: GET /x | x-kit-do: v NUL
;;! step: GET /x | x-kit-do: w control
;;! step: GET /x | x-kit-do: x question
;;! step: GET /x | x-kit-do: y quote
;;! step: GET /x | x-kit-do: z two
;;! step: GET /x | x-kit-do: A host alone
;;! step: GET /x | x-kit-do: B host beside it
;;! expect:
;;!   # GET /x | x-kit-do: a plain
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "kit.svc:80"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="a plain"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: b empty
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="b empty"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: c name of Istio
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "outbound|8081||lim.ns.svc.cluster.local"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="c name of Istio"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: d word for a port
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "host:abc"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="d word for a port"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: e port too large
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "127.0.0.1:99999"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="e port too large"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: f user
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "user@h"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="f user"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: g slash
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "h/p"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="g slash"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: h escape
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "%zz"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="h escape"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: i high bytes
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "\c3\bc"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="i high bytes"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: j no text
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "\ff"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="j no text"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: k star
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "*.x"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="k star"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: l comma
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "x,y"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="l comma"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: m semicolon
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "a;b"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="m semicolon"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: n space
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "a b"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="n space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: o address
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "[::1]:80"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="o address"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: p bare address
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "::1"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="p bare address"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: q dot at the end
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "x.test.:80"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="q dot at the end"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: r underscore
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "up_stream"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="r underscore"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: s space around
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "kit"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="s space around"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: t tab
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "a\09b"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="t tab"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: u CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="u CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: v NUL
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="v NUL"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: w control
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="w control"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: x question
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "a?b"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="x question"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: y quote
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "a\22b"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="y quote"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: z two
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "a,b"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="z two"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: A host alone
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "a"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="A host alone"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: B host beside it
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| buffer 4 0+150 = 0 "a,b"
;;!   ^ GET /asked
;;!   ^ GET /x x-kit-do="B host beside it"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(global $refused (mut i32) (i32.const 0))
(func $one (param $k i32) (param $kn i32) (param $a i32) (param $an i32) (param $l i32) (param $ln i32) (param $b i32) (param $bn i32)
  (local $at i32) (local $n i32)
  (call $map_begin (select (i32.const 4) (i32.const 3) (local.get $ln)))
  (call $pair @":method" @"GET")
  (call $pair @":path" @"/asked")
  (call $pair (local.get $k) (local.get $kn) (local.get $a) (local.get $an))
  (if (local.get $ln) (then (call $pair (local.get $l) (local.get $ln) (local.get $b) (local.get $bn))))
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (global.set $refused (call $proxy_http_call @"origin" (local.get $at) (local.get $n)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 16)))
  (call $show @"call" (global.get $refused)))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 97)) (then (call $one @":authority" @"kit.svc:80" @"" @"")))
  (if (call $doing_is (i32.const 98)) (then (call $one @":authority" @"" @"" @"")))
  (if (call $doing_is (i32.const 99)) (then (call $one @":authority" @"outbound|8081||lim.ns.svc.cluster.local" @"" @"")))
  (if (call $doing_is (i32.const 100)) (then (call $one @":authority" @"host:abc" @"" @"")))
  (if (call $doing_is (i32.const 101)) (then (call $one @":authority" @"127.0.0.1:99999" @"" @"")))
  (if (call $doing_is (i32.const 102)) (then (call $one @":authority" @"user@h" @"" @"")))
  (if (call $doing_is (i32.const 103)) (then (call $one @":authority" @"h/p" @"" @"")))
  (if (call $doing_is (i32.const 104)) (then (call $one @":authority" @"%zz" @"" @"")))
  (if (call $doing_is (i32.const 105)) (then (call $one @":authority" @"\c3\bc" @"" @"")))
  (if (call $doing_is (i32.const 106)) (then (call $one @":authority" @"\ff" @"" @"")))
  (if (call $doing_is (i32.const 107)) (then (call $one @":authority" @"*.x" @"" @"")))
  (if (call $doing_is (i32.const 108)) (then (call $one @":authority" @"x,y" @"" @"")))
  (if (call $doing_is (i32.const 109)) (then (call $one @":authority" @"a;b" @"" @"")))
  (if (call $doing_is (i32.const 110)) (then (call $one @":authority" @"a b" @"" @"")))
  (if (call $doing_is (i32.const 111)) (then (call $one @":authority" @"[::1]:80" @"" @"")))
  (if (call $doing_is (i32.const 112)) (then (call $one @":authority" @"::1" @"" @"")))
  (if (call $doing_is (i32.const 113)) (then (call $one @":authority" @"x.test.:80" @"" @"")))
  (if (call $doing_is (i32.const 114)) (then (call $one @":authority" @"up_stream" @"" @"")))
  (if (call $doing_is (i32.const 115)) (then (call $one @":authority" @" kit " @"" @"")))
  (if (call $doing_is (i32.const 116)) (then (call $one @":authority" @"a\09b" @"" @"")))
  (if (call $doing_is (i32.const 117)) (then (call $one @":authority" @"a\0d\0ax-kit-b: 2" @"" @"")))
  (if (call $doing_is (i32.const 118)) (then (call $one @":authority" @"a\00b" @"" @"")))
  (if (call $doing_is (i32.const 119)) (then (call $one @":authority" @"a\01b" @"" @"")))
  (if (call $doing_is (i32.const 120)) (then (call $one @":authority" @"a?b" @"" @"")))
  (if (call $doing_is (i32.const 121)) (then (call $one @":authority" @"a\22b" @"" @"")))
  (if (call $doing_is (i32.const 122)) (then (call $one @":authority" @"a" @":authority" @"b")))
  (if (call $doing_is (i32.const 65)) (then (call $one @"host" @"a" @"" @"")))
  (if (call $doing_is (i32.const 66)) (then (call $one @":authority" @"a" @"Host" @"b")))
  (i32.eqz (global.get $refused)))
(on http_call_response
  (call $get (i32.const 6) @":status")
  (call $buffer (i32.const 4) (i32.const 0) (i32.const 150))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
