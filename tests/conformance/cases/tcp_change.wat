;;! covers: proxy_set_buffer_bytes proxy_on_downstream_data proxy_on_upstream_data
;;! about: Bytes changed both ways.
;;! option: tcp
;;! step: tcp abc
;;! expect:
;;!   # tcp abc
;;!   downstream_data| set buffer 2 0+0 = 0
;;!   upstream_data| set buffer 3 0+4 = 0
;;!   > "replaced"

(on downstream_data (if (local.get $size) (then (call $set_buffer (i32.const 2) (i32.const 0) (i32.const 0) @"x"))) (i32.const 0))
(on upstream_data (if (local.get $size) (then (call $set_buffer (i32.const 3) (i32.const 0) (local.get $size) @"replaced"))) (i32.const 0))
