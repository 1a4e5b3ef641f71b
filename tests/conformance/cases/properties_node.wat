;;! covers: proxy_get_property
;;! about: The node's attributes.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| property xds.node.id = 0 "kit-node"
;;!   request_headers| property xds.node.cluster = 0 "kit-cluster"
;;!   request_headers| property xds.node.metadata.NAME = 0 "kit"
;;!   request_headers| property xds.node.metadata.LABELS.app = 0 "k"
;;!   request_headers| property xds.node.metadata.PORT = 0 length 8
;;!   request_headers| property xds.node.metadata.READY = 0 length 1
;;!   request_headers| property xds.node.metadata.LABELS = 0 length 18
;;!   request_headers| property xds.node.metadata.ZONES = 0 length 26
;;!   request_headers| property xds.node.metadata.ZONES.1 = 0 "b"
;;!   request_headers| property xds.node.metadata.ZONES.2 = 1
;;!   request_headers| property xds.node.metadata.ZONES.x = 1
;;!   request_headers| property xds.node.metadata = 0 length 134
;;!   request_headers| property xds.node.metadata.NOBODY = 1
;;!   request_headers| property xds.node.nosuch = 1
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
  (call $property @"xds\00node\00metadata\00ZONES\001")
  (call $property @"xds\00node\00metadata\00ZONES\002")
  (call $property @"xds\00node\00metadata\00ZONES\00x")
  (call $property_length @"xds\00node\00metadata")
  (call $property @"xds\00node\00metadata\00NOBODY")
  (call $property @"xds\00node\00nosuch")
  (i32.const 0))
