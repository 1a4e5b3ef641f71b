;;! covers: proxy_set_effective_context
;;! about: Contexts that exist and those that do not.
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| root = 0
;;!   request_headers| get 0 "x-kit-a" = 2
;;!   request_headers| own = 0
;;!   request_headers| get 0 "x-kit-a" = 0 "1"
;;!   request_headers| unknown = 2
;;!   request_headers| get 0 "x-kit-a" = 0 "1"
;;!   request_headers| none = 0
;;!   request_headers| get 0 "x-kit-a" = 0 "1"
;;!   request_headers| remove = 0
;;!   response_headers| reply = 0
;;!   ^ GET /x
;;!   > 403 content-type="text/plain" body "zero"

(on request_headers
  (call $show @"root" (call $proxy_set_effective_context (i32.const 1)))
  (call $get (i32.const 0) @"x-kit-a")
  (call $show @"own" (call $proxy_set_effective_context (local.get $ctx)))
  (call $get (i32.const 0) @"x-kit-a")
  (call $show @"unknown" (call $proxy_set_effective_context (i32.const 99999)))
  (call $get (i32.const 0) @"x-kit-a")
  (drop (call $proxy_set_effective_context (i32.const 1)))
  (call $show @"none" (call $proxy_set_effective_context (i32.const 0)))
  (call $get (i32.const 0) @"x-kit-a")
  (call $show @"remove" (call $proxy_remove_header_map_value (i32.const 0) @"x-kit-a"))
  (i32.const 0))
(on response_headers
  (drop (call $proxy_set_effective_context (i32.const 0)))
  (call $reply (i32.const 403) @"zero")
  (i32.const 1))
