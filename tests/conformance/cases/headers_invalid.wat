;;! covers: proxy_add_header_map_value proxy_replace_header_map_value
;;! about: Nothing is validated when it is set; what must not go out fails the request afterwards.
;;! deviation: Envoy sends a field without a name, which its upstream refuses with 400; here it is refused before it is sent
;;! step: GET /x | x-kit-do: value with newline
;;! step: GET /x | x-kit-do: name with space
;;! step: GET /x | x-kit-do: pseudo unknown
;;! step: GET /x | x-kit-do: empty name
;;! step: GET /x | x-kit-do: long value
;;! expect:
;;!   # GET /x | x-kit-do: value with newline
;;!   request_headers| add 0 "x-kit-bad" = 0
;;!   > 503 content-type="text/plain" body "invalid header value for: x-kit-bad"
;;!   # GET /x | x-kit-do: name with space
;;!   request_headers| add 0 "x kit" = 0
;;!   > 503 content-type="text/plain" body "invalid header name: x kit"
;;!   # GET /x | x-kit-do: pseudo unknown
;;!   request_headers| add 0 ":kit" = 0
;;!   ^ GET /x x-kit-do="pseudo unknown"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: empty name
;;!   request_headers| add 0 "" = 0
;;!   > 400
;;!   # GET /x | x-kit-do: long value
;;!   request_headers| replace 0 "x-kit-long" = 0
;;!   ^ GET /x x-kit-do="long value" x-kit-long=20000 bytes, sum 21efd82bd965e200
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: value with newline
;;!   request_headers| add 0 "x-kit-bad" = 0
;;!   > 503 content-type="text/plain" body "invalid header value for: x-kit-bad"
;;!   # GET /x | x-kit-do: name with space
;;!   request_headers| add 0 "x kit" = 0
;;!   > 503 content-type="text/plain" body "invalid header name: x kit"
;;!   # GET /x | x-kit-do: pseudo unknown
;;!   request_headers| add 0 ":kit" = 0
;;!   ^ GET /x x-kit-do="pseudo unknown"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: empty name
;;!   request_headers| add 0 "" = 0
;;!   > 503 content-type="text/plain" body "invalid header name: "
;;!   # GET /x | x-kit-do: long value
;;!   request_headers| replace 0 "x-kit-long" = 0
;;!   ^ GET /x x-kit-do="long value" x-kit-long=20000 bytes, sum 21efd82bd965e200
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 118)) (then (call $add (i32.const 0) @"x-kit-bad" @"a\0d\0ab")))
  (if (call $doing_is (i32.const 110)) (then (call $add (i32.const 0) @"x kit" @"a")))
  (if (call $doing_is (i32.const 112)) (then (call $add (i32.const 0) @":kit" @"a")))
  (if (call $doing_is (i32.const 101)) (then (call $add (i32.const 0) @"" @"a")))
  (if (call $doing_is (i32.const 108)) (then
    (memory.fill (i32.const 65536) (i32.const 97) (i32.const 20000))
    (call $replace (i32.const 0) @"x-kit-long" (i32.const 65536) (i32.const 20000))))
  (i32.const 0))
