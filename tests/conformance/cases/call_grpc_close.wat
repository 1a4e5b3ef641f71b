;;! covers: proxy_grpc_close proxy_on_grpc_receive_initial_metadata proxy_on_grpc_receive proxy_on_grpc_receive_trailing_metadata proxy_on_grpc_close
;;! about: A stream that the guest closes: behind a message, within the answer, and before anything.
;;! step: GET /x | x-kit-do: sent
;;! step: GET /x | x-kit-do: received
;;! step: GET /x | x-kit-do: empty
;;! expect:
;;!   # GET /x | x-kit-do: sent
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   request_headers| close = 0
;;!   request_headers| send = 0
;;!   request_headers| again = 0
;;!   grpc_receive_initial_metadata| initial
;;!   grpc_receive| buffer 5 0+100 = 0 "first"
;;!   grpc_receive_trailing_metadata| trailing
;;!   grpc_close| code = 0
;;!   ^ GET /x x-kit-do="sent"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: received
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| initial
;;!   grpc_receive| buffer 5 0+100 = 0 "first"
;;!   grpc_receive| close = 0
;;!   grpc_receive_trailing_metadata| trailing
;;!   grpc_close| code = 0
;;!   ^ GET /x x-kit-do="received"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: empty
;;!   request_headers| stream = 0
;;!   request_headers| close = 0
;;!   request_headers| send = 0
;;!   request_headers| again = 0
;;!   grpc_receive_initial_metadata| initial
;;!   grpc_receive_trailing_metadata| trailing
;;!   grpc_close| code = 0
;;!   ^ GET /x x-kit-do="empty"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc"
;;!   > 200 x-kit-up="yes" body "hello"

(global $token (mut i32) (i32.const 0))
(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (call $show @"stream" (call $proxy_grpc_stream @"origin-h2" @"kit.Kit" @"Echo" (i32.const 0) (i32.const 0) (i32.const 16)))
  (global.set $token (i32.load (i32.const 16)))
  (if (i32.eqz (call $doing_is (i32.const 101))) (then
    (call $show @"send" (call $proxy_grpc_send (global.get $token) @"first" (i32.const 0)))))
  (if (i32.eqz (call $doing_is (i32.const 114))) (then
    (call $show @"close" (call $proxy_grpc_close (global.get $token)))
    (call $show @"send" (call $proxy_grpc_send (global.get $token) @"late" (i32.const 0)))
    (call $show @"again" (call $proxy_grpc_close (global.get $token)))))
  (i32.const 1))
(on grpc_receive_initial_metadata (call $say @"initial"))
(on grpc_receive
  (call $buffer (i32.const 5) (i32.const 0) (i32.const 100))
  (if (call $doing_is (i32.const 114)) (then
    (call $show @"close" (call $proxy_grpc_close (global.get $token))))))
(on grpc_receive_trailing_metadata (call $say @"trailing"))
(on grpc_close
  (call $show @"code" (local.get $code))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
