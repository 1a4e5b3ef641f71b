;;! covers: _start
;;! about: _start runs where there is no _initialize.
;;! step: GET /x
;;! expect:
;;!   start| start
;;!   vm_start| called
;;!   # GET /x
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func (export "_start") (call $enter @"start") (call $say @"start"))
(on vm_start (call $say @"called") (i32.const 1))
