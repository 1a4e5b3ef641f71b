;;! covers: proxy_get_buffer_status
;;! about: Length and flags of buffers.
;;! step: POST /echo || 0123456789
;;! expect:
;;!   # POST /echo || 0123456789
;;!   request_body| request body = 0 10
;;!   request_body| flags = 0
;;!   request_body| response body = 0
;;!   request_body| vm configuration = 0
;;!   request_body| plugin configuration = 1
;;!   request_body| type 9 = 2
;;!   request_body| bad pointer = 6
;;!   ^ POST /echo body "0123456789"
;;!   > 200 body "0123456789"

(on request_body
  (if (local.get $size) (then
    (call $clear)
    (call $show_out @"request body" (call $proxy_get_buffer_status (i32.const 0) (i32.const 16) (i32.const 20)))
    (call $show @"flags" (i32.load (i32.const 20)))
    (call $show @"response body" (call $proxy_get_buffer_status (i32.const 1) (i32.const 16) (i32.const 20)))
    (call $show @"vm configuration" (call $proxy_get_buffer_status (i32.const 6) (i32.const 16) (i32.const 20)))
    (call $show @"plugin configuration" (call $proxy_get_buffer_status (i32.const 7) (i32.const 16) (i32.const 20)))
    (call $show @"type 9" (call $proxy_get_buffer_status (i32.const 9) (i32.const 16) (i32.const 20)))
    (call $show @"bad pointer" (call $proxy_get_buffer_status (i32.const 0) (i32.const 0x7ffffff0) (i32.const 20)))))
  (i32.const 0))
