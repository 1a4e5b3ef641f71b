;;! covers: refusal proxy_on_request_headers
;;! about: A callback with another signature.
;;! refused: proxy_on_request_headers

(func (export "proxy_on_request_headers") (param i64) (result i32) (i32.const 0))
