;;! covers: proxy_http_call
;;! about: Calls that are refused at once: unknown cluster, missing pseudo headers, no headers, bad maps.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| unknown cluster = 2
;;!   request_headers| empty cluster = 2
;;!   request_headers| no headers = 2
;;!   request_headers| no method = 2
;;!   request_headers| no path = 2
;;!   request_headers| no authority = 2
;;!   request_headers| bad pointer = 6
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $with_pairs (param $at i32) (param $n i32) (result i32)
  (call $proxy_http_call @"origin" (local.get $at) (local.get $n) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 16)))
(on request_headers
  (call $show @"unknown cluster" (call $fetch @"nowhere" @"/" (i32.const 1000)))
  (call $show @"empty cluster" (call $fetch @"" @"/" (i32.const 1000)))
  (call $show @"no headers" (call $with_pairs (i32.const 0) (i32.const 0)))
  (call $map_begin (i32.const 2)) (call $pair @":path" @"/") (call $pair @":authority" @"kit")
  (call $show @"no method" (call $with_pairs (call $map_end)))
  (call $map_begin (i32.const 2)) (call $pair @":method" @"GET") (call $pair @":authority" @"kit")
  (call $show @"no path" (call $with_pairs (call $map_end)))
  (call $map_begin (i32.const 2)) (call $pair @":method" @"GET") (call $pair @":path" @"/")
  (call $show @"no authority" (call $with_pairs (call $map_end)))
  (call $show @"bad pointer" (call $with_pairs (i32.const 0x7ffffff0) (i32.const 16)))
  (i32.const 0))
