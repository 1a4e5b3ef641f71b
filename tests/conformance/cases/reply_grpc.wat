;;! covers: proxy_send_local_response
;;! about: Replies to gRPC requests: 200, the status in grpc-status, the body as grpc-message.
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: mapped || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: given || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: unavailable || \x00\x00\x00\x00\x00
;;! expect:
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: mapped || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="not for you" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: given || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="not for you" grpc-status="16"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: unavailable || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="not for you" grpc-status="14"

(func $with (param $code i32) (param $status i32)
  (call $show @"reply" (call $proxy_send_local_response (local.get $code) (i32.const 0) (i32.const 0)
    @"not for you" (i32.const 0) (i32.const 0) (local.get $status))))
(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 109)) (then (call $with (i32.const 403) (i32.const -1))))
  (if (call $doing_is (i32.const 103)) (then (call $with (i32.const 403) (i32.const 16))))
  (if (call $doing_is (i32.const 117)) (then (call $with (i32.const 503) (i32.const -1))))
  (i32.const 1))
