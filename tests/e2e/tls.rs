//! TLS: who is let in, who is turned away and by what name, and that a renewal is felt by nobody.

mod peers;
mod ports;
mod refused;
mod told;

use pillion_tests::{
    client::End,
    envoy,
    load::Load,
    need,
    origin::Origin,
    pki::{self, Authority, Issued, Leaf},
    port,
    process::Process,
    proxy::{Proxy, Shape, program},
    some_or_return,
    tempdir::TempDir,
    tls::{Offer, TlsClient},
    wait,
};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::{ClientConnection, HandshakeKind, NamedGroup, StreamOwned, version};
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";
const CLIENT: &str = "spiffe://example.org/ns/shop/sa/client";

fn strict(identity: &str, origin: SocketAddr) -> Proxy {
    Shape { top: identity, listener: "tls: {}", ..Shape::default() }.start(origin)
}

fn header<'a>(described: &'a Value, name: &str) -> Option<&'a str> {
    let headers = described["headers"].as_array().expect("the origin lists headers");
    let found = headers.iter().find(|header| header[0].as_str() == Some(name));
    found.and_then(|header| header[1].as_str())
}

fn refused(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metrics().sum("pillion_tls_failures_total", &[&format!("reason=\"{reason}\"")])
}

#[test]
fn a_peer_of_the_mesh_is_let_in_and_told_upstream_and_ml_kem_is_spoken() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, identity) = pki::identity(&authority, WEB);
    let log = dir.path().join("access.log");
    let top = format!(
        "{identity}\naccess_log: {{ path: {}, format: {{ text: \"%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% \
         %REQUESTED_SERVER_NAME% %DOWNSTREAM_PEER_URI_SAN%\" }} }}",
        log.display()
    );
    let proxy = strict(&top, origin.address);
    let client = authority.svid(CLIENT);
    let mut connection = Offer { certificate: Some(&client), ..Offer::default() }.connect(proxy.address).unwrap();
    assert_eq!(connection.group(), Some(NamedGroup::X25519MLKEM768));
    for _ in 0..3 {
        let described = connection.get("/").unwrap().json();
        let told = header(&described, "x-forwarded-client-cert").expect("the client is told of");
        assert!(told.starts_with(&format!("By={WEB};Hash=")) && told.ends_with(&format!(";URI={CLIENT}")), "{told}");
        assert_eq!(header(&described, "x-forwarded-proto"), Some("https"));
    }
    let line =
        wait::until("a record", wait::SOON, || fs::read_to_string(&log).ok()?.lines().next().map(ToOwned::to_owned));
    assert_eq!(line, format!("TLSv1.3 TLS_AES_256_GCM_SHA384 localhost {CLIENT}"));
    proxy.await_metric("pillion_tls_handshakes_total", &["version=\"TLSv1.3\""], |count| count == 1.0);
    assert!(proxy.metrics().sum("pillion_identity_cert_expiration_timestamp_seconds", &[]) > 4e9);
    let dump = proxy.admin_get("/config_dump").text();
    assert!(!dump.contains("PRIVATE KEY") && dump.contains("svid.key"), "{dump}");
}

/// A client of TLS 1.3 speaks last in the handshake: its Finished and its end may come in one segment. It has shaken
/// hands, and wants to hear what its server says.
#[test]
fn a_client_that_ends_its_side_with_its_last_flight_hears_its_server() {
    let authority = Authority::new("root");
    let (_dir, identity) = pki::identity(&authority, WEB);
    let client = authority.svid(CLIENT);
    let counter = crate::tcp::server(|mut stream| {
        let count = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(99);
        drop(write!(stream, "{count} bytes"));
    });
    for mode in ["strict", "permissive"] {
        for routes in ["", "    routes: [{ match: { prefix: / }, cluster: site }]\n"] {
            let proxy = Proxy::start(&format!(
                "{identity}\nadmin: {{ address: {{admin}} }}\nlisteners:\n  - name: db\n    address: {{listen}}\n    tls: {{ mode: \
                 {mode} }}\n{routes}    tcp: {{ cluster: site }}\nclusters: [{{ name: site, endpoints: [\"{counter}\"] }}]\n"
            ));
            // A permissive listener shakes hands with who speaks as the mesh does.
            let offer = Offer {
                certificate: Some(&client),
                alpn: &["pillion/tcp"],
                versions: &[&version::TLS13],
                ..Offer::default()
            };
            let mut session = ClientConnection::new(offer.config(), "localhost".try_into().unwrap()).unwrap();
            let mut socket = TcpStream::connect(proxy.address).unwrap();
            socket.set_read_timeout(Some(wait::SOON)).unwrap();
            while session.is_handshaking() {
                while session.wants_write() {
                    session.write_tls(&mut socket).unwrap();
                }
                session.read_tls(&mut socket).unwrap();
                session.process_new_packets().unwrap();
            }
            session.send_close_notify();
            let mut last = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut last).unwrap();
            }
            socket.write_all(&last).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            let mut heard = String::new();
            StreamOwned::new(session, socket).read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "0 bytes", "{mode} {routes}");
            proxy.await_metric("pillion_tls_handshakes_total", &["version=\"TLSv1.3\""], |count| count == 1.0);
        }
    }
}

