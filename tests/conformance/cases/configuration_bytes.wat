;;! covers: proxy_on_configure proxy_on_vm_start proxy_get_buffer_bytes
;;! about: Configurations that are bytes.
;;! option: as-bytes
;;! plugin: a\x00b\xff\xfe
;;! vm: \x80\x00
;;! step: GET /x
;;! expect:
;;!   vm_start| buffer 6 0+100 = 0 "\80\00"
;;!   configure| size = 5
;;!   configure| buffer 7 0+100 = 0 "a\00b\ff\fe"
;;!   # GET /x
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on configure
  (call $show @"size" (local.get $size))
  (call $buffer (i32.const 7) (i32.const 0) (i32.const 100))
  (i32.const 1))
(on vm_start
  (call $buffer (i32.const 6) (i32.const 0) (i32.const 100))
  (i32.const 1))
(on request_headers (i32.const 0))
