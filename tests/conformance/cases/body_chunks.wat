;;! covers: proxy_on_request_body proxy_on_response_body
;;! about: Without a pause each piece comes by itself, and only that piece can be read.
;;! step: h2 POST /h2/sink || one || two
;;! step: h2 GET /h2/drip
;;! expect:
;;!   # h2 POST /h2/sink || one || two
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "one"
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "two"
;;!   response_body| end = 0
;;!   response_body| buffer 1 0+100 = 0 "hello"
;;!   response_body| end = 1
;;!   response_body| buffer 1 0+100 = 0 empty
;;!   ^ POST /sink body "onetwo"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # h2 GET /h2/drip
;;!   response_body| end = 0
;;!   response_body| buffer 1 0+100 = 0 "one"
;;!   response_body| end = 0
;;!   response_body| buffer 1 0+100 = 0 "two"
;;!   response_body| end = 1
;;!   response_body| buffer 1 0+100 = 0 empty
;;!   ^ GET /drip
;;!   > 200 body "onetwo"

(on request_body
  (call $show @"end" (local.get $end))
  (call $buffer (i32.const 0) (i32.const 0) (i32.const 100))
  (i32.const 0))
(on response_body
  (call $show @"end" (local.get $end))
  (call $buffer (i32.const 1) (i32.const 0) (i32.const 100))
  (i32.const 0))
