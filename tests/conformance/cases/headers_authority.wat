;;! covers: proxy_replace_header_map_value
;;! about: A filter may name any host that a field can say; it goes on so, and the route is chosen by it.
;;! step: GET /asked | x-kit-do: a plain
;;! step: GET /asked | x-kit-do: b empty
;;! step: GET /asked | x-kit-do: c name of Istio
;;! step: GET /asked | x-kit-do: d word for a port
;;! step: GET /asked | x-kit-do: e port too large
;;! step: GET /asked | x-kit-do: f user
;;! step: GET /asked | x-kit-do: g slash
;;! step: GET /asked | x-kit-do: h escape
;;! step: GET /asked | x-kit-do: i high bytes
;;! step: GET /asked | x-kit-do: j no text
;;! step: GET /asked | x-kit-do: k star
;;! step: GET /asked | x-kit-do: l comma
;;! step: GET /asked | x-kit-do: m semicolon
;;! step: GET /asked | x-kit-do: n space
;;! step: GET /asked | x-kit-do: o address
;;! step: GET /asked | x-kit-do: p bare address
;;! step: GET /asked | x-kit-do: q dot at the end
;;! step: GET /asked | x-kit-do: r underscore
;;! step: GET /asked | x-kit-do: s space around
;;! step: GET /asked | x-kit-do: t tab
;;! step: GET /asked | x-kit-do: u CRLF
;;! step: GET /asked | x-kit-do: v NUL
;;! step: GET /asked | x-kit-do: w control
;;! step: GET /asked | x-kit-do: x question
;;! step: GET /asked | x-kit-do: y quote
;;! step: GET /h2/asked | x-kit-do: a plain
;;! step: GET /h2/asked | x-kit-do: d word for a port
;;! step: GET /h2/asked | x-kit-do: e port too large
;;! step: GET /h2/asked | x-kit-do: l comma
;;! step: GET /h2/asked | x-kit-do: m semicolon
;;! step: GET /h2/asked | x-kit-do: o address
;;! step: GET /h2/asked | x-kit-do: q dot at the end
;;! step: GET /h2/asked | x-kit-do: r underscore
;;! step: GET /asked | x-kit-do: A canary behind a port
;;! step: GET /asked | x-kit-do: B canary behind a name
;;! step: GET /asked | x-kit-do: C canary before a name
;;! step: GET /asked | x-kit-do: D canary alone
;;! step: GET /asked | x-kit-do: E second value
;;! expect:
;;!   # GET /asked | x-kit-do: a plain
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="a plain"
;;!   > 200 body "kit.svc:80"
;;!   # GET /asked | x-kit-do: b empty
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="b empty"
;;!   > 200
;;!   # GET /asked | x-kit-do: c name of Istio
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="c name of Istio"
;;!   > 200 body "outbound|8081||lim.ns.svc.cluster.local"
;;!   # GET /asked | x-kit-do: d word for a port
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="d word for a port"
;;!   > 200 body "host:abc"
;;!   # GET /asked | x-kit-do: e port too large
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="e port too large"
;;!   > 200 body "127.0.0.1:99999"
;;!   # GET /asked | x-kit-do: f user
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="f user"
;;!   > 200 body "user@h"
;;!   # GET /asked | x-kit-do: g slash
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="g slash"
;;!   > 200 body "h/p"
;;!   # GET /asked | x-kit-do: h escape
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="h escape"
;;!   > 200 body "%zz"
;;!   # GET /asked | x-kit-do: i high bytes
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="i high bytes"
;;!   > 200 body "\xc3\xbc"
;;!   # GET /asked | x-kit-do: j no text
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="j no text"
;;!   > 200 body "\xff"
;;!   # GET /asked | x-kit-do: k star
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="k star"
;;!   > 200 body "*.x"
;;!   # GET /asked | x-kit-do: l comma
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="l comma"
;;!   > 200 body "x,y"
;;!   # GET /asked | x-kit-do: m semicolon
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="m semicolon"
;;!   > 200 body "a;b"
;;!   # GET /asked | x-kit-do: n space
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="n space"
;;!   > 200 body "a b"
;;!   # GET /asked | x-kit-do: o address
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="o address"
;;!   > 200 body "[::1]:80"
;;!   # GET /asked | x-kit-do: p bare address
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="p bare address"
;;!   > 200 body "::1"
;;!   # GET /asked | x-kit-do: q dot at the end
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="q dot at the end"
;;!   > 200 body "x.test.:80"
;;!   # GET /asked | x-kit-do: r underscore
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="r underscore"
;;!   > 200 body "up_stream"
;;!   # GET /asked | x-kit-do: s space around
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="s space around"
;;!   > 200 body "kit"
;;!   # GET /asked | x-kit-do: t tab
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="t tab"
;;!   > 200 body "a\tb"
;;!   # GET /asked | x-kit-do: u CRLF
;;!   request_headers| replace 0 ":authority" = 0
;;!   > 503 content-type="text/plain" body "invalid header value for: :authority"
;;!   # GET /asked | x-kit-do: v NUL
;;!   request_headers| replace 0 ":authority" = 0
;;!   > 503 content-type="text/plain" body "invalid header value for: :authority"
;;!   # GET /asked | x-kit-do: w control
;;!   request_headers| replace 0 ":authority" = 0
;;!   > 503 content-type="text/plain" body "invalid header value for: :authority"
;;!   # GET /asked | x-kit-do: x question
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="x question"
;;!   > 200 body "a?b"
;;!   # GET /asked | x-kit-do: y quote
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="y quote"
;;!   > 200 body "a\"b"
;;!   # GET /h2/asked | x-kit-do: a plain
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="a plain"
;;!   > 200 body "kit.svc:80"
;;!   # GET /h2/asked | x-kit-do: d word for a port
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="d word for a port"
;;!   > 200 body "host:abc"
;;!   # GET /h2/asked | x-kit-do: e port too large
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="e port too large"
;;!   > 200 body "127.0.0.1:99999"
;;!   # GET /h2/asked | x-kit-do: l comma
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="l comma"
;;!   > 200 body "x,y"
;;!   # GET /h2/asked | x-kit-do: m semicolon
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="m semicolon"
;;!   > 200 body "a;b"
;;!   # GET /h2/asked | x-kit-do: o address
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="o address"
;;!   > 200 body "[::1]:80"
;;!   # GET /h2/asked | x-kit-do: q dot at the end
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="q dot at the end"
;;!   > 200 body "x.test.:80"
;;!   # GET /h2/asked | x-kit-do: r underscore
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="r underscore"
;;!   > 200 body "up_stream"
;;!   # GET /asked | x-kit-do: A canary behind a port
;;!   request_headers| replace 0 ":authority" = 0
;;!   > 211 content-type="text/plain" body "canary"
;;!   # GET /asked | x-kit-do: B canary behind a name
;;!   request_headers| replace 0 "host" = 0
;;!   > 211 content-type="text/plain" body "canary"
;;!   # GET /asked | x-kit-do: C canary before a name
;;!   request_headers| replace 0 ":authority" = 0
;;!   > 211 content-type="text/plain" body "canary"
;;!   # GET /asked | x-kit-do: D canary alone
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ GET /asked x-kit-do="D canary alone"
;;!   > 200 body "-canary"
;;!   # GET /asked | x-kit-do: E second value
;;!   request_headers| replace 0 ":authority" = 0
;;!   request_headers| add 0 "host" = 0
;;!   ^ GET /asked x-kit-do="E second value"
;;!   > 200 body "a,b"

