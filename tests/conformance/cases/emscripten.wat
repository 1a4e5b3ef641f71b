;;! covers: emscripten_notify_memory_growth pthread_equal
;;! about: What Emscripten's libraries import beside WASI, the first also before anything of the ABI is there.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| same = 1
;;!   request_headers| other = 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))
(import "env" "pthread_equal" (func $equal (param i32 i32) (result i32)))
(func $shown
  (call $grown (i32.const 0))
  (call $grown (i32.const -1))
  (call $show @"same" (call $equal (i32.const 7) (i32.const 7)))
  (call $show @"other" (call $equal (i32.const 7) (i32.const -7))))
(func (export "_initialize") (call $grown (i32.const 0)))
(on request_headers
  (call $shown)
  (i32.const 0))
