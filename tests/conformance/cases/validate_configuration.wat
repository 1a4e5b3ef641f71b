;;! covers: proxy_validate_configuration
;;! about: What the SDKs of C++ and AssemblyScript export to check a plugin is never asked: one that would say no serves.
;;! step: GET /x
;;! expect:
;;!   configure| yes
;;!   # GET /x
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func (export "proxy_validate_configuration") (param i32 i32) (result i32) (call $say @"no") (i32.const 0))
(on configure (call $say @"yes") (i32.const 1))
(on request_headers (i32.const 0))
