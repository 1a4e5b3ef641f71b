;;! covers: proxy_grpc_call proxy_on_grpc_receive proxy_on_grpc_receive_initial_metadata proxy_on_grpc_receive_trailing_metadata proxy_on_grpc_close proxy_get_status
;;! about: Unary calls: an answer, a refusal, a dead endpoint, an unknown cluster, a service that is no service.
;;! deviation: Envoy adds its response code details to the server's words, or gives them in place of none; here the message is the server's
;;! step: GET /x | x-kit-do: echo
;;! step: GET /x | x-kit-do: refuse
;;! step: GET /x | x-kit-do: none
;;! expect:
;;!   # GET /x | x-kit-do: echo
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   grpc_receive| buffer 5 0+100 = 0 "message"
;;!   grpc_receive| get_status code 0 = 0 empty
;;!   ^ GET /x x-kit-do="echo"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: refuse
;;!   request_headers| call = 0
;;!   grpc_close| code = 7
;;!   grpc_close| get_status code 7 = 0 "not you{via_upstream}"
;;!   ^ GET /x x-kit-do="refuse"
;;!   ^ POST /kit.Kit/Refuse content-type="application/grpc" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: none
;;!   request_headers| call = 4
;;!   ^ GET /x x-kit-do="none"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: echo
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   grpc_receive| buffer 5 0+100 = 0 "message"
;;!   grpc_receive| get_status code 0 = 0 empty
;;!   ^ GET /x x-kit-do="echo"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: refuse
;;!   request_headers| call = 0
;;!   grpc_close| code = 7
;;!   grpc_close| get_status code 7 = 0 "not you"
;;!   ^ GET /x x-kit-do="refuse"
;;!   ^ POST /kit.Kit/Refuse content-type="application/grpc" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: none
;;!   request_headers| call = 4
;;!   ^ GET /x x-kit-do="none"
;;!   > 200 x-kit-up="yes" body "hello"

(func $call (param $service i32) (param $sn i32) (param $method i32) (param $mn i32) (result i32)
  (call $proxy_grpc_call (local.get $service) (local.get $sn) @"kit.Kit" (local.get $method) (local.get $mn)
    (i32.const 0) (i32.const 0) @"message" (i32.const 5000) (i32.const 16)))
(global $stream (mut i32) (i32.const 0))
(func $go_on
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 101)) (then (call $show @"call" (call $call @"origin-h2" @"Echo"))))
  (if (call $doing_is (i32.const 114)) (then (call $show @"call" (call $call @"origin-h2" @"Refuse"))))
  (if (call $doing_is (i32.const 110)) (then (call $show @"call" (call $call @"nowhere" @"Echo")) (return (i32.const 0))))
  (i32.const 1))
(on grpc_receive_initial_metadata (call $show @"n" (local.get $n)) (call $list (i32.const 4)))
(on grpc_receive
  (call $show @"size" (local.get $size))
  (call $buffer (i32.const 5) (i32.const 0) (i32.const 100))
  (call $status_of_call)
  (call $go_on))
(on grpc_receive_trailing_metadata (call $show @"n" (local.get $n)) (call $list (i32.const 5)))
(on grpc_close (call $show @"code" (local.get $code)) (call $status_of_call) (call $go_on))
