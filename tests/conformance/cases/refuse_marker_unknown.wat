;;! covers: refusal proxy_abi_version
;;! about: A version nobody knows.
;;! abi: 0_3_0
;;! refused: refuse_marker_unknown

(on request_headers (i32.const 0))