#[test]
fn whoever_is_not_a_peer_is_turned_away_and_counted_by_cause() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, WEB);
    let proxy = strict(&identity, origin.address);
    let other = Authority::new("another root");
    let peer = Leaf { uris: &[CLIENT], ..Leaf::default() };
    let with = |uris| authority.issue(&Leaf { uris, ..Leaf::default() });
    let cases: Vec<(&str, Option<Issued>, usize)> = vec![
        ("no_certificate", None, 0),
        ("certificate_expired", Some(authority.issue(&Leaf { years: (2020, 2021), ..peer.clone() })), 0),
        ("certificate_not_yet_valid", Some(authority.issue(&Leaf { years: (2090, 2091), ..peer.clone() })), 0),
        ("unknown_issuer", Some(other.issue(&peer)), 0),
        ("unknown_issuer", Some(pki::self_signed(&peer)), 0),
        ("unknown_trust_domain", Some(with(&["spiffe://example.com/web"])), 0),
        ("key_usage", Some(authority.issue(&Leaf { usages: &[], ..peer.clone() })), 0),
        ("key_usage", Some(authority.issue(&Leaf { usages: &[KeyUsagePurpose::KeyAgreement], ..peer.clone() })), 0),
        (
            "key_usage",
            Some(authority.issue(&Leaf {
                usages: &[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign],
                ..peer.clone()
            })),
            0,
        ),
        (
            "extended_key_usage",
            Some(authority.issue(&Leaf { purposes: &[ExtendedKeyUsagePurpose::ServerAuth], ..peer.clone() })),
            0,
        ),
        ("no_spiffe_id", Some(with(&[])), 0),
        ("several_uris", Some(with(&[CLIENT, "spiffe://example.org/admin"])), 0),
        ("bad_spiffe_id", Some(with(&["https://example.org/web"])), 0),
        ("bad_spiffe_id", Some(with(&["spiffe://example.org/web\0.evil"])), 0),
        ("chain_too_long", Some(authority.issue(&peer)), 8),
        ("chain_too_large", Some(authority.issue(&Leaf { padding: 1400, ..peer.clone() })), 0),
    ];
    for (cause, certificate, ballast) in &cases {
        let before = refused(&proxy, cause);
        let offer = Offer { certificate: certificate.as_ref(), ballast: *ballast, ..Offer::default() };
        // TLS 1.3: the client learns of it with its first read.
        let answer = offer.connect(proxy.address).and_then(|mut connection| connection.get("/"));
        assert!(answer.is_err(), "{cause}: {answer:?}");
        let reason = format!("reason=\"{cause}\"");
        proxy.await_metric("pillion_tls_failures_total", &[&reason], |count| count == before + 1.0);
    }
    for (cause, bytes) in [
        ("not_tls", &b"GET / HTTP/1.1\r\n\r\n"[..]),
        ("hello_too_large", &[22, 3, 1, 0x40, 0, 1, 0, 0x40, 1]),
        ("malformed", &[22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0]),
    ] {
        let before = refused(&proxy, cause);
        let mut socket = TcpStream::connect(proxy.address).unwrap();
        socket.write_all(bytes).unwrap();
        let reason = format!("reason=\"{cause}\"");
        proxy.await_metric("pillion_tls_failures_total", &[&reason], |count| count == before + 1.0);
    }
    assert_eq!(origin.requests(), 0);
    let good = authority.issue(&peer);
    let mut connection = Offer { certificate: Some(&good), ..Offer::default() }.connect(proxy.address).unwrap();
    assert_eq!(connection.get("/").unwrap().status, 200);
    let logged = proxy.stderr();
    assert!(logged.contains("TLS handshake failed") && logged.contains("CertificateExpired"), "{logged}");
}

