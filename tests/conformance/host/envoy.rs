//! Envoy's configuration: a listener per case, three clusters.

use super::{Filter, Handed, Loaded, METADATA, NAMESPACES, Running, TOKENS};
use crate::{case::Case, upstream::Upstream};
use pillion_tests::{port, process::Process, tempdir::TempDir, wait::SOON};
use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// The program, from `ENVOY_BIN` or PyPI.
pub(super) fn program() -> Option<PathBuf> {
    pillion_tests::envoy::program()
}

pub(super) fn start(program: &Path, cases: &[Loaded<'_>], upstream: &Upstream) -> Result<Running, String> {
    let folder = TempDir::new();
    let ready = port::free();
    let file = folder.write("envoy.yaml", yaml(cases, upstream, ready));
    if let Some(copy) = std::env::var_os("KIT_KEEP") {
        drop(std::fs::copy(&file, Path::new(&copy).join("envoy.yaml")));
    }
    let mut process = Process::start(
        Command::new(program)
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"])
            .args(["--component-log-level", "wasm:info,config:warning"])
            .args(["--log-format", "%v", "-c"])
            .arg(file)
            .env("KIT_SHOWN", "shown")
            .current_dir(folder.path()),
    );
    let end = Instant::now() + SOON;
    loop {
        if let Some(status) = process.ended() {
            std::thread::sleep(std::time::Duration::from_millis(30));
            return Err(format!("ended with {status}: {}", process.stderr()));
        }
        // Listeners open together; a connection to a case's would be seen by its guest.
        if TcpStream::connect(ready).is_ok() {
            return Ok(Running::new(process, folder, words));
        }
        if Instant::now() > end {
            return Err(format!("does not listen after {SOON:?}: {}", process.stderr()));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// `wasm log [PLUGIN] ROOT VM: words`
fn words(case: &Case, line: &str) -> Option<String> {
    // At the VM's start the plugin's name is not there yet.
    if case.module.is_none() && case.chain.is_empty() {
        return super::after_mark(case, line).map(str::to_owned);
    }
    case.filters().iter().find_map(|filter| {
        let words = line.split_once(&format!("{} {}: ", case.root, filter.vm_id))?.1;
        let words = if case.module.is_some() { words } else { super::after_mark(case, words)? };
        Some(format!("{}{words}", filter.mark))
    })
}

fn yaml(cases: &[Loaded<'_>], upstream: &Upstream, ready: SocketAddr) -> String {
    let mut text = format!(
        "node: {{ id: kit-node, cluster: kit-cluster, metadata: {METADATA} }}\nstatic_resources:\n  listeners:\n"
    );
    for loaded in cases {
        let case = loaded.case;
        let _ = writeln!(
            text,
            "  - name: {}\n    traffic_direction: INBOUND\n    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}\n    \
             filter_chains:\n    - filters:",
            case.name,
            loaded.address.port()
        );
        if case.has("metadata") {
            let listener = text.rfind("    filter_chains:").unwrap_or(text.len());
            text.insert_str(listener, &format!("    metadata: {}\n", filter_metadata(NAMESPACES.listener)));
        }
        if case.has("tcp") {
            text.push_str(&plugins(loaded, 6, "network"));
            text.push_str(
                "      - name: tcp\n        typed_config:\n          \"@type\": type.googleapis.com/envoy.extensions.filters.\
                 network.tcp_proxy.v3.TcpProxy\n          stat_prefix: tcp\n          cluster: bytes\n",
            );
        } else {
            let guard = if case.has("jwt") { tokens() } else { String::new() };
            let filters = plugins(loaded, 10, "http");
            let route = format!("metadata: {} }}", filter_metadata(NAMESPACES.route));
            let _ = write!(
                text,
                "{}{guard}{filters}          - name: router\n            typed_config: {{ \"@type\": type.googleapis.com/envoy.\
                 extensions.filters.http.router.v3.Router, suppress_envoy_headers: true }}\n",
                CONNECTION_MANAGER.replace("metadata: ROUTE }", &route)
            );
        }
    }
    let _ = writeln!(
        text,
        "  - name: ready\n    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}\n    filter_chains:\n    \
         - filters:\n      - name: tcp\n        typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.\
         tcp_proxy.v3.TcpProxy, stat_prefix: ready, cluster: bytes }}",
        ready.port()
    );
    text.push_str("  clusters:\n");
    // Port 1 on loopback: nobody listens.
    let dead = SocketAddr::from(([127, 0, 0, 1], 1));
    for (name, address, h2) in [
        ("origin", upstream.address, false),
        ("origin-h2", upstream.address, true),
        ("origin:h2", upstream.address, true),
        ("bytes", upstream.bytes, false),
        ("dead", dead, true),
        // The name that the SDKs' examples call.
        ("httpbin", upstream.address, false),
        ("meta", upstream.address, false),
    ] {
        let protocol =
            if h2 { "http2_protocol_options: {}" } else { "http_protocol_options: { enable_trailers: true }" };
        let _ = writeln!(
            text,
            "  - name: {name}\n    type: STATIC\n    connect_timeout: 2s\n    typed_extension_protocol_options:\n      \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \"@type\": type.googleapis.com/envoy.extensions.\
             upstreams.http.v3.HttpProtocolOptions\n        explicit_http_config: {{ {protocol} }}\n    load_assignment:\n      \
             cluster_name: {name}\n      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: \
             {}, port_value: {} }} }} }} }}] }}]",
            address.ip(),
            address.port()
        );
        if name == "meta" {
            let _ = writeln!(text, "    metadata: {}", filter_metadata(NAMESPACES.cluster));
            let end = text.rfind(" }] }]").unwrap_or(text.len());
            text.insert_str(end, &format!(", metadata: {}", filter_metadata(NAMESPACES.endpoint)));
        }
    }
    // The last speaks no TLS.
    let own = upstream.secure.folder.path().display();
    for (name, address, ca) in [
        ("origin-tls", upstream.secure.address, "ca.pem"),
        ("untrusted", upstream.secure.address, "other.pem"),
        ("no-tls", upstream.bytes, "ca.pem"),
    ] {
        let _ = writeln!(
            text,
            "  - name: {name}\n    type: STATIC\n    connect_timeout: 2s\n    transport_socket:\n      name: tls\n      typed_config:\n        \
             \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n        \
             sni: server.example\n        common_tls_context:\n          tls_params: {{ tls_maximum_protocol_version: TLSv1_3 }}\n          tls_certificates: [{{ certificate_chain: {{ filename: \
             {own}/svid.pem }}, private_key: {{ filename: {own}/svid.key }} }}]\n          validation_context: {{ trusted_ca: \
             {{ filename: {own}/{ca} }} }}\n    load_assignment:\n      cluster_name: {name}\n      endpoints: [{{ lb_endpoints: \
             [{{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }}] }}]",
            address.ip(),
            address.port()
        );
    }
    text
}

fn filter_metadata(namespaces: &str) -> String {
    format!("{{ filter_metadata: {namespaces} }}")
}

/// The filter that takes the kit's tokens, and tells of their claims.
fn tokens() -> String {
    let keys = serde_json::json!({ "keys": [{ "kty": "oct", "alg": "HS256", "k": TOKENS.secret_in_base64url() }] });
    format!(
        "          - name: jwt\n            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.filters.\
         http.jwt_authn.v3.JwtAuthentication\n              providers: {{ kit: {{ issuer: {}, payload_in_metadata: {}, forward: true, \
         local_jwks: {{ inline_string: {:?} }} }} }}\n              rules: [{{ match: {{ prefix: / }}, requires: {{ \
         requires_any: {{ requirements: [{{ provider_name: kit }}, {{ allow_missing: {{}} }}] }} }} }}]\n",
        TOKENS.issuer,
        TOKENS.key,
        keys.to_string()
    )
}

const CONNECTION_MANAGER: &str = r#"      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: kit
          codec_type: AUTO
          generate_request_id: false
          http_protocol_options: { enable_trailers: true }
          route_config:
            name: kit-routes
            virtual_hosts:
            - name: canary
              domains: ["*-canary", "canary-*"]
              routes: [{ name: canary-route, match: { prefix: / }, direct_response: { status: 211, body: { inline_string: canary } } }]
            - name: kit-host
              domains: ["*"]
              routes:
              - { name: by-header, match: { prefix: /, headers: [{ name: x-kit-route, string_match: { exact: other } }] }, direct_response: { status: 210, body: { inline_string: other } } }
              - { name: h2-route, match: { prefix: /h2/ }, route: { cluster: origin-h2, prefix_rewrite: / } }
              - { name: dead-route, match: { prefix: /dead }, route: { cluster: dead } }
              - { name: tls-route, match: { prefix: /tls }, route: { cluster: origin-tls } }
              - { name: untrusted-route, match: { prefix: /untrusted }, route: { cluster: untrusted } }
              - { name: no-tls-route, match: { prefix: /no-tls }, route: { cluster: no-tls } }
              - { name: meta-route, match: { prefix: /meta }, route: { cluster: meta }, metadata: ROUTE }
              - { name: main-route, match: { prefix: /, headers: [{ name: x-kit-nowhere, present_match: true, invert_match: true }] }, route: { cluster: origin } }
          http_filters:
"#;

fn plugins(loaded: &Loaded<'_>, indent: usize, kind: &str) -> String {
    loaded.case.filters().iter().map(|filter| plugin(loaded, filter, indent, kind)).collect()
}

fn plugin(loaded: &Loaded<'_>, filter: &Filter, indent: usize, kind: &str) -> String {
    let case = loaded.case;
    let pad = " ".repeat(indent);
    let inner = format!("{pad}  ");
    let package = format!("type.googleapis.com/envoy.extensions.filters.{kind}.wasm.v3.Wasm");
    let any = |text: &str| {
        let (kind, value) = match Handed::of(case, text) {
            Handed::Text(text) => ("StringValue", serde_json::json!(text)),
            Handed::Bytes(base64) => ("BytesValue", serde_json::json!(base64)),
            Handed::Parts(value) => ("Struct", value),
        };
        format!("{{ \"@type\": type.googleapis.com/google.protobuf.{kind}, value: {value} }}")
    };
    let mut lines = vec![
        format!("- name: wasm\n{inner}typed_config:\n{inner}  \"@type\": {package}\n{inner}  config:"),
        format!("{inner}    name: {}\n{inner}    root_id: {}", filter.name, case.root),
    ];
    if case.has("fail_open") {
        lines.push(format!("{inner}    fail_open: true"));
    }
    if case.has("stop_iteration") {
        lines.push(format!("{inner}    allow_on_headers_stop_iteration: true"));
    }
    if case.has("restricted") {
        lines.push(format!(
            "{inner}    capability_restriction_config:\n{inner}      allowed_capabilities: {{ proxy_log: {{}}, \
             proxy_on_memory_allocate: {{}}, proxy_on_request_headers: {{}}, proxy_on_context_create: {{}}, \
             proxy_on_vm_start: {{}}, proxy_on_configure: {{}} }}"
        ));
    }
    if !filter.plugin.is_empty() {
        lines.push(format!("{inner}    configuration: {}", any(&filter.plugin)));
    }
    lines.push(format!(
        "{inner}    vm_config:\n{inner}      vm_id: {}\n{inner}      runtime: envoy.wasm.runtime.v8",
        filter.vm_id
    ));
    if !case.vm.is_empty() {
        lines.push(format!("{inner}      configuration: {}", any(&case.vm)));
    }
    if case.has("env") {
        lines.push(format!(
            "{inner}      environment_variables: {{ host_env_keys: [KIT_SHOWN], key_values: {{ KIT_SET: set }} }}"
        ));
    }
    lines.push(format!("{inner}      code: {{ local: {{ filename: {:?} }} }}", loaded.module));
    lines
        .iter()
        .fold(String::new(), |text, line| format!("{text}{}{line}\n", if line.starts_with('-') { &pad } else { "" }))
}
