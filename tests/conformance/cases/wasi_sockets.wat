;;! covers: sock_accept sock_recv sock_send sock_shutdown
;;! about: There are no sockets; sizes are 0 all the same.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| sock_accept 3 0 at = 58 +0:0 +1:0 +2:0 +3:0 +4:0 +5:0 +6:0 +7:0
;;!   request_headers| sock_accept 3 0 bad = 21
;;!   request_headers| sock_recv 3 pieces 1 0 at size = 58 +0:0 +1:0 +2:0 +3:0 +64:0 +65:0
;;!   request_headers| sock_recv 3 pieces 1 0 at bad = 21 +0:0 +1:0 +2:0 +3:0
;;!   request_headers| sock_recv 3 pieces 1 0 bad size = 21
;;!   request_headers| sock_recv 3 bad 1 0 at size = 58 +0:0 +1:0 +2:0 +3:0 +64:0 +65:0
;;!   request_headers| sock_send 3 pieces 1 0 at = 58 +0:0 +1:0 +2:0 +3:0
;;!   request_headers| sock_send 1 pieces 1 0 at = 58 +0:0 +1:0 +2:0 +3:0
;;!   request_headers| sock_send 3 pieces 1 0 bad = 21
;;!   request_headers| sock_shutdown 3 1 = 58
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $mark)
  (call $wrote @"sock_accept 3 0 at" (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 32768)))
  (call $wrote @"sock_accept 3 0 bad" (call $sock_accept (i32.const 3) (i32.const 0) (i32.const -4)))
  (call $wrote @"sock_recv 3 pieces 1 0 at size" (call $sock_recv (i32.const 3) (i32.const 33200) (i32.const 1) (i32.const 0) (i32.const 32768) (i32.const 32832)))
  (call $wrote @"sock_recv 3 pieces 1 0 at bad" (call $sock_recv (i32.const 3) (i32.const 33200) (i32.const 1) (i32.const 0) (i32.const 32768) (i32.const -4)))
  (call $wrote @"sock_recv 3 pieces 1 0 bad size" (call $sock_recv (i32.const 3) (i32.const 33200) (i32.const 1) (i32.const 0) (i32.const -4) (i32.const 32832)))
  (call $wrote @"sock_recv 3 bad 1 0 at size" (call $sock_recv (i32.const 3) (i32.const -4) (i32.const 1) (i32.const 0) (i32.const 32768) (i32.const 32832)))
  (call $wrote @"sock_send 3 pieces 1 0 at" (call $sock_send (i32.const 3) (i32.const 33200) (i32.const 1) (i32.const 0) (i32.const 32768)))
  (call $wrote @"sock_send 1 pieces 1 0 at" (call $sock_send (i32.const 1) (i32.const 33200) (i32.const 1) (i32.const 0) (i32.const 32768)))
  (call $wrote @"sock_send 3 pieces 1 0 bad" (call $sock_send (i32.const 3) (i32.const 33200) (i32.const 1) (i32.const 0) (i32.const -4)))
  (call $wrote @"sock_shutdown 3 1" (call $sock_shutdown (i32.const 3) (i32.const 1)))
  (i32.const 0))
