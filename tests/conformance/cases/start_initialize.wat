;;! covers: _initialize
;;! about: _initialize runs before everything; logging works in it.
;;! step: GET /x
;;! expect:
;;!   start| initialize
;;!   vm_start| called
;;!   # GET /x
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func (export "_initialize") (call $enter @"start") (call $say @"initialize"))
(on vm_start (call $say @"called") (i32.const 1))
