;;! covers: proxy_call_foreign_function
;;! about: Expressions whose value is empty: a list or a map is a count of 0, and no bytes have a place.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| [] -> = 0 "\00\00\00\00"
;;!   request_headers| {} -> = 0 "\00\00\00\00"
;;!   request_headers| '' -> = 0 empty
;;!   request_headers| b'' -> = 0 empty
;;!   request_headers| [1].filter(x, x > 1) -> = 0 "\00\00\00\00"
;;!   request_headers| [].map(x, x) -> = 0 "\00\00\00\00"
;;!   request_headers| [''] -> = 0 "\01\00\00\00\00\00\00\00\00\00\00\00\00\00"
;;!   request_headers| {'': ''} -> = 0 "\01\00\00\00\00\00\00\00\00\00\00\00\00\00"
;;!   request_headers| request.headers.filter(k, k == 'nosuch') -> = 0 "\00\00\00\00"
;;!   request_headers| request.query -> = 0 empty
;;!   request_headers| plugin_root_id == 'kit-root' -> = 0 "\01"
;;!   request_headers| connection.requested_server_name -> = 0 empty
;;!   request_headers| response.trailers -> = 0 "\00\00\00\00"
;;!   request_headers| metadata.filter_metadata -> = 0 "\00\00\00\00"
;;!   request_headers| xds.listener_metadata -> = 0 empty
;;!   request_headers| xds.node.locality -> = 0 empty
;;!   request_headers| xds.node.locality.region -> = 0 empty
;;!   request_headers| request.headers['x-kit-empty'] -> = 10
;;!   request_headers| null -> = 3
;;!   request_headers| '' == request.query -> = 0 "\01"
;;!   request_headers| response.headers -> = 0 "\00\00\00\00"
;;!   log| [] -> = 0 "\00\00\00\00"
;;!   log| {} -> = 0 "\00\00\00\00"
;;!   log| '' -> = 0 empty
;;!   log| b'' -> = 0 empty
;;!   log| [1].filter(x, x > 1) -> = 0 "\00\00\00\00"
;;!   log| [].map(x, x) -> = 0 "\00\00\00\00"
;;!   log| [''] -> = 0 "\01\00\00\00\00\00\00\00\00\00\00\00\00\00"
;;!   log| {'': ''} -> = 0 "\01\00\00\00\00\00\00\00\00\00\00\00\00\00"
;;!   log| request.headers.filter(k, k == 'nosuch') -> = 0 "\00\00\00\00"
;;!   log| request.query -> = 0 empty
;;!   log| plugin_root_id == 'kit-root' -> = 0 "\01"
;;!   log| connection.requested_server_name -> = 0 empty
;;!   log| response.trailers -> = 0 "\00\00\00\00"
;;!   log| metadata.filter_metadata -> = 0 "\00\00\00\00"
;;!   log| xds.listener_metadata -> = 0 empty
;;!   log| xds.node.locality -> = 0 empty
;;!   log| xds.node.locality.region -> = 0 empty
;;!   log| request.headers['x-kit-empty'] -> = 10
;;!   log| null -> = 3
;;!   log| '' == request.query -> = 0 "\01"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $all
  (call $expression @"[]")
  (call $expression @"{}")
  (call $expression @"''")
  (call $expression @"b''")
  (call $expression @"[1].filter(x, x > 1)")
  (call $expression @"[].map(x, x)")
  (call $expression @"['']")
  (call $expression @"{'': ''}")
  (call $expression @"request.headers.filter(k, k == 'nosuch')")
  (call $expression @"request.query")
  (call $expression @"plugin_root_id == 'kit-root'")
  (call $expression @"connection.requested_server_name")
  (call $expression @"response.trailers")
  (call $expression @"metadata.filter_metadata")
  (call $expression @"xds.listener_metadata")
  (call $expression @"xds.node.locality")
  (call $expression @"xds.node.locality.region")
  (call $expression @"request.headers['x-kit-empty']")
  (call $expression @"null")
  (call $expression @"'' == request.query")
)
(on request_headers (call $all) (call $expression @"response.headers") (i32.const 0))
(on log (call $all))
