;;! covers: trap proxy_on_request_body
;;! about: A trap in the request's body.
;;! option: upstream-races
;;! step: POST /echo || abc
;;! expect:
;;!   # POST /echo || abc
;;!   > 503

(on request_body (unreachable))
