;;! covers: proxy_get_property
;;! about: What is written of a listener, to a filter of its connections.
;;! option: tcp metadata
;;! step: tcp hello
;;! expect:
;;!   # tcp hello
;;!   new_connection| property xds.listener_metadata = 0 "\0a\19\0a\03kit\12\12\0a\10\0a\02at\12\0a\1a\08listener"
;;!   new_connection| property xds.listener_metadata.filter_metadata = 0 "\01\00\00\00\03\00\00\00\18\00\00\00kit\00\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00\00"
;;!   new_connection| property xds.listener_metadata.filter_metadata.kit = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00"
;;!   new_connection| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   new_connection| property xds.listener_metadata.filter_metadata.kit.nosuch = 1
;;!   new_connection| property xds.listener_metadata.filter_metadata.nosuch = 1
;;!   downstream_data| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   downstream_data| property xds.route_metadata = 1
;;!   downstream_data| property xds.cluster_metadata = 0 empty
;;!   downstream_data| property xds.upstream_host_metadata = 3
;;!   downstream_data| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   downstream_data| property xds.route_metadata = 1
;;!   downstream_data| property xds.cluster_metadata = 0 empty
;;!   downstream_data| property xds.upstream_host_metadata = 3
;;!   > "HELLO"

(on new_connection
  (call $property @"xds\00listener_metadata")
  (call $property @"xds\00listener_metadata\00filter_metadata")
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit")
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit\00nosuch")
  (call $property @"xds\00listener_metadata\00filter_metadata\00nosuch")
  (i32.const 0))

(on downstream_data
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00route_metadata")
  (call $property @"xds\00cluster_metadata")
  (call $property @"xds\00upstream_host_metadata")
  (i32.const 0))
