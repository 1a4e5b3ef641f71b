;;! covers: proxy_on_configure proxy_on_vm_start proxy_get_buffer_bytes
;;! about: Configurations that are handed over in parts.
;;! deviation: Envoy hands over the bytes of the protobuf message (its documentation says JSON); a mapping is JSON here
;;! option: as-struct
;;! plugin: {"a":[1,2.5,"x",true,null,{"c":"\u00e9"}]}
;;! vm: {"only":1}
;;! step: GET /x
;;! expect:
;;!   vm_start| buffer 6 0+100 = 0 "\0a\11\0a\04only\12\09\11\00\00\00\00\00\00\f0?"
;;!   configure| size = 55
;;!   configure| buffer 7 0+100 = 0 "\0a5\0a\01a\1202.\0a\09\11\00\00\00\00\00\00\f0?\0a\05\1a\032.5\0a\03\1a\01x\0a\02 \01\0a\02\08\00\0a\0d*\0b\0a\09\0a\01c\12\04\1a\02\c3\a9"
;;!   # GET /x
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   vm_start| buffer 6 0+100 = 0 "{\22only\22:1}"
;;!   configure| size = 38
;;!   configure| buffer 7 0+100 = 0 "{\22a\22:[1,2.5,\22x\22,true,null,{\22c\22:\22\c3\a9\22}]}"
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
