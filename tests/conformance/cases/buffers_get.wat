;;! covers: proxy_get_buffer_bytes
;;! about: Ranges of a body: inside, beyond the end, of no length, of all lengths; other buffers; bad pointers.
;;! step: POST /echo || 0123456789
;;! expect:
;;!   # POST /echo || 0123456789
;;!   request_headers| buffer 0 0+10 = 0 empty
;;!   request_body| buffer 0 0+10 = 0 "0123456789"
;;!   request_body| buffer 0 3+4 = 0 "3456"
;;!   request_body| buffer 0 8+100 = 0 "89"
;;!   request_body| buffer 0 0+-1 = 0 "0123456789"
;;!   request_body| buffer 0 5+-1 = 0 "56789"
;;!   request_body| buffer 0 10+1 = 0 empty
;;!   request_body| buffer 0 11+1 = 0 empty
;;!   request_body| buffer 0 -1+1 = 0 empty
;;!   request_body| buffer 0 2+0 = 0 empty
;;!   request_body| buffer 1 0+10 = 0 empty
;;!   request_body| buffer 2 0+10 = 0 empty
;;!   request_body| buffer 3 0+10 = 0 empty
;;!   request_body| buffer 4 0+10 = 1
;;!   request_body| buffer 5 0+10 = 0 empty
;;!   request_body| buffer 6 0+10 = 0 empty
;;!   request_body| buffer 7 0+10 = 1
;;!   request_body| buffer 8 0+10 = 0 empty
;;!   request_body| buffer 9 0+10 = 2
;;!   request_body| buffer 77 0+10 = 2
;;!   request_body| bad pointer = 6
;;!   response_body| buffer 0 0+10 = 0 empty
;;!   response_body| buffer 1 0+10 = 0 "0123456789"
;;!   ^ POST /echo body "0123456789"
;;!   > 200 body "0123456789"

(on request_headers (call $buffer (i32.const 0) (i32.const 0) (i32.const 10)) (i32.const 0))
(on request_body
  (if (local.get $size) (then
    (call $buffer (i32.const 0) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 0) (i32.const 3) (i32.const 4))
    (call $buffer (i32.const 0) (i32.const 8) (i32.const 100))
    (call $buffer (i32.const 0) (i32.const 0) (i32.const -1))
    (call $buffer (i32.const 0) (i32.const 5) (i32.const -1))
    (call $buffer (i32.const 0) (i32.const 10) (i32.const 1))
    (call $buffer (i32.const 0) (i32.const 11) (i32.const 1))
    (call $buffer (i32.const 0) (i32.const -1) (i32.const 1))
    (call $buffer (i32.const 0) (i32.const 2) (i32.const 0))
    (call $buffer (i32.const 1) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 2) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 3) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 4) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 5) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 6) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 7) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 8) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 9) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 77) (i32.const 0) (i32.const 10))
    (call $show @"bad pointer" (call $proxy_get_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 0x7ffffff0) (i32.const 20)))))
  (i32.const 0))
(on response_body
  (if (local.get $size) (then
    (call $buffer (i32.const 0) (i32.const 0) (i32.const 10))
    (call $buffer (i32.const 1) (i32.const 0) (i32.const 10))))
  (i32.const 0))
