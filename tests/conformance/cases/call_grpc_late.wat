;;! covers: proxy_grpc_call proxy_on_grpc_close proxy_get_status
;;! about: Unary calls that come to nothing: late before and after their head, reset before and after it, no status, no gRPC, no connection.
;;! deviation: Envoy adds its response code details to a message, or gives them in place of none; here they stand where the answer broke off alone
;;! option: upstream-races
;;! step: GET /x | x-kit-do: slow
;;! step: GET /x | x-kit-do: Stall
;;! step: GET /x | x-kit-do: head cut
;;! step: GET /x | x-kit-do: cut
;;! step: GET /x | x-kit-do: mute
;;! step: GET /x | x-kit-do: absent
;;! step: GET /x | x-kit-do: dead
;;! step: GET /x | x-kit-do: Denied
;;! expect:
;;!   # GET /x | x-kit-do: slow
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream request timeout{response_timeout}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Stall
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   grpc_close| get_status code 13 = 0 "response_timeout"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: head cut
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote reset{upstream_reset_before_response_started{remote_reset}}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: cut
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   grpc_close| get_status code 13 = 0 "upstream_reset_after_response_started{remote_reset}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: mute
;;!   request_headers| call = 0
;;!   grpc_close| code = 2
;;!   grpc_close| get_status code 2 = 0 "via_upstream"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: absent
;;!   request_headers| call = 0
;;!   grpc_close| code = 12
;;!   grpc_close| get_status code 12 = 0 "via_upstream"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: dead
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure{upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Denied
;;!   request_headers| call = 0
;;!   grpc_close| code = 16
;;!   grpc_close| get_status code 16 = 0 "who{via_upstream}"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: slow
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream request timeout"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Stall
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   grpc_close| get_status code 13 = 0 "response_timeout"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: head cut
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: cut
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   grpc_close| get_status code 13 = 0 "upstream_reset_after_response_started{remote_reset}"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: mute
;;!   request_headers| call = 0
;;!   grpc_close| code = 2
;;!   grpc_close| get_status code 2 = 0 "the stream ended without a status"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: absent
;;!   request_headers| call = 0
;;!   grpc_close| code = 12
;;!   grpc_close| get_status code 12 = 0 "no gRPC server answered"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: dead
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   grpc_close| get_status code 14 = 0 "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: Denied
;;!   request_headers| call = 0
;;!   grpc_close| code = 16
;;!   grpc_close| get_status code 16 = 0 "who"
;;!   > 200 x-kit-up="yes" body "hello"

(func $call (param $service i32) (param $sn i32) (param $method i32) (param $mn i32) (param $timeout i32)
  (call $show @"call" (call $proxy_grpc_call (local.get $service) (local.get $sn) @"kit.Kit" (local.get $method) (local.get $mn)
    (i32.const 0) (i32.const 0) @"message" (local.get $timeout) (i32.const 16))))
(global $stream (mut i32) (i32.const 0))
(func $go_on
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 115)) (then (call $call @"origin-h2" @"Slow" (i32.const 400))))
  (if (call $doing_is (i32.const 83)) (then (call $call @"origin-h2" @"Stall" (i32.const 400))))
  (if (call $doing_is (i32.const 104)) (then (call $call @"origin-h2" @"CutHead" (i32.const 5000))))
  (if (call $doing_is (i32.const 99)) (then (call $call @"origin-h2" @"Cut" (i32.const 5000))))
  (if (call $doing_is (i32.const 109)) (then (call $call @"origin-h2" @"Mute" (i32.const 5000))))
  (if (call $doing_is (i32.const 97)) (then (call $call @"origin-h2" @"Absent" (i32.const 5000))))
  (if (call $doing_is (i32.const 100)) (then (call $call @"dead" @"Echo" (i32.const 5000))))
  (if (call $doing_is (i32.const 68)) (then (call $call @"origin-h2" @"Denied" (i32.const 5000))))
  (i32.const 1))
(on grpc_receive_initial_metadata (call $show @"there is none" (i32.eqz (local.get $n))) (call $list (i32.const 4)))
(on grpc_receive
  (call $buffer (i32.const 5) (i32.const 0) (i32.const 100))
  (call $status_of_call)
  (call $go_on))
(on grpc_receive_trailing_metadata (call $show @"there is none" (i32.eqz (local.get $n))) (call $list (i32.const 5)))
(on grpc_close (call $show @"code" (local.get $code)) (call $status_of_call) (call $go_on))
