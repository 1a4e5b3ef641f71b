//! Who may: rules on real connections with real certificates, and what a change of rules or of trust does to what lives.

mod filtered;

use pillion_tests::{
    client::{Client, End},
    frames::Frames,
    origin::Origin,
    pki::{self, Authority},
    proxy::{Proxy, Shape},
    tls::Offer,
    wait::{self, SOON},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";
const CLIENT: &str = "spiffe://example.org/ns/shop/sa/client";
const OTHER: &str = "spiffe://example.org/ns/other/sa/client";
const DECISIONS: &str = "pillion_admit_decisions_total";
const REVOKED: &str = "pillion_admit_revoked_total";

fn log(top: &str) -> String {
    format!(
        "{top}\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \"%RESPONSE_CODE% %RESPONSE_FLAGS% \
         %RESPONSE_CODE_DETAILS% %TERMINATED_BY%\" }} }}"
    )
}

/// Waits until a record is this line.
fn await_record(proxy: &Proxy, line: &str) {
    wait::until_true(line, || {
        fs::read_to_string(proxy.dir().join("access.log")).is_ok_and(|text| text.lines().any(|known| known == line))
    });
}

fn ask(client: &mut Client, method: &str, path: &str) -> pillion_tests::response::Response {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
    client.receive_for(method)
}

/// Sends back what comes.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut other = stream.try_clone().expect("a socket can be shared");
            thread::spawn(move || std::io::copy(&mut stream, &mut other));
        }
    });
    address
}

/// Asks for a WebSocket; the answer's status.
fn websocket(proxy: &Proxy, path: &str) -> (Client, u16) {
    let mut client = proxy.connect();
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nX-Team: blue\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    let status = client.receive().status;
    (client, status)
}

/// Its connection is cut.
fn cut(mut client: Client) {
    assert!(matches!(client.end_within(SOON), End::Closed | End::Reset));
}

fn reload(proxy: &Proxy, yaml: &str) {
    proxy.replace_config(yaml);
    let response = proxy.admin_post("/reload");
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn peers_are_told_apart_by_their_certificates() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, WEB);
    let (client, other) = (authority.svid(CLIENT), authority.svid(OTHER));
    for (peers, client_may, other_may) in [
        (format!("[\"{CLIENT}\"]"), true, false),
        ("[\"spiffe://example.org/ns/shop/*\"]".to_owned(), true, false),
        ("[\"spiffe://example.org/*\"]".to_owned(), true, true),
        ("[\"spiffe://example.org/ns/sho/*\"]".to_owned(), false, false),
    ] {
        let listener =
            format!("tls: {{}}\nauthorization: {{ rules: [{{ name: mesh, action: allow, peers: {peers} }}] }}");
        let proxy = Shape { top: &log(&identity), listener: &listener, ..Shape::default() }.start(origin.address);
        let before = origin.requests();
        for (certificate, may) in [(&client, client_may), (&other, other_may)] {
            let answer = Offer { certificate: Some(certificate), ..Offer::default() }
                .connect(proxy.address)
                .and_then(|mut connection| connection.get("/"));
            assert_eq!(answer.as_ref().is_ok_and(|answer| answer.status == 200), may, "{peers}: {answer:?}");
        }
        let denied = [client_may, other_may].into_iter().filter(|may| !may).count();
        // Closed before a byte of it was read as a request.
        assert_eq!(origin.requests() - before, 2 - denied);
        proxy.await_metric(DECISIONS, &["rule=\"none\"", "decision=\"deny\""], |count| count == denied as f64);
        if denied > 0 {
            await_record(&proxy, "0 UAEX rbac_access_denied_matched_policy[none] proxy");
        }
    }
}

