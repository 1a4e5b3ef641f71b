;;! covers: refusal proxy_on_vm_start
;;! about: on_vm_start that says no.
;;! refused: refuse_vm_start

(on vm_start (call $say @"no") (i32.const 0))