#[test]
fn a_session_is_resumed_and_not_after_a_change_of_trust() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, identity) = pki::identity(&authority, WEB);
    let proxy = strict(&identity, origin.address);
    let client = authority.svid(CLIENT);
    let mut rules = 0;
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let config = Offer { certificate: Some(&client), versions, ..Offer::default() }.config();
        let kind = || {
            let mut connection = TlsClient::connect(config.clone(), proxy.address).unwrap();
            assert_eq!(connection.get("/").unwrap().status, 200);
            connection.session().handshake_kind()
        };
        assert_ne!(kind(), Some(HandshakeKind::Resumed));
        assert_eq!(kind(), Some(HandshakeKind::Resumed));
        let refreshes = "pillion_identity_refreshes_total";
        let before = proxy.metrics().sum(refreshes, &[]);
        authority.svid(WEB).write(dir.path(), "svid");
        proxy.await_metric(refreshes, &[], |count| count > before);
        assert_ne!(kind(), Some(HandshakeKind::Resumed), "a new key for tickets");
        assert_eq!(kind(), Some(HandshakeKind::Resumed));
        // Rules are no part of TLS' own settings, and a ticket brings back whom they may not know any more.
        rules += 1;
        let reloads = proxy.metrics().sum("pillion_config_reloads_total", &["outcome=\"applied\""]);
        let listener = format!(
            "tls: {{}}\nauthorization: {{ rules: [{{ name: r{rules}, action: allow, peers: [\"{CLIENT}\"] }}] }}"
        );
        let shape = Shape { top: &identity, listener: &listener, ..Shape::default() };
        proxy.replace_config(&shape.yaml(&[origin.address]));
        proxy.await_metric("pillion_config_reloads_total", &["outcome=\"applied\""], |count| count > reloads);
        assert_ne!(kind(), Some(HandshakeKind::Resumed), "a new key for tickets");
        assert_eq!(kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn two_proxies_speak_to_each_other_as_the_mesh() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let (_a, client) = pki::identity(&authority, CLIENT);
    let inbound = strict(&server, origin.address);
    for protocol in ["http1", "http2"] {
        let cluster = format!("protocol: {protocol}\ntls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
        let outbound = Shape { top: &client, cluster: &cluster, ..Shape::default() }.start(inbound.address);
        for path in ["/", "/bytes/1000000", "/"] {
            let response = outbound.get(path);
            assert_eq!(response.status, 200, "{}", response.text());
            assert!(path == "/" || response.body.len() == 1_000_000, "{}", response.body.len());
        }
        let big = vec![b'x'; 700_000];
        assert_eq!(outbound.post("/echo", &big).body, big);
        let described = outbound.get("/").json();
        assert!(header(&described, "x-forwarded-client-cert").is_some_and(|told| told.ends_with(CLIENT)));
    }
    let cluster = "tls: { mode: mutual, spiffe_ids: [\"spiffe://example.org/ns/shop/sa/other\"] }";
    let outbound = Shape { top: &client, cluster, ..Shape::default() }.start(inbound.address);
    assert_eq!(outbound.get("/").status, 503);
    assert!(outbound.metrics().sum("pillion_connect_failures_total", &["reason=\"unexpected_id\""]) > 0.0);
    let cluster = "tls: { spiffe_ids: [\"spiffe://example.org/*\"] }";
    let outbound = Shape { top: &client, cluster, ..Shape::default() }.start(inbound.address);
    assert!(outbound.get("/").status >= 502, "it shows nothing");
}

#[test]
fn readiness_waits_for_the_identity_and_bad_files_leave_the_good_one_in_use() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let dir = TempDir::new();
    let shape = Shape { top: &pki::section(dir.path()), listener: "tls: {}", ..Shape::default() };
    let mut proxy = Proxy::spawn(&shape.yaml(&[origin.address]), Command::new);
    wait::until_true("the admin port", || proxy.try_admin("GET", "/ready").is_ok());
    let answer = proxy.admin_get("/ready");
    assert_eq!(answer.status, 503, "{}", answer.text());
    dir.write("ca.pem", authority.pem());
    authority.svid(WEB).write(dir.path(), "svid");
    proxy.await_ready().unwrap();
    let client = authority.svid(CLIENT);
    let works = || {
        let mut connection = Offer { certificate: Some(&client), ..Offer::default() }.connect(proxy.address).unwrap();
        assert_eq!(connection.get("/").unwrap().status, 200);
    };
    works();
    let failures = "pillion_identity_refresh_failures_total";
    for (name, text) in [("svid.pem", "nonsense"), ("ca.pem", ""), ("svid.key", &*authority.svid(WEB).key)] {
        let before = proxy.metrics().sum(failures, &[]);
        pki::replace(dir.path(), name, text);
        proxy.await_metric(failures, &[], |count| count > before);
        works();
        assert!(proxy.is_ready());
    }
}

