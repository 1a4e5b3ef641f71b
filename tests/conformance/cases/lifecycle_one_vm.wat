;;! covers: proxy_on_context_create proxy_on_vm_start proxy_on_configure proxy_get_buffer_bytes
;;! about: Two plugins in one VM: each has its root context, which is told of its start, with the VM's configuration and its own.
;;! vm: of the VM
;;! chain: one second
;;! option: one-vm
;;! step: GET /
;;! expect:
;;!   context_create| root = 1
;;!   context_create| buffer 6 0+100 = 0 "of the VM"
;;!   context_create| buffer 7 0+100 = 0 "one"
;;!   vm_start| root = 1
;;!   vm_start| size = 9
;;!   vm_start| buffer 6 0+100 = 0 "of the VM"
;;!   vm_start| buffer 7 0+100 = 1
;;!   configure| root = 1
;;!   configure| size = 3
;;!   configure| buffer 7 0+100 = 0 "one"
;;!   context_create| buffer 7 0+100 = 0 "second"
;;!   configure| size = 6
;;!   configure| buffer 7 0+100 = 0 "second"
;;!   context_create| root = 2
;;!   vm_start| root = 2
;;!   configure| root = 2
;;!   # GET /
;;!   request_headers| end = 1
;;!   request_headers| end = 1
;;!   ^ GET /
;;!   > 200 x-kit-up="yes" body "hello"

(on context_create (if (i32.eqz (local.get $parent)) (then
  (call $show @"root" (local.get $ctx))
  (call $buffer (i32.const 6) (i32.const 0) (i32.const 100))
  (call $buffer (i32.const 7) (i32.const 0) (i32.const 100)))))
(on vm_start
  (call $show @"root" (local.get $ctx))
  (call $show @"size" (local.get $size))
  (call $buffer (i32.const 6) (i32.const 0) (i32.const 100))
  (call $buffer (i32.const 7) (i32.const 0) (i32.const 100))
  (i32.const 1))
(on configure
  (call $show @"root" (local.get $ctx))
  (call $show @"size" (local.get $size))
  (call $buffer (i32.const 7) (i32.const 0) (i32.const 100))
  (i32.const 1))
(on request_headers (call $show @"end" (local.get $end)) (i32.const 0))
