;;! covers: proxy_grpc_call proxy_on_grpc_receive
;;! about: For which authority a gRPC call is: its cluster's name, and what its metadata say beside that.
;;! step: GET /x | x-kit-do: a nothing
;;! step: GET /x | x-kit-do: b authority
;;! step: GET /x | x-kit-do: c host
;;! step: GET /x | x-kit-do: d a cluster with a colon
;;! step: GET /x | x-kit-do: e both
;;! expect:
;;!   # GET /x | x-kit-do: a nothing
;;!   request_headers| call = 0
;;!   grpc_receive| buffer 5 0+150 = 0 "origin-h2"
;;!   ^ GET /x x-kit-do="a nothing"
;;!   ^ POST /kit.Kit/Asked content-type="application/grpc" x-kit-m="1" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: b authority
;;!   request_headers| call = 0
;;!   grpc_receive| buffer 5 0+150 = 0 "origin-h2,limitador.kuadrant-system.svc"
;;!   ^ GET /x x-kit-do="b authority"
;;!   ^ POST /kit.Kit/Asked content-type="application/grpc" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: c host
;;!   request_headers| call = 0
;;!   grpc_receive| buffer 5 0+150 = 0 "origin-h2,a.b"
;;!   ^ GET /x x-kit-do="c host"
;;!   ^ POST /kit.Kit/Asked content-type="application/grpc" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: d a cluster with a colon
;;!   request_headers| call = 0
;;!   grpc_receive| buffer 5 0+150 = 0 "origin:h2"
;;!   ^ GET /x x-kit-do="d a cluster with a colon"
;;!   ^ POST /kit.Kit/Asked content-type="application/grpc" x-kit-m="1" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: e both
;;!   request_headers| call = 0
;;!   grpc_receive| buffer 5 0+150 = 0 "origin:h2,a"
;;!   ^ GET /x x-kit-do="e both"
;;!   ^ POST /kit.Kit/Asked content-type="application/grpc" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(global $refused (mut i32) (i32.const 0))
(func $one (param $c i32) (param $cn i32) (param $k i32) (param $kn i32) (param $v i32) (param $vn i32)
  (local $at i32) (local $n i32)
  (call $map_begin (i32.const 1))
  (call $pair (local.get $k) (local.get $kn) (local.get $v) (local.get $vn))
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (global.set $refused (call $proxy_grpc_call (local.get $c) (local.get $cn) @"kit.Kit" @"Asked"
    (local.get $at) (local.get $n) @"message" (i32.const 5000) (i32.const 16)))
  (call $show @"call" (global.get $refused)))
(on request_headers
  (global.set $stream (local.get $ctx))
  (call $note_do)
  (if (call $doing_is (i32.const 97)) (then (call $one @"origin-h2" @"x-kit-m" @"1")))
  (if (call $doing_is (i32.const 98)) (then (call $one @"origin-h2" @":authority" @"limitador.kuadrant-system.svc")))
  (if (call $doing_is (i32.const 99)) (then (call $one @"origin-h2" @"host" @"a.b")))
  (if (call $doing_is (i32.const 100)) (then (call $one @"origin:h2" @"x-kit-m" @"1")))
  (if (call $doing_is (i32.const 101)) (then (call $one @"origin:h2" @":authority" @"a")))
  (i32.eqz (global.get $refused)))
(func $go_on
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(on grpc_receive
  (call $buffer (i32.const 5) (i32.const 0) (i32.const 150))
  (call $go_on))
(on grpc_close (call $show @"code" (local.get $code)) (call $go_on))
