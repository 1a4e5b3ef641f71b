;;! covers: proxy_on_grpc_receive_initial_metadata proxy_on_grpc_receive_trailing_metadata proxy_on_grpc_close
;;! about: Statuses that are none, and heads that end their stream without any.
;;! option: upstream-races
;;! step: GET /x | x-kit-do: Word
;;! step: GET /x | x-kit-do: -1
;;! step: GET /x | x-kit-do: 99
;;! step: GET /x | x-kit-do: alone
;;! step: GET /x | x-kit-do: gone
;;! expect:
;;!   # GET /x | x-kit-do: Word
;;!   request_headers| stream = 0
;;!   request_headers| close = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| get 5 ":status" = 0 "200"
;;!   grpc_receive_trailing_metadata| get 5 "grpc-status" = 0 "x"
;;!   grpc_close| code = -1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: -1
;;!   request_headers| stream = 0
;;!   request_headers| close = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| get 5 ":status" = 0 "200"
;;!   grpc_receive_trailing_metadata| get 5 "grpc-status" = 0 "-1"
;;!   grpc_close| code = -1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: 99
;;!   request_headers| stream = 0
;;!   request_headers| close = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| get 5 ":status" = 0 "200"
;;!   grpc_receive_trailing_metadata| get 5 "grpc-status" = 0 "99"
;;!   grpc_close| code = -1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: alone
;;!   request_headers| stream = 0
;;!   request_headers| close = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| get 5 ":status" = 0 "200"
;;!   grpc_receive_trailing_metadata| get 5 "grpc-status" = 1
;;!   grpc_close| code = 2
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: gone
;;!   request_headers| stream = 0
;;!   request_headers| close = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| get 5 ":status" = 1
;;!   grpc_receive_trailing_metadata| get 5 "grpc-status" = 1
;;!   grpc_close| code = 12
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(func $open (param $method i32) (param $n i32)
  (call $show @"stream" (call $proxy_grpc_stream @"origin-h2" @"kit.Kit" (local.get $method) (local.get $n)
    (i32.const 0) (i32.const 0) (i32.const 16)))
  (call $show @"close" (call $proxy_grpc_close (i32.load (i32.const 16)))))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 87)) (then (call $open @"Word")))
  (if (call $doing_is (i32.const 45)) (then (call $open @"Minus")))
  (if (call $doing_is (i32.const 57)) (then (call $open @"Many")))
  (if (call $doing_is (i32.const 97)) (then (call $open @"Alone")))
  (if (call $doing_is (i32.const 103)) (then (call $open @"Gone")))
  (i32.const 1))
(on grpc_receive_initial_metadata (call $show @"there is none" (i32.eqz (local.get $n))))
(on grpc_receive_trailing_metadata
  (call $show @"there is none" (i32.eqz (local.get $n)))
  (call $get (i32.const 5) @":status")
  (call $get (i32.const 5) @"grpc-status"))
(on grpc_close (call $show @"code" (local.get $code))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
