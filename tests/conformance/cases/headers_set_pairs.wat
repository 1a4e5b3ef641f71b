;;! covers: proxy_set_header_map_pairs
;;! about: A whole map replaced, pseudo headers included; malformed maps.
;;! deviation: Envoy finds no route for a request that has lost its x-forwarded-proto (404); here routes do not depend on it
;;! step: GET /x | x-kit-a: 1 | x-kit-do: set
;;! step: GET /x | x-kit-a: 1 | x-kit-do: malformed
;;! step: GET /x | x-kit-a: 1 | x-kit-do: wrong map
;;! expect:
;;!   # GET /x | x-kit-a: 1 | x-kit-do: set
;;!   request_headers| set pairs 0 = 0
;;!   request_headers| pairs 0 = 0 :method="PUT" :path="/set" :authority="set" :scheme="http" x-kit-set="one" x-kit-set="two"
;;!   response_headers| set pairs 2 = 0
;;!   > 207 x-kit-mine="alone"
;;!   # GET /x | x-kit-a: 1 | x-kit-do: malformed
;;!   ^ GET /x x-kit-a="1" x-kit-do="malformed"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-a: 1 | x-kit-do: wrong map
;;!   request_headers| set pairs 2 = 2
;;!   request_headers| set pairs 1 = 2
;;!   request_headers| set pairs 6 = 2
;;!   request_headers| set pairs 9 = 2
;;!   request_headers| set pairs 0 = 6
;;!   ^ GET /x x-kit-a="1" x-kit-do="wrong map"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-a: 1 | x-kit-do: set
;;!   request_headers| set pairs 0 = 0
;;!   request_headers| pairs 0 = 0 :method="PUT" :path="/set" :authority="set" :scheme="http" x-kit-set="one" x-kit-set="two"
;;!   response_headers| set pairs 2 = 0
;;!   ^ PUT /set x-kit-set="one" x-kit-set="two"
;;!   > 207 x-kit-mine="alone" body "hello"
;;!   # GET /x | x-kit-a: 1 | x-kit-do: malformed
;;!   ^ GET /x x-kit-a="1" x-kit-do="malformed"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-a: 1 | x-kit-do: wrong map
;;!   request_headers| set pairs 2 = 2
;;!   request_headers| set pairs 1 = 2
;;!   request_headers| set pairs 6 = 2
;;!   request_headers| set pairs 9 = 2
;;!   request_headers| set pairs 0 = 6
;;!   ^ GET /x x-kit-a="1" x-kit-do="wrong map"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 115)) (then
    (call $map_begin (i32.const 6))
    (call $pair @":method" @"PUT")
    (call $pair @":path" @"/set")
    (call $pair @":authority" @"set")
    (call $pair @":scheme" @"http")
    (call $pair @"X-Kit-Set" @"one")
    (call $pair @"x-kit-set" @"two")
    (call $set_pairs (i32.const 0) (call $map_end))
    (call $list (i32.const 0))))
  (if (call $doing_is (i32.const 119)) (then
    (call $map_begin (i32.const 1))
    (call $pair @"x-kit" @"y")
    (call $set_pairs (i32.const 2) (call $map_end))
    (call $set_pairs (i32.const 1) (call $map_end))
    (call $set_pairs (i32.const 6) (call $map_end))
    (call $set_pairs (i32.const 9) (call $map_end))
    (call $set_pairs (i32.const 0) (i32.const 0x7ffffff0) (i32.const 16))))
  (i32.const 0))
(on response_headers
  (if (call $doing_is (i32.const 115)) (then
    (call $map_begin (i32.const 2))
    (call $pair @":status" @"207")
    (call $pair @"x-kit-mine" @"alone")
    (call $set_pairs (i32.const 2) (call $map_end))))
  (i32.const 0))
