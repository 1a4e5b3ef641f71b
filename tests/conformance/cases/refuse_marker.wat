;;! covers: refusal proxy_abi_version
;;! about: A module without a version marker.
;;! option: no-marker
;;! refused: refuse_marker

(on request_headers (i32.const 0))
