;;! covers: proxy_send_local_response
;;! about: Replies to gRPC requests whose fields say grpc-status and grpc-message, as filters of the SDK for Rust do.
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: fields || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: body || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: given || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: message || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: answered || \x00\x00\x00\x00\x00
;;! step: GET /h1/x | x-kit-do: fields
;;! expect:
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: fields || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="by the fields" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: body || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="by the body" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: given || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="by the body" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: message || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="by the body" grpc-status="9"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: answered || \x00\x00\x00\x00\x00
;;!   response_headers| reply = 0
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-do="answered"
;;!   > 200 content-type="application/grpc" grpc-message="by the fields" grpc-status="7"
;;!   # GET /h1/x | x-kit-do: fields
;;!   request_headers| reply = 0
;;!   > 401 grpc-message="by the fields" grpc-status="7"

(func $with (param $code i32) (param $body i32) (param $bn i32) (param $status i32) (result i32)
  (local $at i32) (local $n i32)
  (if (call $doing_is (i32.const 109))
    (then (call $map_begin (i32.const 1)))
    (else (call $map_begin (i32.const 2)) (call $pair @"grpc-status" @"7")))
  (call $pair @"grpc-message" @"by the fields")
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (call $show @"reply" (call $proxy_send_local_response (local.get $code) (i32.const 0) (i32.const 0)
    (local.get $body) (local.get $bn) (local.get $at) (local.get $n) (local.get $status)))
  (i32.const 1))
(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 102)) (then (return (call $with (i32.const 401) (i32.const 0) (i32.const 0) (i32.const -1)))))
  (if (call $doing_is (i32.const 98)) (then (return (call $with (i32.const 403) @"by the body" (i32.const -1)))))
  (if (call $doing_is (i32.const 103)) (then (return (call $with (i32.const 403) @"by the body" (i32.const 9)))))
  (if (call $doing_is (i32.const 109)) (then (return (call $with (i32.const 200) @"by the body" (i32.const 9)))))
  (i32.const 0))
(on response_headers
  (if (call $doing_is (i32.const 97)) (then (return (call $with (i32.const 401) (i32.const 0) (i32.const 0) (i32.const -1)))))
  (i32.const 0))
