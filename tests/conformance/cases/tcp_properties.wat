;;! covers: proxy_get_property proxy_on_new_connection
;;! about: Attributes of a connection without HTTP.
;;! option: tcp
;;! step: tcp abc
;;! expect:
;;!   # tcp abc
;;!   new_connection| property source.address = 0 length 15
;;!   new_connection| property destination.address = 0 "LISTENER"
;;!   new_connection| property connection.mtls = 0 "\00"
;;!   new_connection| property request.path = 1
;;!   new_connection| property connection.id = 0
;;!   upstream_data| property upstream.address = 0 "BYTES"
;;!   upstream_data| property upstream.local_address = 0 length 15
;;!   upstream_data| property xds.cluster_name = 0 "bytes"
;;!   upstream_data| property upstream.transport_failure_reason = 0 empty
;;!   upstream_data| property upstream.cx_pool_ready_duration = 0 length 8
;;!   upstream_data| property upstream.request_attempt_count = 0 1
;;!   upstream_data| property upstream.address = 0 "BYTES"
;;!   upstream_data| property upstream.local_address = 0 length 15
;;!   upstream_data| property xds.cluster_name = 0 "bytes"
;;!   upstream_data| property upstream.transport_failure_reason = 0 empty
;;!   upstream_data| property upstream.cx_pool_ready_duration = 0 length 8
;;!   upstream_data| property upstream.request_attempt_count = 0 1
;;!   > "ABC"

(on new_connection
  (call $property_length @"source\00address")
  (call $property @"destination\00address")
  (call $property @"connection\00mtls")
  (call $property_status @"request\00path")
  (call $property_status @"connection\00id")
  (i32.const 0))
(on upstream_data
  (call $property @"upstream\00address")
  (call $property_length @"upstream\00local_address")
  (call $property @"xds\00cluster_name")
  (call $property @"upstream\00transport_failure_reason")
  (call $property_length @"upstream\00cx_pool_ready_duration")
  (call $property_number @"upstream\00request_attempt_count")
  (i32.const 0))