(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 97)) (then (call $replace (i32.const 0) @":authority" @"kit.svc:80")))
  (if (call $doing_is (i32.const 98)) (then (call $replace (i32.const 0) @":authority" @"")))
  (if (call $doing_is (i32.const 99)) (then (call $replace (i32.const 0) @":authority" @"outbound|8081||lim.ns.svc.cluster.local")))
  (if (call $doing_is (i32.const 100)) (then (call $replace (i32.const 0) @":authority" @"host:abc")))
  (if (call $doing_is (i32.const 101)) (then (call $replace (i32.const 0) @":authority" @"127.0.0.1:99999")))
  (if (call $doing_is (i32.const 102)) (then (call $replace (i32.const 0) @":authority" @"user@h")))
  (if (call $doing_is (i32.const 103)) (then (call $replace (i32.const 0) @":authority" @"h/p")))
  (if (call $doing_is (i32.const 104)) (then (call $replace (i32.const 0) @":authority" @"%zz")))
  (if (call $doing_is (i32.const 105)) (then (call $replace (i32.const 0) @":authority" @"\c3\bc")))
  (if (call $doing_is (i32.const 106)) (then (call $replace (i32.const 0) @":authority" @"\ff")))
  (if (call $doing_is (i32.const 107)) (then (call $replace (i32.const 0) @":authority" @"*.x")))
  (if (call $doing_is (i32.const 108)) (then (call $replace (i32.const 0) @":authority" @"x,y")))
  (if (call $doing_is (i32.const 109)) (then (call $replace (i32.const 0) @":authority" @"a;b")))
  (if (call $doing_is (i32.const 110)) (then (call $replace (i32.const 0) @":authority" @"a b")))
  (if (call $doing_is (i32.const 111)) (then (call $replace (i32.const 0) @":authority" @"[::1]:80")))
  (if (call $doing_is (i32.const 112)) (then (call $replace (i32.const 0) @":authority" @"::1")))
  (if (call $doing_is (i32.const 113)) (then (call $replace (i32.const 0) @":authority" @"x.test.:80")))
  (if (call $doing_is (i32.const 114)) (then (call $replace (i32.const 0) @":authority" @"up_stream")))
  (if (call $doing_is (i32.const 115)) (then (call $replace (i32.const 0) @":authority" @" kit ")))
  (if (call $doing_is (i32.const 116)) (then (call $replace (i32.const 0) @":authority" @"a\09b")))
  (if (call $doing_is (i32.const 117)) (then (call $replace (i32.const 0) @":authority" @"a\0d\0ax-kit-b: 2")))
  (if (call $doing_is (i32.const 118)) (then (call $replace (i32.const 0) @":authority" @"a\00b")))
  (if (call $doing_is (i32.const 119)) (then (call $replace (i32.const 0) @":authority" @"a\01b")))
  (if (call $doing_is (i32.const 120)) (then (call $replace (i32.const 0) @":authority" @"a?b")))
  (if (call $doing_is (i32.const 121)) (then (call $replace (i32.const 0) @":authority" @"a\22b")))
  (if (call $doing_is (i32.const 65)) (then (call $replace (i32.const 0) @":authority" @"localhost:18000-canary")))
  (if (call $doing_is (i32.const 66)) (then (call $replace (i32.const 0) @"host" @"localhost-canary")))
  (if (call $doing_is (i32.const 67)) (then (call $replace (i32.const 0) @":authority" @"canary-localhost")))
  (if (call $doing_is (i32.const 68)) (then (call $replace (i32.const 0) @":authority" @"-canary")))
  (if (call $doing_is (i32.const 69)) (then
    (call $replace (i32.const 0) @":authority" @"a")
    (call $add (i32.const 0) @"host" @"b")))
  (i32.const 0))
