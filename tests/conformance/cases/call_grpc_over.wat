;;! covers: proxy_grpc_send proxy_grpc_close proxy_grpc_cancel
;;! about: What a guest may do with a stream or a call that is over, in its callbacks and later; one that it cancelled says nothing more.
;;! option: upstream-races
;;! step: GET /x | x-kit-do: all in the end
;;! step: GET /x | x-kit-do: Cancel in the end
;;! step: GET /x | x-kit-do: before
;;! step: GET /x | x-kit-do: later
;;! step: GET /x | x-kit-do: message
;;! step: GET /x | x-kit-do: trailers
;;! step: GET /x | x-kit-do: unary
;;! step: GET /x | x-kit-do: refused
;;! step: GET /x | x-kit-do: dead
;;! expect:
;;!   # GET /x | x-kit-do: all in the end
;;!   request_headers| stream = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "one"
;;!   grpc_receive| buffer 5 0+100 = 0 "two"
;;!   grpc_receive| buffer 5 0+100 = 0 "three"
;;!   grpc_receive_trailing_metadata| trailers
;;!   grpc_close| code = 0
;;!   grpc_close| send = 0
;;!   grpc_close| close = 0
;;!   grpc_close| close = 1
;;!   grpc_close| cancel = 1
;;!   grpc_close| send = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Cancel in the end
;;!   request_headers| stream = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "one"
;;!   grpc_receive| buffer 5 0+100 = 0 "two"
;;!   grpc_receive| buffer 5 0+100 = 0 "three"
;;!   grpc_receive_trailing_metadata| trailers
;;!   grpc_close| code = 0
;;!   grpc_close| cancel = 0
;;!   grpc_close| cancel = 1
;;!   grpc_close| close = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: before
;;!   request_headers| stream = 0
;;!   request_headers| close = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "one"
;;!   grpc_receive| buffer 5 0+100 = 0 "two"
;;!   grpc_receive| buffer 5 0+100 = 0 "three"
;;!   grpc_receive_trailing_metadata| trailers
;;!   grpc_close| code = 0
;;!   grpc_close| send = 0
;;!   grpc_close| close = 0
;;!   grpc_close| close = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: later
;;!   request_headers| stream = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "one"
;;!   grpc_receive| buffer 5 0+100 = 0 "two"
;;!   grpc_receive| buffer 5 0+100 = 0 "three"
;;!   grpc_receive_trailing_metadata| trailers
;;!   grpc_close| code = 0
;;!   tick| send = 0
;;!   tick| close = 0
;;!   tick| close = 1
;;!   tick| send = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: message
;;!   request_headers| stream = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "one"
;;!   grpc_receive| cancel = 0
;;!   grpc_receive| cancel = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: trailers
;;!   request_headers| stream = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "one"
;;!   grpc_receive| buffer 5 0+100 = 0 "two"
;;!   grpc_receive| buffer 5 0+100 = 0 "three"
;;!   grpc_receive_trailing_metadata| trailers
;;!   grpc_receive_trailing_metadata| cancel = 0
;;!   grpc_receive_trailing_metadata| close = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: unary
;;!   request_headers| call = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "three"
;;!   grpc_receive| cancel = 0
;;!   grpc_receive| cancel = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: refused
;;!   request_headers| call = 0
;;!   grpc_close| code = 7
;;!   grpc_close| close = 0
;;!   grpc_close| close = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: dead
;;!   request_headers| stream = 0
;;!   grpc_receive_trailing_metadata| trailers
;;!   grpc_close| code = 14
;;!   grpc_close| close = 0
;;!   grpc_close| close = 1
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(global $token (mut i32) (i32.const 0))
(func $cancel (call $show @"cancel" (call $proxy_grpc_cancel (global.get $token))))
(func $close (call $show @"close" (call $proxy_grpc_close (global.get $token))))
(func $send (call $show @"send" (call $proxy_grpc_send (global.get $token) @"x" (i32.const 0))))
(func $go
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(func $unary (param $method i32) (param $n i32)
  (call $show @"call" (call $proxy_grpc_call @"origin-h2" @"kit.Kit" (local.get $method) (local.get $n)
    (i32.const 0) (i32.const 0) @"message" (i32.const 5000) (i32.const 16)))
  (global.set $token (i32.load (i32.const 16))))
(func $open (param $at i32) (param $n i32)
  (call $show @"stream" (call $proxy_grpc_stream (local.get $at) (local.get $n) @"kit.Kit" @"First" (i32.const 0) (i32.const 0) (i32.const 16)))
  (global.set $token (i32.load (i32.const 16))))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 117)) (then (call $unary @"First") (return (i32.const 1))))
  (if (call $doing_is (i32.const 114)) (then (call $unary @"Refuse") (return (i32.const 1))))
  (if (call $doing_is (i32.const 100)) (then (call $open @"dead") (return (i32.const 1))))
  (call $open @"origin-h2")
  (if (call $doing_is (i32.const 98)) (then (call $close)))
  (i32.const 1))
(on grpc_receive
  (call $buffer (i32.const 5) (i32.const 0) (i32.const 100))
  (if (call $doing_is (i32.const 117)) (then (call $cancel) (call $cancel) (call $go)))
  (if (call $doing_is (i32.const 109)) (then (call $cancel) (call $cancel) (call $go))))
(on grpc_receive_trailing_metadata
  (call $say @"trailers")
  (if (call $doing_is (i32.const 116)) (then (call $cancel) (call $close) (call $go))))
(on grpc_close
  (call $show @"code" (local.get $code))
  (if (call $doing_is (i32.const 97)) (then (call $send) (call $close) (call $close) (call $cancel) (call $send)))
  (if (call $doing_is (i32.const 67)) (then (call $cancel) (call $cancel) (call $close)))
  (if (call $doing_is (i32.const 98)) (then (call $send) (call $close) (call $close)))
  (if (call $doing_is (i32.const 114)) (then (call $close) (call $close)))
  (if (call $doing_is (i32.const 100)) (then (call $close) (call $close)))
  (if (call $doing_is (i32.const 108))
    (then (drop (call $proxy_set_tick_period_milliseconds (i32.const 20))))
    (else (call $go))))
(on tick
  (drop (call $proxy_set_tick_period_milliseconds (i32.const 0)))
  (call $send) (call $close) (call $close) (call $send) (call $go))
