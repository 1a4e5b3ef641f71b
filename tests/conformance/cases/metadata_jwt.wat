;;! covers: proxy_get_property
;;! about: What the filter before it says of a token's claims, and what it says where there is none.
;;! option: jwt
;;! step: GET /x | authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJraXQiLCJzdWIiOiJqb2UifQ.nD9usC8tara1_JbiFBPoyS2_qwkwwKnbixjAzh_PcGY
;;! step: GET /x | authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJraXQiLCJzdWIiOiJqb2UiLCJuIjo3LCJ5ZXMiOnRydWUsImdyb3VwcyI6WyJhIiwiYiJdLCJyZWFsbSI6eyJpZCI6InIifX0.Pqw27Q8NCRoWmNP9Izf_4RkEOKiwbE6ZfE0ewrbk-Gk
;;! step: GET /x
;;! expect:
;;!   # GET /x | authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJraXQiLCJzdWIiOiJqb2UifQ.nD9usC8tara1_JbiFBPoyS2_qwkwwKnbixjAzh_PcGY
;;!   request_headers| property metadata = 0 length 76
;;!   request_headers| property metadata.filter_metadata = 0 length 98
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn = 0 length 56
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims = 0 length 36
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 0 "joe"
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.n = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.yes = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.groups = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.groups.1 = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.realm = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.realm.id = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.nosuch = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub.x = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.nosuch = 1
;;!   request_headers| property metadata.filter_metadata.nosuch = 1
;;!   request_headers| property metadata.typed_filter_metadata = 0 "\00\00\00\00"
;;!   request_headers| property metadata.nosuch = 1
;;!   request_headers| property xds.metadata = 1
;;!   request_headers| metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.sub -> = 0 "joe"
;;!   request_headers| metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.n + 1.0 -> = 10
;;!   request_headers| 'a' in metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.groups -> = 10
;;!   request_headers| has(metadata.filter_metadata) -> = 0 "\01"
;;!   request_headers| size(metadata.filter_metadata) -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| metadata.filter_metadata.nosuch -> = 10
;;!   response_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 0 "joe"
;;!   log| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 0 "joe"
;;!   ^ GET /x authorization="Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJraXQiLCJzdWIiOiJqb2UifQ.nD9usC8tara1_JbiFBPoyS2_qwkwwKnbixjAzh_PcGY"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJraXQiLCJzdWIiOiJqb2UiLCJuIjo3LCJ5ZXMiOnRydWUsImdyb3VwcyI6WyJhIiwiYiJdLCJyZWFsbSI6eyJpZCI6InIifX0.Pqw27Q8NCRoWmNP9Izf_4RkEOKiwbE6ZfE0ewrbk-Gk
;;!   request_headers| property metadata = 0 length 152
;;!   request_headers| property metadata.filter_metadata = 0 length 205
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn = 0 length 163
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims = 0 length 143
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 0 "joe"
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.n = 0 "\00\00\00\00\00\00\1c@"
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.yes = 0 "\01"
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.groups = 0 "\02\00\00\00\01\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00a\00\00b\00\00"
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.groups.1 = 0 "b"
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.realm = 0 "\01\00\00\00\02\00\00\00\01\00\00\00id\00r\00"
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.realm.id = 0 "r"
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.nosuch = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub.x = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.nosuch = 1
;;!   request_headers| property metadata.filter_metadata.nosuch = 1
;;!   request_headers| property metadata.typed_filter_metadata = 0 "\00\00\00\00"
;;!   request_headers| property metadata.nosuch = 1
;;!   request_headers| property xds.metadata = 1
;;!   request_headers| metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.sub -> = 0 "joe"
;;!   request_headers| metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.n + 1.0 -> = 0 "\00\00\00\00\00\00 @"
;;!   request_headers| 'a' in metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.groups -> = 0 "\01"
;;!   request_headers| has(metadata.filter_metadata) -> = 0 "\01"
;;!   request_headers| size(metadata.filter_metadata) -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| metadata.filter_metadata.nosuch -> = 10
;;!   response_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 0 "joe"
;;!   log| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 0 "joe"
;;!   ^ GET /x authorization="Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJraXQiLCJzdWIiOiJqb2UiLCJuIjo3LCJ5ZXMiOnRydWUsImdyb3VwcyI6WyJhIiwiYiJdLCJyZWFsbSI6eyJpZCI6InIifX0.Pqw27Q8NCRoWmNP9Izf_4RkEOKiwbE6ZfE0ewrbk-Gk"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x
;;!   request_headers| property metadata = 0 length 0
;;!   request_headers| property metadata.filter_metadata = 0 length 4
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.n = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.yes = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.groups = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.groups.1 = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.realm = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.realm.id = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.nosuch = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub.x = 1
;;!   request_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.nosuch = 1
;;!   request_headers| property metadata.filter_metadata.nosuch = 1
;;!   request_headers| property metadata.typed_filter_metadata = 0 "\00\00\00\00"
;;!   request_headers| property metadata.nosuch = 1
;;!   request_headers| property xds.metadata = 1
;;!   request_headers| metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.sub -> = 10
;;!   request_headers| metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.n + 1.0 -> = 10
;;!   request_headers| 'a' in metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.groups -> = 10
;;!   request_headers| has(metadata.filter_metadata) -> = 0 "\00"
;;!   request_headers| size(metadata.filter_metadata) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| metadata.filter_metadata.nosuch -> = 10
;;!   response_headers| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 1
;;!   log| property metadata.filter_metadata.envoy.filters.http.jwt_authn.claims.sub = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $try (param $p i32) (param $n i32)
  (local $s i32) (local $id i32)
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"expr_create" (local.get $p) (local.get $n) (i32.const 16) (i32.const 20)))
  (if (local.get $s) (then
    (call $begin)
    (call $w (local.get $p) (local.get $n))
    (call $w @" -> create = ")
    (call $n (local.get $s))
    (call $end)
    (return)))
  (local.set $id (i32.load (i32.const 16)))
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"expr_evaluate" (local.get $id) (i32.const 4) (i32.const 16) (i32.const 20)))
  (call $begin)
  (call $w (local.get $p) (local.get $n))
  (call $w @" ->")
  (call $result (local.get $s)))

(on request_headers
  (call $property_length @"metadata")
  (call $property_length @"metadata\00filter_metadata")
  (call $property_length @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn")
  (call $property_length @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00sub")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00n")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00yes")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00groups")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00groups\001")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00realm")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00realm\00id")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00nosuch")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00sub\00x")
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00nosuch")
  (call $property @"metadata\00filter_metadata\00nosuch")
  (call $property @"metadata\00typed_filter_metadata")
  (call $property @"metadata\00nosuch")
  (call $property @"xds\00metadata")
  (call $try @"metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.sub")
  (call $try @"metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.n + 1.0")
  (call $try @"'a' in metadata.filter_metadata['envoy.filters.http.jwt_authn'].claims.groups")
  (call $try @"has(metadata.filter_metadata)")
  (call $try @"size(metadata.filter_metadata)")
  (call $try @"metadata.filter_metadata.nosuch")
  (i32.const 0))

(on response_headers
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00sub")
  (i32.const 0))

(on log
  (call $property @"metadata\00filter_metadata\00envoy.filters.http.jwt_authn\00claims\00sub"))
