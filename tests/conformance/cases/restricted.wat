;;! covers: restriction
;;! about: Calls that the configuration does not grant answer 10, callbacks that it does not grant do not come; what Emscripten imports is there.
;;! option: restricted
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| same = 1
;;!   request_headers| get 0 "x-kit-a" = 10
;;!   ^ GET /x x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))
(import "env" "pthread_equal" (func $equal (param i32 i32) (result i32)))
(on request_headers
  (call $grown (i32.const 0))
  (call $show @"same" (call $equal (i32.const 7) (i32.const 7)))
  (call $get (i32.const 0) @"x-kit-a")
  (i32.const 0))
(on response_headers (call $say @"called") (i32.const 0))
