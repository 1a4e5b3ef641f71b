;;! covers: refusal
;;! about: A known import with another signature.
;;! refused: proxy_get_log_level

(import "env" "proxy_get_log_level" (func $level (param i64) (result i32)))
(on request_headers (call $level (i64.const 1)))
