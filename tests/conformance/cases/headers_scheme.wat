;;! covers: proxy_replace_header_map_value proxy_remove_header_map_value
;;! about: What an HTTP/2 server is told of the scheme that a filter makes of a request's.
;;! deviation: a request that came by HTTP/1 goes on by the scheme of the connection that it goes on, whatever its `:scheme` became
;;! step: GET /h2/scheme | x-kit-do: a kept
;;! step: GET /h2/scheme | x-kit-do: b https
;;! step: GET /h2/scheme | x-kit-do: c another
;;! step: GET /h2/scheme | x-kit-do: d removed
;;! step: h2 GET /h2/scheme | x-kit-do: a kept
;;! step: h2 GET /h2/scheme | x-kit-do: b https
;;! step: h2 GET /h2/scheme | x-kit-do: c another
;;! step: h2 GET /h2/scheme | x-kit-do: d removed
;;! step: h2 GET /h2/scheme | x-kit-do: e empty
;;! expect:
;;!   # GET /h2/scheme | x-kit-do: a kept
;;!   request_headers| get 0 ":scheme" = 0 "http"
;;!   ^ GET /scheme x-kit-do="a kept"
;;!   > 200 body "http"
;;!   # GET /h2/scheme | x-kit-do: b https
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 "https"
;;!   ^ GET /scheme x-kit-do="b https"
;;!   > 200 body "https"
;;!   # GET /h2/scheme | x-kit-do: c another
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 "ftp"
;;!   ^ GET /scheme x-kit-do="c another"
;;!   > 200 body "http"
;;!   # GET /h2/scheme | x-kit-do: d removed
;;!   request_headers| remove 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 1
;;!   ^ GET /scheme x-kit-do="d removed"
;;!   > 200 body "http"
;;!   # h2 GET /h2/scheme | x-kit-do: a kept
;;!   request_headers| get 0 ":scheme" = 0 "http"
;;!   ^ GET /scheme x-kit-do="a kept"
;;!   > 200 body "http"
;;!   # h2 GET /h2/scheme | x-kit-do: b https
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 "https"
;;!   ^ GET /scheme x-kit-do="b https"
;;!   > 200 body "https"
;;!   # h2 GET /h2/scheme | x-kit-do: c another
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 "ftp"
;;!   ^ GET /scheme x-kit-do="c another"
;;!   > 200 body "http"
;;!   # h2 GET /h2/scheme | x-kit-do: d removed
;;!   request_headers| remove 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 1
;;!   ^ GET /scheme x-kit-do="d removed"
;;!   > 200 body "http"
;;!   # h2 GET /h2/scheme | x-kit-do: e empty
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 empty
;;!   ^ GET /scheme x-kit-do="e empty"
;;!   > 200 body "http"
;;! expect-pillion:
;;!   # GET /h2/scheme | x-kit-do: a kept
;;!   request_headers| get 0 ":scheme" = 0 "http"
;;!   ^ GET /scheme x-kit-do="a kept"
;;!   > 200 body "http"
;;!   # GET /h2/scheme | x-kit-do: b https
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 "https"
;;!   ^ GET /scheme x-kit-do="b https"
;;!   > 200 body "http"
;;!   # GET /h2/scheme | x-kit-do: c another
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 "ftp"
;;!   ^ GET /scheme x-kit-do="c another"
;;!   > 200 body "http"
;;!   # GET /h2/scheme | x-kit-do: d removed
;;!   request_headers| remove 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 1
;;!   ^ GET /scheme x-kit-do="d removed"
;;!   > 200 body "http"
;;!   # h2 GET /h2/scheme | x-kit-do: a kept
;;!   request_headers| get 0 ":scheme" = 0 "http"
;;!   ^ GET /scheme x-kit-do="a kept"
;;!   > 200 body "http"
;;!   # h2 GET /h2/scheme | x-kit-do: b https
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 "https"
;;!   ^ GET /scheme x-kit-do="b https"
;;!   > 200 body "https"
;;!   # h2 GET /h2/scheme | x-kit-do: c another
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 "ftp"
;;!   ^ GET /scheme x-kit-do="c another"
;;!   > 200 body "http"
;;!   # h2 GET /h2/scheme | x-kit-do: d removed
;;!   request_headers| remove 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 1
;;!   ^ GET /scheme x-kit-do="d removed"
;;!   > 200 body "http"
;;!   # h2 GET /h2/scheme | x-kit-do: e empty
;;!   request_headers| replace 0 ":scheme" = 0
;;!   request_headers| get 0 ":scheme" = 0 empty
;;!   ^ GET /scheme x-kit-do="e empty"
;;!   > 200 body "http"

(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 98)) (then (call $replace (i32.const 0) @":scheme" @"https")))
  (if (call $doing_is (i32.const 99)) (then (call $replace (i32.const 0) @":scheme" @"ftp")))
  (if (call $doing_is (i32.const 100)) (then (call $remove (i32.const 0) @":scheme")))
  (if (call $doing_is (i32.const 101)) (then (call $replace (i32.const 0) @":scheme" @"")))
  (call $get (i32.const 0) @":scheme")
  (i32.const 0))
