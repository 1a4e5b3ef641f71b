;;! covers: refusal proxy_on_memory_allocate
;;! about: A module that exports no allocator.
;;! option: no-allocator
;;! refused: refuse_allocator

(on request_headers (i32.const 0))
