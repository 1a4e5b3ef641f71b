;;! covers: proxy_on_foreign_function
;;! about: A guest may export the callback; no function of the host calls it by itself.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| called
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on foreign_function (call $say @"called"))
(on request_headers (call $say @"called") (i32.const 0))
