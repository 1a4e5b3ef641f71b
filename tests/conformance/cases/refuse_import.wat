;;! covers: refusal
;;! about: An import no host has: named when it is loaded.
;;! refused: proxy_make_coffee

(import "env" "proxy_make_coffee" (func $coffee (param i32) (result i32)))
(on request_headers (call $coffee (i32.const 1)))
