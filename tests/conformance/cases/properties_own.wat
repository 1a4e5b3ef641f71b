;;! covers: proxy_get_property
;;! about: Attributes that only one of the hosts has.
;;! deviation: what Envoy says of itself (its agent, its extensions) is not Pillion's to say; a listener has its name here
;;! step: GET /x
;;! expect:
;;!   configure| property xds.node = 0
;;!   configure| property xds.node.user_agent_name = 0 "envoy"
;;!   configure| property xds.node.user_agent_version = 0 empty
;;!   configure| property xds.node.extensions = 0
;;!   configure| property xds.listener_name = 1
;;!   # GET /x
;;!   response_headers| property xds.node = 0
;;!   response_headers| property xds.node.user_agent_name = 0 "envoy"
;;!   response_headers| property xds.node.user_agent_version = 0 empty
;;!   response_headers| property xds.node.extensions = 0
;;!   response_headers| property xds.listener_name = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   configure| property xds.node = 0
;;!   configure| property xds.node.user_agent_name = 1
;;!   configure| property xds.node.user_agent_version = 1
;;!   configure| property xds.node.extensions = 1
;;!   configure| property xds.listener_name = 1
;;!   # GET /x
;;!   response_headers| property xds.node = 0
;;!   response_headers| property xds.node.user_agent_name = 1
;;!   response_headers| property xds.node.user_agent_version = 1
;;!   response_headers| property xds.node.extensions = 1
;;!   response_headers| property xds.listener_name = 0 "properties_own"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $all
  (call $property_status @"xds\00node")
  (call $property @"xds\00node\00user_agent_name")
  (call $property @"xds\00node\00user_agent_version")
  (call $property_status @"xds\00node\00extensions")
  (call $property @"xds\00listener_name"))
(on configure (call $all) (i32.const 1))
(on response_headers (call $all) (i32.const 0))
