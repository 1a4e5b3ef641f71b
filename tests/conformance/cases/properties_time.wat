;;! covers: proxy_get_property proxy_call_foreign_function
;;! about: `request.time` is one moment for the whole of a stream, whoever asks and however often.
;;! step: POST /x || abc
;;! step: h2 POST /x || abc
;;! expect:
;;!   # POST /x || abc
;;!   request_headers| other moments = 0
;;!   request_headers| request.time - request.time is not 0 = 0
;;!   request_body| other moments = 0
;;!   request_body| request.time - request.time is not 0 = 0
;;!   response_headers| other moments = 0
;;!   response_headers| request.time - request.time is not 0 = 0
;;!   log| other moments = 0
;;!   log| request.time - request.time is not 0 = 0
;;!   ^ POST /x body "abc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # h2 POST /x || abc
;;!   request_headers| other moments = 0
;;!   request_headers| request.time - request.time is not 0 = 0
;;!   request_body| other moments = 0
;;!   request_body| request.time - request.time is not 0 = 0
;;!   response_headers| other moments = 0
;;!   response_headers| request.time - request.time is not 0 = 0
;;!   log| other moments = 0
;;!   log| request.time - request.time is not 0 = 0
;;!   ^ POST /x body "abc"
;;!   > 200 x-kit-up="yes" body "hello"

(global $first (mut i64) (i64.const 0))

;; How many of a hundred readings say another moment than the stream's first, and of as many expressions.
(func $ask
  (local $left i32) (local $others i32) (local $moved i32)
  (local.set $left (i32.const 100))
  (block $end (loop $next
    (br_if $end (i32.eqz (local.get $left)))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (drop (call $proxy_get_property @"request\00time" (i32.const 16) (i32.const 20)))
    (if (i64.eqz (global.get $first)) (then (global.set $first (i64.load (i32.load (i32.const 16))))))
    (if (i64.ne (global.get $first) (i64.load (i32.load (i32.const 16))))
      (then (local.set $others (i32.add (local.get $others) (i32.const 1)))))
    (drop (call $proxy_call_foreign_function @"expr_evaluate" (i32.const 24) (i32.const 4) (i32.const 16) (i32.const 20)))
    (if (i64.ne (i64.load (i32.load (i32.const 16))) (i64.const 0))
      (then (local.set $moved (i32.add (local.get $moved) (i32.const 1)))))
    (br $next)))
  (call $show @"other moments" (local.get $others))
  (call $show @"request.time - request.time is not 0" (local.get $moved)))

(on request_headers
  (global.set $first (i64.const 0))
  (drop (call $proxy_call_foreign_function @"expr_create" @"request.time - request.time" (i32.const 16) (i32.const 20)))
  (i32.store (i32.const 24) (i32.load (i32.load (i32.const 16))))
  (call $ask)
  (i32.const 0))
(on request_body (if (local.get $end) (then (call $ask))) (i32.const 0))
(on response_headers (call $ask) (i32.const 0))
(on log (call $ask))
