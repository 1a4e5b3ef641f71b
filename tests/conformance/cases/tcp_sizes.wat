;;! covers: proxy_get_property
;;! about: Bytes of a connection without HTTP, while it runs and when it is logged.
;;! option: tcp
;;! step: tcp abcd | efg | close
;;! expect:
;;!   # tcp abcd | efg | close
;;!   new_connection| property request.size = 0 0
;;!   new_connection| property request.total_size = 0 0
;;!   new_connection| property response.size = 0 0
;;!   new_connection| property response.total_size = 0 0
;;!   new_connection| property request.time = 0 length 8
;;!   new_connection| property request.protocol = 1
;;!   new_connection| property response.flags = 0 0
;;!   new_connection| property response.code = 1
;;!   new_connection| property response.code_details = 1
;;!   new_connection| request.size -> = 0 "\00\00\00\00\00\00\00\00"
;;!   new_connection| response.size -> = 0 "\00\00\00\00\00\00\00\00"
;;!   downstream_data| property request.size = 0 4
;;!   downstream_data| property request.total_size = 0 4
;;!   downstream_data| property response.size = 0 0
;;!   downstream_data| property response.total_size = 0 0
;;!   downstream_data| property request.time = 0 length 8
;;!   downstream_data| property request.protocol = 1
;;!   downstream_data| property response.flags = 0 0
;;!   downstream_data| property response.code = 1
;;!   downstream_data| property response.code_details = 1
;;!   downstream_data| request.size -> = 0 "\04\00\00\00\00\00\00\00"
;;!   downstream_data| response.size -> = 0 "\00\00\00\00\00\00\00\00"
;;!   upstream_data| property request.size = 0 4
;;!   upstream_data| property request.total_size = 0 4
;;!   upstream_data| property response.size = 0 0
;;!   upstream_data| property response.total_size = 0 0
;;!   upstream_data| property request.time = 0 length 8
;;!   upstream_data| property request.protocol = 1
;;!   upstream_data| property response.flags = 0 0
;;!   upstream_data| property response.code = 1
;;!   upstream_data| property response.code_details = 1
;;!   upstream_data| request.size -> = 0 "\04\00\00\00\00\00\00\00"
;;!   upstream_data| response.size -> = 0 "\00\00\00\00\00\00\00\00"
;;!   downstream_data| property request.size = 0 7
;;!   downstream_data| property request.total_size = 0 7
;;!   downstream_data| property response.size = 0 4
;;!   downstream_data| property response.total_size = 0 4
;;!   downstream_data| property request.time = 0 length 8
;;!   downstream_data| property request.protocol = 1
;;!   downstream_data| property response.flags = 0 0
;;!   downstream_data| property response.code = 1
;;!   downstream_data| property response.code_details = 1
;;!   downstream_data| request.size -> = 0 "\07\00\00\00\00\00\00\00"
;;!   downstream_data| response.size -> = 0 "\04\00\00\00\00\00\00\00"
;;!   upstream_data| property request.size = 0 7
;;!   upstream_data| property request.total_size = 0 7
;;!   upstream_data| property response.size = 0 4
;;!   upstream_data| property response.total_size = 0 4
;;!   upstream_data| property request.time = 0 length 8
;;!   upstream_data| property request.protocol = 1
;;!   upstream_data| property response.flags = 0 0
;;!   upstream_data| property response.code = 1
;;!   upstream_data| property response.code_details = 1
;;!   upstream_data| request.size -> = 0 "\07\00\00\00\00\00\00\00"
;;!   upstream_data| response.size -> = 0 "\04\00\00\00\00\00\00\00"
;;!   log| property request.size = 0 7
;;!   log| property request.total_size = 0 7
;;!   log| property response.size = 0 7
;;!   log| property response.total_size = 0 7
;;!   log| property request.time = 0 length 8
;;!   log| property request.protocol = 1
;;!   log| property response.flags = 0 0
;;!   log| property response.code = 1
;;!   log| property response.code_details = 1
;;!   log| request.size -> = 0 "\07\00\00\00\00\00\00\00"
;;!   log| response.size -> = 0 "\07\00\00\00\00\00\00\00"
;;!   > "ABCD"
;;!   > "EFG"
;;!   > closed

(func $all
  (call $property_number @"request\00size")
  (call $property_number @"request\00total_size")
  (call $property_number @"response\00size")
  (call $property_number @"response\00total_size")
  (call $property_length @"request\00time")
  (call $property_status @"request\00protocol")
  (call $property_number @"response\00flags")
  (call $property_status @"response\00code")
  (call $property @"response\00code_details")
  (call $expression @"request.size")
  (call $expression @"response.size"))
(on new_connection (call $all) (i32.const 0))
(on downstream_data (if (local.get $size) (then (call $all))) (i32.const 0))
(on upstream_data (if (local.get $size) (then (call $all))) (i32.const 0))
(on log (call $all))
