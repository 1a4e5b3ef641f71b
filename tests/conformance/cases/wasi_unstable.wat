;;! covers: wasi_unstable
;;! about: The same functions under the name of the first preview.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| clock = 0
;;!   request_headers| random = 0
;;!   request_headers| stat = 58
;;!   request_headers| shutdown = 58
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(import "wasi_unstable" "clock_time_get" (func $old_clock (param i32 i64 i32) (result i32)))
(import "wasi_unstable" "random_get" (func $old_random (param i32 i32) (result i32)))
(import "wasi_unstable" "path_filestat_get" (func $old_path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi_unstable" "sock_shutdown" (func $old_sock_shutdown (param i32 i32) (result i32)))
(on request_headers
  (call $show @"clock" (call $old_clock (i32.const 0) (i64.const 0) (i32.const 32768)))
  (call $show @"random" (call $old_random (i32.const 32768) (i32.const 8)))
  (call $show @"stat" (call $old_path_filestat_get (i32.const 3) (i32.const 0) @"etc" (i32.const 32768)))
  (call $show @"shutdown" (call $old_sock_shutdown (i32.const 3) (i32.const 1)))
  (i32.const 0))
