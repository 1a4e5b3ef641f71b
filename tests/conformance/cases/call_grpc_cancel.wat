;;! covers: proxy_grpc_cancel
;;! about: A call and a stream cancelled: nothing more is heard of them.
;;! option: upstream-races
;;! step: GET /x | x-kit-do: cancel
;;! step: GET /x | x-kit-do: unary
;;! expect:
;;!   # GET /x | x-kit-do: cancel
;;!   request_headers| stream = 0
;;!   request_headers| cancel = 0
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: unary
;;!   request_headers| call = 0
;;!   request_headers| cancel = 0
;;!   > 200 x-kit-up="yes" body "hello"

(global $token (mut i32) (i32.const 0))
(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 117))
    (then (call $show @"call" (call $proxy_grpc_call @"origin-h2" @"kit.Kit" @"Echo" (i32.const 0) (i32.const 0) @"m" (i32.const 3000) (i32.const 16))))
    (else (call $show @"stream" (call $proxy_grpc_stream @"origin-h2" @"kit.Kit" @"Echo" (i32.const 0) (i32.const 0) (i32.const 16)))))
  (global.set $token (i32.load (i32.const 16)))
  (call $show @"cancel" (call $proxy_grpc_cancel (global.get $token)))
  (i32.const 0))
(on grpc_close (call $show @"code" (local.get $code)))
