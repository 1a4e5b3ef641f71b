;;! covers: fd_write fd_read fd_seek fd_close fd_fdstat_get fd_fdstat_set_flags fd_prestat_get fd_prestat_dir_name path_open
;;! about: Standard output and error go to the log; there are no files.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| written
;;!   request_headers| stdout = 0 41
;;!   request_headers| written
;;!   request_headers| stderr = 0 41
;;!   request_headers| fd 0 = 8
;;!   request_headers| fd 3 = 8
;;!   request_headers| fd_fdstat_get 1 = 0
;;!   request_headers| fd_fdstat_get 2 = 0
;;!   request_headers| fd_fdstat_get 3 = 8
;;!   request_headers| fd_fdstat_set_flags = 52
;;!   request_headers| fd_prestat_get = 8
;;!   request_headers| fd_prestat_dir_name = 52
;;!   request_headers| fd_close = 0
;;!   request_headers| fd_seek = 0
;;!   request_headers| fd_read = 52
;;!   request_headers| path_open = 44
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (i32.store (i32.const 32768) (i32.const 33000)) (i32.store (i32.const 32772) (i32.const 41))
  (memory.copy (i32.const 33000) @"kit:wasi_stdio: request_headers| written\0a")
  (call $show_out @"stdout" (call $fd_write (i32.const 1) (i32.const 32768) (i32.const 1) (i32.const 16)))
  (call $show_out @"stderr" (call $fd_write (i32.const 2) (i32.const 32768) (i32.const 1) (i32.const 16)))
  (call $show @"fd 0" (call $fd_write (i32.const 0) (i32.const 32768) (i32.const 1) (i32.const 16)))
  (call $show @"fd 3" (call $fd_write (i32.const 3) (i32.const 32768) (i32.const 1) (i32.const 16)))
  (call $show @"fd_fdstat_get 1" (call $fd_fdstat_get (i32.const 1) (i32.const 32800)))
  (call $show @"fd_fdstat_get 2" (call $fd_fdstat_get (i32.const 2) (i32.const 32800)))
  (call $show @"fd_fdstat_get 3" (call $fd_fdstat_get (i32.const 3) (i32.const 32800)))
  (call $show @"fd_fdstat_set_flags" (call $fd_fdstat_set_flags (i32.const 1) (i32.const 0)))
  (call $show @"fd_prestat_get" (call $fd_prestat_get (i32.const 3) (i32.const 32800)))
  (call $show @"fd_prestat_dir_name" (call $fd_prestat_dir_name (i32.const 3) (i32.const 32800) (i32.const 10)))
  (call $show @"fd_close" (call $fd_close (i32.const 1)))
  (call $show @"fd_seek" (call $fd_seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 16)))
  (call $show @"fd_read" (call $fd_read (i32.const 0) (i32.const 32768) (i32.const 1) (i32.const 16)))
  (call $show @"path_open" (call $path_open (i32.const 3) (i32.const 0) @"etc" (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 16)))
  (i32.const 0))
