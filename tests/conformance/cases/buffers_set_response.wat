;;! covers: proxy_set_buffer_bytes proxy_on_response_body
;;! about: A response body prepended to, appended to, replaced, its head cut off; what is not possible.
;;! step: h2 POST /h2/echo | x-kit-do: prepend || body
;;! step: h2 POST /h2/echo | x-kit-do: append || body
;;! step: h2 POST /h2/echo | x-kit-do: replace || body
;;! step: h2 POST /h2/echo | x-kit-do: long length || body
;;! step: h2 POST /h2/echo | x-kit-do: cut || body
;;! step: h2 POST /h2/echo | x-kit-do: empty || body
;;! step: h2 POST /h2/echo | x-kit-do: middle || body
;;! expect:
;;!   # h2 POST /h2/echo | x-kit-do: prepend || body
;;!   response_body| set buffer 1 0+0 = 0
;;!   response_body| buffer 1 0+100 = 0 "<<body"
;;!   ^ POST /echo x-kit-do="prepend" body "body"
;;!   > 200 body "<<body"
;;!   # h2 POST /h2/echo | x-kit-do: append || body
;;!   response_body| set buffer 1 4+0 = 0
;;!   response_body| set buffer 1 100+0 = 0
;;!   response_body| buffer 1 0+100 = 0 "body>>!"
;;!   ^ POST /echo x-kit-do="append" body "body"
;;!   > 200 body "body>>!"
;;!   # h2 POST /h2/echo | x-kit-do: replace || body
;;!   response_body| set buffer 1 0+4 = 0
;;!   response_body| buffer 1 0+100 = 0 "another"
;;!   ^ POST /echo x-kit-do="replace" body "body"
;;!   > 200 body "another"
;;!   # h2 POST /h2/echo | x-kit-do: long length || body
;;!   response_body| set buffer 1 0+-1 = 0
;;!   response_body| buffer 1 0+100 = 0 "all"
;;!   ^ POST /echo x-kit-do="long length" body "body"
;;!   > 200 body "all"
;;!   # h2 POST /h2/echo | x-kit-do: cut || body
;;!   response_body| set buffer 1 0+2 = 0
;;!   response_body| buffer 1 0+100 = 0 "=dy"
;;!   ^ POST /echo x-kit-do="cut" body "body"
;;!   > 200 body "=dy"
;;!   # h2 POST /h2/echo | x-kit-do: empty || body
;;!   response_body| set buffer 1 0+4 = 0
;;!   response_body| buffer 1 0+100 = 0 empty
;;!   ^ POST /echo x-kit-do="empty" body "body"
;;!   > 200
;;!   # h2 POST /h2/echo | x-kit-do: middle || body
;;!   response_body| set buffer 1 1+2 = 2
;;!   response_body| set buffer 1 1+0 = 2
;;!   response_body| set buffer 0 0+0 = 2
;;!   response_body| set buffer 4 0+0 = 1
;;!   response_body| set buffer 6 0+0 = 2
;;!   response_body| set buffer 7 0+0 = 1
;;!   response_body| set buffer 9 0+0 = 2
;;!   response_body| set buffer 1 0+4 = 6
;;!   response_body| buffer 1 0+100 = 0 "body"
;;!   ^ POST /echo x-kit-do="middle" body "body"
;;!   > 200 body "body"

(on request_headers (call $note_do) (drop (call $proxy_remove_header_map_value (i32.const 0) @"content-length")) (i32.const 0))
(on response_body
  (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
  (if (call $doing_is (i32.const 112)) (then (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 0) @"<<")))
  (if (call $doing_is (i32.const 97)) (then (call $set_buffer (i32.const 1) (i32.const 4) (i32.const 0) @">>")
    (call $set_buffer (i32.const 1) (i32.const 100) (i32.const 0) @"!")))
  (if (call $doing_is (i32.const 114)) (then (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 4) @"another")))
  (if (call $doing_is (i32.const 108)) (then (call $set_buffer (i32.const 1) (i32.const 0) (i32.const -1) @"all")))
  (if (call $doing_is (i32.const 99)) (then (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 2) @"=")))
  (if (call $doing_is (i32.const 101)) (then (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0))))
  (if (call $doing_is (i32.const 109)) (then
    (call $set_buffer (i32.const 1) (i32.const 1) (i32.const 2) @"?")
    (call $set_buffer (i32.const 1) (i32.const 1) (i32.const 0) @"?")
    (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) @"?")
    (call $set_buffer (i32.const 4) (i32.const 0) (i32.const 0) @"?")
    (call $set_buffer (i32.const 6) (i32.const 0) (i32.const 0) @"?")
    (call $set_buffer (i32.const 7) (i32.const 0) (i32.const 0) @"?")
    (call $set_buffer (i32.const 9) (i32.const 0) (i32.const 0) @"?")
    (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 4) (i32.const 0x7ffffff0) (i32.const 16))))
  (call $buffer (i32.const 1) (i32.const 0) (i32.const 100))
  (i32.const 0))
