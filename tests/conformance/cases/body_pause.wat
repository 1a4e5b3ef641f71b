;;! covers: proxy_on_request_body proxy_on_response_body proxy_get_buffer_bytes
;;! about: Pausing a body gathers it: sizes are cumulative, and the last call delivers the whole.
;;! deviation: the end of a body comes with its last bytes where they are known to be the last, as Envoy does it over HTTP/2; over HTTP/1 Envoy enters the guest once more, for nothing
;;! step: POST /echo || one || two || three
;;! step: GET /drip
;;! expect:
;;!   # POST /echo || one || two || three
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "one"
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "onetwo"
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "onetwothree"
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "onetwothree"
;;!   response_body| end = 0
;;!   response_body| buffer 1 0+100 = 0 "onetwothree"
;;!   response_body| end = 1
;;!   response_body| buffer 1 0+100 = 0 "onetwothree"
;;!   response_body| set buffer 1 0+11 = 0
;;!   ^ POST /echo body "onetwothree"
;;!   > 200 body "whole"
;;!   # GET /drip
;;!   response_body| end = 0
;;!   response_body| buffer 1 0+100 = 0 "one"
;;!   response_body| end = 0
;;!   response_body| buffer 1 0+100 = 0 "onetwo"
;;!   response_body| end = 1
;;!   response_body| buffer 1 0+100 = 0 "onetwo"
;;!   response_body| set buffer 1 0+6 = 0
;;!   ^ GET /drip
;;!   > 200 body "whole"
;;! expect-pillion:
;;!   # POST /echo || one || two || three
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "one"
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "onetwo"
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "onetwothree"
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "onetwothree"
;;!   response_body| end = 1
;;!   response_body| buffer 1 0+100 = 0 "onetwothree"
;;!   response_body| set buffer 1 0+11 = 0
;;!   ^ POST /echo body "onetwothree"
;;!   > 200 body "whole"
;;!   # GET /drip
;;!   response_body| end = 0
;;!   response_body| buffer 1 0+100 = 0 "one"
;;!   response_body| end = 1
;;!   response_body| buffer 1 0+100 = 0 "onetwo"
;;!   response_body| set buffer 1 0+6 = 0
;;!   ^ GET /drip
;;!   > 200 body "whole"

(global $seen (mut i32) (i32.const 0))
(on request_body
  (call $show @"end" (local.get $end))
  (call $buffer (i32.const 0) (i32.const 0) (i32.const 100))
  (i32.eqz (local.get $end)))
(on response_body
  (call $show @"end" (local.get $end))
  (call $buffer (i32.const 1) (i32.const 0) (i32.const 100))
  (if (local.get $end) (then (call $set_buffer (i32.const 1) (i32.const 0) (local.get $size) @"whole")))
  (i32.eqz (local.get $end)))