#[test]
fn renewals_and_a_change_of_roots_under_load_are_felt_by_nobody() {
    let (old, new, origin) = (Authority::new("old"), Authority::new("new"), Origin::start());
    let (b, server) = pki::identity(&old, WEB);
    let (a, client) = pki::identity(&old, CLIENT);
    let inbound = strict(&server, origin.address);
    // Short rest and short lives: handshakes all the time.
    let cluster = format!("idle_timeout: 50ms\ntls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
    let outbound = Shape { top: &client, cluster: &cluster, ..Shape::default() }.start(inbound.address);
    let load = Load::gets(outbound.address, 4, Duration::from_millis(60));
    let both = format!("{}{}", old.pem(), new.pem());
    let refreshes = "pillion_identity_refreshes_total";
    let mut rounds = 0.0;
    for (roots, authority) in [(both.clone(), &old), (both.clone(), &new), (new.pem(), &new), (both, &new)] {
        for dir in [&a, &b] {
            pki::replace(dir.path(), "ca.pem", &roots);
        }
        for _ in 0..3 {
            authority.svid(WEB).write(b.path(), "svid");
            authority.svid(CLIENT).write(a.path(), "svid");
            rounds += 1.0;
            for proxy in [&inbound, &outbound] {
                proxy.await_metric(refreshes, &[], |count| count > rounds);
            }
            load.await_more(20);
        }
    }
    load.stop().assert_clean();
    assert!(inbound.metrics().sum("pillion_tls_handshakes_total", &[]) > 20.0);
    assert_eq!(inbound.metrics().sum("pillion_tls_failures_total", &[]), 0.0, "{}", inbound.stderr());
}

#[test]
fn a_permissive_listener_serves_the_mesh_and_what_is_not_tls() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, WEB);
    let proxy =
        Shape { top: &identity, listener: "tls: { mode: permissive }", ..Shape::default() }.start(origin.address);
    assert!(header(&proxy.get("/").json(), "x-forwarded-client-cert").is_none());
    let client = authority.svid(CLIENT);
    let mesh = Offer { certificate: Some(&client), alpn: &["pillion/http/1.1", "http/1.1"], ..Offer::default() };
    let described = mesh.connect(proxy.address).unwrap().get("/").unwrap().json();
    assert!(header(&described, "x-forwarded-client-cert").is_some());
    let stranger = Offer { alpn: &["pillion/http/1.1"], ..Offer::default() };
    assert!(stranger.connect(proxy.address).and_then(|mut connection| connection.get("/")).is_err());
    let application = Offer { certificate: Some(&client), alpn: &["http/1.1"], ..Offer::default() };
    assert!(application.connect(proxy.address).is_err());
    proxy.await_metric("pillion_tls_failures_total", &["reason=\"application_tls\""], |count| count == 1.0);
}

