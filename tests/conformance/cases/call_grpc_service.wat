;;! covers: proxy_grpc_call proxy_on_grpc_receive
;;! about: A gRPC service as Envoy's message, `envoy.config.core.v3.GrpcService`: its cluster, its initial metadata behind the guest's.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-m="mval"
;;!   > 200 x-kit-up="yes" body "hello"

(func $call (param $service i32) (param $sn i32) (param $method i32) (param $mn i32) (result i32)
  (call $proxy_grpc_call (local.get $service) (local.get $sn) @"kit.Kit" (local.get $method) (local.get $mn)
    (i32.const 0) (i32.const 0) @"message" (i32.const 5000) (i32.const 16)))
(global $stream (mut i32) (i32.const 0))
(on request_headers
  (global.set $stream (local.get $ctx))
  ;; envoy_grpc { cluster_name: "origin-h2", authority: "my.auth" }, initial_metadata { key: "x-kit-m", value: "mval" }
  (call $show @"call"
    (call $call @"\0a\14\0a\09origin-h2\12\07my.auth\2a\0f\0a\07x-kit-m\12\04mval" @"Echo"))
  (i32.const 1))
(on grpc_receive
  (call $show @"size" (local.get $size))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
