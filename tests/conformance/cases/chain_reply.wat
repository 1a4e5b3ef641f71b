;;! covers: proxy_send_local_response proxy_on_response_headers
;;! about: Which filters of a chain see a reply that the second gives, by where it gives it.
;;! chain: a b c
;;! option: upstream-races
;;! step: GET /x | x-kit-who: b | x-kit-do: headers
;;! step: POST /echo | x-kit-who: b | x-kit-do: body || abc
;;! step: POST /echo | x-kit-who: b | x-kit-do: trailers || abc ||| x-kit-t: 1
;;! step: GET /x | x-kit-who: b | x-kit-do: response
;;! step: GET /x | x-kit-who: b | x-kit-do: data
;;! step: GET /x | x-kit-who: b | x-kit-do: call
;;! step: POST /echo | x-kit-who: b | x-kit-do: kall || abc
;;! step: GET /x | x-kit-who: b | x-kit-do: e
;;! step: GET /x | x-kit-who: b | x-kit-do: f
;;! step: GET /trailers | x-kit-who: b | x-kit-do: g
;;! step: POST /echo | x-kit-who: a | x-kit-do: body || abc
;;! step: POST /echo | x-kit-who: c | x-kit-do: body || abc
;;! expect:
;;!   # GET /x | x-kit-who: b | x-kit-do: headers
;;!   a: context_create| stream
;;!   a: request_headers| end = 1
;;!   b: context_create| stream
;;!   b: request_headers| end = 1
;;!   b: request_headers| reply = 0
;;!   b: response_headers| get 2 ":status" = 0 "400"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "400"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_body| size = 12
;;!   a: response_body| size = 12
;;!   a: log| property response.code = 0 400
;;!   b: log| property response.code = 0 400
;;!   c: context_create| stream
;;!   c: log| property response.code = 0 400
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 400 content-type="text/plain" x-kit-seen="yes" x-kit-seen="yes" body "from headers"
;;!   # POST /echo | x-kit-who: b | x-kit-do: body || abc
;;!   a: context_create| stream
;;!   a: request_headers| end = 0
;;!   b: context_create| stream
;;!   b: request_headers| end = 0
;;!   c: context_create| stream
;;!   c: request_headers| end = 0
;;!   a: request_body| size = 3
;;!   b: request_body| size = 3
;;!   b: request_body| reply = 0
;;!   c: response_headers| get 2 ":status" = 0 "401"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "401"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "401"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   c: response_body| size = 9
;;!   b: response_body| size = 9
;;!   a: response_body| size = 9
;;!   a: log| property response.code = 0 401
;;!   b: log| property response.code = 0 401
;;!   c: log| property response.code = 0 401
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 401 content-type="text/plain" x-kit-seen="yes" x-kit-seen="yes" x-kit-seen="yes" body "from body"
;;!   # POST /echo | x-kit-who: b | x-kit-do: trailers || abc ||| x-kit-t: 1
;;!   a: context_create| stream
;;!   a: request_headers| end = 0
;;!   b: context_create| stream
;;!   b: request_headers| end = 0
;;!   c: context_create| stream
;;!   c: request_headers| end = 0
;;!   a: request_body| size = 3
;;!   b: request_body| size = 3
;;!   c: request_body| size = 3
;;!   a: request_trailers| n = 1
;;!   b: request_trailers| n = 1
;;!   b: request_trailers| reply = 0
;;!   c: response_headers| get 2 ":status" = 0 "402"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "402"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "402"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   c: response_body| size = 13
;;!   b: response_body| size = 13
;;!   a: response_body| size = 13
;;!   a: log| property response.code = 0 402
;;!   b: log| property response.code = 0 402
;;!   c: log| property response.code = 0 402
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 402 content-type="text/plain" x-kit-seen="yes" x-kit-seen="yes" x-kit-seen="yes" body "from trailers"
;;!   # GET /x | x-kit-who: b | x-kit-do: response
;;!   a: context_create| stream
;;!   a: request_headers| end = 1
;;!   b: context_create| stream
;;!   b: request_headers| end = 1
;;!   c: context_create| stream
;;!   c: request_headers| end = 1
;;!   c: response_headers| get 2 ":status" = 0 "200"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "200"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| reply = 0
;;!   a: log| property response.code = 0 403
;;!   b: log| property response.code = 0 403
;;!   c: log| property response.code = 0 403
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 403 content-type="text/plain" body "from response"
;;!   # GET /x | x-kit-who: b | x-kit-do: data
;;!   a: context_create| stream
;;!   a: request_headers| end = 1
;;!   b: context_create| stream
;;!   b: request_headers| end = 1
;;!   c: context_create| stream
;;!   c: request_headers| end = 1
;;!   c: response_headers| get 2 ":status" = 0 "200"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "200"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "200"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   c: response_body| size = 5
;;!   b: response_body| size = 5
;;!   b: response_body| reply = 0
;;!   a: log| property response.code = 0 200
;;!   b: log| property response.code = 0 200
;;!   c: log| property response.code = 0 200
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > connection cut
;;!   # GET /x | x-kit-who: b | x-kit-do: call
;;!   a: context_create| stream
;;!   a: request_headers| end = 1
;;!   b: context_create| stream
;;!   b: request_headers| end = 1
;;!   b: request_headers| call = 0
;;!   b: http_call_response| reply = 0
;;!   b: response_headers| get 2 ":status" = 0 "418"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "418"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_body| size = 11
;;!   a: response_body| size = 11
;;!   a: log| property response.code = 0 418
;;!   b: log| property response.code = 0 418
;;!   c: context_create| stream
;;!   c: log| property response.code = 0 418
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 418 content-type="text/plain" x-kit-seen="yes" x-kit-seen="yes" body "from a call"
;;!   # POST /echo | x-kit-who: b | x-kit-do: kall || abc
;;!   a: context_create| stream
;;!   a: request_headers| end = 0
;;!   b: context_create| stream
;;!   b: request_headers| end = 0
;;!   c: context_create| stream
;;!   c: request_headers| end = 0
;;!   a: request_body| size = 3
;;!   b: request_body| size = 3
;;!   b: request_body| call = 0
;;!   b: http_call_response| reply = 0
;;!   c: response_headers| get 2 ":status" = 0 "418"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "418"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "418"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   c: response_body| size = 11
;;!   b: response_body| size = 11
;;!   a: response_body| size = 11
;;!   a: log| property response.code = 0 418
;;!   b: log| property response.code = 0 418
;;!   c: log| property response.code = 0 418
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 418 content-type="text/plain" x-kit-seen="yes" x-kit-seen="yes" x-kit-seen="yes" body "from a call"
;;!   # GET /x | x-kit-who: b | x-kit-do: e
;;!   a: context_create| stream
;;!   a: request_headers| end = 1
;;!   b: context_create| stream
;;!   b: request_headers| end = 1
;;!   c: context_create| stream
;;!   c: request_headers| end = 1
;;!   c: response_headers| get 2 ":status" = 0 "200"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "200"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| call = 0
;;!   c: response_body| size = 5
;;!   b: http_call_response| reply = 0
;;!   a: log| property response.code = 0 418
;;!   b: log| property response.code = 0 418
;;!   c: log| property response.code = 0 418
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 418 content-type="text/plain" body "from a call"
;;!   # GET /x | x-kit-who: b | x-kit-do: f
;;!   a: context_create| stream
;;!   a: request_headers| end = 1
;;!   b: context_create| stream
;;!   b: request_headers| end = 1
;;!   c: context_create| stream
;;!   c: request_headers| end = 1
;;!   c: response_headers| get 2 ":status" = 0 "200"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "200"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "200"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   c: response_body| size = 5
;;!   b: response_body| size = 5
;;!   b: response_body| call = 0
;;!   b: http_call_response| reply = 0
;;!   a: log| property response.code = 0 200
;;!   b: log| property response.code = 0 200
;;!   c: log| property response.code = 0 200
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > connection cut
;;!   # GET /trailers | x-kit-who: b | x-kit-do: g
;;!   a: context_create| stream
;;!   a: request_headers| end = 1
;;!   b: context_create| stream
;;!   b: request_headers| end = 1
;;!   c: context_create| stream
;;!   c: request_headers| end = 1
;;!   c: response_headers| get 2 ":status" = 0 "200"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "200"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "200"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   c: response_body| size = 5
;;!   b: response_body| size = 5
;;!   a: response_body| size = 5
;;!   a: log| property response.code = 0 200
;;!   b: log| property response.code = 0 200
;;!   c: log| property response.code = 0 200
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 200 x-kit-seen="yes" x-kit-seen="yes" x-kit-seen="yes" body "hello"
;;!   # POST /echo | x-kit-who: a | x-kit-do: body || abc
;;!   a: context_create| stream
;;!   a: request_headers| end = 0
;;!   b: context_create| stream
;;!   b: request_headers| end = 0
;;!   c: context_create| stream
;;!   c: request_headers| end = 0
;;!   a: request_body| size = 3
;;!   a: request_body| reply = 0
;;!   c: response_headers| get 2 ":status" = 0 "401"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "401"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "401"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   c: response_body| size = 9
;;!   b: response_body| size = 9
;;!   a: response_body| size = 9
;;!   a: log| property response.code = 0 401
;;!   b: log| property response.code = 0 401
;;!   c: log| property response.code = 0 401
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 401 content-type="text/plain" x-kit-seen="yes" x-kit-seen="yes" x-kit-seen="yes" body "from body"
;;!   # POST /echo | x-kit-who: c | x-kit-do: body || abc
;;!   a: context_create| stream
;;!   a: request_headers| end = 0
;;!   b: context_create| stream
;;!   b: request_headers| end = 0
;;!   c: context_create| stream
;;!   c: request_headers| end = 0
;;!   a: request_body| size = 3
;;!   b: request_body| size = 3
;;!   c: request_body| size = 3
;;!   c: request_body| reply = 0
;;!   c: response_headers| get 2 ":status" = 0 "401"
;;!   c: response_headers| add 2 "x-kit-seen" = 0
;;!   b: response_headers| get 2 ":status" = 0 "401"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "401"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   c: response_body| size = 9
;;!   b: response_body| size = 9
;;!   a: response_body| size = 9
;;!   a: log| property response.code = 0 401
;;!   b: log| property response.code = 0 401
;;!   c: log| property response.code = 0 401
;;!   a: done| done
;;!   b: done| done
;;!   c: done| done
;;!   > 401 content-type="text/plain" x-kit-seen="yes" x-kit-seen="yes" x-kit-seen="yes" body "from body"

