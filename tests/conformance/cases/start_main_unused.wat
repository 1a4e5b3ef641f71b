;;! covers: main
;;! about: Without _initialize main is not looked at, whatever its type is.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| called
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func (export "main") (unreachable))
(on request_headers (call $say @"called") (i32.const 0))
