;;! covers: proxy_get_header_map_value
;;! about: Fields that come twice: those that Envoy has one place for are one, with a comma between.
;;! step: GET /x | authorization: one | authorization: two
;;! step: GET /x | user-agent: one | user-agent: two
;;! step: GET /x | content-type: one | content-type: two
;;! step: GET /x | origin: one | origin: two
;;! step: GET /x | accept: one | accept: two
;;! step: GET /x | referer: one | referer: two
;;! step: GET /x | accept-encoding: one | accept-encoding: two
;;! step: GET /x | if-none-match: one | if-none-match: two
;;! step: GET /x | if-match: one | if-match: two
;;! step: GET /x | if-modified-since: one | if-modified-since: two
;;! step: GET /x | if-range: one | if-range: two
;;! step: GET /x | if-unmodified-since: one | if-unmodified-since: two
;;! step: GET /x | content-encoding: one | content-encoding: two
;;! step: GET /x | via: one | via: two
;;! step: GET /x | cache-control: one | cache-control: two
;;! step: GET /x | pragma: one | pragma: two
;;! step: GET /x | grpc-timeout: one | grpc-timeout: two
;;! step: GET /x | grpc-accept-encoding: one | grpc-accept-encoding: two
;;! step: GET /x | access-control-request-method: one | access-control-request-method: two
;;! step: GET /x | access-control-request-headers: one | access-control-request-headers: two
;;! step: GET /x | access-control-request-private-network: one | access-control-request-private-network: two
;;! step: GET /x | x-api-key: one | x-api-key: two
;;! step: GET /x | x-real-ip: one | x-real-ip: two
;;! step: GET /x | range: one | range: two
;;! step: GET /x | accept-language: one | accept-language: two
;;! step: GET /x | traceparent: one | traceparent: two
;;! step: GET /x | cookie: one | cookie: two
;;! step: GET /x | warning: one | warning: two
;;! step: GET /x | x-forwarded-port: one | x-forwarded-port: two
;;! step: GET /x | x-client-trace-id: one | x-client-trace-id: two
;;! step: GET /x | cdn-loop: one | cdn-loop: two
;;! step: GET /x | x-kit-a: one | x-kit-a: two
;;! step: GET /x | authorization: one | authorization: | accept: | accept: two
;;! step: GET /again/content-type
;;! step: GET /again/cache-control
;;! step: GET /again/vary
;;! step: GET /again/etag
;;! step: GET /again/server
;;! step: GET /again/location
;;! step: GET /again/www-authenticate
;;! step: GET /again/set-cookie
;;! step: GET /again/content-encoding
;;! step: GET /again/access-control-allow-origin
;;! step: GET /again/access-control-allow-headers
;;! step: GET /again/access-control-allow-methods
;;! step: GET /again/access-control-expose-headers
;;! step: GET /again/access-control-allow-credentials
;;! step: GET /again/access-control-max-age
;;! step: GET /again/access-control-allow-private-network
;;! step: GET /again/grpc-status
;;! step: GET /again/grpc-message
;;! step: GET /again/last-modified
;;! step: GET /again/expires
;;! step: GET /again/age
;;! step: GET /again/proxy-status
;;! step: GET /again/link
;;! step: GET /again/retry-after
;;! step: GET /again/accept-ranges
;;! step: GET /again/via
;;! step: GET /again/x-envoy-attempt-count
;;! step: GET /again/x-envoy-degraded
;;! step: GET /again/x-envoy-decorator-operation
;;! expect:
;;!   # GET /x | authorization: one | authorization: two
;;!   request_headers| get 0 "authorization" = 0 "one,two"
;;!   ^ GET /x authorization="one,two"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | user-agent: one | user-agent: two
;;!   request_headers| get 0 "user-agent" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | content-type: one | content-type: two
;;!   request_headers| get 0 "content-type" = 0 "one,two"
;;!   ^ GET /x content-type="one,two"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | origin: one | origin: two
;;!   request_headers| get 0 "origin" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | accept: one | accept: two
;;!   request_headers| get 0 "accept" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | referer: one | referer: two
;;!   request_headers| get 0 "referer" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | accept-encoding: one | accept-encoding: two
;;!   request_headers| get 0 "accept-encoding" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | if-none-match: one | if-none-match: two
;;!   request_headers| get 0 "if-none-match" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | if-match: one | if-match: two
;;!   request_headers| get 0 "if-match" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | if-modified-since: one | if-modified-since: two
;;!   request_headers| get 0 "if-modified-since" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | if-range: one | if-range: two
;;!   request_headers| get 0 "if-range" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | if-unmodified-since: one | if-unmodified-since: two
;;!   request_headers| get 0 "if-unmodified-since" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | content-encoding: one | content-encoding: two
;;!   request_headers| get 0 "content-encoding" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | via: one | via: two
;;!   request_headers| get 0 "via" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | cache-control: one | cache-control: two
;;!   request_headers| get 0 "cache-control" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | pragma: one | pragma: two
;;!   request_headers| get 0 "pragma" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | grpc-timeout: one | grpc-timeout: two
;;!   request_headers| get 0 "grpc-timeout" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | grpc-accept-encoding: one | grpc-accept-encoding: two
;;!   request_headers| get 0 "grpc-accept-encoding" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | access-control-request-method: one | access-control-request-method: two
;;!   request_headers| get 0 "access-control-request-method" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | access-control-request-headers: one | access-control-request-headers: two
;;!   request_headers| get 0 "access-control-request-headers" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | access-control-request-private-network: one | access-control-request-private-network: two
;;!   request_headers| get 0 "access-control-request-private-network" = 0 "one,two"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-api-key: one | x-api-key: two
;;!   request_headers| get 0 "x-api-key" = 0 "one"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-real-ip: one | x-real-ip: two
;;!   request_headers| get 0 "x-real-ip" = 0 "one"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | range: one | range: two
;;!   request_headers| get 0 "range" = 0 "one"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | accept-language: one | accept-language: two
;;!   request_headers| get 0 "accept-language" = 0 "one"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | traceparent: one | traceparent: two
;;!   request_headers| get 0 "traceparent" = 0 "one"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | cookie: one | cookie: two
;;!   request_headers| get 0 "cookie" = 0 "one"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | warning: one | warning: two
;;!   request_headers| get 0 "warning" = 0 "one"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-forwarded-port: one | x-forwarded-port: two
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-client-trace-id: one | x-client-trace-id: two
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | cdn-loop: one | cdn-loop: two
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-a: one | x-kit-a: two
;;!   request_headers| get 0 "x-kit-a" = 0 "one"
;;!   ^ GET /x x-kit-a="one" x-kit-a="two"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | authorization: one | authorization: | accept: | accept: two
;;!   request_headers| get 0 "authorization" = 0 "one"
;;!   request_headers| get 0 "accept" = 0 "two"
;;!   ^ GET /x authorization="one"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /again/content-type
;;!   response_headers| get 2 "content-type" = 0 "one,two"
;;!   ^ GET /again/content-type
;;!   > 200 content-type="one,two" body "again"
;;!   # GET /again/cache-control
;;!   response_headers| get 2 "cache-control" = 0 "one,two"
;;!   ^ GET /again/cache-control
;;!   > 200 body "again"
;;!   # GET /again/vary
;;!   response_headers| get 2 "vary" = 0 "one,two"
;;!   ^ GET /again/vary
;;!   > 200 body "again"
;;!   # GET /again/etag
;;!   response_headers| get 2 "etag" = 0 "one,two"
;;!   ^ GET /again/etag
;;!   > 200 body "again"
;;!   # GET /again/server
;;!   response_headers| get 2 "server" = 0 "one,two"
;;!   ^ GET /again/server
;;!   > 200 body "again"
;;!   # GET /again/location
;;!   response_headers| get 2 "location" = 0 "one,two"
;;!   ^ GET /again/location
;;!   > 200 location="one,two" body "again"
;;!   # GET /again/www-authenticate
;;!   response_headers| get 2 "www-authenticate" = 0 "one"
;;!   ^ GET /again/www-authenticate
;;!   > 200 www-authenticate="one" www-authenticate="two" body "again"
;;!   # GET /again/set-cookie
;;!   response_headers| get 2 "set-cookie" = 0 "one"
;;!   ^ GET /again/set-cookie
;;!   > 200 body "again"
;;!   # GET /again/content-encoding
;;!   response_headers| get 2 "content-encoding" = 0 "one,two"
;;!   ^ GET /again/content-encoding
;;!   > 200 body "again"
;;!   # GET /again/access-control-allow-origin
;;!   response_headers| get 2 "access-control-allow-origin" = 0 "one,two"
;;!   ^ GET /again/access-control-allow-origin
;;!   > 200 body "again"
;;!   # GET /again/access-control-allow-headers
;;!   response_headers| get 2 "access-control-allow-headers" = 0 "one,two"
;;!   ^ GET /again/access-control-allow-headers
;;!   > 200 body "again"
;;!   # GET /again/access-control-allow-methods
;;!   response_headers| get 2 "access-control-allow-methods" = 0 "one,two"
;;!   ^ GET /again/access-control-allow-methods
;;!   > 200 body "again"
;;!   # GET /again/access-control-expose-headers
;;!   response_headers| get 2 "access-control-expose-headers" = 0 "one,two"
;;!   ^ GET /again/access-control-expose-headers
;;!   > 200 body "again"
;;!   # GET /again/access-control-allow-credentials
;;!   response_headers| get 2 "access-control-allow-credentials" = 0 "one,two"
;;!   ^ GET /again/access-control-allow-credentials
;;!   > 200 body "again"
;;!   # GET /again/access-control-max-age
;;!   response_headers| get 2 "access-control-max-age" = 0 "one,two"
;;!   ^ GET /again/access-control-max-age
;;!   > 200 body "again"
;;!   # GET /again/access-control-allow-private-network
;;!   response_headers| get 2 "access-control-allow-private-network" = 0 "one,two"
;;!   ^ GET /again/access-control-allow-private-network
;;!   > 200 body "again"
;;!   # GET /again/grpc-status
;;!   response_headers| get 2 "grpc-status" = 0 "one,two"
;;!   ^ GET /again/grpc-status
;;!   > 200 grpc-status="one,two" body "again"
;;!   # GET /again/grpc-message
;;!   response_headers| get 2 "grpc-message" = 0 "one,two"
;;!   ^ GET /again/grpc-message
;;!   > 200 grpc-message="one,two" body "again"
;;!   # GET /again/last-modified
;;!   response_headers| get 2 "last-modified" = 0 "one,two"
;;!   ^ GET /again/last-modified
;;!   > 200 body "again"
;;!   # GET /again/expires
;;!   response_headers| get 2 "expires" = 0 "one,two"
;;!   ^ GET /again/expires
;;!   > 200 body "again"
;;!   # GET /again/age
;;!   response_headers| get 2 "age" = 0 "one,two"
;;!   ^ GET /again/age
;;!   > 200 body "again"
;;!   # GET /again/proxy-status
;;!   response_headers| get 2 "proxy-status" = 0 "one,two"
;;!   ^ GET /again/proxy-status
;;!   > 200 body "again"
;;!   # GET /again/link
;;!   response_headers| get 2 "link" = 0 "one"
;;!   ^ GET /again/link
;;!   > 200 body "again"
;;!   # GET /again/retry-after
;;!   response_headers| get 2 "retry-after" = 0 "one"
;;!   ^ GET /again/retry-after
;;!   > 200 retry-after="one" retry-after="two" body "again"
;;!   # GET /again/accept-ranges
;;!   response_headers| get 2 "accept-ranges" = 0 "one"
;;!   ^ GET /again/accept-ranges
;;!   > 200 body "again"
;;!   # GET /again/via
;;!   ^ GET /again/via
;;!   > 200 body "again"
;;!   # GET /again/x-envoy-attempt-count
;;!   ^ GET /again/x-envoy-attempt-count
;;!   > 200 body "again"
;;!   # GET /again/x-envoy-degraded
;;!   ^ GET /again/x-envoy-degraded
;;!   > 200 body "again"
;;!   # GET /again/x-envoy-decorator-operation
;;!   ^ GET /again/x-envoy-decorator-operation
;;!   > 200 body "again"

