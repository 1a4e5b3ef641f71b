;;! covers: path_create_directory path_filestat_get path_filestat_set_times path_readlink path_remove_directory path_rename path_unlink_file
;;! about: There are no files to ask for, to make or to remove.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| path_create_directory 3 path = 58
;;!   request_headers| path_filestat_get 3 1 path at = 58
;;!   request_headers| path_filestat_get 3 0 bad 4 at = 58
;;!   request_headers| path_filestat_get -1 0 path bad = 58
;;!   request_headers| path_filestat_set_times 3 0 path 0 0 0 = 58
;;!   request_headers| path_readlink 3 path at 16 size = 58 +64:0 +65:0 +66:0 +67:0
;;!   request_headers| path_readlink 3 path bad 16 size = 58 +64:0 +65:0 +66:0 +67:0
;;!   request_headers| path_readlink 3 path at 16 bad = 21
;;!   request_headers| path_remove_directory 3 path = 58
;;!   request_headers| path_rename 3 path 3 path = 58
;;!   request_headers| path_unlink_file 3 path = 58
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $mark)
  (call $wrote @"path_create_directory 3 path" (call $path_create_directory (i32.const 3) @"/etc/x"))
  (call $wrote @"path_filestat_get 3 1 path at" (call $path_filestat_get (i32.const 3) (i32.const 1) @"/etc/x" (i32.const 32768)))
  (call $wrote @"path_filestat_get 3 0 bad 4 at" (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const -4) (i32.const 4) (i32.const 32768)))
  (call $wrote @"path_filestat_get -1 0 path bad" (call $path_filestat_get (i32.const -1) (i32.const 0) @"/etc/x" (i32.const -4)))
  (call $wrote @"path_filestat_set_times 3 0 path 0 0 0" (call $path_filestat_set_times (i32.const 3) (i32.const 0) @"/etc/x" (i64.const 0) (i64.const 0) (i32.const 0)))
  (call $wrote @"path_readlink 3 path at 16 size" (call $path_readlink (i32.const 3) @"/etc/x" (i32.const 32768) (i32.const 16) (i32.const 32832)))
  (call $wrote @"path_readlink 3 path bad 16 size" (call $path_readlink (i32.const 3) @"/etc/x" (i32.const -4) (i32.const 16) (i32.const 32832)))
  (call $wrote @"path_readlink 3 path at 16 bad" (call $path_readlink (i32.const 3) @"/etc/x" (i32.const 32768) (i32.const 16) (i32.const -4)))
  (call $wrote @"path_remove_directory 3 path" (call $path_remove_directory (i32.const 3) @"/etc/x"))
  (call $wrote @"path_rename 3 path 3 path" (call $path_rename (i32.const 3) @"/etc/x" (i32.const 3) @"/etc/x"))
  (call $wrote @"path_unlink_file 3 path" (call $path_unlink_file (i32.const 3) @"/etc/x"))
  (i32.const 0))