#[test]
fn a_denied_request_gets_403_and_only_a_known_peer_a_reason() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, WEB);
    let rules = "authorization:\n  rules:\n    - { name: no-admin, action: deny, requests: [{ prefix: /admin }] }\n    - \
                 { name: readers, action: allow, requests: [{ prefix: /, method: GET }] }\n    - { name: shop, action: \
                 allow, peers: [\"spiffe://example.org/ns/shop/*\"], requests: [{ prefix: /orders, method: [POST] }] }";
    let listener = format!("tls: {{ client_certificates: optional }}\n{rules}");
    let proxy = Shape { top: &log(&identity), listener: &listener, ..Shape::default() }.start(origin.address);
    let client = authority.svid(CLIENT);
    let mut known = Offer { certificate: Some(&client), ..Offer::default() }.connect(proxy.address).unwrap();
    assert_eq!(known.get("/").unwrap().status, 200);
    let denied = known.get("/x/../admin/").unwrap();
    assert_eq!((denied.status, denied.text().as_str()), (403, "access denied by rule no-admin\n"));
    assert_eq!(known.get("/").unwrap().status, 200, "the connection goes on");
    let mut unknown = Offer::default().connect(proxy.address).unwrap();
    assert_eq!(unknown.get("/").unwrap().status, 200);
    let denied = unknown.get("/admin").unwrap();
    assert_eq!((denied.status, denied.text().as_str()), (403, "access denied\n"));
    await_record(&proxy, "403 UAEX rbac_access_denied_matched_policy[no-admin] proxy");
    proxy.await_metric(DECISIONS, &["rule=\"no-admin\"", "decision=\"deny\""], |count| count == 2.0);
    proxy.await_metric(DECISIONS, &["rule=\"readers\"", "decision=\"allow\""], |count| count == 3.0);
    let explained = proxy.admin_get(&format!(
        "/authorization/explain?listener=web&peer={CLIENT}&method=POST&path=/orders/1&source=10.0.0.1"
    ));
    let explained = explained.json();
    assert_eq!((&explained["decision"], &explained["listener"]["rule"]), (&"allow".into(), &"shop".into()));
}

#[test]
fn a_route_has_rules_of_its_own_and_dry_ones_only_count() {
    let origin = Origin::start();
    let listener = "authorization: { dry_run: true, rules: [{ name: nobody, action: deny }] }";
    let route = "authorization: { rules: [{ name: get, action: allow, requests: [{ prefix: /, method: GET }] }] }\n\
                 name: api";
    let proxy = Shape { listener, route, ..Shape::default() }.start(origin.address);
    let mut client = proxy.connect();
    assert_eq!(ask(&mut client, "GET", "/").status, 200);
    assert_eq!(ask(&mut client, "POST", "/").status, 403);
    proxy.await_metric(DECISIONS, &["rule=\"nobody\"", "decision=\"dry_run_deny\""], |count| count == 2.0);
    proxy.await_metric(DECISIONS, &["rule=\"api/get\"", "decision=\"allow\""], |count| count == 1.0);
    proxy.await_metric(DECISIONS, &["rule=\"api/none\"", "decision=\"deny\""], |count| count == 1.0);
}

#[test]
fn networks_are_those_of_the_proxy_protocol_where_a_trusted_sender_speaks_it() {
    let origin = Origin::start();
    let listener = "proxy_protocol: { headers: optional, trusted: [127.0.0.1] }\nauthorization: { rules: [{ action: \
                    deny, sources: [192.0.2.0/24] }, { action: deny, direct_sources: [127.0.0.2] }] }";
    let proxy = Shape { listener, ..Shape::default() }.start(origin.address);
    for (address, may) in [("192.0.2.7", false), ("192.0.3.7", true)] {
        let mut client = proxy.connect();
        client.send(format!("PROXY TCP4 {address} 198.51.100.7 1 2\r\n"));
        drop(client.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n"));
        let answer = client.try_receive("GET");
        assert_eq!(answer.is_ok_and(|answer| answer.status == 200), may, "{address}");
    }
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.2:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&proxy.address.into()).unwrap();
    let mut client = Client::over(socket.into());
    assert!(matches!(client.end_within(SOON), End::Closed | End::Reset), "before a byte was sent");
}

#[test]
fn what_only_http_can_satisfy_no_silence_passes() {
    let (origin, behind) = (Origin::start(), echo());
    let yaml = |rule: &str| {
        format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - name: web\n    address: {{listen}}\n    \
             authorization: {{ rules: [{rule}] }}\n    routes: [{{ match: {{ prefix: / }}, cluster: origin }}]\n    \
             tcp: {{ cluster: echo, detect_timeout: 50ms }}\nclusters:\n  - {{ name: origin, endpoints: [\"{}\"] }}\n  \
             - {{ name: echo, endpoints: [\"{behind}\"] }}\n",
            origin.address
        )
    };
    for rule in ["{ action: allow, requests: [{ prefix: / }] }", "{ action: deny, requests: [{ prefix: /admin }] }"] {
        let proxy = Proxy::start(&yaml(rule));
        assert_eq!(proxy.get("/").status, 200, "{rule}");
        let mut silent = proxy.connect();
        assert!(matches!(silent.end_within(SOON), End::Closed | End::Reset), "{rule}");
        let mut opaque = proxy.connect();
        opaque.send([0, 1, 2, 3]);
        assert!(matches!(opaque.end_within(SOON), End::Closed | End::Reset), "{rule}");
    }
    let proxy = Proxy::start(&yaml("{ action: deny, ports: [1] }"));
    let mut opaque = proxy.connect();
    opaque.send([0, 1, 2, 3]);
    assert_eq!(opaque.bytes(4), [0, 1, 2, 3]);
}

/// A ClientHello that asks for these names (RFC 6066 §3), in records of at most `piece` bytes; `padding` bytes of an extension
/// stand before.
pub(crate) fn hello(names: &[&str], padding: usize, piece: usize) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).expect("it is short").to_be_bytes()[..], bytes].concat();
    let extension = |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &sized(content)].concat();
    let mut extensions = extension(21, &vec![0; padding]);
    if !names.is_empty() {
        let list: Vec<u8> = names.iter().flat_map(|name| [&[0][..], &sized(name.as_bytes())].concat()).collect();
        extensions.extend(extension(0, &sized(&list)));
    }
    let body = [&[3, 3][..], &[7; 32], &[0], &sized(&[0x13, 0x01]), &[1, 0], &sized(&extensions)].concat();
    let length = u32::try_from(body.len()).expect("it is short").to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    message.chunks(piece).flat_map(|piece| [&[22, 3, 1][..], &sized(piece)].concat()).collect()
}

