;;! covers: environ_sizes_get environ_get args_sizes_get args_get
;;! about: The environment is what the configuration grants, there are no arguments.
;;! option: env
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| sizes = 0 2
;;!   request_headers| bytes = 28
;;!   request_headers| get = 0
;;!   request_headers| "KIT_SHOWN=shown\00KIT_SET=set\00\00\00"
;;!   request_headers| arguments = 0 0
;;!   request_headers| get = 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $show_out @"sizes" (call $environ_sizes_get (i32.const 16) (i32.const 20)))
  (call $show @"bytes" (i32.load (i32.const 20)))
  (call $show @"get" (call $environ_get (i32.const 32768) (i32.const 33000)))
  (call $begin) (call $quoted (i32.const 33000) (i32.const 30)) (call $end)
  (call $show_out @"arguments" (call $args_sizes_get (i32.const 16) (i32.const 20)))
  (call $show @"get" (call $args_get (i32.const 32768) (i32.const 33000)))
  (i32.const 0))
