;;! covers: _start proxy_on_memory_allocate
;;! about: Beside _initialize and malloc, _start and proxy_on_memory_allocate are not looked at, whatever their types are.
;;! option: no-allocator
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| get 0 "x-kit-a" = 0 "1"
;;!   ^ GET /x x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(func (export "_initialize"))
(func (export "_start") (param i32) (unreachable))
(func (export "proxy_on_memory_allocate") (param i64) (result i32) (unreachable))
(func (export "malloc") (param $size i32) (result i32)
  (global.set $heap (i32.add (global.get $heap) (i32.const 4096)))
  (global.get $heap))
(on request_headers (call $get (i32.const 0) @"x-kit-a") (i32.const 0))
