;;! covers: proxy_send_local_response
;;! about: Replies to gRPC requests whose fields say grpc-status or grpc-message twice, or nothing by it.
;;! deviation: two statuses with a comma between are none that a client reads; the last one counts
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: a status empty || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: b status twice || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: c the same twice || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: d message twice || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: e message empty || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: f empty, then one || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: g one, then empty || \x00\x00\x00\x00\x00
;;! step: h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: h a word || \x00\x00\x00\x00\x00
;;! expect:
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: a status empty || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: b status twice || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="7,5"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: c the same twice || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="16,16"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: d message twice || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="m1,m2" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: e message empty || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: f empty, then one || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="5"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: g one, then empty || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="5"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: h a word || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="abc"
;;! expect-pillion:
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: a status empty || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: b status twice || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="5"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: c the same twice || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="16"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: d message twice || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="m1,m2" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: e message empty || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-message="" grpc-status="7"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: f empty, then one || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="5"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: g one, then empty || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="5"
;;!   # h2 POST /h2/kit.Kit/Echo | content-type: application/grpc | te: trailers | x-kit-do: h a word || \x00\x00\x00\x00\x00
;;!   request_headers| reply = 0
;;!   > 200 content-type="application/grpc" grpc-status="abc"

(func $with (param $k i32) (param $kn i32) (param $a i32) (param $an i32) (param $l i32) (param $ln i32) (param $b i32) (param $bn i32)
  (local $at i32) (local $n i32)
  (call $map_begin (i32.add (i32.const 1) (i32.ne (local.get $ln) (i32.const 0))))
  (call $pair (local.get $k) (local.get $kn) (local.get $a) (local.get $an))
  (if (local.get $ln) (then (call $pair (local.get $l) (local.get $ln) (local.get $b) (local.get $bn))))
  (call $map_end)
  (local.set $n)
  (local.set $at)
  (call $show @"reply" (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (local.get $at) (local.get $n) (i32.const -1))))
(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 97)) (then (call $with @"grpc-status" @"" @"" @"")))
  (if (call $doing_is (i32.const 98)) (then (call $with @"grpc-status" @"7" @"grpc-status" @"5")))
  (if (call $doing_is (i32.const 99)) (then (call $with @"grpc-status" @"16" @"grpc-status" @"16")))
  (if (call $doing_is (i32.const 100)) (then (call $with @"grpc-message" @"m1" @"grpc-message" @"m2")))
  (if (call $doing_is (i32.const 101)) (then (call $with @"grpc-message" @"" @"" @"")))
  (if (call $doing_is (i32.const 102)) (then (call $with @"grpc-status" @"" @"grpc-status" @"5")))
  (if (call $doing_is (i32.const 103)) (then (call $with @"grpc-status" @"5" @"grpc-status" @"")))
  (if (call $doing_is (i32.const 104)) (then (call $with @"grpc-status" @"abc" @"" @"")))
  (i32.const 1))
