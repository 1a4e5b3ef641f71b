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
  (call $property_status @"xds\00node\00id")
  (call $property_status @"xds\00node\00cluster")
  (i32.const 0))
