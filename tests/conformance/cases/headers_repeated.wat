;;! covers: proxy_get_header_map_value proxy_add_header_map_value
;;! about: Fields that come twice: those that Envoy has one place for are one, with a comma between, also where a guest adds one.
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
  (call $add (i32.const 0) @"if-range" @"more")
  (call $get (i32.const 0) @"if-range")
  (call $add (i32.const 0) @"if-range" @"again")
  (call $get (i32.const 0) @"if-range")
  (call $add (i32.const 0) @"x-kit-a" @"more")
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
