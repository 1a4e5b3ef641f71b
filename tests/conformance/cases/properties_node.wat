;;! covers: proxy_get_property
;;! about: The node's attributes.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| property xds.node.id = 0
;;!   request_headers| property xds.node.cluster = 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $property @"xds\00node\00id")
  (call $property @"xds\00node\00cluster")
  (call $property @"xds\00node\00metadata\00NAME")
  (call $property @"xds\00node\00metadata\00LABELS\00app")
  (call $property_length @"xds\00node\00metadata\00PORT")
  (call $property_length @"xds\00node\00metadata\00READY")
  (call $property_length @"xds\00node\00metadata\00LABELS")
  (call $property_length @"xds\00node\00metadata\00ZONES")
  (call $property_length @"xds\00node\00metadata")
  (call $property @"xds\00node\00metadata\00NOBODY")
  (call $property @"xds\00node\00nosuch")
  (i32.const 0))
