;;! covers: proxy_on_request_body
;;! about: The other answers of a body callback: stop and watermark (2), stop and no buffer (3), one that only heads have (4).
;;! step: h2 POST /h2/echo | x-kit-do: two || one || two
;;! step: h2 POST /h2/echo | x-kit-do: drop || one || two
;;! step: h2 POST /h2/echo | x-kit-do: odd || one || two
;;! expect:
;;!   # h2 POST /h2/echo | x-kit-do: two || one || two
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "one"
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "two"
;;!   ^ POST /echo x-kit-do="two" body "onetwo"
;;!   > 200 body "onetwo"
;;!   # h2 POST /h2/echo | x-kit-do: drop || one || two
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "one"
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "two"
;;!   ^ POST /echo x-kit-do="drop" body "two"
;;!   > 200 body "two"
;;!   # h2 POST /h2/echo | x-kit-do: odd || one || two
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "one"
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "two"
;;!   ^ POST /echo x-kit-do="odd" body "two"
;;!   > 200 body "two"

(on request_headers (call $note_do) (i32.const 0))
(on request_body
  (call $show @"end" (local.get $end))
  (call $buffer (i32.const 0) (i32.const 0) (i32.const 100))
  (if (local.get $end) (then (return (i32.const 0))))
  (if (call $doing_is (i32.const 116)) (then (return (i32.const 2))))
  (if (call $doing_is (i32.const 111)) (then (return (i32.const 4))))
  (i32.const 3))
