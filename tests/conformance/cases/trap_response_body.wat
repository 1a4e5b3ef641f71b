;;! covers: trap proxy_on_response_body
;;! about: A trap after the response's headers went out: the connection is cut.
;;! step: GET /drip
;;! expect:
;;!   # GET /drip
;;!   ^ GET /drip
;;!   > connection cut

(on response_body (unreachable))
