;;! covers: refusal proxy_validate_configuration
;;! about: It is never called, but of another type it is as wrong as any.
;;! refused: proxy_validate_configuration

(func (export "proxy_validate_configuration") (param i64) (result i32) (i32.const 1))
