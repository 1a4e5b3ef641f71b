;;! covers: refusal
;;! about: proc_raise, of WASI, no host has.
;;! refused: proc_raise

(import "wasi_snapshot_preview1" "proc_raise" (func $missing (param i32) (result i32)))
(on request_headers (i32.const 0))
