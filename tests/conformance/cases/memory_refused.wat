;;! covers: proxy_on_memory_allocate
;;! about: An allocator that has nothing to give: the call fails, the stream goes on.
;;! option: no-allocator
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| get 0 "x-kit-a" = 6
;;!   ^ GET /x x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (i32.const 0))
(on request_headers (call $get (i32.const 0) @"x-kit-a") (i32.const 0))