/// A ClientHello that is late, whole or in part, must not hand the peer to the application in the clear.
#[test]
fn a_peer_whose_client_hello_comes_late_or_in_two_pieces_is_of_the_mesh_still() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, WEB);
    let listener = "tls: { mode: permissive }\ntcp: { cluster: origin, detect_timeout: 50ms }";
    let proxy = Shape { top: &identity, listener, ..Shape::default() }.start(origin.address);
    let client = authority.svid(CLIENT);
    let offer = Offer { certificate: Some(&client), alpn: &["pillion/http/1.1"], ..Offer::default() };
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    for cut in [0, 1, 3, 200] {
        let mut session = rustls::ClientConnection::new(offer.config(), name.clone()).unwrap();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        let mut socket = TcpStream::connect(proxy.address).unwrap();
        socket.set_read_timeout(Some(wait::SOON)).unwrap();
        socket.write_all(&hello[..cut]).unwrap();
        thread::sleep(Duration::from_millis(300));
        socket.write_all(&hello[cut..]).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap_or_else(|error| panic!("cut behind {cut}: {error}"));
        }
    }
    proxy.await_metric("pillion_tls_handshakes_total", &["version=\"TLSv1.3\""], |count| count == 4.0);
    // Who then begins with no TLS is no peer.
    let mut silent = proxy.connect();
    thread::sleep(Duration::from_millis(300));
    silent.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(silent.receive().status, 200);
    // Nor is who closes its side, and its server is told so.
    silent = proxy.connect();
    silent.half_close();
    assert_eq!(silent.end_within(wait::SOON), End::Closed);
    // Each that said nothing was opaque first.
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"opaque\""], |count| count == 3.0);
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"http1\""], |count| count == 1.0);
}

/// Larger than any that is read: it is no peer's, and goes on as it does where `tcp` is alone.
#[test]
fn an_applications_own_client_hello_may_be_larger_than_what_is_read_of_one() {
    let authority = Authority::new("root");
    let (_dir, identity) = pki::identity(&authority, WEB);
    for padding in [1_000, 17_000, 40_000] {
        let hello = crate::admit::hello(&["a.example.com"], padding, 16 * 1024);
        let listener = "tls: { mode: permissive }\ntcp: { cluster: origin, detect_timeout: 50ms }";
        let proxy = Shape { top: &identity, listener, ..Shape::default() }.start(crate::tcp::echo());
        let mut client = proxy.connect();
        client.send(&hello);
        assert_eq!(client.bytes(hello.len()), hello, "{padding}");
        // Where nothing else is carried it is refused as before.
        let listener = "tls: { mode: permissive }";
        let proxy = Shape { top: &identity, listener, ..Shape::default() }.start(crate::tcp::echo());
        let mut client = proxy.connect();
        client.send(&hello);
        let reason = if padding > 16_000 { "hello_too_large" } else { "application_tls" };
        proxy.await_metric("pillion_tls_failures_total", &[&format!("reason=\"{reason}\"")], |count| count == 1.0);
    }
}

