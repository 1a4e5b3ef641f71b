;;! covers: proxy_get_header_map_pairs
;;! about: All pairs of each map in each phase; a map that is not there is empty, not an error.
;;! step: GET /twice | x-kit-b: 2 | x-kit-a: 1 | x-kit-b: 3 | X-Kit-Case: Kept
;;! expect:
;;!   # GET /twice | x-kit-b: 2 | x-kit-a: 1 | x-kit-b: 3 | X-Kit-Case: Kept
;;!   request_headers| pairs 0 = 0 :authority="kit" :path="/twice" :method="GET" :scheme="http" x-kit-b="2" x-kit-a="1" x-kit-b="3" x-kit-case="Kept"
;;!   request_headers| pairs 1 = 0 empty
;;!   request_headers| pairs 2 = 0 empty
;;!   request_headers| pairs 3 = 0 empty
;;!   request_headers| pairs 6 = 0 empty
;;!   request_headers| type 9 = 2
;;!   request_headers| bad pointer = 6
;;!   response_headers| pairs 0 = 0 empty
;;!   response_headers| pairs 2 = 0 :status="200" x-kit-rep="one" x-kit-rep="two"
;;!   log| pairs 0 = 0 :authority="kit" :path="/twice" :method="GET" :scheme="http" x-kit-b="2" x-kit-a="1" x-kit-b="3" x-kit-case="Kept"
;;!   log| pairs 2 = 0 :status="200" x-kit-rep="one" x-kit-rep="two"
;;!   ^ GET /twice x-kit-a="1" x-kit-b="2" x-kit-b="3" x-kit-case="Kept"
;;!   > 200 x-kit-rep="one" x-kit-rep="two" body "twice"

(on request_headers
  (call $list (i32.const 0))
  (call $list (i32.const 1))
  (call $list (i32.const 2))
  (call $list (i32.const 3))
  (call $list (i32.const 6))
  (call $show @"type 9" (call $proxy_get_header_map_pairs (i32.const 9) (i32.const 16) (i32.const 20)))
  (call $show @"bad pointer" (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 0x7ffffff0) (i32.const 20)))
  (i32.const 0))
(on response_headers
  (call $list (i32.const 0))
  (call $list (i32.const 2))
  (i32.const 0))
(on log
  (call $list (i32.const 0))
  (call $list (i32.const 2)))
