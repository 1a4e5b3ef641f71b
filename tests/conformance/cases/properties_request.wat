;;! covers: proxy_get_property
;;! about: Attributes of the request in the request's headers, in the response's, and in the log.
;;! step: POST /p/a?q=1 | x-kit-a: tv | referer: http://ref | user-agent: UA || abc
;;! expect:
;;!   # POST /p/a?q=1 | x-kit-a: tv | referer: http://ref | user-agent: UA || abc
;;!   request_headers| property request.path = 0 "/p/a?q=1"
;;!   request_headers| property request.url_path = 0 "/p/a"
;;!   request_headers| property request.query = 0 "q=1"
;;!   request_headers| property request.host = 0 "kit"
;;!   request_headers| property request.scheme = 0 "http"
;;!   request_headers| property request.method = 0 "POST"
;;!   request_headers| property request.referer = 0 "http://ref"
;;!   request_headers| property request.useragent = 0 "UA"
;;!   request_headers| property request.protocol = 0 "HTTP/1.1"
;;!   request_headers| property request.headers.x-kit-a = 0 "tv"
;;!   request_headers| property request.headers.X-Kit-A = 0 "tv"
;;!   request_headers| property request.headers.x-kit-none = 1
;;!   request_headers| property request.size = 0 3
;;!   request_headers| property request.time = 0 length 8
;;!   request_headers| property request.duration = 1
;;!   request_headers| property request.id = 1
;;!   request_headers| property request.nosuch = 1
;;!   request_headers| property request = 3
;;!   request_headers| property nosuch.thing = 1
;;!   request_headers| property  = 3
;;!   response_headers| property request.path = 1
;;!   response_headers| property request.url_path = 1
;;!   response_headers| property request.query = 1
;;!   response_headers| property request.host = 1
;;!   response_headers| property request.scheme = 1
;;!   response_headers| property request.method = 1
;;!   response_headers| property request.referer = 1
;;!   response_headers| property request.useragent = 1
;;!   response_headers| property request.protocol = 0 "HTTP/1.1"
;;!   response_headers| property request.headers.x-kit-a = 1
;;!   response_headers| property request.headers.X-Kit-A = 1
;;!   response_headers| property request.headers.x-kit-none = 1
;;!   response_headers| property request.size = 0 3
;;!   response_headers| property request.time = 0 length 8
;;!   response_headers| property request.duration = 1
;;!   response_headers| property request.id = 1
;;!   response_headers| property request.nosuch = 1
;;!   response_headers| property request = 3
;;!   response_headers| property nosuch.thing = 1
;;!   response_headers| property  = 3
;;!   log| property request.path = 0 "/p/a?q=1"
;;!   log| property request.url_path = 0 "/p/a"
;;!   log| property request.query = 0 "q=1"
;;!   log| property request.host = 0 "kit"
;;!   log| property request.scheme = 0 "http"
;;!   log| property request.method = 0 "POST"
;;!   log| property request.referer = 0 "http://ref"
;;!   log| property request.useragent = 0 "UA"
;;!   log| property request.protocol = 0 "HTTP/1.1"
;;!   log| property request.headers.x-kit-a = 0 "tv"
;;!   log| property request.headers.X-Kit-A = 0 "tv"
;;!   log| property request.headers.x-kit-none = 1
;;!   log| property request.size = 0 3
;;!   log| property request.time = 0 length 8
;;!   log| property request.duration = 0 length 8
;;!   log| property request.id = 1
;;!   log| property request.nosuch = 1
;;!   log| property request = 3
;;!   log| property nosuch.thing = 1
;;!   log| property  = 3
;;!   ^ POST /p/a?q=1 x-kit-a="tv" body "abc"
;;!   > 200 x-kit-up="yes" body "hello"

(func $all
  (call $property @"request\00path")
  (call $property @"request\00url_path")
  (call $property @"request\00query")
  (call $property @"request\00host")
  (call $property @"request\00scheme")
  (call $property @"request\00method")
  (call $property @"request\00referer")
  (call $property @"request\00useragent")
  (call $property @"request\00protocol")
  (call $property @"request\00headers\00x-kit-a")
  (call $property @"request\00headers\00X-Kit-A")
  (call $property @"request\00headers\00x-kit-none")
  (call $property_number @"request\00size")
  (call $property_length @"request\00time")
  (call $property_length @"request\00duration")
  (call $property_status @"request\00id")
  (call $property_status @"request\00nosuch")
  (call $property_status @"request")
  (call $property_status @"nosuch\00thing")
  (call $property_status @""))
(on request_headers (call $all) (i32.const 0))
(on response_headers (call $all) (i32.const 0))
(on log (call $all))
