;;! covers: proxy_set_property proxy_get_property
;;! about: A property set in one phase and read in others; several segments; names that are taken; outside a stream.
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   configure| set property root-key = 1
;;!   configure| property root-key = 1
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| property my-key = 1
;;!   request_headers| set property my-key = 0
;;!   request_headers| property my-key = 0 "first"
;;!   request_headers| set property my-key = 0
;;!   request_headers| property my-key = 0 "second"
;;!   request_headers| property filter_state.wasm.my-key = 0 "second"
;;!   request_headers| set property two.segments = 0
;;!   request_headers| property two.segments = 1
;;!   request_headers| set property request.path = 0
;;!   request_headers| property request.path = 0 "/x"
;;!   request_headers| set property empty = 0
;;!   request_headers| property empty = 0 empty
;;!   request_headers| bad pointer = 6
;;!   response_headers| property my-key = 0 "second"
;;!   log| property my-key = 0 "second"
;;!   ^ GET /x x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(on configure
  (call $set_property @"root-key" @"v")
  (call $property @"root-key")
  (i32.const 1))
(on request_headers
  (call $property @"my-key")
  (call $set_property @"my-key" @"first")
  (call $property @"my-key")
  (call $set_property @"my-key" @"second")
  (call $property @"my-key")
  (call $property @"filter_state\00wasm.my-key")
  (call $set_property @"two\00segments" @"x")
  (call $property @"two\00segments")
  (call $set_property @"request\00path" @"/other")
  (call $property @"request\00path")
  (call $set_property @"empty" (i32.const 0) (i32.const 0))
  (call $property @"empty")
  (call $show @"bad pointer" (call $proxy_set_property (i32.const 0x7ffffff0) (i32.const 16) @"x"))
  (i32.const 0))
(on response_headers (call $property @"my-key") (i32.const 0))
(on log (call $property @"my-key"))
