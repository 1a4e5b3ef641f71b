;;! covers: trap
;;! about: Which filters of a chain see the answer to a request that one of them dies of.
;;! chain: a b c
;;! option: upstream-races alone
;;! step: POST /echo | x-kit-do: body || abc
;;! expect:
;;!   # POST /echo | x-kit-do: body || abc
;;!   a: request_headers| end = 0
;;!   b: request_headers| end = 0
;;!   c: request_headers| end = 0
;;!   a: request_body| size = 3
;;!   b: request_body| size = 3
;;!   c: response_headers| get 2 ":status" = 0 "503"
;;!   a: response_headers| get 2 ":status" = 0 "503"
;;!   a: log| property response.code = 0 503
;;!   c: log| property response.code = 0 503
;;!   a: done| done
;;!   c: done| done
;;!   > 503

;; Which filter of the chain this is: its configuration's letter.
(global $me (mut i32) (i32.const 0))
(on configure
  (drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
  (global.set $me (i32.load8_u (i32.load (i32.const 16))))
  (i32.const 1))
(on request_headers (call $show @"end" (local.get $end)) (i32.const 0))
(on request_body
  (call $show @"size" (local.get $size))
  (if (i32.eq (global.get $me) (i32.const 98)) (then (unreachable)))
  (i32.const 0))
(on response_headers (call $get (i32.const 2) @":status") (i32.const 0))
(on log (call $property_number @"response\00code"))
(on done (call $say @"done") (i32.const 1))
