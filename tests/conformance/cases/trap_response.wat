;;! covers: trap proxy_on_response_headers
;;! about: A trap in the response's headers: 503 in its place.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   ^ GET /x
;;!   > 503

(on response_headers (unreachable))
