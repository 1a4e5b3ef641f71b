;;! covers: proxy_grpc_stream proxy_grpc_send proxy_grpc_close proxy_grpc_cancel proxy_on_grpc_receive_initial_metadata proxy_on_grpc_receive proxy_on_grpc_receive_trailing_metadata proxy_on_grpc_close
;;! about: A stream: opened, sent on twice, half-closed by the last message, answered, closed by the other side.
;;! deviation: Envoy adds its response code details to the server's words, or gives them in place of none; here the message is the server's
;;! step: GET /x
;;! step: GET /x | x-kit-do: refused
;;! step: GET /x | x-kit-do: deny
;;! expect:
;;!   # GET /x
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| same token = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 :status="200" x-kit-initial="i"
;;!   grpc_receive_initial_metadata| n are its pairs = 1
;;!   grpc_receive_initial_metadata| get 4 "x-kit-initial" = 0 "i"
;;!   grpc_receive_initial_metadata| size = 2
;;!   grpc_receive| buffer 5 0+100 = 0 "first"
;;!   grpc_receive| send the last = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "second"
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 grpc-status="0" x-kit-trailing="t"
;;!   grpc_receive_trailing_metadata| n are its pairs = 1
;;!   grpc_receive_trailing_metadata| get 5 "x-kit-trailing" = 0 "t"
;;!   grpc_close| code = 0
;;!   grpc_close| get_status code 0 = 0 "via_upstream"
;;!   ^ GET /x
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-meta="m"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: refused
;;!   request_headers| stream = 4
;;!   request_headers| send = 1
;;!   request_headers| close = 1
;;!   request_headers| cancel = 1
;;!   ^ GET /x x-kit-do="refused"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: deny
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| same token = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_initial_metadata| n are its pairs = 1
;;!   grpc_receive_initial_metadata| get 4 "x-kit-initial" = 1
;;!   grpc_receive_initial_metadata| size = 2
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 :status="200" grpc-status="7" grpc-message="not you"
;;!   grpc_receive_trailing_metadata| n are its pairs = 1
;;!   grpc_receive_trailing_metadata| get 5 "x-kit-trailing" = 1
;;!   grpc_close| code = 7
;;!   grpc_close| get_status code 7 = 0 "not you{via_upstream}"
;;!   ^ GET /x x-kit-do="deny"
;;!   ^ POST /kit.Kit/Refuse content-type="application/grpc" body "\x00\x00\x00\x00\x06please"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| same token = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 :status="200" x-kit-initial="i"
;;!   grpc_receive_initial_metadata| n are its pairs = 1
;;!   grpc_receive_initial_metadata| get 4 "x-kit-initial" = 0 "i"
;;!   grpc_receive_initial_metadata| size = 2
;;!   grpc_receive| buffer 5 0+100 = 0 "first"
;;!   grpc_receive| send the last = 0
;;!   grpc_receive| buffer 5 0+100 = 0 "second"
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 grpc-status="0" x-kit-trailing="t"
;;!   grpc_receive_trailing_metadata| n are its pairs = 1
;;!   grpc_receive_trailing_metadata| get 5 "x-kit-trailing" = 0 "t"
;;!   grpc_close| code = 0
;;!   grpc_close| get_status code 0 = 0 empty
;;!   ^ GET /x
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-meta="m"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: refused
;;!   request_headers| stream = 4
;;!   request_headers| send = 1
;;!   request_headers| close = 1
;;!   request_headers| cancel = 1
;;!   ^ GET /x x-kit-do="refused"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: deny
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| same token = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_initial_metadata| n are its pairs = 1
;;!   grpc_receive_initial_metadata| get 4 "x-kit-initial" = 1
;;!   grpc_receive_initial_metadata| size = 2
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 :status="200" grpc-status="7" grpc-message="not you"
;;!   grpc_receive_trailing_metadata| n are its pairs = 1
;;!   grpc_receive_trailing_metadata| get 5 "x-kit-trailing" = 1
;;!   grpc_close| code = 7
;;!   grpc_close| get_status code 7 = 0 "not you"
;;!   ^ GET /x x-kit-do="deny"
;;!   ^ POST /kit.Kit/Refuse content-type="application/grpc" body "\x00\x00\x00\x00\x06please"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(global $token (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 114)) (then
    (call $show @"stream" (call $proxy_grpc_stream @"nowhere" @"kit.Kit" @"Echo" (i32.const 0) (i32.const 0) (i32.const 16)))
    (call $show @"send" (call $proxy_grpc_send (i32.const 4242) @"x" (i32.const 0)))
    (call $show @"close" (call $proxy_grpc_close (i32.const 4242)))
    (call $show @"cancel" (call $proxy_grpc_cancel (i32.const 4242)))
    (return (i32.const 0))))
  (if (call $doing_is (i32.const 100)) (then
    (call $show @"stream" (call $proxy_grpc_stream @"origin-h2" @"kit.Kit" @"Refuse" (i32.const 0) (i32.const 0) (i32.const 16)))
    (global.set $token (i32.load (i32.const 16)))
    (call $show @"send" (call $proxy_grpc_send (global.get $token) @"please" (i32.const 1)))
    (return (i32.const 1))))
  (call $map_begin (i32.const 1))
  (call $pair @"x-kit-meta" @"m")
  (call $show @"stream" (call $open (call $map_end)))
  (global.set $token (i32.load (i32.const 16)))
  (call $show @"send" (call $proxy_grpc_send (global.get $token) @"first" (i32.const 0)))
  (i32.const 1))
(func $open (param $at i32) (param $n i32) (result i32)
  (call $proxy_grpc_stream @"origin-h2" @"kit.Kit" @"Echo" (local.get $at) (local.get $n) (i32.const 16)))
(on grpc_receive_initial_metadata
  (call $show @"same token" (i32.eq (local.get $token) (global.get $token)))
  (call $list (i32.const 4))
  (call $show @"n are its pairs" (i32.eq (local.get $n) (i32.load (i32.load (i32.const 16)))))
  (call $get (i32.const 4) @"x-kit-initial")
  (call $show @"size" (call $proxy_get_header_map_size (i32.const 4) (i32.const 16))))
(on grpc_receive
  (call $buffer (i32.const 5) (i32.const 0) (i32.const 100))
  (if (i32.eq (local.get $size) (i32.const 5)) (then
    (call $show @"send the last" (call $proxy_grpc_send (global.get $token) @"second" (i32.const 1))))))
(on grpc_receive_trailing_metadata
  (call $list (i32.const 5))
  (call $show @"n are its pairs" (i32.eq (local.get $n) (i32.load (i32.load (i32.const 16)))))
  (call $get (i32.const 5) @"x-kit-trailing"))
(on grpc_close (call $show @"code" (local.get $code)) (call $status_of_call)
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
