;;! covers: trap proxy_on_downstream_data
;;! about: A trap closes the connection.
;;! option: tcp
;;! step: tcp abc
;;! expect:
;;!   # tcp abc
;;!   > closed

(on downstream_data (unreachable))
