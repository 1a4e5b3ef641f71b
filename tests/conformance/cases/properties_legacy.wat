;;! covers: proxy_get_property
;;! about: Top-level names that existing filters ask for and Envoy 1.40 no longer knows.
;;! deviation: Envoy 1.40 dropped these names, existing filters need them; both spellings are served
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| property cluster_name = 1
;;!   request_headers| property route_name = 1
;;!   request_headers| property cluster_metadata = 1
;;!   request_headers| property route_metadata = 1
;;!   request_headers| property listener_direction = 1
;;!   request_headers| property listener_metadata = 1
;;!   request_headers| property node.id = 1
;;!   response_headers| property upstream_host_metadata = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x
;;!   request_headers| property cluster_name = 0 "origin"
;;!   request_headers| property route_name = 0 "main-route"
;;!   request_headers| property cluster_metadata = 0
;;!   request_headers| property route_metadata = 0
;;!   request_headers| property listener_direction = 0 1
;;!   request_headers| property listener_metadata = 0
;;!   request_headers| property node.id = 0
;;!   response_headers| property upstream_host_metadata = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $property @"cluster_name")
  (call $property @"route_name")
  (call $property_status @"cluster_metadata")
  (call $property_status @"route_metadata")
  (call $property_number @"listener_direction")
  (call $property_status @"listener_metadata")
  (call $property_status @"node\00id")
  (i32.const 0))
(on response_headers
  (call $property_status @"upstream_host_metadata")
  (i32.const 0))
