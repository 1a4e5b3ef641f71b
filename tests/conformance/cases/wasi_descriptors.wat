;;! covers: fd_advise fd_allocate fd_datasync fd_fdstat_set_rights fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread fd_pwrite fd_readdir fd_renumber fd_sync fd_tell
;;! about: What can be done with descriptors: on standard output and error most succeeds, and nothing happens.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| fd_allocate 0 0 8 = 8
;;!   request_headers| fd_allocate 1 0 8 = 0
;;!   request_headers| fd_allocate 2 0 8 = 0
;;!   request_headers| fd_allocate 3 0 8 = 8
;;!   request_headers| fd_datasync 0 = 8
;;!   request_headers| fd_datasync 1 = 0
;;!   request_headers| fd_datasync 2 = 0
;;!   request_headers| fd_datasync 3 = 8
;;!   request_headers| fd_sync 0 = 8
;;!   request_headers| fd_sync 1 = 0
;;!   request_headers| fd_sync 2 = 0
;;!   request_headers| fd_sync 3 = 8
;;!   request_headers| fd_fdstat_set_rights 0 -1 -1 = 8
;;!   request_headers| fd_fdstat_set_rights 1 -1 -1 = 0
;;!   request_headers| fd_fdstat_set_rights 2 -1 -1 = 0
;;!   request_headers| fd_fdstat_set_rights 3 -1 -1 = 8
;;!   request_headers| fd_filestat_set_size 0 8 = 8
;;!   request_headers| fd_filestat_set_size 1 8 = 0
;;!   request_headers| fd_filestat_set_size 2 8 = 0
;;!   request_headers| fd_filestat_set_size 3 8 = 8
;;!   request_headers| fd_filestat_set_times 0 0 0 99 = 8
;;!   request_headers| fd_filestat_set_times 1 0 0 99 = 0
;;!   request_headers| fd_filestat_set_times 2 0 0 99 = 0
;;!   request_headers| fd_filestat_set_times 3 0 0 99 = 8
;;!   request_headers| fd_tell 0 at = 8
;;!   request_headers| fd_tell 1 at = 0 +0:0 +1:0 +2:0 +3:0 +4:0 +5:0 +6:0 +7:0
;;!   request_headers| fd_tell 2 at = 0 +0:0 +1:0 +2:0 +3:0 +4:0 +5:0 +6:0 +7:0
;;!   request_headers| fd_tell 3 at = 8
;;!   request_headers| fd_filestat_get 0 at = 8
;;!   request_headers| fd_filestat_get 1 at = 8
;;!   request_headers| fd_filestat_get 2 at = 8
;;!   request_headers| fd_filestat_get 3 at = 8
;;!   request_headers| fd_advise 0 0 8 9 = 0
;;!   request_headers| fd_advise 1 0 8 9 = 0
;;!   request_headers| fd_advise 2 0 8 9 = 0
;;!   request_headers| fd_advise 3 0 8 9 = 0
;;!   request_headers| fd_pread 0 pieces 1 0 size = 52
;;!   request_headers| fd_pread 1 pieces 1 0 size = 52
;;!   request_headers| fd_pread 2 pieces 1 0 size = 52
;;!   request_headers| fd_pread 3 pieces 1 0 size = 52
;;!   request_headers| fd_readdir 0 at 64 0 size = 20 +64:0 +65:0 +66:0 +67:0
;;!   request_headers| fd_readdir 1 at 64 0 size = 20 +64:0 +65:0 +66:0 +67:0
;;!   request_headers| fd_readdir 2 at 64 0 size = 20 +64:0 +65:0 +66:0 +67:0
;;!   request_headers| fd_readdir 3 at 64 0 size = 20 +64:0 +65:0 +66:0 +67:0
;;!   request_headers| fd_pwrite 0 pieces 1 7 size = 8
;;!   request_headers| written
;;!   request_headers| fd_pwrite 1 pieces 1 7 size = 0 +64:47 +65:0 +66:0 +67:0
;;!   request_headers| written
;;!   request_headers| fd_pwrite 2 pieces 1 7 size = 0 +64:47 +65:0 +66:0 +67:0
;;!   request_headers| fd_pwrite 3 pieces 1 7 size = 8
;;!   request_headers| fd_pwrite 1 pieces 0 0 size = 0 +64:0 +65:0 +66:0 +67:0
;;!   request_headers| written
;;!   request_headers| fd_pwrite 2 pieces 1 0 bad = 21
;;!   request_headers| fd_pwrite 1 bad 1 0 size = 21
;;!   request_headers| fd_tell 1 bad = 21
;;!   request_headers| fd_readdir 1 at 64 0 bad = 21
;;!   request_headers| fd_readdir 3 bad 64 0 size = 20 +64:0 +65:0 +66:0 +67:0
;;!   request_headers| fd_renumber 1 1 = 58
;;!   request_headers| fd_renumber 1 2 = 58
;;!   request_headers| fd_renumber 2 1 = 58
;;!   request_headers| fd_renumber 1 0 = 8
;;!   request_headers| fd_renumber 3 1 = 8
;;!   request_headers| fd_renumber 1 3 = 8
;;!   request_headers| fd_renumber 3 3 = 8
;;!   request_headers| fd_renumber -1 1 = 8
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $mark)
  (i32.store (i32.const 33200) (i32.const 33300)) (i32.store (i32.const 33204) (i32.const 47))
  (memory.copy (i32.const 33300) @"kit:wasi_descriptors: request_headers| written\0a")
  (call $wrote @"fd_allocate 0 0 8" (call $fd_allocate (i32.const 0) (i64.const 0) (i64.const 8)))
  (call $wrote @"fd_allocate 1 0 8" (call $fd_allocate (i32.const 1) (i64.const 0) (i64.const 8)))
  (call $wrote @"fd_allocate 2 0 8" (call $fd_allocate (i32.const 2) (i64.const 0) (i64.const 8)))
  (call $wrote @"fd_allocate 3 0 8" (call $fd_allocate (i32.const 3) (i64.const 0) (i64.const 8)))
  (call $wrote @"fd_datasync 0" (call $fd_datasync (i32.const 0)))
  (call $wrote @"fd_datasync 1" (call $fd_datasync (i32.const 1)))
  (call $wrote @"fd_datasync 2" (call $fd_datasync (i32.const 2)))
  (call $wrote @"fd_datasync 3" (call $fd_datasync (i32.const 3)))
  (call $wrote @"fd_sync 0" (call $fd_sync (i32.const 0)))
  (call $wrote @"fd_sync 1" (call $fd_sync (i32.const 1)))
  (call $wrote @"fd_sync 2" (call $fd_sync (i32.const 2)))
  (call $wrote @"fd_sync 3" (call $fd_sync (i32.const 3)))
  (call $wrote @"fd_fdstat_set_rights 0 -1 -1" (call $fd_fdstat_set_rights (i32.const 0) (i64.const -1) (i64.const -1)))
  (call $wrote @"fd_fdstat_set_rights 1 -1 -1" (call $fd_fdstat_set_rights (i32.const 1) (i64.const -1) (i64.const -1)))
  (call $wrote @"fd_fdstat_set_rights 2 -1 -1" (call $fd_fdstat_set_rights (i32.const 2) (i64.const -1) (i64.const -1)))
  (call $wrote @"fd_fdstat_set_rights 3 -1 -1" (call $fd_fdstat_set_rights (i32.const 3) (i64.const -1) (i64.const -1)))
  (call $wrote @"fd_filestat_set_size 0 8" (call $fd_filestat_set_size (i32.const 0) (i64.const 8)))
  (call $wrote @"fd_filestat_set_size 1 8" (call $fd_filestat_set_size (i32.const 1) (i64.const 8)))
  (call $wrote @"fd_filestat_set_size 2 8" (call $fd_filestat_set_size (i32.const 2) (i64.const 8)))
  (call $wrote @"fd_filestat_set_size 3 8" (call $fd_filestat_set_size (i32.const 3) (i64.const 8)))
  (call $wrote @"fd_filestat_set_times 0 0 0 99" (call $fd_filestat_set_times (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 99)))
  (call $wrote @"fd_filestat_set_times 1 0 0 99" (call $fd_filestat_set_times (i32.const 1) (i64.const 0) (i64.const 0) (i32.const 99)))
  (call $wrote @"fd_filestat_set_times 2 0 0 99" (call $fd_filestat_set_times (i32.const 2) (i64.const 0) (i64.const 0) (i32.const 99)))
  (call $wrote @"fd_filestat_set_times 3 0 0 99" (call $fd_filestat_set_times (i32.const 3) (i64.const 0) (i64.const 0) (i32.const 99)))
  (call $wrote @"fd_tell 0 at" (call $fd_tell (i32.const 0) (i32.const 32768)))
  (call $wrote @"fd_tell 1 at" (call $fd_tell (i32.const 1) (i32.const 32768)))
  (call $wrote @"fd_tell 2 at" (call $fd_tell (i32.const 2) (i32.const 32768)))
  (call $wrote @"fd_tell 3 at" (call $fd_tell (i32.const 3) (i32.const 32768)))
  (call $wrote @"fd_filestat_get 0 at" (call $fd_filestat_get (i32.const 0) (i32.const 32768)))
  (call $wrote @"fd_filestat_get 1 at" (call $fd_filestat_get (i32.const 1) (i32.const 32768)))
  (call $wrote @"fd_filestat_get 2 at" (call $fd_filestat_get (i32.const 2) (i32.const 32768)))
  (call $wrote @"fd_filestat_get 3 at" (call $fd_filestat_get (i32.const 3) (i32.const 32768)))
  (call $wrote @"fd_advise 0 0 8 9" (call $fd_advise (i32.const 0) (i64.const 0) (i64.const 8) (i32.const 9)))
  (call $wrote @"fd_advise 1 0 8 9" (call $fd_advise (i32.const 1) (i64.const 0) (i64.const 8) (i32.const 9)))
  (call $wrote @"fd_advise 2 0 8 9" (call $fd_advise (i32.const 2) (i64.const 0) (i64.const 8) (i32.const 9)))
  (call $wrote @"fd_advise 3 0 8 9" (call $fd_advise (i32.const 3) (i64.const 0) (i64.const 8) (i32.const 9)))
  (call $wrote @"fd_pread 0 pieces 1 0 size" (call $fd_pread (i32.const 0) (i32.const 33200) (i32.const 1) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_pread 1 pieces 1 0 size" (call $fd_pread (i32.const 1) (i32.const 33200) (i32.const 1) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_pread 2 pieces 1 0 size" (call $fd_pread (i32.const 2) (i32.const 33200) (i32.const 1) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_pread 3 pieces 1 0 size" (call $fd_pread (i32.const 3) (i32.const 33200) (i32.const 1) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_readdir 0 at 64 0 size" (call $fd_readdir (i32.const 0) (i32.const 32768) (i32.const 64) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_readdir 1 at 64 0 size" (call $fd_readdir (i32.const 1) (i32.const 32768) (i32.const 64) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_readdir 2 at 64 0 size" (call $fd_readdir (i32.const 2) (i32.const 32768) (i32.const 64) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_readdir 3 at 64 0 size" (call $fd_readdir (i32.const 3) (i32.const 32768) (i32.const 64) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_pwrite 0 pieces 1 7 size" (call $fd_pwrite (i32.const 0) (i32.const 33200) (i32.const 1) (i64.const 7) (i32.const 32832)))
  (call $wrote @"fd_pwrite 1 pieces 1 7 size" (call $fd_pwrite (i32.const 1) (i32.const 33200) (i32.const 1) (i64.const 7) (i32.const 32832)))
  (call $wrote @"fd_pwrite 2 pieces 1 7 size" (call $fd_pwrite (i32.const 2) (i32.const 33200) (i32.const 1) (i64.const 7) (i32.const 32832)))
  (call $wrote @"fd_pwrite 3 pieces 1 7 size" (call $fd_pwrite (i32.const 3) (i32.const 33200) (i32.const 1) (i64.const 7) (i32.const 32832)))
  (call $wrote @"fd_pwrite 1 pieces 0 0 size" (call $fd_pwrite (i32.const 1) (i32.const 33200) (i32.const 0) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_pwrite 2 pieces 1 0 bad" (call $fd_pwrite (i32.const 2) (i32.const 33200) (i32.const 1) (i64.const 0) (i32.const -4)))
  (call $wrote @"fd_pwrite 1 bad 1 0 size" (call $fd_pwrite (i32.const 1) (i32.const -4) (i32.const 1) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_tell 1 bad" (call $fd_tell (i32.const 1) (i32.const -4)))
  (call $wrote @"fd_readdir 1 at 64 0 bad" (call $fd_readdir (i32.const 1) (i32.const 32768) (i32.const 64) (i64.const 0) (i32.const -4)))
  (call $wrote @"fd_readdir 3 bad 64 0 size" (call $fd_readdir (i32.const 3) (i32.const -4) (i32.const 64) (i64.const 0) (i32.const 32832)))
  (call $wrote @"fd_renumber 1 1" (call $fd_renumber (i32.const 1) (i32.const 1)))
  (call $wrote @"fd_renumber 1 2" (call $fd_renumber (i32.const 1) (i32.const 2)))
  (call $wrote @"fd_renumber 2 1" (call $fd_renumber (i32.const 2) (i32.const 1)))
  (call $wrote @"fd_renumber 1 0" (call $fd_renumber (i32.const 1) (i32.const 0)))
  (call $wrote @"fd_renumber 3 1" (call $fd_renumber (i32.const 3) (i32.const 1)))
  (call $wrote @"fd_renumber 1 3" (call $fd_renumber (i32.const 1) (i32.const 3)))
  (call $wrote @"fd_renumber 3 3" (call $fd_renumber (i32.const 3) (i32.const 3)))
  (call $wrote @"fd_renumber -1 1" (call $fd_renumber (i32.const -1) (i32.const 1)))
  (i32.const 0))
