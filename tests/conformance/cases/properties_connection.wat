;;! covers: proxy_get_property
;;! about: Attributes of the connection and the peers.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| property source.address = 0 length 15
;;!   request_headers| property source.port = 0 length 8
;;!   request_headers| property destination.address = 0 "LISTENER"
;;!   request_headers| property destination.port = 0 length 8
;;!   request_headers| property connection.id = 0 length 8
;;!   request_headers| property connection_id = 0 length 8
;;!   request_headers| property connection.mtls = 0 "\00"
;;!   request_headers| property connection.requested_server_name = 0 empty
;;!   request_headers| property connection.tls_version = 1
;;!   request_headers| property connection.subject_peer_certificate = 1
;;!   request_headers| property connection.subject_local_certificate = 1
;;!   request_headers| property connection.uri_san_peer_certificate = 1
;;!   request_headers| property connection.uri_san_local_certificate = 1
;;!   request_headers| property connection.dns_san_peer_certificate = 1
;;!   request_headers| property connection.dns_san_local_certificate = 1
;;!   request_headers| property connection.sha256_peer_certificate_digest = 1
;;!   request_headers| property connection.termination_details = 1
;;!   request_headers| property upstream.address = 1
;;!   request_headers| property upstream.port = 1
;;!   request_headers| property upstream.local_address = 1
;;!   request_headers| property upstream.tls_version = 1
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.request_attempt_count = 0 0
;;!   request_headers| property source = 3
;;!   request_headers| property upstream.nosuch = 1
;;!   response_headers| property source.address = 0 length 15
;;!   response_headers| property source.port = 0 length 8
;;!   response_headers| property destination.address = 0 "LISTENER"
;;!   response_headers| property destination.port = 0 length 8
;;!   response_headers| property connection.id = 0 length 8
;;!   response_headers| property connection_id = 0 length 8
;;!   response_headers| property connection.mtls = 0 "\00"
;;!   response_headers| property connection.requested_server_name = 0 empty
;;!   response_headers| property connection.tls_version = 1
;;!   response_headers| property connection.subject_peer_certificate = 1
;;!   response_headers| property connection.subject_local_certificate = 1
;;!   response_headers| property connection.uri_san_peer_certificate = 1
;;!   response_headers| property connection.uri_san_local_certificate = 1
;;!   response_headers| property connection.dns_san_peer_certificate = 1
;;!   response_headers| property connection.dns_san_local_certificate = 1
;;!   response_headers| property connection.sha256_peer_certificate_digest = 1
;;!   response_headers| property connection.termination_details = 1
;;!   response_headers| property upstream.address = 0 "UPSTREAM"
;;!   response_headers| property upstream.port = 0 length 8
;;!   response_headers| property upstream.local_address = 0
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 empty
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property source = 3
;;!   response_headers| property upstream.nosuch = 1
;;!   log| property source.address = 0 length 15
;;!   log| property source.port = 0 length 8
;;!   log| property destination.address = 0 "LISTENER"
;;!   log| property destination.port = 0 length 8
;;!   log| property connection.id = 0 length 8
;;!   log| property connection_id = 0 length 8
;;!   log| property connection.mtls = 0 "\00"
;;!   log| property connection.requested_server_name = 0 empty
;;!   log| property connection.tls_version = 1
;;!   log| property connection.subject_peer_certificate = 1
;;!   log| property connection.subject_local_certificate = 1
;;!   log| property connection.uri_san_peer_certificate = 1
;;!   log| property connection.uri_san_local_certificate = 1
;;!   log| property connection.dns_san_peer_certificate = 1
;;!   log| property connection.dns_san_local_certificate = 1
;;!   log| property connection.sha256_peer_certificate_digest = 1
;;!   log| property connection.termination_details = 1
;;!   log| property upstream.address = 0 "UPSTREAM"
;;!   log| property upstream.port = 0 length 8
;;!   log| property upstream.local_address = 0
;;!   log| property upstream.tls_version = 1
;;!   log| property upstream.transport_failure_reason = 0 empty
;;!   log| property upstream.request_attempt_count = 0 1
;;!   log| property source = 3
;;!   log| property upstream.nosuch = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $all
  (call $property_length @"source\00address")
  (call $property_length @"source\00port")
  (call $property @"destination\00address")
  (call $property_length @"destination\00port")
  (call $property_length @"connection\00id")
  (call $property_length @"connection_id")
  (call $property @"connection\00mtls")
  (call $property @"connection\00requested_server_name")
  (call $property @"connection\00tls_version")
  (call $property @"connection\00subject_peer_certificate")
  (call $property @"connection\00subject_local_certificate")
  (call $property @"connection\00uri_san_peer_certificate")
  (call $property @"connection\00uri_san_local_certificate")
  (call $property @"connection\00dns_san_peer_certificate")
  (call $property @"connection\00dns_san_local_certificate")
  (call $property @"connection\00sha256_peer_certificate_digest")
  (call $property @"connection\00termination_details")
  (call $property @"upstream\00address")
  (call $property_length @"upstream\00port")
  (call $property_status @"upstream\00local_address")
  (call $property @"upstream\00tls_version")
  (call $property @"upstream\00transport_failure_reason")
  (call $property_number @"upstream\00request_attempt_count")
  (call $property_status @"source")
  (call $property_status @"upstream\00nosuch"))
(on request_headers (call $all) (i32.const 0))
(on response_headers (call $all) (i32.const 0))
(on log (call $all))
