;;! covers: proxy_set_header_map_pairs
;;! about: Serialized maps that do not parse: a count too large, sizes beyond the end, no bytes at all.
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| pairs 0 = 0 :authority="kit" :path="/x" :method="GET" :scheme="http" x-kit-a="1"
;;!   request_headers| count beyond the end
;;!   request_headers| set pairs 0 = 0
;;!   request_headers| value beyond the end
;;!   request_headers| set pairs 0 = 0
;;!   request_headers| three bytes
;;!   request_headers| set pairs 0 = 0
;;!   > 404

(on request_headers
  (local $at i32)
  (call $list (i32.const 0))
  (call $say @"count beyond the end")
  (i32.store (i32.const 49152) (i32.const 1000))
  (call $set_pairs (i32.const 0) (i32.const 49152) (i32.const 16))
  (call $say @"value beyond the end")
  (i32.store (i32.const 49152) (i32.const 1))
  (i32.store (i32.const 49156) (i32.const 1))
  (i32.store (i32.const 49160) (i32.const 100000))
  (call $set_pairs (i32.const 0) (i32.const 49152) (i32.const 16))
  (call $say @"three bytes")
  (call $set_pairs (i32.const 0) (i32.const 49152) (i32.const 3))
  (i32.const 0))
