;;! covers: refusal
;;! about: path_symlink, of WASI, no host has.
;;! refused: path_symlink

(import "wasi_snapshot_preview1" "path_symlink" (func $missing (param i32 i32 i32 i32 i32) (result i32)))
(on request_headers (i32.const 0))