/// Opaque bytes between two proxies, and the application's own TLS through a permissive listener.
#[test]
fn what_is_not_http_is_carried_by_the_mesh_too() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let (_a, client) = pki::identity(&authority, CLIENT);
    let opaque = |top: &str, listener: &str, cluster: &str, endpoint: SocketAddr| {
        Proxy::start(&format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n{top}\nlisteners: [{{ name: web, address: \"{{listen}}\", \
             tcp: {{ cluster: c }}{listener} }}]\nclusters: [{{ name: c, endpoints: [\"{endpoint}\"]{cluster} }}]\n"
        ))
    };
    let inbound = opaque(&server, ", tls: {}", "", origin.address);
    let tls = format!(", tls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
    let outbound = opaque(&client, "", &tls, inbound.address);
    assert_eq!(outbound.get("/bytes/2000000").body.len(), 2_000_000);
    let big = vec![b'x'; 2_000_000];
    assert_eq!(outbound.post("/echo", &big).body.len(), big.len());

    // An application that speaks TLS itself, behind a listener that the mesh is joining.
    let (_c, own) = pki::identity(&authority, "spiffe://example.org/ns/shop/sa/application");
    let application = Shape { top: &own, listener: "tls: { client_certificates: off }", ..Shape::default() };
    let application = application.start(origin.address);
    let front = opaque(&server, ", tls: { mode: permissive }", "", application.address);
    let mut connection = Offer { alpn: &["http/1.1"], ..Offer::default() }.connect(front.address).unwrap();
    assert_eq!(connection.get("/").unwrap().status, 200);
    assert_eq!(front.metrics().sum("pillion_tls_handshakes_total", &[]), 0.0, "it was not ended there");
}

#[test]
fn check_reads_the_certificates_too() {
    let dir = TempDir::new();
    let text = format!(
        "{}\nlisteners: [{{name: a, address: 127.0.0.1:1, tls: {{}}, routes: []}}]\n",
        pki::section(dir.path())
    );
    let file = dir.write("pillion.yaml", text);
    let check = || Command::new(program()).args(["check", "--config"]).arg(&file).output().unwrap();
    let output = check();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("svid.pem") && words.contains("ca.pem"), "{words}");
    let authority = Authority::new("root");
    dir.write("ca.pem", authority.pem());
    authority.svid(WEB).write(dir.path(), "svid");
    assert!(check().status.success());
}

#[test]
fn an_endpoint_with_an_identity_is_spoken_to_by_mutual_tls_and_must_be_who_it_is_said_to_be() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let (_a, client) = pki::identity(&authority, CLIENT);
    let inbound = strict(&server, origin.address);
    let yaml = |endpoints: String| {
        format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n{client}\nlisteners:\n  - name: web\n    address: \
             {{listen}}\n    routes: [{{ match: {{ prefix: / }}, cluster: c }}]\nclusters:\n  - name: c\n    balance: \
             round-robin\n    endpoints: [{endpoints}]\n    tls: {{ mode: mutual-if-identity }}\n"
        )
    };
    let mesh = format!("{{ address: \"{}\", identity: \"{WEB}\" }}", inbound.address);
    let proxy = Proxy::start(&yaml(format!("{mesh}, \"{}\"", origin.address)));
    let told: Vec<bool> = (0..4)
        .map(|_| header(&proxy.get("/").json(), "x-forwarded-client-cert").is_some_and(|told| told.ends_with(CLIENT)))
        .collect();
    assert_eq!(told.iter().filter(|told| **told).count(), 2, "one of the two is of the mesh: {told:?}");
    let wrong = format!("{{ address: \"{}\", identity: \"{CLIENT}\" }}", inbound.address);
    // That the cluster knows somebody else by the server's name makes it no better.
    let proxy = Proxy::start(&yaml(format!("{wrong}, {{ address: \"127.0.0.1:1\", identity: \"{WEB}\" }}")));
    assert_eq!(proxy.get("/").status, 503);
    assert!(proxy.metrics().sum("pillion_connect_failures_total", &["reason=\"unexpected_id\""]) > 0.0);
}

