;;! covers: _initialize _start main
;;! about: _initialize, _start and main in one module: which run, and in what order.
;;! step: GET /x
;;! expect:
;;!   start| initialize
;;!   start| main
;;!   vm_start| called
;;!   # GET /x
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func (export "_initialize") (call $enter @"start") (call $say @"initialize"))
(func (export "_start") (call $enter @"start") (call $say @"start"))
(func (export "main") (param i32 i32) (result i32) (call $enter @"start") (call $say @"main") (i32.const 0))
(on vm_start (call $say @"called") (i32.const 1))