(func $there (param $map i32) (param $k i32) (param $kn i32)
  (if (i32.eqz (call $proxy_get_header_map_value (local.get $map) (local.get $k) (local.get $kn) (i32.const 16) (i32.const 20)))
    (then (call $get (local.get $map) (local.get $k) (local.get $kn)))))

(on request_headers
  (call $there (i32.const 0) @"authorization")
  (call $there (i32.const 0) @"user-agent")
  (call $there (i32.const 0) @"content-type")
  (call $there (i32.const 0) @"origin")
  (call $there (i32.const 0) @"accept")
  (call $there (i32.const 0) @"referer")
  (call $there (i32.const 0) @"accept-encoding")
  (call $there (i32.const 0) @"if-none-match")
  (call $there (i32.const 0) @"if-match")
  (call $there (i32.const 0) @"if-modified-since")
  (call $there (i32.const 0) @"if-range")
  (call $there (i32.const 0) @"if-unmodified-since")
  (call $there (i32.const 0) @"content-encoding")
  (call $there (i32.const 0) @"via")
  (call $there (i32.const 0) @"cache-control")
  (call $there (i32.const 0) @"pragma")
  (call $there (i32.const 0) @"grpc-timeout")
  (call $there (i32.const 0) @"grpc-accept-encoding")
  (call $there (i32.const 0) @"access-control-request-method")
  (call $there (i32.const 0) @"access-control-request-headers")
  (call $there (i32.const 0) @"access-control-request-private-network")
  (call $there (i32.const 0) @"x-api-key")
  (call $there (i32.const 0) @"x-real-ip")
  (call $there (i32.const 0) @"range")
  (call $there (i32.const 0) @"accept-language")
  (call $there (i32.const 0) @"traceparent")
  (call $there (i32.const 0) @"cookie")
  (call $there (i32.const 0) @"warning")
  (call $there (i32.const 0) @"x-kit-a")
  (i32.const 0))
