;; A guest that misbehaves as its configuration's first letter says: T traps on every tenth request, S spins, L takes 1 MiB.
(module
  (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $does (mut i32) (i32.const 0))
  (global $requests (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $buffer (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)))
    (global.set $does (i32.load8_u (i32.load (i32.const 0))))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $requests (i32.add (global.get $requests) (i32.const 1)))
    (if (i32.eq (global.get $does) (i32.const 0x54)) ;; T
      (then (if (i32.eqz (i32.rem_u (global.get $requests) (i32.const 10))) (then (unreachable)))))
    (if (i32.eq (global.get $does) (i32.const 0x53)) ;; S
      (then (loop $for_ever (br $for_ever))))
    (if (i32.eq (global.get $does) (i32.const 0x4c)) ;; L
      (then
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
        ;; Every page is touched: what is not is not resident.
        (memory.fill
          (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1048576)) (i32.const 1) (i32.const 1048576))))
    (i32.const 0)))
