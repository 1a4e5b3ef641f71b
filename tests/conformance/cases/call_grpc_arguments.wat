;;! covers: proxy_grpc_call proxy_on_grpc_receive proxy_on_grpc_close
;;! about: What a unary call's service, method, metadata and timeout may be.
;;! deviation: Envoy ends a call it refuses as well (a close for a token that the guest was never given); here a refused call is not heard of. `-bin` values go without padding, as gRPC has it; a `content-type` beside gRPC's own goes nowhere, where Envoy makes one broken value of both
;;! step: GET /x | x-kit-do: a method with a space
;;! step: GET /x | x-kit-do: b method with CRLF
;;! step: GET /x | x-kit-do: c service with a space
;;! step: GET /x | x-kit-do: d value with CRLF
;;! step: GET /x | x-kit-do: e name with a space
;;! step: GET /x | x-kit-do: f name in capitals
;;! step: GET /x | x-kit-do: g no timeout
;;! step: GET /x | x-kit-do: h the longest timeout
;;! step: GET /x | x-kit-do: i empty method
;;! step: GET /x | x-kit-do: j empty service
;;! step: GET /x | x-kit-do: k empty name
;;! step: GET /x | x-kit-do: l pseudo header
;;! step: GET /x | x-kit-do: m binary
;;! step: GET /x | x-kit-do: n content type
;;! expect:
;;!   # GET /x | x-kit-do: a method with a space
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="a method with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: b method with CRLF
;;!   request_headers| call = 10
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="b method with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: c service with a space
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="c service with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: d value with CRLF
;;!   request_headers| call = 10
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="d value with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: e name with a space
;;!   request_headers| call = 10
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="e name with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: f name in capitals
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="f name in capitals"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-m="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: g no timeout
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="g no timeout"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-m="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: h the longest timeout
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="h the longest timeout"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-m="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: i empty method
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   ^ GET /x x-kit-do="i empty method"
;;!   ^ POST /kit.Kit/ content-type="application/grpc" x-kit-m="1" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: j empty service
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   ^ GET /x x-kit-do="j empty service"
;;!   ^ POST //Echo content-type="application/grpc" x-kit-m="1" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: k empty name
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="k empty name"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: l pseudo header
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   ^ GET /x x-kit-do="l pseudo header"
;;!   ^ POST /kit.Kit/Echo,/other content-type="application/grpc" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: m binary
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="m binary"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-bin="AAE="
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: n content type
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="n content type"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc,text/plain"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: a method with a space
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="a method with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: b method with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="b method with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: c service with a space
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="c service with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: d value with CRLF
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="d value with CRLF"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: e name with a space
;;!   request_headers| call = 10
;;!   ^ GET /x x-kit-do="e name with a space"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: f name in capitals
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="f name in capitals"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-m="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: g no timeout
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="g no timeout"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-m="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: h the longest timeout
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="h the longest timeout"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-m="1"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: i empty method
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   ^ GET /x x-kit-do="i empty method"
;;!   ^ POST /kit.Kit/ content-type="application/grpc" x-kit-m="1" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: j empty service
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   ^ GET /x x-kit-do="j empty service"
;;!   ^ POST //Echo content-type="application/grpc" x-kit-m="1" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: k empty name
;;!   request_headers| call = 0
;;!   grpc_close| code = 14
;;!   ^ GET /x x-kit-do="k empty name"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: l pseudo header
;;!   request_headers| call = 0
;;!   grpc_close| code = 13
;;!   ^ GET /x x-kit-do="l pseudo header"
;;!   ^ POST /kit.Kit/Echo,/other content-type="application/grpc" body "\x00\x00\x00\x00\x07message"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: m binary
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="m binary"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc" x-kit-bin="AAE"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: n content type
;;!   request_headers| call = 0
;;!   grpc_receive| size = 7
;;!   ^ GET /x x-kit-do="n content type"
;;!   ^ POST /kit.Kit/Echo content-type="application/grpc"
;;!   > 200 x-kit-up="yes" body "hello"

(global $stream (mut i32) (i32.const 0))
(global $refused (mut i32) (i32.const 0))
(func $one (param $s i32) (param $sn i32) (param $m i32) (param $mn i32) (param $k i32) (param $kn i32) (param $v i32) (param $vn i32) (param $timeout i32)
  (local $at i32) (local $n i32)
  (call $map_begin (i32.const 1))
  (call $pair (local.get $k) (local.get $kn) (local.get $v) (local.get $vn))
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (global.set $refused (call $proxy_grpc_call @"origin-h2" (local.get $s) (local.get $sn) (local.get $m) (local.get $mn)
    (local.get $at) (local.get $n) @"message" (local.get $timeout) (i32.const 16)))
  (call $show @"call" (global.get $refused)))
(global $waits (mut i32) (i32.const 0))
(func $go_on
  ;; Envoy's close of a call it refuses comes before the request waits.
  (if (i32.eqz (global.get $waits)) (then (return)))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(on request_headers
  (global.set $stream (local.get $ctx))
  (global.set $refused (i32.const 0))
  (global.set $waits (i32.const 0))
  (call $note_do)
  (if (call $doing_is (i32.const 97)) (then (call $one @"kit.Kit" @"Ec ho" @"x-kit-m" @"1" (i32.const 5000))))
  (if (call $doing_is (i32.const 98)) (then (call $one @"kit.Kit" @"Echo\0d\0a" @"x-kit-m" @"1" (i32.const 5000))))
  (if (call $doing_is (i32.const 99)) (then (call $one @"kit Kit" @"Echo" @"x-kit-m" @"1" (i32.const 5000))))
  (if (call $doing_is (i32.const 100)) (then (call $one @"kit.Kit" @"Echo" @"x-kit-m" @"1\0d\0ax-kit-n: 2" (i32.const 5000))))
  (if (call $doing_is (i32.const 101)) (then (call $one @"kit.Kit" @"Echo" @"x-kit m" @"1" (i32.const 5000))))
  (if (call $doing_is (i32.const 102)) (then (call $one @"kit.Kit" @"Echo" @"X-Kit-M" @"1" (i32.const 5000))))
  (if (call $doing_is (i32.const 103)) (then (call $one @"kit.Kit" @"Echo" @"x-kit-m" @"1" (i32.const 0))))
  (if (call $doing_is (i32.const 104)) (then (call $one @"kit.Kit" @"Echo" @"x-kit-m" @"1" (i32.const -1))))
  (if (call $doing_is (i32.const 105)) (then (call $one @"kit.Kit" @"" @"x-kit-m" @"1" (i32.const 5000))))
  (if (call $doing_is (i32.const 106)) (then (call $one @"" @"Echo" @"x-kit-m" @"1" (i32.const 5000))))
  (if (call $doing_is (i32.const 107)) (then (call $one @"kit.Kit" @"Echo" @"" @"1" (i32.const 5000))))
  (if (call $doing_is (i32.const 108)) (then (call $one @"kit.Kit" @"Echo" @":path" @"/other" (i32.const 5000))))
  (if (call $doing_is (i32.const 109)) (then (call $one @"kit.Kit" @"Echo" @"x-kit-bin" @"\00\01" (i32.const 5000))))
  (if (call $doing_is (i32.const 110)) (then (call $one @"kit.Kit" @"Echo" @"content-type" @"text/plain" (i32.const 5000))))
  (global.set $waits (i32.eqz (global.get $refused)))
  (global.get $waits))
(on grpc_receive (call $show @"size" (local.get $size)) (call $go_on))
(on grpc_close (call $show @"code" (local.get $code)) (call $go_on))