;; Which filter of the chain this is: its configuration's letter.
(global $me (mut i32) (i32.const 0))
(on configure
  (drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
  (global.set $me (i32.load8_u (i32.load (i32.const 16))))
  (i32.const 1))
;; What to do is noted by the filter that it is for.
(func $note_mine
  (call $note_do)
  (drop (call $proxy_get_header_map_value (i32.const 0) @"x-kit-who" (i32.const 16) (i32.const 20)))
  (if (i32.ne (i32.load8_u (i32.load (i32.const 16))) (global.get $me)) (then (global.set $doing (i32.const 0)))))

(global $stream (mut i32) (i32.const 0))
;; A body's first piece: hosts differ in how its end comes.
(global $told (mut i32) (i32.const 0))
(func $once (param $side i32) (param $size i32)
  (if (i32.and (global.get $told) (local.get $side)) (then (return)))
  (global.set $told (i32.or (global.get $told) (local.get $side)))
  (call $show @"size" (local.get $size)))
(func $ask
  (call $show @"call" (call $fetch @"origin" @"/x" (i32.const 1000))))

(on context_create (if (local.get $parent) (then (call $say @"stream"))))
(on request_headers
  (call $note_mine)
  (global.set $stream (local.get $ctx))
  (global.set $told (i32.const 0))
  (call $show @"end" (local.get $end))
  (if (call $doing_is (i32.const 104)) (then (call $reply (i32.const 400) @"from headers") (return (i32.const 1))))
  (if (call $doing_is (i32.const 99)) (then (call $ask) (return (i32.const 1))))
  (i32.const 0))
(on request_body
  (call $once (i32.const 1) (local.get $size))
  (if (call $doing_is (i32.const 98)) (then (call $reply (i32.const 401) @"from body") (return (i32.const 1))))
  (if (i32.and (call $doing_is (i32.const 107)) (local.get $end)) (then (call $ask)))
  (call $doing_is (i32.const 107)))
(on request_trailers
  (call $show @"n" (local.get $n))
  (if (call $doing_is (i32.const 116)) (then (call $reply (i32.const 402) @"from trailers") (return (i32.const 1))))
  (i32.const 0))
(on response_headers
  (call $get (i32.const 2) @":status")
  (call $add (i32.const 2) @"x-kit-seen" @"yes")
  (if (call $doing_is (i32.const 114)) (then (call $reply (i32.const 403) @"from response") (return (i32.const 1))))
  (if (call $doing_is (i32.const 101)) (then (call $ask) (return (i32.const 1))))
  (i32.const 0))
(on response_body
  (call $once (i32.const 2) (local.get $size))
  (if (call $doing_is (i32.const 100)) (then (call $reply (i32.const 404) @"from data") (return (i32.const 1))))
  (if (i32.and (call $doing_is (i32.const 102)) (local.get $end)) (then (call $ask)))
  (call $doing_is (i32.const 102)))
(on response_trailers
  (call $show @"n" (local.get $n))
  (if (call $doing_is (i32.const 103)) (then (call $reply (i32.const 405) @"from response trailers") (return (i32.const 1))))
  (i32.const 0))
(on http_call_response
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (call $reply (i32.const 418) @"from a call"))
(on log (call $property_number @"response\00code"))
(on done (call $say @"done") (i32.const 1))
