;;! covers: proxy_call_foreign_function
;;! about: The objects that set_envoy_filter_state knows.
;;! deviation: of Envoy's objects only the one that leads TCP connections means something here; for the others the configuration has other places (a cluster's tls, endpoints, a rate_limit), and to say that they were set would be untrue
;;! step: GET /x
;;! expect-pillion:
;;!   # GET /x
;;!   request_headers| envoy.tcp_proxy.cluster = 0 empty
;;!   request_headers| envoy.network.upstream_server_name = 1
;;!   request_headers| envoy.network.upstream_subject_alt_names = 1
;;!   request_headers| envoy.network.application_protocols = 1
;;!   request_headers| envoy.network.transport_socket.original_dst_address = 1
;;!   request_headers| envoy.upstream.dynamic_host = 1
;;!   request_headers| envoy.upstream.dynamic_port = 1
;;!   request_headers| envoy.tcp_proxy.per_connection_idle_timeout_ms = 1
;;!   request_headers| envoy.tcp_proxy.disable_tunneling = 1
;;!   request_headers| envoy.ratelimit.hits_addend = 1
;;!   request_headers| envoy.network.ip = 1
;;!   request_headers| envoy.string = 1
;;!   request_headers| envoy.hash_key = 1
;;!   request_headers| io.istio.peer_principal = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect:
;;!   # GET /x
;;!   request_headers| envoy.tcp_proxy.cluster = 0 empty
;;!   request_headers| envoy.network.upstream_server_name = 0 empty
;;!   request_headers| envoy.network.upstream_subject_alt_names = 0 empty
;;!   request_headers| envoy.network.application_protocols = 0 empty
;;!   request_headers| envoy.network.transport_socket.original_dst_address = 0 empty
;;!   request_headers| envoy.upstream.dynamic_host = 0 empty
;;!   request_headers| envoy.upstream.dynamic_port = 0 empty
;;!   request_headers| envoy.tcp_proxy.per_connection_idle_timeout_ms = 0 empty
;;!   request_headers| envoy.tcp_proxy.disable_tunneling = 0 empty
;;!   request_headers| envoy.ratelimit.hits_addend = 0 empty
;;!   request_headers| envoy.network.ip = 0 empty
;;!   request_headers| envoy.string = 0 empty
;;!   request_headers| envoy.hash_key = 1
;;!   request_headers| io.istio.peer_principal = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $object (param $n i32) (param $nn i32) (param $arg i32) (param $an i32)
  (local $s i32)
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"set_envoy_filter_state" (local.get $arg) (local.get $an) (i32.const 16) (i32.const 20)))
  (call $begin)
  (call $w (local.get $n) (local.get $nn))
  (call $result (local.get $s)))

(on request_headers
  (call $object @"envoy.tcp_proxy.cluster" @"\0a\17envoy.tcp_proxy.cluster\12\05bytes")
  (call $object @"envoy.network.upstream_server_name" @"\0a\22envoy.network.upstream_server_name\12\05sni.x")
  (call $object @"envoy.network.upstream_subject_alt_names" @"\0a\28envoy.network.upstream_subject_alt_names\12\03a.b")
  (call $object @"envoy.network.application_protocols" @"\0a\23envoy.network.application_protocols\12\02h2")
  (call $object @"envoy.network.transport_socket.original_dst_address" @"\0a\33envoy.network.transport_socket.original_dst_address\12\0b127.0.0.1:1")
  (call $object @"envoy.upstream.dynamic_host" @"\0a\1benvoy.upstream.dynamic_host\12\01h")
  (call $object @"envoy.upstream.dynamic_port" @"\0a\1benvoy.upstream.dynamic_port\12\0280")
  (call $object @"envoy.tcp_proxy.per_connection_idle_timeout_ms" @"\0a\2eenvoy.tcp_proxy.per_connection_idle_timeout_ms\12\045000")
  (call $object @"envoy.tcp_proxy.disable_tunneling" @"\0a\21envoy.tcp_proxy.disable_tunneling\12\04true")
  (call $object @"envoy.ratelimit.hits_addend" @"\0a\1benvoy.ratelimit.hits_addend\12\012")
  (call $object @"envoy.network.ip" @"\0a\10envoy.network.ip\12\071.2.3.4")
  (call $object @"envoy.string" @"\0a\0cenvoy.string\12\01k")
  (call $object @"envoy.hash_key" @"\0a\0eenvoy.hash_key\12\01k")
  (call $object @"io.istio.peer_principal" @"\0a\17io.istio.peer_principal\12\01x")
  (i32.const 0))
