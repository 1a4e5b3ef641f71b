//! What filters and servers are told of a connection's TLS.

use super::*;

#[test]
fn http2_over_tls_says_https() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let (_a, client) = pki::identity(&authority, CLIENT);
    let top = format!(
        "{server}\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \"%REQ(:SCHEME)% %PROTOCOL%\" }} }}"
    );
    let inbound = strict(&top, origin.address);
    let cluster = format!("protocol: http2\ntls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
    let outbound = Shape { top: &client, cluster: &cluster, ..Shape::default() }.start(inbound.address);
    assert_eq!(outbound.get("/").status, 200);
    let line = wait::until("a record", wait::SOON, || {
        fs::read_to_string(inbound.dir().join("access.log")).ok()?.lines().next().map(ToOwned::to_owned)
    });
    assert_eq!(line, "https HTTP/2");
}

#[test]
fn who_clients_are_is_counted_by_trust_domain_and_told_in_the_default_record() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let top = format!("{server}\naccess_log: {{ path: \"{{dir}}/access.log\" }}");
    let listener = "tls: { client_certificates: optional }";
    let proxy = Shape { top: &top, listener, ..Shape::default() }.start(origin.address);
    let certificate = authority.svid(CLIENT);
    let mut known =
        Offer { certificate: Some(&certificate), ..Offer::default() }.connect(proxy.address).expect("a peer");
    let mut stranger = Offer::default().connect(proxy.address).expect("a certificate is optional");
    for client in [&mut known, &mut stranger] {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    assert_eq!(known.get("/").expect("an answer").status, 200);
    for (domain, peers, requests) in [("example.org", 1.0, 2.0), ("(none)", 1.0, 1.0)] {
        let label = format!("trust_domain=\"{domain}\"");
        let metrics = proxy.metrics();
        assert_eq!(metrics.sum("pillion_tls_peers_total", &[&label]), peers, "{domain}");
        assert_eq!(metrics.sum("pillion_exchange_peer_requests_total", &[&label]), requests, "{domain}");
    }
    let lines = wait::until("three records", wait::SOON, || {
        let text = fs::read_to_string(proxy.dir().join("access.log")).ok()?;
        (text.lines().count() == 3).then_some(text)
    });
    let peers: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["peer"].clone()).collect();
    assert_eq!(peers, [Value::from(CLIENT), Value::Null, Value::from(CLIENT)]);
}

#[test]
fn a_client_of_old_is_refused_for_its_version() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let proxy = strict(&server, origin.address);
    for version in [1, 2] {
        // TLS 1.0 and 1.1, RFC 4346 §7.4.1.2: no extension, one cipher suite.
        let body = [&[3, version][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
        let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
        let record = [&[22, 3, 1, 0, message.len() as u8][..], &message].concat();
        let mut client = proxy.connect();
        client.send(record);
        wait::until_true("the failure to be counted", || refused(&proxy, "no_version") == f64::from(version));
    }
    assert_eq!(refused(&proxy, "no_cipher"), 0.0);
}

/// A filter that tells properties as fields: of the connection to the upstream, of the upstream to the client.
fn teller(request: &[&str], response: &[&str]) -> Vec<u8> {
    let (mut data, mut at) = (String::new(), 1024);
    let mut calls = |map: u8, paths: &[&str]| {
        paths.iter().fold(String::new(), |all, path| {
            let (name, path) = (format!("x-{}", path.replace('.', "-")), path.replace('.', "\\00"));
            let length = path.replace("\\00", ".").len();
            data.push_str(&format!("(data (i32.const {at}) \"{path}{name}\")\n"));
            let call = format!(
                "(call $tell (i32.const {map}) (i32.const {at}) (i32.const {length}) (i32.const {}) (i32.const {}))\n",
                at + length,
                name.len()
            );
            at += length + name.len();
            all + &call
        })
    };
    let (request, response) = (calls(0, request), calls(2, response));
    let text = format!(
        r#"(module
        (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 4)
        {data}
        (global $at (mut i32) (i32.const 65536))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param $size i32) (result i32)
            (global.get $at)
            (global.set $at (i32.add (global.get $at) (local.get $size))))
        (func $tell (param $map i32) (param $path i32) (param $length i32) (param $name i32) (param $count i32)
            (if (i32.eqz (call $get (local.get $path) (local.get $length) (i32.const 16) (i32.const 20)))
                (then (drop (call $add (local.get $map) (local.get $name) (local.get $count)
                    (i32.load (i32.const 16)) (i32.load (i32.const 20)))))))
        (func (export "proxy_on_context_create") (param i32 i32) (global.set $at (i32.const 65536)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {request} (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) {response} (i32.const 0)))"#
    );
    wat::parse_str(text).expect("text of ours")
}

#[test]
fn filters_are_told_what_certificates_say() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let (_a, client) = pki::identity(&authority, CLIENT);
    let dir = TempDir::new();
    let module = teller(
        &[
            "connection.tls_version",
            "connection.uri_san_peer_certificate",
            "connection.subject_peer_certificate",
            "connection.sha256_peer_certificate_digest",
            "connection.uri_san_local_certificate",
            "connection.dns_san_local_certificate",
            "connection.subject_local_certificate",
        ],
        &[
            "upstream.tls_version",
            "upstream.uri_san_peer_certificate",
            "upstream.sha256_peer_certificate_digest",
            "upstream.uri_san_local_certificate",
            "upstream.local_address",
        ],
    );
    let file = dir.write("teller.wasm", module);
    let filters =
        format!("filters: [{{ name: teller, wasm: {{ file: {file:?}, limits: {{ callback: 2s, start: 10s }} }} }}]");
    let inbound =
        Shape { top: &format!("{server}\n{filters}"), listener: "tls: {}\nfilters: [teller]", ..Shape::default() }
            .start(origin.address);
    for protocol in ["http1", "http2"] {
        let cluster = format!("protocol: {protocol}\ntls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
        let top = format!("{client}\n{filters}");
        let outbound = Shape { top: &top, listener: "filters: [teller]", cluster: &cluster, ..Shape::default() }
            .start(inbound.address);
        // The second request finds the connection there.
        for _ in 0..2 {
            let response = outbound.get("/");
            assert_eq!(response.status, 200, "{}", response.text());
            let described = response.json();
            let told = |name: &str| header(&described, name).unwrap_or_default().to_owned();
            assert_eq!(told("x-connection-tls_version"), "TLSv1.3");
            assert_eq!(told("x-connection-uri_san_peer_certificate"), CLIENT);
            assert_eq!(told("x-connection-uri_san_local_certificate"), WEB);
            assert_eq!(told("x-connection-dns_san_local_certificate"), "localhost");
            assert_eq!(told("x-connection-sha256_peer_certificate_digest").len(), 64);
            for subject in ["x-connection-subject_peer_certificate", "x-connection-subject_local_certificate"] {
                assert!(told(subject).starts_with("CN="), "{}", told(subject));
            }
            assert_eq!(response.header("x-upstream-tls_version"), Some("TLSv1.3"));
            assert_eq!(response.header("x-upstream-uri_san_peer_certificate"), Some(WEB));
            assert_eq!(response.header("x-upstream-uri_san_local_certificate"), Some(CLIENT));
            assert_eq!(response.header("x-upstream-sha256_peer_certificate_digest").map(str::len), Some(64));
            let local = response.header("x-upstream-local_address").unwrap_or_default();
            assert!(local.starts_with("127.0.0.1:") && local != inbound.address.to_string(), "{local}");
        }
    }
}
