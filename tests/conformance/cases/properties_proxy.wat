;;! covers: proxy_get_property
;;! about: Attributes of the plugin, the node, the route and the cluster, in the root context and in a stream.
;;! deviation: there are no virtual hosts here: a listener's routes are one list, which has the listener's name
;;! step: GET /x
;;! expect:
;;!   configure| property plugin_name = 0 "properties_proxy"
;;!   configure| property plugin_root_id = 0 "kit-root"
;;!   configure| property plugin_vm_id = 0 "vm-properties_proxy"
;;!   configure| property xds.cluster_name = 1
;;!   configure| property xds.route_name = 1
;;!   configure| property xds.virtual_host_name = 1
;;!   configure| property xds.cluster_metadata = 1
;;!   configure| property xds.route_metadata = 1
;;!   configure| property xds.upstream_host_metadata = 1
;;!   configure| property xds.filter_chain_name = 1
;;!   configure| property xds.listener_metadata = 1
;;!   configure| property xds.listener_direction = 1
;;!   configure| property metadata = 1
;;!   configure| property filter_state = 1
;;!   # GET /x
;;!   request_headers| property plugin_name = 0 "properties_proxy"
;;!   request_headers| property plugin_root_id = 0 "kit-root"
;;!   request_headers| property plugin_vm_id = 0 "vm-properties_proxy"
;;!   request_headers| property xds.cluster_name = 0 "origin"
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   request_headers| property xds.virtual_host_name = 0 "kit-host"
;;!   request_headers| property xds.cluster_metadata = 0
;;!   request_headers| property xds.route_metadata = 0
;;!   request_headers| property xds.upstream_host_metadata = 1
;;!   request_headers| property xds.filter_chain_name = 0
;;!   request_headers| property xds.listener_metadata = 0
;;!   request_headers| property xds.listener_direction = 0 1
;;!   request_headers| property metadata = 0
;;!   request_headers| property filter_state = 3
;;!   log| property xds.cluster_name = 0 "origin"
;;!   log| property xds.route_name = 0 "main-route"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   configure| property plugin_name = 0 "properties_proxy"
;;!   configure| property plugin_root_id = 0 "kit-root"
;;!   configure| property plugin_vm_id = 0 "vm-properties_proxy"
;;!   configure| property xds.cluster_name = 1
;;!   configure| property xds.route_name = 1
;;!   configure| property xds.virtual_host_name = 1
;;!   configure| property xds.cluster_metadata = 1
;;!   configure| property xds.route_metadata = 1
;;!   configure| property xds.upstream_host_metadata = 1
;;!   configure| property xds.filter_chain_name = 1
;;!   configure| property xds.listener_metadata = 1
;;!   configure| property xds.listener_direction = 1
;;!   configure| property metadata = 1
;;!   configure| property filter_state = 1
;;!   # GET /x
;;!   request_headers| property plugin_name = 0 "properties_proxy"
;;!   request_headers| property plugin_root_id = 0 "kit-root"
;;!   request_headers| property plugin_vm_id = 0 "vm-properties_proxy"
;;!   request_headers| property xds.cluster_name = 0 "origin"
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   request_headers| property xds.virtual_host_name = 0 "properties_proxy"
;;!   request_headers| property xds.cluster_metadata = 0
;;!   request_headers| property xds.route_metadata = 0
;;!   request_headers| property xds.upstream_host_metadata = 1
;;!   request_headers| property xds.filter_chain_name = 0
;;!   request_headers| property xds.listener_metadata = 0
;;!   request_headers| property xds.listener_direction = 0 1
;;!   request_headers| property metadata = 0
;;!   request_headers| property filter_state = 3
;;!   log| property xds.cluster_name = 0 "origin"
;;!   log| property xds.route_name = 0 "main-route"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $all
  (call $property @"plugin_name")
  (call $property @"plugin_root_id")
  (call $property @"plugin_vm_id")
  (call $property @"xds\00cluster_name")
  (call $property @"xds\00route_name")
  (call $property @"xds\00virtual_host_name")
  (call $property_status @"xds\00cluster_metadata")
  (call $property_status @"xds\00route_metadata")
  (call $property_status @"xds\00upstream_host_metadata")
  (call $property_status @"xds\00filter_chain_name")
  (call $property_status @"xds\00listener_metadata")
  (call $property_number @"xds\00listener_direction")
  (call $property_status @"metadata")
  (call $property_status @"filter_state"))
(on configure (call $all) (i32.const 1))
(on request_headers (call $all) (i32.const 0))
(on log (call $property @"xds\00cluster_name") (call $property @"xds\00route_name"))