/// Under `mutual-if-identity` what one endpoint does not say nobody adds; where another one does, the operator hears of it.
#[test]
fn a_server_known_by_its_address_and_met_by_its_name_in_the_clear_is_told_of() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let (_a, client) = pki::identity(&authority, CLIENT);
    let inbound = strict(&server, origin.address);
    let port = inbound.address.port();
    let yaml = |named: String| {
        format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n{client}\nlisteners:\n  - name: web\n    address: {{listen}}\n    routes: \
             [{{ match: {{ path: /named }}, cluster: named }}, {{ match: {{ prefix: / }}, cluster: known }}]\nclusters:\n  - {{ \
             name: known, endpoints: [{{ address: \"{}\", identity: \"{WEB}\" }}], tls: {{ mode: mutual-if-identity }} }}\n  - {{ \
             name: named, endpoints: [{named}], tls: {{ mode: mutual-if-identity }} }}\n",
            inbound.address
        )
    };
    let warning =
        format!("cluster named: localhost:{port} is spoken to in the clear, but cluster known knows {WEB} there");
    let proxy = Proxy::start(&yaml(format!("\"localhost:{port}\"")));
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(proxy.get("/named").status, 503, "the server speaks nothing but mutual TLS");
    assert_eq!(proxy.stderr().matches(&warning).count(), 1, "{}", proxy.stderr());
    // Said of both, it is the same server by either way.
    let proxy = Proxy::start(&yaml(format!("{{ address: \"localhost:{port}\", identity: \"{WEB}\" }}")));
    for path in ["/", "/named"] {
        assert!(header(&proxy.get(path).json(), "x-forwarded-client-cert").is_some_and(|told| told.ends_with(CLIENT)));
    }
    assert!(!proxy.stderr().contains("in the clear"), "{}", proxy.stderr());
}

#[test]
fn a_server_that_is_not_a_peer_is_turned_away_and_counted_by_cause() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, CLIENT);
    let peer = Leaf { uris: &[WEB], names: &["localhost"], ..Leaf::default() };
    let uris = |uris| authority.issue(&Leaf { uris, ..peer.clone() });
    let good = authority.issue(&peer);
    let long = Issued { chain: good.chain.repeat(9), key: good.key.clone() };
    for (cause, certificate) in [
        ("certificate_expired", authority.issue(&Leaf { years: (2020, 2021), ..peer.clone() })),
        ("certificate_not_yet_valid", authority.issue(&Leaf { years: (2090, 2091), ..peer.clone() })),
        ("unknown_issuer", Authority::new("another").issue(&peer)),
        ("unknown_issuer", pki::self_signed(&peer)),
        ("unknown_trust_domain", uris(&["spiffe://example.com/web"])),
        ("unexpected_id", uris(&["spiffe://example.org/ns/shop/sa/other"])),
        ("no_spiffe_id", uris(&[])),
        ("several_uris", uris(&[WEB, CLIENT])),
        ("key_usage", authority.issue(&Leaf { usages: &[KeyUsagePurpose::KeyAgreement], ..peer.clone() })),
        (
            "extended_key_usage",
            authority.issue(&Leaf { purposes: &[ExtendedKeyUsagePurpose::ClientAuth], ..peer.clone() }),
        ),
        ("chain_too_long", long),
        ("chain_too_large", authority.issue(&Leaf { padding: 1400, ..peer.clone() })),
    ] {
        let shown = TempDir::new();
        certificate.write(shown.path(), "server");
        let root = shown.path().display();
        let listener = format!(
            "tls: {{ certificates: [{{ certificate_chain: {root}/server.pem, private_key: {root}/server.key }}], \
             client_certificates: \"off\" }}"
        );
        let server = Shape { listener: &listener, ..Shape::default() }.start(origin.address);
        let cluster = format!("tls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
        let proxy = Shape { top: &identity, cluster: &cluster, ..Shape::default() }.start(server.address);
        let answer = proxy.get("/");
        assert_eq!(answer.status, 503, "{cause}");
        let reason = format!("reason=\"{cause}\"");
        let failed = proxy.metrics().sum("pillion_connect_failures_total", &[&reason]);
        assert!(failed > 0.0, "{cause}: {}", proxy.stderr());
    }
    assert_eq!(origin.requests(), 0);
}

/// In TLS 1.3 the server's refusal comes after the client's handshake is over.
#[test]
fn a_server_that_refuses_us_is_told_of_by_its_alert() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_b, server) = pki::identity(&authority, WEB);
    let (_a, stranger) = pki::identity(&Authority::new("another"), CLIENT);
    let inbound = strict(&server, origin.address);
    let roots = TempDir::new();
    fs::write(roots.path().join("roots.pem"), authority.pem()).expect("the roots are written");
    let root = format!("trusted_ca: {}/roots.pem, danger_ignore_names: true", roots.path().display());
    for (protocol, mode, alert) in [
        ("http1", "tls", "CertificateRequired"),
        ("http2", "tls", "CertificateRequired"),
        ("http1", "mutual", "UnknownCA"),
        ("http2", "mutual", "UnknownCA"),
    ] {
        let cluster = format!("protocol: {protocol}\ntls: {{ mode: {mode}, {root} }}");
        let dir = TempDir::new();
        let log = dir.path().join("access.log");
        let top = format!(
            "{stranger}\naccess_log: {{ path: {}, format: {{ text: \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" }} }}",
            log.display()
        );
        let outbound = Shape { top: &top, cluster: &cluster, ..Shape::default() }.start(inbound.address);
        assert_eq!(outbound.post("/", b"x").status, 503, "{protocol} {mode}");
        let counted = outbound.metrics().sum("pillion_connect_failures_total", &["reason=\"peer_refused_us\""]);
        assert!(counted > 0.0, "{protocol} {mode}: {}", outbound.stderr());
        wait::until("its words", wait::SOON, || outbound.stderr().contains(alert).then_some(()));
        let record =
            wait::until("the record", wait::SOON, || fs::read_to_string(&log).ok().filter(|log| log.ends_with('\n')));
        assert!(record.starts_with("UF "), "{protocol} {mode}: {record}");
    }
    let outbound = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\n{stranger}\nlisteners:\n  - {{ name: web, address: {{listen}}, tcp: {{ cluster: \
         origin }} }}\nclusters:\n  - {{ name: origin, endpoints: [\"{}\"], tls: {{ mode: mutual, {root} }} \
         }}\n",
        inbound.address
    ));
    let mut client = TcpStream::connect(outbound.address).expect("it listens");
    client.write_all(b"x").expect("it is read");
    outbound.await_metric("pillion_connect_failures_total", &["reason=\"peer_refused_us\""], |count| count > 0.0);
}

