;;! covers: refusal proxy_on_configure
;;! about: on_configure that says no.
;;! refused: refuse_configure

(on configure (call $say @"no") (i32.const 0))