(on response_headers
  (call $there (i32.const 2) @"content-type")
  (call $there (i32.const 2) @"cache-control")
  (call $there (i32.const 2) @"vary")
  (call $there (i32.const 2) @"etag")
  (call $there (i32.const 2) @"server")
  (call $there (i32.const 2) @"location")
  (call $there (i32.const 2) @"www-authenticate")
  (call $there (i32.const 2) @"set-cookie")
  (call $there (i32.const 2) @"content-encoding")
  (call $there (i32.const 2) @"access-control-allow-origin")
  (call $there (i32.const 2) @"access-control-allow-headers")
  (call $there (i32.const 2) @"access-control-allow-methods")
  (call $there (i32.const 2) @"access-control-expose-headers")
  (call $there (i32.const 2) @"access-control-allow-credentials")
  (call $there (i32.const 2) @"access-control-max-age")
  (call $there (i32.const 2) @"access-control-allow-private-network")
  (call $there (i32.const 2) @"grpc-status")
  (call $there (i32.const 2) @"grpc-message")
  (call $there (i32.const 2) @"last-modified")
  (call $there (i32.const 2) @"expires")
  (call $there (i32.const 2) @"age")
  (call $there (i32.const 2) @"proxy-status")
  (call $there (i32.const 2) @"link")
  (call $there (i32.const 2) @"retry-after")
  (call $there (i32.const 2) @"accept-ranges")
  (i32.const 0))
