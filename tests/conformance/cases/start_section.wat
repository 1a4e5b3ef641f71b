;;! covers: _initialize
;;! about: The module's own start section, as AssemblyScript has it: it runs, without the host's functions.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| ran = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(global $ran (mut i32) (i32.const 0))
(func $begun (global.set $ran (i32.const 1)))
(start $begun)
(on request_headers (call $show @"ran" (global.get $ran)) (i32.const 0))
