//! What a change of trust or of identity does to what the proxy has begun: connections to servers, tunnels of every kind.

use pillion_tests::{
    client::{Client, End},
    frames::{Frames, Outcome, kind},
    origin::Origin,
    pki::{self, Authority},
    proxy::{Proxy, Shape},
    tls::Offer,
    wait::{self, SOON},
};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    thread,
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";
const CLIENT: &str = "spiffe://example.org/ns/shop/sa/client";
const OTHER: &str = "spiffe://example.org/ns/shop/sa/other";
const REVOKED: &str = "pillion_admit_revoked_total";
const REFRESHES: &str = "pillion_identity_refreshes_total";
const CONNECTIONS: &str = "pillion_accept_connections_total";

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

/// The side of the servers: HTTP and a tunnel, both strict.
fn inbound(identity: &str, origin: SocketAddr, echo: SocketAddr) -> Proxy {
    Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{identity}\nlisteners:\n  - {{ name: web, address: \"{{listen}}\", \
         tls: {{}}, routes: [{{ match: {{ prefix: / }}, cluster: origin }}] }}\n  - {{ name: db, address: \"{{listen2}}\", \
         tls: {{}}, tcp: {{ cluster: echo }} }}\nclusters:\n  - {{ name: origin, endpoints: [\"{origin}\"] }}\n  - {{ name: \
         echo, endpoints: [\"{echo}\"] }}\n"
    ))
}

/// The side of the clients: HTTP/1.1 to `one.test`, HTTP/2 to `two.test`, and a tunnel.
fn outbound(identity: &str, inbound: &Proxy) -> Proxy {
    Proxy::start(&outbound_of(identity, inbound, "spiffe://example.org/*"))
}

/// The same, whose servers must be these.
fn outbound_of(identity: &str, inbound: &Proxy, servers: &str) -> String {
    let cluster = |name: &str, more: &str, endpoint: SocketAddr| {
        format!(
            "  - {{ name: {name}, endpoints: [\"{endpoint}\"], {more}tls: {{ mode: mutual, spiffe_ids: \
             [\"{servers}\"] }} }}\n"
        )
    };
    let clusters = [
        cluster("one", "protocol: http1, ", inbound.address),
        cluster("two", "protocol: http2, ", inbound.address),
        cluster("db", "", inbound.second),
    ];
    format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{identity}\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ \
         text: \"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %TERMINATED_BY%\" }} }}\nlisteners:\n  - {{ name: \
         web, address: \"{{listen}}\", routes: [{{ match: {{ host: two.test }}, cluster: two }}, {{ match: {{ prefix: / }}, \
         cluster: one }}] }}\n  - {{ name: db, address: \"{{listen2}}\", tcp: {{ cluster: db }} }}\nclusters:\n{}",
        clusters.concat()
    )
}

fn ask(client: &mut Client, host: &str, path: &str) -> pillion_tests::response::Response {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.receive()
}

