;;! covers: proxy_call_foreign_function
;;! about: A property declared twice, in a plugin and in a stream; a route chosen again where there is none to choose.
;;! deviation: properties need no declaration here, so that none is there already
;;! step: GET /x
;;! expect:
;;!   configure| declare one = 0
;;!   configure| declare one = 2
;;!   configure| clear_route_cache = 0
;;!   # GET /x
;;!   request_headers| declare one = 0
;;!   request_headers| set property one = 0
;;!   request_headers| property one = 0 "1"
;;!   request_headers| declare one = 2
;;!   request_headers| set property one = 0
;;!   request_headers| property one = 0 "2"
;;!   request_headers| clear_route_cache = 0
;;!   response_headers| clear_route_cache = 0
;;!   log| clear_route_cache = 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   configure| declare one = 0
;;!   configure| clear_route_cache = 0
;;!   # GET /x
;;!   request_headers| declare one = 0
;;!   request_headers| set property one = 0
;;!   request_headers| property one = 0 "1"
;;!   request_headers| declare one = 0
;;!   request_headers| set property one = 0
;;!   request_headers| property one = 0 "2"
;;!   request_headers| clear_route_cache = 0
;;!   response_headers| clear_route_cache = 0
;;!   log| clear_route_cache = 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $declare
  (call $show @"declare one" (call $proxy_call_foreign_function @"declare_property" @"\0a\03one" (i32.const 16) (i32.const 20))))
(on configure
  (call $declare)
  (call $declare)
  (call $show @"clear_route_cache" (call $proxy_call_foreign_function @"clear_route_cache" @"" (i32.const 16) (i32.const 20)))
  (i32.const 1))
(on request_headers
  (call $declare)
  (call $set_property @"one" @"1")
  (call $property @"one")
  (call $declare)
  (call $set_property @"one" @"2")
  (call $property @"one")
  (call $show @"clear_route_cache" (call $proxy_call_foreign_function @"clear_route_cache" @"" (i32.const 16) (i32.const 20)))
  (i32.const 0))
(on response_headers
  (call $show @"clear_route_cache" (call $proxy_call_foreign_function @"clear_route_cache" @"" (i32.const 16) (i32.const 20)))
  (i32.const 0))
(on log
  (call $show @"clear_route_cache" (call $proxy_call_foreign_function @"clear_route_cache" @"" (i32.const 16) (i32.const 20))))