#[test]
fn a_rule_about_server_names_is_asked_of_tls_that_is_passed_on_and_no_trick_hides_the_name() {
    const LARGE: usize = 16 * 1024;
    let behind = echo();
    for listener in [
        "tcp: { cluster: echo, detect_timeout: 100ms }",
        "tcp: { cluster: echo, detect_timeout: 100ms, server_names: [{ name: other.example.com, cluster: echo }] }",
        "routes: [{ match: { prefix: / }, cluster: echo }], tcp: { cluster: echo, detect_timeout: 100ms }",
    ] {
        let proxy = Proxy::start(&format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners: [{{ name: web, address: \"{{listen}}\", authorization: {{ \
             rules: [{{ name: secret, action: deny, server_names: [secret.example.com] }}] }}, {listener} }}]\nclusters: [{{ \
             name: echo, endpoints: [\"{behind}\"] }}]\n"
        ));
        let whole = hello(&["secret.example.com"], 0, LARGE);
        for (case, bytes) in [
            ("plain", whole.clone()),
            ("in another spelling", hello(&["SECRET.Example.com."], 0, LARGE)),
            ("in small records", hello(&["secret.example.com"], 0, 3)),
            ("beyond what is read", hello(&["secret.example.com"], 17 * 1024, LARGE)),
            ("behind another name", hello(&["other.example.com", "secret.example.com"], 0, LARGE)),
        ] {
            let mut client = proxy.connect();
            drop(client.try_send(&bytes));
            assert!(matches!(client.end_within(SOON), End::Closed | End::Reset), "{case}, {listener}");
        }
        let mut late = proxy.connect();
        late.send(&whole[..20]);
        thread::sleep(Duration::from_millis(300));
        drop(late.try_send(&whole[20..]));
        assert!(matches!(late.end_within(SOON), End::Closed | End::Reset), "late, {listener}");
        let mut silent = proxy.connect();
        assert!(matches!(silent.end_within(SOON), End::Closed | End::Reset), "silent, {listener}");
        for (case, bytes) in [
            ("another name", hello(&["other.example.com"], 0, LARGE)),
            ("no name", hello(&[], 0, LARGE)),
            ("no TLS", vec![0, 1, 2, 3]),
        ] {
            let mut client = proxy.connect();
            client.send(&bytes);
            assert_eq!(client.bytes(bytes.len()), bytes, "{case}, {listener}");
        }
    }
}

#[test]
fn a_change_of_rules_is_felt_by_what_lives() {
    let (origin, behind) = (Origin::start(), echo());
    let yaml = |rules: &str| {
        format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n{}\nlisteners:\n  - name: web\n    address: {{listen}}\n    \
             {rules}\n    routes: [{{ match: {{ prefix: / }}, cluster: origin }}]\n  - name: db\n    address: \
             {{listen2}}\n    {rules}\n    tcp: {{ cluster: echo }}\nclusters:\n  - {{ name: origin, endpoints: [\"{}\"] \
             }}\n  - {{ name: echo, endpoints: [\"{behind}\"] }}\n",
            log(""),
            origin.address
        )
    };
    let mut proxy = Proxy::start(&yaml("backlog: 1024"));
    let (mut resting, mut busy) = (proxy.connect(), proxy.connect());
    assert_eq!(ask(&mut resting, "GET", "/").status, 200);
    busy.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until_true("the request to arrive", || origin.requests() == 2);
    let mut tunnel = Client::connect(proxy.second);
    tunnel.send("hello");
    assert_eq!(tunnel.bytes(5), b"hello");
    let mut websocket = proxy.connect();
    websocket.send(
        "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(websocket.receive().status, 101);

    // What concerns none of them is felt by none of them.
    reload(&proxy, &yaml("authorization: { rules: [{ name: far, action: deny, sources: [192.0.2.0/24] }] }"));
    assert_eq!(ask(&mut resting, "GET", "/").status, 200);
    tunnel.send("hello");
    assert_eq!(tunnel.bytes(5), b"hello");

    reload(&proxy, &yaml("authorization: { rules: [{ name: near, action: deny, sources: [127.0.0.0/8] }] }"));
    assert!(matches!(tunnel.end_within(SOON), End::Closed | End::Reset));
    assert!(matches!(websocket.end_within(SOON), End::Closed | End::Reset));
    // It may still ask once before it is closed, and is denied.
    let answer = resting.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").and_then(|()| resting.try_receive("GET"));
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 403);
    }
    assert!(matches!(resting.end_within(SOON), End::Closed | End::Reset));
    await_record(&proxy, "0 UAEX rbac_access_denied_matched_policy[near] proxy");
    // What was let in is answered.
    origin.release();
    let answer = busy.receive();
    assert_eq!(answer.status, 200);
    assert!(matches!(busy.end_within(SOON), End::Closed | End::Reset));
    proxy.await_metric("pillion_tunnel_failures_total", &["flag=\"UAEX\""], |count| count >= 1.0);
    proxy.await_metric(REVOKED, &["reason=\"rules\""], |count| count >= 4.0);
    // New ones are not let in at all, until the rules say so again.
    let mut fresh = proxy.connect();
    assert!(matches!(fresh.end_within(SOON), End::Closed | End::Reset));
    reload(&proxy, &yaml("backlog: 1024"));
    proxy.assert_healthy();
    let (status, _) = proxy.stop();
    assert!(status.success());
}

/// Of a stream that never ends a drain would wait for ever.
#[test]
fn what_is_in_flight_of_a_client_that_may_not_any_more_is_cut_at_the_drains_deadline() {
    let origin = Origin::start();
    let yaml = |rules: &str| {
        format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\ndrain: {{ deadline: 500ms }}\n{}\nlisteners: [{{ name: web, \
             address: \"{{listen}}\", {rules} routes: [{{ match: {{ prefix: / }}, cluster: origin }}] }}]\nclusters: [{{ \
             name: origin, endpoints: [\"{}\"] }}]\n",
            log(""),
            origin.address
        )
    };
    let mut proxy = Proxy::start(&yaml(""));
    let mut http1 = proxy.connect();
    http1.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut http2 = Frames::connect(proxy.address);
    http2.get(1, "/hold").expect("the connection is new");
    wait::until_true("the requests to arrive", || origin.requests() == 2);
    // What it asks is another's matter: a rule about requests is asked of requests.
    reload(&proxy, &yaml("authorization: { rules: [{ action: deny, requests: [{ path: /hold }] }] },"));
    reload(&proxy, &yaml("authorization: { rules: [{ name: near, action: deny, sources: [127.0.0.0/8] }] },"));
    assert!(matches!(http1.end_within(SOON), End::Closed | End::Reset));
    http2.until_closed(SOON).expect("it is cut");
    wait::until_true("both records", || {
        let text = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
        text.lines().filter(|line| *line == "0 UAEX not_allowed_any_more proxy").count() == 2
    });
    proxy.await_metric(REVOKED, &["reason=\"rules\""], |count| count == 2.0);
    reload(&proxy, &yaml(""));
    proxy.assert_healthy();
    let (status, _) = proxy.stop();
    assert!(status.success());
}

#[test]
fn a_change_of_trust_is_felt_by_what_lives_and_a_renewal_is_not() {
    let (old, new) = (Authority::new("old root"), Authority::new("new root"));
    let (origin, behind) = (Origin::start(), echo());
    let (dir, identity) = pki::identity(&old, WEB);
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{}\nlisteners:\n  - name: web\n    address: {{listen}}\n    tls: \
         {{}}\n    routes: [{{ match: {{ prefix: / }}, cluster: origin }}]\n  - name: db\n    address: {{listen2}}\n    \
         tls: {{}}\n    tcp: {{ cluster: echo }}\nclusters:\n  - {{ name: origin, endpoints: [\"{}\"] }}\n  - {{ name: \
         echo, endpoints: [\"{behind}\"] }}\n",
        log(&identity),
        origin.address
    );
    let proxy = Proxy::start(&yaml);
    let certificate = old.svid(CLIENT);
    let offer = Offer { certificate: Some(&certificate), ..Offer::default() };
    let mut http = offer.connect(proxy.address).unwrap();
    assert_eq!(http.get("/").unwrap().status, 200);
    let mut tunnel = offer.connect(proxy.second).unwrap();
    let echoed = |connection: &mut pillion_tests::tls::TlsClient| {
        let mut bytes = [0; 5];
        let stream = connection.stream();
        stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut bytes)).map(|()| bytes)
    };
    assert_eq!(echoed(&mut tunnel).unwrap(), *b"hello");

    // A renewal, and another root beside the old one: nobody is asked to leave.
    let refreshes = "pillion_identity_refreshes_total";
    let before = proxy.metrics().sum(refreshes, &[]);
    old.svid(WEB).write(dir.path(), "svid");
    pki::replace(dir.path(), "ca.pem", &(old.pem() + &new.pem()));
    proxy.await_metric(refreshes, &[], |count| count > before);
    let newcomer = new.svid(OTHER);
    let newcomer = Offer { certificate: Some(&newcomer), ..Offer::default() };
    wait::until_true("the new root to be believed", || {
        newcomer.connect(proxy.address).and_then(|mut connection| connection.get("/")).is_ok()
    });
    assert_eq!(http.get("/").unwrap().status, 200);
    assert_eq!(echoed(&mut tunnel).unwrap(), *b"hello");

    // The old root goes: its peers go, the others stay.
    let mut stays = newcomer.connect(proxy.second).unwrap();
    assert_eq!(echoed(&mut stays).unwrap(), *b"hello");
    pki::replace(dir.path(), "ca.pem", &new.pem());
    wait::until_true("the tunnel to be cut", || {
        thread::sleep(Duration::from_millis(20));
        echoed(&mut tunnel).is_err()
    });
    await_record(&proxy, "0 UAEX client_certificate_not_trusted_any_more proxy");
    // No 403: whoever has a newer certificate by now may ask again, on another connection.
    assert!(http.get("/").is_err(), "closed without a byte");
    proxy.await_metric(REVOKED, &["reason=\"trust\""], |count| count >= 2.0);
    assert_eq!(echoed(&mut stays).unwrap(), *b"hello");
    assert_eq!(proxy.metrics().sum(REVOKED, &[]), 2.0, "one connection of either kind, each counted once");
    assert!(offer.connect(proxy.address).and_then(|mut connection| connection.get("/")).is_err());
    drop(TcpStream::connect(proxy.address));
}

#[test]
fn a_routes_rules_and_those_about_requests_are_asked_of_tunnels_that_live() {
    let origin = Origin::start();
    let shape = |listener: &str, route: &str| {
        Shape { top: &log(""), listener, route: &format!("name: chat\n{route}"), ..Shape::default() }
            .yaml(&[origin.address])
    };
    let proxy = Proxy::start(&shape("backlog: 1024", ""));
    let websocket = |path: &str| {
        let (client, status) = websocket(&proxy, path);
        assert_eq!(status, 101);
        client
    };
    let (mut a, mut b, mut c) = (websocket("/a"), websocket("/b"), websocket("/c"));
    // They came before there were rules, and are judged by them all the same: by the route's,
    reload(
        &proxy,
        &shape("backlog: 1024", "authorization: { rules: [{ name: no-a, action: deny, requests: [{ path: /a }] }] }"),
    );
    cut(a);
    await_record(&proxy, "101 UAEX rbac_access_denied_matched_policy[chat/no-a] proxy");
    assert_eq!(b.send("hello").bytes(5), b"hello");
    // by what the listener says of requests,
    let listener = "authorization: { rules: [{ name: no-b, action: deny, requests: [{ path: /b, headers: { x-team: \
                    blue } }] }] }";
    reload(&proxy, &shape(listener, ""));
    cut(b);
    await_record(&proxy, "101 UAEX rbac_access_denied_matched_policy[no-b] proxy");
    assert_eq!(c.send("hello").bytes(5), b"hello");
    // and what no rule allows any more goes too.
    a = websocket("/a");
    reload(&proxy, &shape("backlog: 1024", "authorization: { rules: [{ action: allow, requests: [{ path: /c }] }] }"));
    cut(a);
    assert_eq!(c.send("hello").bytes(5), b"hello");
    proxy.await_metric(REVOKED, &["reason=\"rules\""], |count| count == 3.0);
    drop(c);
}
