;;! covers: proxy_http_call proxy_on_http_call_response
;;! about: A call's body, trailers, number of fields and longest timeout.
;;! deviation: Envoy forgets a call's trailers; here they are sent where the server's protocol has them, so that what cannot be sent is refused
;;! step: GET /x | x-kit-do: trailers
;;! step: GET /x | x-kit-do: body and trailers
;;! step: GET /x | x-kit-do: crlf in trailers
;;! step: GET /x | x-kit-do: many
;;! step: GET /x | x-kit-do: longest timeout
;;! step: GET /x | x-kit-do: H2 trailers
;;! step: GET /x | x-kit-do: get with a body
;;! step: GET /x | x-kit-do: pseudo header in trailers
;;! expect:
;;!   # GET /x | x-kit-do: trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="trailers"
;;!   ^ POST /echo x-kit-call="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: body and trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="body and trailers"
;;!   ^ POST /echo x-kit-call="1" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: crlf in trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="crlf in trailers"
;;!   ^ POST /echo x-kit-call="1" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: many
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="many"
;;!   ^ POST /echo x-kit-call="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: longest timeout
;;!   request_headers| call = 2
;;!   ^ GET /x x-kit-do="longest timeout"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: H2 trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="H2 trailers"
;;!   ^ POST /echo x-kit-call="1" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: get with a body
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /echo body "abc"
;;!   ^ GET /x x-kit-do="get with a body"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: pseudo header in trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="pseudo header in trailers"
;;!   ^ POST /echo x-kit-call="1" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 empty
;;!   ^ GET /x x-kit-do="trailers"
;;!   ^ POST /echo x-kit-call="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: body and trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="body and trailers"
;;!   ^ POST /echo x-kit-call="1" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: crlf in trailers
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="crlf in trailers"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: many
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="many"
;;!   ^ POST /echo x-kit-call="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" x-kit-many="1" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: longest timeout
;;!   request_headers| call = 2
;;!   ^ GET /x x-kit-do="longest timeout"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: H2 trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 1
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 x-kit-t="1"
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="H2 trailers"
;;!   ^ POST /echo x-kit-call="1" body "abc" trailer x-kit-t="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: get with a body
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /echo body "abc"
;;!   ^ GET /x x-kit-do="get with a body"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: pseudo header in trailers
;;!   request_headers| call = 0
;;!   http_call_response| there are headers = 1
;;!   http_call_response| trailers = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   http_call_response| pairs 7 = 0 empty
;;!   http_call_response| buffer 4 0+150 = 0 "abc"
;;!   ^ GET /x x-kit-do="pseudo header in trailers"
;;!   ^ POST /echo x-kit-call="1" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(global $refused (mut i32) (i32.const 0))
(func $head (param $more i32) (result i32 i32)
  (local $i i32)
  (call $map_begin (i32.add (i32.const 4) (local.get $more)))
  (call $pair @":method" @"POST")
  (call $pair @":path" @"/echo")
  (call $pair @":authority" @"call-call_http_more")
  (call $pair @"x-kit-call" @"1")
  (block $end (loop $next
    (br_if $end (i32.ge_u (local.get $i) (local.get $more)))
    (call $pair @"x-kit-many" @"1")
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))
  (call $map_end))
(func $get_head (result i32 i32)
  (call $map_begin (i32.const 3))
  (call $pair @":method" @"GET")
  (call $pair @":path" @"/echo")
  (call $pair @":authority" @"call-call_http_more")
  (call $map_end))
;; A map of one pair beside the other.
(func $trailer (param $k i32) (param $kn i32) (param $v i32) (param $vn i32) (result i32 i32)
  (i32.store (i32.const 60000) (i32.const 1))
  (i32.store (i32.const 60004) (local.get $kn))
  (i32.store (i32.const 60008) (local.get $vn))
  (memory.copy (i32.const 60012) (local.get $k) (local.get $kn))
  (i32.store8 (i32.add (i32.const 60012) (local.get $kn)) (i32.const 0))
  (memory.copy (i32.add (i32.const 60013) (local.get $kn)) (local.get $v) (local.get $vn))
  (i32.store8 (i32.add (i32.const 60013) (i32.add (local.get $kn) (local.get $vn))) (i32.const 0))
  (i32.const 60000)
  (i32.add (i32.const 14) (i32.add (local.get $kn) (local.get $vn))))
(func $begun (param $s i32)
  (call $show @"call" (local.get $s))
  (global.set $refused (local.get $s)))
(func $none (result i32 i32) (i32.const 0) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (global.set $refused (i32.const 0))
  (call $note_do)
  (if (call $doing_is (i32.const 116)) (then (call $begun (call $proxy_http_call @"origin" (call $head (i32.const 0)) (call $none) (call $trailer @"x-kit-t" @"1") (i32.const 1000) (i32.const 16)))))
  (if (call $doing_is (i32.const 98)) (then (call $begun (call $proxy_http_call @"origin" (call $head (i32.const 0)) @"abc" (call $trailer @"x-kit-t" @"1") (i32.const 1000) (i32.const 16)))))
  (if (call $doing_is (i32.const 99)) (then (call $begun (call $proxy_http_call @"origin" (call $head (i32.const 0)) @"abc" (call $trailer @"x-kit-t" @"1\0d\0ax: y") (i32.const 1000) (i32.const 16)))))
  (if (call $doing_is (i32.const 109)) (then (call $begun (call $proxy_http_call @"origin" (call $head (i32.const 60)) @"abc" (call $none) (i32.const 1000) (i32.const 16)))))
  (if (call $doing_is (i32.const 108)) (then (call $begun (call $proxy_http_call @"origin" (call $head (i32.const 0)) @"abc" (call $none) (i32.const -1) (i32.const 16)))))
  (if (call $doing_is (i32.const 72)) (then (call $begun (call $proxy_http_call @"origin-h2" (call $head (i32.const 0)) @"abc" (call $trailer @"x-kit-t" @"1") (i32.const 1000) (i32.const 16)))))
  (if (call $doing_is (i32.const 103)) (then (call $begun (call $proxy_http_call @"origin" (call $get_head) @"abc" (call $none) (i32.const 1000) (i32.const 16)))))
  (if (call $doing_is (i32.const 112)) (then (call $begun (call $proxy_http_call @"origin" (call $head (i32.const 0)) @"abc" (call $trailer @":path" @"/other") (i32.const 1000) (i32.const 16)))))
  (i32.eqz (global.get $refused)))
(on http_call_response
  (call $show @"there are headers" (i32.ne (local.get $headers) (i32.const 0)))
  (call $show @"trailers" (local.get $trailers))
  (call $get (i32.const 6) @":status")
  (call $list (i32.const 7))
  (call $buffer (i32.const 4) (i32.const 0) (i32.const 150))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