fn websocket(proxy: &Proxy, host: &str) -> Client {
    let mut client = proxy.connect();
    client.send(format!(
        "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
         13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert_eq!(client.receive().status, 101);
    echoed(&mut client);
    client
}

fn tunnel(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.second);
    echoed(&mut client);
    client
}

fn echoed(tunnel: &mut Client) {
    assert_eq!(tunnel.send("hello").bytes(5), b"hello");
}

fn await_cut(mut tunnel: Client) {
    assert!(matches!(tunnel.end_within(SOON), End::Closed | End::Reset));
}

fn await_record(proxy: &Proxy, line: &str) {
    wait::until_true(line, || {
        fs::read_to_string(proxy.dir().join("access.log")).is_ok_and(|text| text.lines().any(|known| known == line))
    });
}

/// Writes something new into an identity's directory and waits until it was taken.
fn renew(proxy: &Proxy, write: impl FnOnce()) {
    let before = proxy.metrics().sum(REFRESHES, &[]);
    write();
    proxy.await_metric(REFRESHES, &[], |count| count > before);
}

#[test]
fn a_server_that_is_not_believed_any_more_gets_nothing_new() {
    let (old, new) = (Authority::new("old root"), Authority::new("new root"));
    let (origin, behind) = (Origin::start(), echo());
    let (_b, server) = pki::identity(&old, WEB);
    let (dir, client) = pki::identity(&old, CLIENT);
    let inbound = inbound(&server, origin.address, behind);
    let proxy = outbound(&client, &inbound);
    let hosts = ["one.test", "two.test"];
    let mut resting = hosts.map(|host| (host, proxy.connect()));
    for (host, client) in &mut resting {
        assert_eq!(ask(client, host, "/").status, 200);
    }
    let tunnels = || [websocket(&proxy, "one.test"), websocket(&proxy, "two.test"), tunnel(&proxy)];
    let mut lives = tunnels();

    // Another root beside the one that vouches for the server: nothing is felt.
    renew(&proxy, || pki::replace(dir.path(), "ca.pem", &(old.pem() + &new.pem())));
    for tunnel in &mut lives {
        echoed(tunnel);
    }
    let busy = hosts.map(|host| {
        let before = origin.requests();
        let mut client = proxy.connect();
        client.send(format!("GET /hold HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        wait::until_true("the request to arrive", || origin.requests() > before);
        client
    });

    // That root goes: what rests is closed, tunnels are cut, and no request finds an old connection.
    renew(&proxy, || pki::replace(dir.path(), "ca.pem", &new.pem()));
    lives.into_iter().for_each(await_cut);
    await_record(&proxy, "0 UAEX server_certificate_not_trusted_any_more proxy");
    await_record(&proxy, "101 UAEX server_certificate_not_trusted_any_more proxy");
    proxy.await_metric(REVOKED, &["reason=\"trust\""], |count| count == 3.0);
    for (host, client) in &mut resting {
        assert_eq!(ask(client, host, "/").status, 503, "{host}");
    }
    // What was sent before is answered, and its connection serves nothing more.
    origin.release();
    for mut client in busy {
        assert_eq!(client.receive().status, 200);
        assert_eq!(ask(&mut client, "one.test", "/").status, 503);
    }
    wait::until_true("the old connections to be closed", || {
        inbound.metrics().sum("pillion_accept_connections_active", &[]) == 0.0
    });

    renew(&proxy, || pki::replace(dir.path(), "ca.pem", &old.pem()));
    for (host, client) in &mut resting {
        assert_eq!(ask(client, host, "/").status, 200, "{host}");
    }
    drop(tunnels());
}

/// Of a stream that never ends one would wait for ever.
#[test]
fn what_is_in_flight_to_a_server_that_is_not_believed_any_more_is_cut_at_the_drains_deadline() {
    let (old, new) = (Authority::new("old root"), Authority::new("new root"));
    let (origin, behind) = (Origin::start(), echo());
    let (_b, server) = pki::identity(&old, WEB);
    let inbound = inbound(&server, origin.address, behind);
    const CERTIFICATE: &str = "server_certificate_not_trusted_any_more";
    for (change, why, reason) in [
        ("roots", CERTIFICATE, "trust"),
        ("rules", CERTIFICATE, "trust"),
        ("ourselves", "identity_changed", "identity"),
    ] {
        let (dir, client) = pki::identity(&old, CLIENT);
        let client = format!("drain: {{ deadline: 500ms }}\n{client}");
        let proxy = outbound(&client, &inbound);
        let hosts = ["one.test", "two.test"];
        let begin = |request: String| {
            let before = origin.requests();
            let mut client = proxy.connect();
            client.send(request);
            wait::until_true("the request to arrive", || origin.requests() > before);
            client
        };
        let unanswered = hosts.map(|host| begin(format!("GET /hold HTTP/1.1\r\nHost: {host}\r\n\r\n")));
        let unsent =
            hosts.map(|host| begin(format!("POST /sink HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\nhello")));
        let unfinished = hosts.map(|host| {
            let mut client = begin(format!("GET /stall/600000 HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            let head = client.some().expect("the head comes at once");
            assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
            client
        });
        match change {
            "roots" => renew(&proxy, || pki::replace(dir.path(), "ca.pem", &new.pem())),
            "rules" => {
                proxy.replace_config(&outbound_of(&client, &inbound, "spiffe://example.org/ns/bank/*"));
                assert_eq!(proxy.admin_post("/reload").status, 200);
            }
            _ => renew(&proxy, || old.svid(OTHER).write(dir.path(), "svid")),
        }
        for mut client in unanswered.into_iter().chain(unsent) {
            assert_eq!(client.receive().status, 503);
        }
        unfinished.into_iter().for_each(await_cut);
        wait::until_true("a record of each", || {
            let text = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
            let count = |line: &str| text.lines().filter(|known| *known == line).count();
            count(&format!("503 UAEX {why} proxy")) == 4 && count(&format!("200 UAEX {why} proxy")) == 2
        });
        // HTTP/1.1 has a connection for each request, HTTP/2 one for all.
        let reason = format!("reason=\"{reason}\"");
        for (cluster, connections) in [("cluster=\"one\"", 3.0), ("cluster=\"two\"", 1.0)] {
            proxy.await_metric("pillion_upstream_revoked_total", &[cluster, &reason], |cut| cut == connections);
        }
        inbound.await_metric("pillion_accept_connections_active", &[], |open| open == 0.0);
    }
}

#[test]
fn servers_and_clients_learn_who_we_have_become() {
    let (authority, origin, behind) = (Authority::new("root"), Origin::start(), echo());
    let (b, server) = pki::identity(&authority, WEB);
    let (a, client) = pki::identity(&authority, CLIENT);
    let inbound = inbound(&server, origin.address, behind);
    let proxy = outbound(&client, &inbound);
    let told = |client: &mut Client, host: &str| {
        let described = ask(client, host, "/").json();
        let headers = described["headers"].as_array().expect("the origin lists headers").clone();
        let found = headers.iter().find(|header| header[0] == "x-forwarded-client-cert").expect("it is told");
        found[1].as_str().and_then(|told| told.split_once(";URI=")).map(|(_, id)| id.to_owned()).unwrap_or_default()
    };
    let mut resting = ["one.test", "two.test"].map(|host| (host, proxy.connect()));
    for (host, client) in &mut resting {
        assert_eq!(told(client, host), CLIENT);
    }
    let mut lives = tunnel(&proxy);
    let connections = inbound.metrics().sum(CONNECTIONS, &[]);

    // A renewal: requests go on new connections, on which the new certificate was shown; tunnels live on.
    renew(&proxy, || authority.svid(CLIENT).write(a.path(), "svid"));
    for _ in 0..3 {
        for (host, client) in &mut resting {
            assert_eq!(told(client, host), CLIENT);
        }
    }
    echoed(&mut lives);
    assert_eq!(inbound.metrics().sum(CONNECTIONS, &[]), connections + 2.0);

    // Somebody else: what the server believes of us must be true.
    renew(&proxy, || authority.svid(OTHER).write(a.path(), "svid"));
    for (host, client) in &mut resting {
        assert_eq!(told(client, host), OTHER);
    }
    await_cut(lives);
    await_record(&proxy, "0 UAEX identity_changed proxy");

    // The other side: a client that asked for one workload does not go on speaking to another.
    let certificate = authority.svid(CLIENT);
    let offer = Offer { certificate: Some(&certificate), ..Offer::default() };
    let mut client = offer.connect(inbound.address).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
    renew(&inbound, || authority.svid(WEB).write(b.path(), "svid"));
    assert_eq!(client.get("/").unwrap().status, 200);
    renew(&inbound, || authority.svid(OTHER).write(b.path(), "svid"));
    // It is led to its end, and did nothing wrong: what it asks until then is answered.
    if let Ok(answer) = client.get("/") {
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert!(client.get("/").is_err());
    inbound.await_metric(REVOKED, &["reason=\"identity\""], |count| count >= 1.0);
    assert_eq!(ask(&mut resting[0].1, "one.test", "/").status, 200, "a new connection to whoever is of the domain");
}

/// Two roots change over as an operator does it: both are believed, leaves are renewed, the old root goes; the server may
/// cease to believe it long before its clients do.
#[test]
fn no_request_goes_where_the_certificate_before_this_one_was_shown() {
    let (old, new, origin, behind) = (Authority::new("old root"), Authority::new("new root"), Origin::start(), echo());
    let (b, server) = pki::identity(&old, WEB);
    let (a, client) = pki::identity(&old, CLIENT);
    let inbound = inbound(&server, origin.address, behind);
    let proxy = outbound(&client, &inbound);
    let mut resting = ["one.test", "two.test"].map(|host| (host, proxy.connect()));
    let mut all_answered = || {
        for (host, client) in &mut resting {
            for method in ["GET", "POST"] {
                client.send(format!("{method} / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"));
                assert_eq!(client.receive().status, 200, "{method} {host}");
            }
        }
    };
    all_answered();
    for (proxy, dir) in [(&inbound, &b), (&proxy, &a)] {
        renew(proxy, || pki::replace(dir.path(), "ca.pem", &(old.pem() + &new.pem())));
    }
    all_answered();
    renew(&inbound, || new.svid(WEB).write(b.path(), "svid"));
    renew(&proxy, || new.svid(CLIENT).write(a.path(), "svid"));
    all_answered();
    renew(&inbound, || pki::replace(b.path(), "ca.pem", &new.pem()));
    all_answered();
    renew(&proxy, || pki::replace(a.path(), "ca.pem", &new.pem()));
    all_answered();
}

#[test]
fn a_stream_of_a_client_that_is_not_believed_any_more_may_be_sent_again_elsewhere() {
    let (origin, root) = (Origin::start(), Authority::new("root"));
    let (_dir, identity) = pki::identity(&root, WEB);
    let shape = |listener: &str| Shape { top: &identity, listener, ..Shape::default() }.yaml(&[origin.address]);
    let proxy = Proxy::start(&shape("backlog: 1024"));
    let mut client = Frames::connect(proxy.address);
    client.get(1, "/").expect("it is sent");
    assert!(matches!(client.outcome(1), Outcome::Answered(200, _)));
    // What was in the clear must be TLS now.
    proxy.replace_config(&shape("tls: {}"));
    assert_eq!(proxy.admin_post("/reload").status, 200);
    while client.next(SOON).expect("it is told to leave").kind != kind::GOAWAY {}
    // Its PING is not answered, so that the server must still expect requests that were on their way.
    client.get(3, "/").expect("it is sent");
    assert_eq!(client.outcome(3), Outcome::Reset(7), "REFUSED_STREAM");
    assert_eq!(origin.requests(), 1);
}
