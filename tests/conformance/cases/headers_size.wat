;;! covers: proxy_get_header_map_size
;;! about: The size of a map counts bytes; maps that are not there.
;;! step: h2 GET /h2/ | x-kit-b: 2
;;! expect:
;;!   # h2 GET /h2/ | x-kit-b: 2
;;!   request_headers| add 0 "x-kit-more" = 0
;;!   request_headers| size = 0
;;!   request_headers| grown by = 15
;;!   request_headers| map 1 = 2
;;!   request_headers| map 2 = 2
;;!   request_headers| map 9 = 2
;;!   ^ GET / x-kit-b="2" x-kit-more="12345"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (local $before i32)
  (drop (call $proxy_get_header_map_size (i32.const 0) (i32.const 16)))
  (local.set $before (i32.load (i32.const 16)))
  (call $add (i32.const 0) @"x-kit-more" @"12345")
  (call $show @"size" (call $proxy_get_header_map_size (i32.const 0) (i32.const 16)))
  (call $show @"grown by" (i32.sub (i32.load (i32.const 16)) (local.get $before)))
  (call $show_out @"map 1" (call $proxy_get_header_map_size (i32.const 1) (i32.const 16)))
  (call $show @"map 2" (call $proxy_get_header_map_size (i32.const 2) (i32.const 16)))
  (call $show @"map 9" (call $proxy_get_header_map_size (i32.const 9) (i32.const 16)))
  (i32.const 0))
