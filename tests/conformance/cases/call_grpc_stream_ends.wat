;;! covers: proxy_grpc_stream proxy_on_grpc_receive_initial_metadata proxy_on_grpc_receive proxy_on_grpc_receive_trailing_metadata proxy_on_grpc_close proxy_get_status
;;! about: Streams that come to nothing: reset before and after their head, no status, no gRPC, no connection.
;;! deviation: Envoy adds its response code details to a message, or gives them in place of none; here they stand where the answer broke off alone
;;! option: upstream-races
;;! step: GET /x | x-kit-do: head cut
;;! step: GET /x | x-kit-do: cut
;;! step: GET /x | x-kit-do: mute
;;! step: GET /x | x-kit-do: absent
;;! step: GET /x | x-kit-do: dead
;;! step: GET /x | x-kit-do: Denied
;;! expect:
;;!   # GET /x | x-kit-do: head cut
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 :status="200" grpc-status="14" grpc-message="upstream connect error or disconnect/reset before headers. reset reason: remote reset"
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote reset{upstream_reset_before_response_started{remote_reset}}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: cut
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 0
;;!   grpc_receive_initial_metadata| pairs 4 = 0 :status="200" x-kit-initial="i"
;;!   grpc_receive| buffer 5 0+100 = 0 "hello"
;;!   grpc_receive| get_status code 14 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 empty
;;!   grpc_close| code = 13
;;!   grpc_close| get_status code 13 = 0 "upstream_reset_after_response_started{remote_reset}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: mute
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 0
;;!   grpc_receive_initial_metadata| pairs 4 = 0 :status="200" x-kit-initial="i"
;;!   grpc_receive| buffer 5 0+100 = 0 "hello"
;;!   grpc_receive| get_status code 13 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 empty
;;!   grpc_close| code = 2
;;!   grpc_close| get_status code 2 = 0 "via_upstream"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: absent
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 empty
;;!   grpc_close| code = 12
;;!   grpc_close| get_status code 12 = 0 "via_upstream"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: dead
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 :status="200" grpc-status="14" grpc-message="upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure{upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Denied
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 :status="403" grpc-status="16" grpc-message="who"
;;!   grpc_close| code = 16
;;!   grpc_close| get_status code 16 = 0 "who{via_upstream}"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: head cut
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 :status="200" grpc-status="14" grpc-message="upstream connect error or disconnect/reset before headers. reset reason: remote reset"
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: cut
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 0
;;!   grpc_receive_initial_metadata| pairs 4 = 0 :status="200" x-kit-initial="i"
;;!   grpc_receive| buffer 5 0+100 = 0 "hello"
;;!   grpc_receive| get_status code 14 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 empty
;;!   grpc_close| code = 13
;;!   grpc_close| get_status code 13 = 0 "upstream_reset_after_response_started{remote_reset}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: mute
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 0
;;!   grpc_receive_initial_metadata| pairs 4 = 0 :status="200" x-kit-initial="i"
;;!   grpc_receive| buffer 5 0+100 = 0 "hello"
;;!   grpc_receive| get_status code 13 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 empty
;;!   grpc_close| code = 2
;;!   grpc_close| get_status code 2 = 0 "the stream ended without a status"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: absent
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 1
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 empty
;;!   grpc_close| code = 12
;;!   grpc_close| get_status code 12 = 0 "no gRPC server answered"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: dead
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 :status="200" grpc-status="14" grpc-message="upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Denied
;;!   request_headers| stream = 0
;;!   request_headers| send = 0
;;!   grpc_receive_initial_metadata| there is none = 1
;;!   grpc_receive_initial_metadata| pairs 4 = 0 empty
;;!   grpc_receive_trailing_metadata| there is none = 0
;;!   grpc_receive_trailing_metadata| pairs 5 = 0 :status="403" grpc-status="16" grpc-message="who"
;;!   grpc_close| code = 16
;;!   grpc_close| get_status code 16 = 0 "who"
;;!   > 200 x-kit-up="yes" body "hello"

(func $open (param $service i32) (param $sn i32) (param $method i32) (param $mn i32)
  (call $show @"stream" (call $proxy_grpc_stream (local.get $service) (local.get $sn) @"kit.Kit" (local.get $method) (local.get $mn)
    (i32.const 0) (i32.const 0) (i32.const 16)))
  (call $show @"send" (call $proxy_grpc_send (i32.load (i32.const 16)) @"message" (i32.const 1))))
(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 104)) (then (call $open @"origin-h2" @"CutHead")))
  (if (call $doing_is (i32.const 99)) (then (call $open @"origin-h2" @"Cut")))
  (if (call $doing_is (i32.const 109)) (then (call $open @"origin-h2" @"Mute")))
  (if (call $doing_is (i32.const 97)) (then (call $open @"origin-h2" @"Absent")))
  (if (call $doing_is (i32.const 100)) (then (call $open @"dead" @"Echo")))
  (if (call $doing_is (i32.const 68)) (then (call $open @"origin-h2" @"Denied")))
  (i32.const 1))
(on grpc_receive_initial_metadata (call $show @"there is none" (i32.eqz (local.get $n))) (call $list (i32.const 4)))
(on grpc_receive
  (call $buffer (i32.const 5) (i32.const 0) (i32.const 100))
  (call $status_of_call))
(on grpc_receive_trailing_metadata (call $show @"there is none" (i32.eqz (local.get $n))) (call $list (i32.const 5)))
(on grpc_close (call $show @"code" (local.get $code)) (call $status_of_call)
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
