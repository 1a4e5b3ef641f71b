;;! covers: proxy_set_buffer_bytes
;;! about: A body made longer or shorter under the old content-length, over HTTP/1: the guest removes the field, or else.
;;! step: POST /echo | x-kit-do: removed || body
;;! expect:
;;!   # POST /echo | x-kit-do: removed || body
;;!   request_headers| get 0 "content-length" = 0 "4"
;;!   request_headers| remove 0 "content-length" = 0
;;!   request_body| set buffer 0 0+4 = 0
;;!   response_headers| remove 2 "content-length" = 0
;;!   response_body| set buffer 1 0+-1 = 0
;;!   ^ POST /echo x-kit-do="removed" body "a longer body"
;;!   > 200 body "short"

(on request_headers (call $note_do)
  (call $get (i32.const 0) @"content-length")
  (call $remove (i32.const 0) @"content-length")
  (i32.const 0))
(on request_body
  (if (local.get $size) (then (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 4) @"a longer body")))
  (i32.const 0))
(on response_headers
  (call $remove (i32.const 2) @"content-length")
  (i32.const 0))
(on response_body
  (if (local.get $size) (then (call $set_buffer (i32.const 1) (i32.const 0) (i32.const -1) @"short")))
  (i32.const 0))
