;;! covers: proxy_get_property
;;! about: Attributes of what was configured, in each phase: which are there, and how long.
;;! step: GET /x
;;! expect:
;;!   configure| property xds = 3
;;!   configure| property xds.nosuch = 1
;;!   configure| property xds.cluster_name = 1
;;!   configure| property xds.cluster_metadata = 1
;;!   configure| property xds.cluster_metadata.filter_metadata = 1
;;!   configure| property xds.route_name = 1
;;!   configure| property xds.route_metadata = 1
;;!   configure| property xds.route_metadata.filter_metadata = 1
;;!   configure| property xds.virtual_host_metadata = 1
;;!   configure| property xds.upstream_host_metadata = 1
;;!   configure| property xds.upstream_host_metadata.filter_metadata = 1
;;!   configure| property xds.upstream_host_locality_metadata = 1
;;!   configure| property xds.filter_chain_name = 1
;;!   configure| property xds.listener_metadata = 1
;;!   configure| property xds.listener_metadata.filter_metadata = 1
;;!   configure| property xds.listener_direction = 1
;;!   configure| property xds.route_name.x = 1
;;!   configure| property xds.node.locality = 0 length 0
;;!   configure| property xds.node.locality.zone = 0 length 0
;;!   configure| property xds.node.locality.region = 0 length 0
;;!   configure| property xds.node.metadata.NAME.x = 1
;;!   configure| property upstream = 1
;;!   configure| property upstream.locality = 1
;;!   configure| property upstream.locality.zone = 1
;;!   configure| property upstream.zone = 1
;;!   configure| property upstream.id = 1
;;!   configure| property filter_state = 1
;;!   configure| property filter_state.nosuch = 1
;;!   configure| property upstream_filter_state = 1
;;!   configure| property upstream_filter_state.nosuch = 1
;;!   configure| property metadata = 1
;;!   configure| property metadata.filter_metadata = 1
;;!   configure| property metadata.filter_metadata.nosuch = 1
;;!   configure| property metadata.typed_filter_metadata = 1
;;!   configure| property plugin_name.x = 1
;;!   configure| property request.path.x = 1
;;!   configure| property request.headers.x-kit-do.x = 1
;;!   configure| property response.code_details.x = 1
;;!   configure| property  = 3
;;!   # GET /x
;;!   request_headers| property xds = 3
;;!   request_headers| property xds.nosuch = 1
;;!   request_headers| property xds.cluster_name = 0 length 6
;;!   request_headers| property xds.cluster_metadata = 0 length 0
;;!   request_headers| property xds.cluster_metadata.filter_metadata = 0 length 4
;;!   request_headers| property xds.route_name = 0 length 10
;;!   request_headers| property xds.route_metadata = 0 length 0
;;!   request_headers| property xds.route_metadata.filter_metadata = 0 length 4
;;!   request_headers| property xds.virtual_host_metadata = 0 length 0
;;!   request_headers| property xds.upstream_host_metadata = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata = 1
;;!   request_headers| property xds.upstream_host_locality_metadata = 1
;;!   request_headers| property xds.filter_chain_name = 0 length 0
;;!   request_headers| property xds.listener_metadata = 0 length 0
;;!   request_headers| property xds.listener_metadata.filter_metadata = 0 length 4
;;!   request_headers| property xds.listener_direction = 0 length 8
;;!   request_headers| property xds.route_name.x = 1
;;!   request_headers| property xds.node.locality = 0 length 0
;;!   request_headers| property xds.node.locality.zone = 0 length 0
;;!   request_headers| property xds.node.locality.region = 0 length 0
;;!   request_headers| property xds.node.metadata.NAME.x = 1
;;!   request_headers| property upstream = 3
;;!   request_headers| property upstream.locality = 1
;;!   request_headers| property upstream.locality.zone = 1
;;!   request_headers| property upstream.zone = 1
;;!   request_headers| property upstream.id = 1
;;!   request_headers| property filter_state = 3
;;!   request_headers| property filter_state.nosuch = 1
;;!   request_headers| property upstream_filter_state = 1
;;!   request_headers| property upstream_filter_state.nosuch = 1
;;!   request_headers| property metadata = 0 length 0
;;!   request_headers| property metadata.filter_metadata = 0 length 4
;;!   request_headers| property metadata.filter_metadata.nosuch = 1
;;!   request_headers| property metadata.typed_filter_metadata = 0 length 4
;;!   request_headers| property plugin_name.x = 1
;;!   request_headers| property request.path.x = 1
;;!   request_headers| property request.headers.x-kit-do.x = 1
;;!   request_headers| property response.code_details.x = 1
;;!   request_headers| property  = 3
;;!   response_headers| property xds = 3
;;!   response_headers| property xds.nosuch = 1
;;!   response_headers| property xds.cluster_name = 0 length 6
;;!   response_headers| property xds.cluster_metadata = 0 length 0
;;!   response_headers| property xds.cluster_metadata.filter_metadata = 0 length 4
;;!   response_headers| property xds.route_name = 0 length 10
;;!   response_headers| property xds.route_metadata = 0 length 0
;;!   response_headers| property xds.route_metadata.filter_metadata = 0 length 4
;;!   response_headers| property xds.virtual_host_metadata = 0 length 0
;;!   response_headers| property xds.upstream_host_metadata = 3
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata = 1
;;!   response_headers| property xds.upstream_host_locality_metadata = 3
;;!   response_headers| property xds.filter_chain_name = 0 length 0
;;!   response_headers| property xds.listener_metadata = 0 length 0
;;!   response_headers| property xds.listener_metadata.filter_metadata = 0 length 4
;;!   response_headers| property xds.listener_direction = 0 length 8
;;!   response_headers| property xds.route_name.x = 1
;;!   response_headers| property xds.node.locality = 0 length 0
;;!   response_headers| property xds.node.locality.zone = 0 length 0
;;!   response_headers| property xds.node.locality.region = 0 length 0
;;!   response_headers| property xds.node.metadata.NAME.x = 1
;;!   response_headers| property upstream = 3
;;!   response_headers| property upstream.locality = 0 length 0
;;!   response_headers| property upstream.locality.zone = 0 length 0
;;!   response_headers| property upstream.zone = 1
;;!   response_headers| property upstream.id = 1
;;!   response_headers| property filter_state = 3
;;!   response_headers| property filter_state.nosuch = 1
;;!   response_headers| property upstream_filter_state = 3
;;!   response_headers| property upstream_filter_state.nosuch = 1
;;!   response_headers| property metadata = 0 length 0
;;!   response_headers| property metadata.filter_metadata = 0 length 4
;;!   response_headers| property metadata.filter_metadata.nosuch = 1
;;!   response_headers| property metadata.typed_filter_metadata = 0 length 4
;;!   response_headers| property plugin_name.x = 1
;;!   response_headers| property request.path.x = 1
;;!   response_headers| property request.headers.x-kit-do.x = 1
;;!   response_headers| property response.code_details.x = 1
;;!   response_headers| property  = 3
;;!   log| property xds = 3
;;!   log| property xds.nosuch = 1
;;!   log| property xds.cluster_name = 0 length 6
;;!   log| property xds.cluster_metadata = 0 length 0
;;!   log| property xds.cluster_metadata.filter_metadata = 0 length 4
;;!   log| property xds.route_name = 0 length 10
;;!   log| property xds.route_metadata = 0 length 0
;;!   log| property xds.route_metadata.filter_metadata = 0 length 4
;;!   log| property xds.virtual_host_metadata = 0 length 0
;;!   log| property xds.upstream_host_metadata = 3
;;!   log| property xds.upstream_host_metadata.filter_metadata = 1
;;!   log| property xds.upstream_host_locality_metadata = 3
;;!   log| property xds.filter_chain_name = 0 length 0
;;!   log| property xds.listener_metadata = 0 length 0
;;!   log| property xds.listener_metadata.filter_metadata = 0 length 4
;;!   log| property xds.listener_direction = 0 length 8
;;!   log| property xds.route_name.x = 1
;;!   log| property xds.node.locality = 0 length 0
;;!   log| property xds.node.locality.zone = 0 length 0
;;!   log| property xds.node.locality.region = 0 length 0
;;!   log| property xds.node.metadata.NAME.x = 1
;;!   log| property upstream = 3
;;!   log| property upstream.locality = 0 length 0
;;!   log| property upstream.locality.zone = 0 length 0
;;!   log| property upstream.zone = 1
;;!   log| property upstream.id = 1
;;!   log| property filter_state = 3
;;!   log| property filter_state.nosuch = 1
;;!   log| property upstream_filter_state = 3
;;!   log| property upstream_filter_state.nosuch = 1
;;!   log| property metadata = 0 length 0
;;!   log| property metadata.filter_metadata = 0 length 4
;;!   log| property metadata.filter_metadata.nosuch = 1
;;!   log| property metadata.typed_filter_metadata = 0 length 4
;;!   log| property plugin_name.x = 1
;;!   log| property request.path.x = 1
;;!   log| property request.headers.x-kit-do.x = 1
;;!   log| property response.code_details.x = 1
;;!   log| property  = 3
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $all
  (call $property_length @"xds")
  (call $property_length @"xds\00nosuch")
  (call $property_length @"xds\00cluster_name")
  (call $property_length @"xds\00cluster_metadata")
  (call $property_length @"xds\00cluster_metadata\00filter_metadata")
  (call $property_length @"xds\00route_name")
  (call $property_length @"xds\00route_metadata")
  (call $property_length @"xds\00route_metadata\00filter_metadata")
  (call $property_length @"xds\00virtual_host_metadata")
  (call $property_length @"xds\00upstream_host_metadata")
  (call $property_length @"xds\00upstream_host_metadata\00filter_metadata")
  (call $property_length @"xds\00upstream_host_locality_metadata")
  (call $property_length @"xds\00filter_chain_name")
  (call $property_length @"xds\00listener_metadata")
  (call $property_length @"xds\00listener_metadata\00filter_metadata")
  (call $property_length @"xds\00listener_direction")
  (call $property_length @"xds\00route_name\00x")
  (call $property_length @"xds\00node\00locality")
  (call $property_length @"xds\00node\00locality\00zone")
  (call $property_length @"xds\00node\00locality\00region")
  (call $property_length @"xds\00node\00metadata\00NAME\00x")
  (call $property_length @"upstream")
  (call $property_length @"upstream\00locality")
  (call $property_length @"upstream\00locality\00zone")
  (call $property_length @"upstream\00zone")
  (call $property_length @"upstream\00id")
  (call $property_length @"filter_state")
  (call $property_length @"filter_state\00nosuch")
  (call $property_length @"upstream_filter_state")
  (call $property_length @"upstream_filter_state\00nosuch")
  (call $property_length @"metadata")
  (call $property_length @"metadata\00filter_metadata")
  (call $property_length @"metadata\00filter_metadata\00nosuch")
  (call $property_length @"metadata\00typed_filter_metadata")
  (call $property_length @"plugin_name\00x")
  (call $property_length @"request\00path\00x")
  (call $property_length @"request\00headers\00x-kit-do\00x")
  (call $property_length @"response\00code_details\00x")
  (call $property_length @"")
  )
(on configure (call $all) (i32.const 1))
(on request_headers (call $all) (i32.const 0))
(on response_headers (call $all) (i32.const 0))
(on log (call $all))
