;;! covers: proxy_call_foreign_function
;;! about: Foreign functions: unknown, compress and uncompress, clear_route_cache.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| foreign nosuch = 1
;;!   request_headers| foreign  = 1
;;!   request_headers| foreign clear_route_cache = 0 empty
;;!   request_headers| compress = 0
;;!   request_headers| shorter = 1
;;!   request_headers| foreign uncompress = 0 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
;;!   request_headers| foreign uncompress = 3
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (local $at i32) (local $len i32)
  (call $foreign @"nosuch" @"x")
  (call $foreign @"" @"x")
  (call $foreign @"clear_route_cache" (i32.const 0) (i32.const 0))
  (call $clear)
  (call $show @"compress" (call $proxy_call_foreign_function @"compress" @"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" (i32.const 16) (i32.const 20)))
  (local.set $at (i32.load (i32.const 16)))
  (local.set $len (i32.load (i32.const 20)))
  (call $show @"shorter" (i32.lt_u (local.get $len) (i32.const 40)))
  (call $foreign @"uncompress" (local.get $at) (local.get $len))
  (call $foreign @"uncompress" @"not compressed")
  (i32.const 0))
