;;! covers: proxy_send_local_response proxy_set_header_map_pairs proxy_http_call proxy_grpc_call
;;! about: Serialized maps with a byte left over, or with another byte than NUL behind a name or a value: they say nothing.
;;! step: GET /x | x-kit-do: a as it should be
;;! step: GET /x | x-kit-do: b a byte left over
;;! step: GET /x | x-kit-do: c behind the name
;;! step: GET /x | x-kit-do: d behind the value
;;! step: GET /x | x-kit-do: e set, as it should be
;;! step: GET /x | x-kit-do: f set, a byte left over
;;! step: GET /x | x-kit-do: g call, a byte left over
;;! step: GET /x | x-kit-do: h call's trailers, a byte left over
;;! step: GET /x | x-kit-do: i gRPC call, a byte left over
;;! expect:
;;!   # GET /x | x-kit-do: a as it should be
;;!   request_headers| reply = 0
;;!   > 418 content-type="text/plain" x-kit-left="1" body "body"
;;!   # GET /x | x-kit-do: b a byte left over
;;!   request_headers| reply = 0
;;!   > 418 content-type="text/plain" body "body"
;;!   # GET /x | x-kit-do: c behind the name
;;!   request_headers| reply = 0
;;!   > 418 content-type="text/plain" body "body"
;;!   # GET /x | x-kit-do: d behind the value
;;!   request_headers| reply = 0
;;!   > 418 content-type="text/plain" body "body"
;;!   # GET /x | x-kit-do: e set, as it should be
;;!   request_headers| set pairs 0 = 0
;;!   ^ GET /y x-kit-left="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: f set, a byte left over
;;!   request_headers| set pairs 0 = 0
;;!   > 404
;;!   # GET /x | x-kit-do: g call, a byte left over
;;!   request_headers| call = 2
;;!   ^ GET /x x-kit-do="g call, a byte left over"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: h call's trailers, a byte left over
;;!   request_headers| call = 0
;;!   http_call_response| get 6 ":status" = 0 "200"
;;!   ^ GET /x x-kit-do="h call\'s trailers, a byte left over"
;;!   ^ GET /y x-kit-left="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: i gRPC call, a byte left over
;;!   request_headers| grpc call = 0
;;!   grpc_receive| message
;;!   ^ GET /x x-kit-do="i gRPC call, a byte left over"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(func $map (param $left i32) (result i32 i32)
  (local $at i32) (local $n i32)
  (call $map_begin (i32.const 6))
  (call $pair @":method" @"GET")
  (call $pair @":path" @"/y")
  (call $pair @":authority" @"call-pairs_left_over")
  (call $pair @":scheme" @"http")
  (call $pair @"x-forwarded-proto" @"http")
  (call $pair @"x-kit-left" @"1")
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (i32.store8 (i32.add (local.get $at) (local.get $n)) (i32.const 0))
  (local.get $at)
  (i32.add (local.get $n) (local.get $left)))
(func $answer (param $at i32) (param $n i32)
  (call $show @"reply" (call $proxy_send_local_response (i32.const 418) (i32.const 0) (i32.const 0) @"body"
    (local.get $at) (local.get $n) (i32.const -1))))
(func $one (param $at i32) (param $n i32) (param $t i32) (param $tn i32)
  (call $show @"call" (call $proxy_http_call @"origin" (local.get $at) (local.get $n)
    (i32.const 0) (i32.const 0) (local.get $t) (local.get $tn) (i32.const 1000) (i32.const 16))))
(on request_headers
  (local $map_a i32) (local $map_n i32)
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (call $map (i32.const 0))
  (local.set $map_n)
  (local.set $map_a)
  (if (call $doing_is (i32.const 97)) (then (call $answer (local.get $map_a) (local.get $map_n)) (return (i32.const 1))))
  (if (call $doing_is (i32.const 98)) (then (call $answer (local.get $map_a) (i32.add (local.get $map_n) (i32.const 1))) (return (i32.const 1))))
  (if (call $doing_is (i32.const 99)) (then
    (i32.store8 (i32.add (local.get $map_a) (i32.sub (local.get $map_n) (i32.const 3))) (i32.const 46))
    (call $answer (local.get $map_a) (local.get $map_n)) (return (i32.const 1))))
  (if (call $doing_is (i32.const 100)) (then
    (i32.store8 (i32.add (local.get $map_a) (i32.sub (local.get $map_n) (i32.const 1))) (i32.const 46))
    (call $answer (local.get $map_a) (local.get $map_n)) (return (i32.const 1))))
  (if (call $doing_is (i32.const 101)) (then (call $set_pairs (i32.const 0) (local.get $map_a) (local.get $map_n))))
  (if (call $doing_is (i32.const 102)) (then (call $set_pairs (i32.const 0) (local.get $map_a) (i32.add (local.get $map_n) (i32.const 1)))))
  (if (call $doing_is (i32.const 103)) (then (call $one (local.get $map_a) (i32.add (local.get $map_n) (i32.const 1)) (i32.const 0) (i32.const 0))))
  (if (call $doing_is (i32.const 104)) (then
    (call $one (local.get $map_a) (local.get $map_n) (local.get $map_a) (i32.add (local.get $map_n) (i32.const 1)))
    (return (i32.const 1))))
  (if (call $doing_is (i32.const 105)) (then
    (call $show @"grpc call" (call $proxy_grpc_call @"origin-h2" @"kit.Kit" @"Echo"
      (local.get $map_a) (i32.add (local.get $map_n) (i32.const 1)) @"hi" (i32.const 1000) (i32.const 16)))
    (return (i32.const 1))))
  (i32.const 0))
(on http_call_response
  (call $get (i32.const 6) @":status")
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(on grpc_close
  (call $show @"status" (local.get $code))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(on grpc_receive
  (call $say @"message")
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
