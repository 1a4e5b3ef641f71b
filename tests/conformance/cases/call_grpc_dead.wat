;;! covers: proxy_grpc_call proxy_on_grpc_close
;;! about: A unary call to an endpoint where nobody listens ends with status 14.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $show @"call" (call $proxy_grpc_call @"dead" @"kit.Kit" @"Echo" (i32.const 0) (i32.const 0) @"message" (i32.const 3000) (i32.const 16)))
  (i32.const 1))
(on grpc_close (call $show @"code" (local.get $code))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
