;;! covers: proxy_get_property
;;! about: Attributes of the connection to the upstream: over TLS, in the clear, and where none could be made.
;;! deviation: what is wrong with TLS each library says in words of its own; the body of an answer that says so is each proxy's own
;;! option: upstream-races
;;! step: GET /tls
;;! step: GET /tls
;;! step: GET /x
;;! step: GET /untrusted
;;! step: GET /no-tls
;;! step: GET /dead
;;! expect:
;;!   # GET /tls
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 empty
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "SECURE"
;;!   response_headers| property upstream.tls_version = 0 "TLSv1.3"
;;!   response_headers| property upstream.subject_local_certificate = 0 "CN=rcgen self signed cert"
;;!   response_headers| property upstream.uri_san_local_certificate = 0 "spiffe://example.org/proxy"
;;!   response_headers| property upstream.dns_san_local_certificate = 0 "localhost"
;;!   response_headers| property upstream.subject_peer_certificate = 0 "CN=rcgen self signed cert"
;;!   response_headers| property upstream.uri_san_peer_certificate = 0 "spiffe://example.org/server"
;;!   response_headers| property upstream.dns_san_peer_certificate = 0 "server.example"
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 0 length 64
;;!   response_headers| property upstream.peer_certificate = 0
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 0
;;!   log| property upstream.transport_failure_reason = 0 empty
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 0 "spiffe://example.org/proxy"
;;!   > 200 x-kit-up="tls" body "hello"
;;!   # GET /tls
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 empty
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "SECURE"
;;!   response_headers| property upstream.tls_version = 0 "TLSv1.3"
;;!   response_headers| property upstream.subject_local_certificate = 0 "CN=rcgen self signed cert"
;;!   response_headers| property upstream.uri_san_local_certificate = 0 "spiffe://example.org/proxy"
;;!   response_headers| property upstream.dns_san_local_certificate = 0 "localhost"
;;!   response_headers| property upstream.subject_peer_certificate = 0 "CN=rcgen self signed cert"
;;!   response_headers| property upstream.uri_san_peer_certificate = 0 "spiffe://example.org/server"
;;!   response_headers| property upstream.dns_san_peer_certificate = 0 "server.example"
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 0 length 64
;;!   response_headers| property upstream.peer_certificate = 0
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 0
;;!   log| property upstream.transport_failure_reason = 0 empty
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 0 "spiffe://example.org/proxy"
;;!   > 200 x-kit-up="tls" body "hello"
;;!   # GET /x
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 empty
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "UPSTREAM"
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.subject_local_certificate = 1
;;!   response_headers| property upstream.uri_san_local_certificate = 1
;;!   response_headers| property upstream.dns_san_local_certificate = 1
;;!   response_headers| property upstream.subject_peer_certificate = 1
;;!   response_headers| property upstream.uri_san_peer_certificate = 1
;;!   response_headers| property upstream.dns_san_peer_certificate = 1
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 1
;;!   response_headers| property upstream.peer_certificate = 1
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 0
;;!   log| property upstream.transport_failure_reason = 0 empty
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /untrusted
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate:TLS_error_end"
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "SECURE"
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.subject_local_certificate = 1
;;!   response_headers| property upstream.uri_san_local_certificate = 1
;;!   response_headers| property upstream.dns_san_local_certificate = 1
;;!   response_headers| property upstream.subject_peer_certificate = 1
;;!   response_headers| property upstream.uri_san_peer_certificate = 1
;;!   response_headers| property upstream.dns_san_peer_certificate = 1
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 1
;;!   response_headers| property upstream.peer_certificate = 1
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 1
;;!   log| property upstream.transport_failure_reason = 0 "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate:TLS_error_end"
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 1
;;!   > 503 content-type="text/plain" body "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
;;!   # GET /no-tls
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 "TLS_error:|268435679:SSL routines:OPENSSL_internal:UNEXPECTED_MESSAGE:TLS_error_end"
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "BYTES"
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.subject_local_certificate = 1
;;!   response_headers| property upstream.uri_san_local_certificate = 1
;;!   response_headers| property upstream.dns_san_local_certificate = 1
;;!   response_headers| property upstream.subject_peer_certificate = 1
;;!   response_headers| property upstream.uri_san_peer_certificate = 1
;;!   response_headers| property upstream.dns_san_peer_certificate = 1
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 1
;;!   response_headers| property upstream.peer_certificate = 1
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 1
;;!   log| property upstream.transport_failure_reason = 0 "TLS_error:|268435679:SSL routines:OPENSSL_internal:UNEXPECTED_MESSAGE:TLS_error_end"
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 1
;;!   > 503 content-type="text/plain" body "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
;;!   # GET /dead
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 "delayed connect error: Connection refused"
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "127.0.0.1:1"
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.subject_local_certificate = 1
;;!   response_headers| property upstream.uri_san_local_certificate = 1
;;!   response_headers| property upstream.dns_san_local_certificate = 1
;;!   response_headers| property upstream.subject_peer_certificate = 1
;;!   response_headers| property upstream.uri_san_peer_certificate = 1
;;!   response_headers| property upstream.dns_san_peer_certificate = 1
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 1
;;!   response_headers| property upstream.peer_certificate = 1
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 1
;;!   log| property upstream.transport_failure_reason = 0 "delayed connect error: Connection refused"
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 1
;;!   > 503 content-type="text/plain" body "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
;;! expect-pillion:
;;!   # GET /tls
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 empty
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "SECURE"
;;!   response_headers| property upstream.tls_version = 0 "TLSv1.3"
;;!   response_headers| property upstream.subject_local_certificate = 0 "CN=rcgen self signed cert"
;;!   response_headers| property upstream.uri_san_local_certificate = 0 "spiffe://example.org/proxy"
;;!   response_headers| property upstream.dns_san_local_certificate = 0 "localhost"
;;!   response_headers| property upstream.subject_peer_certificate = 0 "CN=rcgen self signed cert"
;;!   response_headers| property upstream.uri_san_peer_certificate = 0 "spiffe://example.org/server"
;;!   response_headers| property upstream.dns_san_peer_certificate = 0 "server.example"
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 0 length 64
;;!   response_headers| property upstream.peer_certificate = 0
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 0
;;!   log| property upstream.transport_failure_reason = 0 empty
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 0 "spiffe://example.org/proxy"
;;!   > 200 x-kit-up="tls" body "hello"
;;!   # GET /tls
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 empty
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "SECURE"
;;!   response_headers| property upstream.tls_version = 0 "TLSv1.3"
;;!   response_headers| property upstream.subject_local_certificate = 0 "CN=rcgen self signed cert"
;;!   response_headers| property upstream.uri_san_local_certificate = 0 "spiffe://example.org/proxy"
;;!   response_headers| property upstream.dns_san_local_certificate = 0 "localhost"
;;!   response_headers| property upstream.subject_peer_certificate = 0 "CN=rcgen self signed cert"
;;!   response_headers| property upstream.uri_san_peer_certificate = 0 "spiffe://example.org/server"
;;!   response_headers| property upstream.dns_san_peer_certificate = 0 "server.example"
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 0 length 64
;;!   response_headers| property upstream.peer_certificate = 0
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 0
;;!   log| property upstream.transport_failure_reason = 0 empty
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 0 "spiffe://example.org/proxy"
;;!   > 200 x-kit-up="tls" body "hello"
;;!   # GET /x
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 empty
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "UPSTREAM"
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.subject_local_certificate = 1
;;!   response_headers| property upstream.uri_san_local_certificate = 1
;;!   response_headers| property upstream.dns_san_local_certificate = 1
;;!   response_headers| property upstream.subject_peer_certificate = 1
;;!   response_headers| property upstream.uri_san_peer_certificate = 1
;;!   response_headers| property upstream.dns_san_peer_certificate = 1
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 1
;;!   response_headers| property upstream.peer_certificate = 1
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 0
;;!   log| property upstream.transport_failure_reason = 0 empty
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 1
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /untrusted
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 "TLS_error:|unknown_issuer, alert UnknownCA sent:TLS_error_end"
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "SECURE"
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.subject_local_certificate = 1
;;!   response_headers| property upstream.uri_san_local_certificate = 1
;;!   response_headers| property upstream.dns_san_local_certificate = 1
;;!   response_headers| property upstream.subject_peer_certificate = 1
;;!   response_headers| property upstream.uri_san_peer_certificate = 1
;;!   response_headers| property upstream.dns_san_peer_certificate = 1
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 1
;;!   response_headers| property upstream.peer_certificate = 1
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 1
;;!   log| property upstream.transport_failure_reason = 0 "TLS_error:|unknown_issuer, alert UnknownCA sent:TLS_error_end"
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 1
;;!   > 503 content-type="text/plain" body "upstream connect error\n"
;;!   # GET /no-tls
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 "TLS_error:|malformed, alert DecodeError sent:TLS_error_end"
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "BYTES"
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.subject_local_certificate = 1
;;!   response_headers| property upstream.uri_san_local_certificate = 1
;;!   response_headers| property upstream.dns_san_local_certificate = 1
;;!   response_headers| property upstream.subject_peer_certificate = 1
;;!   response_headers| property upstream.uri_san_peer_certificate = 1
;;!   response_headers| property upstream.dns_san_peer_certificate = 1
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 1
;;!   response_headers| property upstream.peer_certificate = 1
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 1
;;!   log| property upstream.transport_failure_reason = 0 "TLS_error:|malformed, alert DecodeError sent:TLS_error_end"
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 1
;;!   > 503 content-type="text/plain" body "upstream connect error\n"
;;!   # GET /dead
;;!   request_headers| property upstream.transport_failure_reason = 1
;;!   request_headers| property upstream.cx_pool_ready_duration = 1
;;!   response_headers| property upstream.transport_failure_reason = 0 "delayed connect error: Connection refused"
;;!   response_headers| property upstream.cx_pool_ready_duration = 0 length 8
;;!   response_headers| property upstream.address = 0 "127.0.0.1:1"
;;!   response_headers| property upstream.tls_version = 1
;;!   response_headers| property upstream.subject_local_certificate = 1
;;!   response_headers| property upstream.uri_san_local_certificate = 1
;;!   response_headers| property upstream.dns_san_local_certificate = 1
;;!   response_headers| property upstream.subject_peer_certificate = 1
;;!   response_headers| property upstream.uri_san_peer_certificate = 1
;;!   response_headers| property upstream.dns_san_peer_certificate = 1
;;!   response_headers| property upstream.sha256_peer_certificate_digest = 1
;;!   response_headers| property upstream.peer_certificate = 1
;;!   response_headers| property upstream.request_attempt_count = 0 1
;;!   response_headers| property upstream.local_address = 1
;;!   log| property upstream.transport_failure_reason = 0 "delayed connect error: Connection refused"
;;!   log| property upstream.cx_pool_ready_duration = 0 length 8
;;!   log| property upstream.uri_san_local_certificate = 1
;;!   > 503 content-type="text/plain" body "upstream connect error\n"

(func $all
  (call $property @"upstream\00address")
  (call $property @"upstream\00tls_version")
  (call $property @"upstream\00subject_local_certificate")
  (call $property @"upstream\00uri_san_local_certificate")
  (call $property @"upstream\00dns_san_local_certificate")
  (call $property @"upstream\00subject_peer_certificate")
  (call $property @"upstream\00uri_san_peer_certificate")
  (call $property @"upstream\00dns_san_peer_certificate")
  (call $property_length @"upstream\00sha256_peer_certificate_digest")
  (call $property_status @"upstream\00peer_certificate")
  (call $property_number @"upstream\00request_attempt_count")
  (call $property_status @"upstream\00local_address"))
(func $why
  (call $property @"upstream\00transport_failure_reason")
  (call $property_length @"upstream\00cx_pool_ready_duration"))
(on request_headers (call $why) (i32.const 0))
(on response_headers (call $why) (call $all) (i32.const 0))
(on log (call $why) (call $property @"upstream\00uri_san_local_certificate"))