#[test]
fn the_certificate_is_that_of_the_name_asked_for_and_versions_are_as_configured() {
    let curl = some_or_return!(need::program("curl", "curl"));
    let (authority, origin, dir) = (Authority::new("root"), Origin::start(), TempDir::new());
    for name in ["a", "b"] {
        let names = [format!("{name}.example.org"), format!("*.{name}.example.org")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        authority.issue(&Leaf { names: &names, ..Leaf::default() }).write(dir.path(), name);
    }
    let ca = dir.write("ca.pem", authority.pem());
    let root = dir.path().display();
    let certificates =
        ["a", "b"].map(|name| format!("{{ certificate_chain: {root}/{name}.pem, private_key: {root}/{name}.key }}"));
    for (versions, fits, fails) in [
        ("maximum_version: TLSv1.2", "1.2", Some("1.3")),
        ("minimum_version: TLSv1.3", "1.3", Some("1.2")),
        ("minimum_version: TLSv1.2", "1.2", None),
    ] {
        let listener =
            format!("tls: {{ certificates: [{}], client_certificates: \"off\", {versions} }}", certificates.join(", "));
        let proxy = Shape { listener: &listener, ..Shape::default() }.start(origin.address);
        let port = proxy.address.port();
        let get = |host: &str, version: &str| {
            let output = Command::new(&curl)
                .args(["-sS", "--max-time", "20", &format!("--tlsv{version}"), "--tls-max", version, "--cacert"])
                .arg(&ca)
                .args(["--resolve", &format!("{host}:{port}:127.0.0.1"), &format!("https://{host}:{port}/")])
                .output()
                .expect("it runs");
            output.status.code()
        };
        for host in ["a.example.org", "b.example.org", "x.b.example.org"] {
            assert_eq!(get(host, fits), Some(0), "{host} by {fits}");
        }
        // The first of all, which is not of that name.
        assert_eq!(get("c.example.org", fits), Some(60), "curl refuses a certificate of another name");
        if let Some(version) = fails {
            assert_eq!(get("a.example.org", version), Some(35), "no version in common");
            proxy.await_metric("pillion_tls_failures_total", &["reason=\"no_version\""], |count| count == 1.0);
        }
    }
}

#[test]
fn a_handshake_that_does_not_go_on_is_closed_and_counted() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, WEB);
    let listener = "tls: { handshake_timeout: 200ms }";
    let proxy = Shape { top: &identity, listener, ..Shape::default() }.start(origin.address);
    for bytes in [&b""[..], &[22, 3, 1]] {
        let before = refused(&proxy, "timeout");
        let mut client = pillion_tests::client::Client::connect(proxy.address);
        client.send(bytes);
        assert!(matches!(
            client.end_within(wait::SOON),
            pillion_tests::client::End::Closed | pillion_tests::client::End::Reset
        ));
        proxy.await_metric("pillion_tls_failures_total", &["reason=\"timeout\""], |count| count == before + 1.0);
    }
}
