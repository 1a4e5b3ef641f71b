//! Connections whose clients are silent, or slow, for longer than their first bytes are waited for.

use crate::{
    admit::hello,
    tcp::{echo, proxy, records, server},
};
use pillion_tests::{
    client::{Client, End},
    origin::Origin,
    proxy::Proxy,
    wait::SOON,
};
use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

/// Longer than `detect_timeout` in these tests.
const LATE: Duration = Duration::from_millis(300);

/// Says its name as soon as it has heard something.
fn named(name: &'static str) -> SocketAddr {
    server(move |mut stream| {
        if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
            drop(stream.write_all(name.as_bytes()));
        }
        // It is read to its end: a socket that is closed with bytes unread is reset.
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    })
}

#[test]
fn a_late_client_hello_goes_by_the_most_specific_name_as_a_prompt_one_does() {
    const LARGE: usize = 16 * 1024;
    let clusters = [("one", named("one")), ("any", named("any")), ("rest", named("rest"))];
    let names = "tcp: { cluster: rest, detect_timeout: 100ms, server_names: [{ name: \"*.example.com\", cluster: any }, \
                 { name: a.example.com, cluster: one }] }";
    for listener in [names.to_owned(), format!("routes: [{{ match: {{ prefix: / }}, cluster: rest }}]\n    {names}")] {
        let proxy = proxy(&listener, &clusters);
        for (name, who) in [("a.example.com", "one"), ("b.example.com", "any"), ("example.net", "res")] {
            let whole = hello(&[name], 0, LARGE);
            let two = hello(&[name], 0, whole.len() / 2);
            for (pause, bytes, cut) in
                [(Duration::ZERO, &whole, 0), (LATE, &whole, 0), (LATE, &two, 0), (LATE, &whole, 50), (LATE, &two, 7)]
            {
                let mut client = proxy.connect();
                thread::sleep(pause);
                client.send(&bytes[..cut]);
                if cut > 0 {
                    thread::sleep(LATE);
                }
                client.send(&bytes[cut..]);
                assert_eq!(client.bytes(3), who.as_bytes(), "{name} after {pause:?}, cut at {cut}, {listener}");
            }
        }
        // What is no TLS goes where all else goes, late or not.
        for pause in [Duration::ZERO, LATE] {
            let mut client = proxy.connect();
            thread::sleep(pause);
            client.send("\x01\x02\x03\x04");
            assert_eq!(client.bytes(4), b"rest", "{listener}");
        }
    }
}

/// A method is a token of any length (RFC 9110 §9.1), and some servers take the longest: what reads like a request is one.
#[test]
fn a_method_of_any_length_is_a_request_s_and_is_refused_as_one() {
    let listener =
        "routes: [{ match: { prefix: / }, cluster: site }]\n    tcp: { cluster: site, detect_timeout: 100ms }";
    let proxy = proxy(listener, &[("site", echo())]);
    for length in [33, 40, 300, 9000] {
        let rest = " / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://a/b\r\n\r\n";
        let request = "X".repeat(length) + rest;
        for (pause, cut) in [(Duration::ZERO, 0), (LATE, 0), (LATE, 33), (Duration::ZERO, 33)] {
            let mut client = proxy.connect();
            thread::sleep(pause);
            client.send(&request[..cut]);
            if cut > 0 {
                thread::sleep(LATE);
            }
            client.send(&request[cut..]);
            let answer = client.receive();
            assert!(answer.status >= 400, "{length} after {pause:?}: {answer:?}");
        }
    }
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"http1\""], |count| count == 16.0);
}

/// A proxy before `server` that takes silence for what may be a connection's first word.
fn drains(listener: &str, server: SocketAddr, deadline: &str) -> Proxy {
    Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\ndrain: {{ deadline: {deadline} }}\nlisteners:\n  - name: db\n    address: \
         {{listen}}\n    {listener}\nclusters: [{{ name: site, endpoints: [\"{server}\"] }}]\n"
    ))
}

/// Where silence is looked at, and where it is not. No server is expected to greet on the first, any may on the others.
const SILENT: [&str; 4] = [
    "routes: [{ match: { prefix: / }, cluster: site }]\n    tcp: { cluster: site, detect_timeout: 100ms }",
    "tcp: { cluster: site, detect_timeout: 100ms, server_names: [{ name: a.example.com, cluster: site }] }",
    "tcp: { cluster: site }",
    "routes: [{ match: { prefix: / }, cluster: site }]\n    tcp: { cluster: site, server_first: [{listen_port}] }",
];

#[test]
fn a_drain_waits_for_nobody_who_never_said_a_word() {
    // The deadline may come before a server's time to greet is over: even so nobody loses a word.
    for deadline in ["30s", "3s"] {
        thread::scope(|scope| {
            for listener in SILENT {
                scope.spawn(move || {
                    let mut proxy = drains(listener, echo(), deadline);
                    let mut silent = [proxy.connect(), proxy.connect()];
                    proxy.await_metric("pillion_tunnel_connections_active", &[], |count| count == 2.0);
                    let asked = Instant::now();
                    proxy.signal(Signal::TERM);
                    for client in &mut silent {
                        assert!(matches!(client.end_within(SOON), End::Closed | End::Reset), "{listener}");
                    }
                    let took = asked.elapsed();
                    let most = if listener == SILENT[0] { 2_500 } else { 15_000 };
                    assert!(
                        (900..most).contains(&took.as_millis()),
                        "a last word is waited for, and no more: {took:?}, {listener}"
                    );
                    let status = proxy.wait(SOON);
                    assert!(status.success(), "nobody has lost anything: {status}, {listener}");
                    let log = proxy.stderr();
                    assert!(!log.contains(" warn "), "{listener}: {log}");
                });
            }
        });
    }
}

#[test]
fn a_drain_waits_for_nobody_who_closed_its_side_without_a_word() {
    thread::scope(|scope| {
        for listener in SILENT {
            scope.spawn(move || {
                let mute = server(|stream| {
                    thread::sleep(2 * SOON);
                    drop(stream);
                });
                let mut proxy = drains(listener, mute, "30s");
                let mut client = proxy.connect();
                client.half_close();
                proxy.await_metric("pillion_tunnel_connections_active", &[], |count| count == 1.0);
                thread::sleep(LATE);
                let asked = Instant::now();
                proxy.signal(Signal::TERM);
                assert_eq!(client.end_within(SOON), End::Closed, "{listener}");
                let took = asked.elapsed();
                assert!((900..15_000).contains(&took.as_millis()), "its server may greet, and no more: {took:?}");
                let status = proxy.wait(SOON);
                assert!(status.success(), "nobody has lost anything: {status}, {listener}");
            });
        }
    });
}

#[test]
fn a_drain_lets_a_slow_server_greet_and_does_not_wait_for_who_was_silent_for_long() {
    thread::scope(|scope| {
        for listener in &SILENT[1..] {
            scope.spawn(move || {
                let slow = server(|mut stream| {
                    thread::sleep(Duration::from_secs(3));
                    drop(stream.write_all(b"220 a\r\n"));
                    let mut other = stream.try_clone().expect("a socket can be shared");
                    drop(std::io::copy(&mut stream, &mut other));
                });
                let mut proxy = drains(listener, slow, "30s");
                let mut client = proxy.connect();
                proxy.await_metric("pillion_tunnel_connections_active", &[], |count| count == 1.0);
                proxy.signal(Signal::TERM);
                assert_eq!(client.bytes(7), b"220 a\r\n", "{listener}");
                client.send("QUIT");
                assert_eq!(client.bytes(4), b"QUIT", "{listener}");
                drop(client);
                let status = proxy.wait(SOON);
                assert!(status.success(), "{status}, {listener}");
            });
        }
        for listener in SILENT {
            scope.spawn(move || {
                let mut proxy = drains(listener, echo(), "30s");
                let mut client = proxy.connect();
                proxy.await_metric("pillion_tunnel_connections_active", &[], |count| count == 1.0);
                thread::sleep(Duration::from_secs(10));
                let asked = Instant::now();
                proxy.signal(Signal::TERM);
                assert_eq!(client.end_within(SOON), End::Closed, "{listener}");
                let took = asked.elapsed();
                assert!((900..5_000).contains(&took.as_millis()), "{took:?}, {listener}");
                assert!(proxy.wait(SOON).success(), "{listener}");
            });
        }
    });
}

/// It may be all that it wants to say: it reads then (`nc -N host port < /dev/null`).
#[test]
fn who_closes_its_side_without_a_word_hears_its_server() {
    let origin = Origin::start();
    let counter = server(|mut stream| {
        let count = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(99);
        drop(write!(stream, "{count} bytes"));
    });
    for listener in SILENT {
        for pause in [Duration::ZERO, LATE] {
            let proxy = proxy(listener, &[("site", counter)]);
            let mut client = proxy.connect();
            thread::sleep(pause);
            client.half_close();
            assert_eq!(client.bytes(7), b"0 bytes", "after {pause:?}, {listener}");
            assert_eq!(client.end_within(SOON), End::Closed, "{listener}");
        }
    }
    // Where there is nothing to hear it ends, and nobody is told of it.
    for listener in [
        "routes: [{ match: { prefix: / }, cluster: http }]",
        "routes: [{ match: { prefix: / }, cluster: http }]\n    tcp: { cluster: site, not_http: refuse }",
        "tcp: { server_names: [{ name: a.example.com, cluster: site }] }",
    ] {
        let proxy = proxy(listener, &[("site", counter), ("http", origin.address)]);
        let mut client = proxy.connect();
        client.half_close();
        assert_eq!(client.end_within(SOON), End::Closed, "{listener}");
        proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"closed\""], |count| count == 1.0);
    }
}

#[test]
fn who_closes_its_side_without_a_word_is_among_the_silent_until_its_server_speaks() {
    let origin = Origin::start();
    let mute = server(|mut stream| {
        let mut word = [0; 1];
        // It speaks once somebody has said what it waits for.
        if stream.read(&mut word).is_ok_and(|read| read > 0) {
            drop(stream.write_all(&word));
        }
        thread::sleep(SOON);
    });
    for pause in [Duration::ZERO, LATE] {
        let proxy = Proxy::start(&format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\naccess_log: {{ path: '{{dir}}/access.log', format: json }}\nlisteners:\n  - \
             name: db\n    address: {{listen}}\n    routes: [{{ match: {{ prefix: / }}, cluster: http }}]\n    tcp: {{ cluster: site, \
             detect_timeout: 100ms }}\nclusters:\n  - {{ name: site, endpoints: [\"{mute}\"], limits: {{ connections: 4 }} }}\n  - {{ name: http, endpoints: [\"{}\"] }}\n",
            origin.address
        ));
        let mut clients: Vec<Client> = (0..6).map(|_| proxy.connect()).collect();
        thread::sleep(pause);
        let closed = Instant::now();
        for client in &mut clients {
            client.half_close();
        }
        // Who had closed its side before it asked for a place gets none; who does so while it waits leaves.
        let (flag, blame) = if pause.is_zero() { ("UO", "proxy") } else { ("DC", "downstream") };
        for record in records(&proxy, 4) {
            assert_eq!(
                (record["flags"].as_str(), record["terminated_by"].as_str()),
                (Some(flag), Some(blame)),
                "{record}"
            );
        }
        let refused = if pause.is_zero() { 4.0 } else { 0.0 };
        proxy.await_metric("pillion_balance_overflow_total", &["limit=\"silent\""], |count| count == refused);
        assert!(closed.elapsed() < Duration::from_secs(5), "nothing more is waited for");
        let over = |client: &mut Client| client.end_within(Duration::from_secs(3)) != End::Open;
        assert_eq!(clients.iter_mut().filter_map(|client| over(client).then_some(())).count(), 4, "after {pause:?}");
        // Who speaks has the other half.
        let mut client = proxy.connect();
        client.send("\x01");
        assert_eq!(client.bytes(1), b"\x01");
    }
}

#[test]
fn a_server_that_has_greeted_is_silent_no_more() {
    let greeter = crate::tcp::greeter("220 a\r\n");
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - name: db\n    address: {{listen}}\n    {}\nclusters: [{{ name: \
         site, endpoints: [\"{greeter}\"], limits: {{ connections: 4 }} }}]\n",
        SILENT[0]
    ));
    let mut greeted: Vec<Client> = Vec::new();
    // Two of four may be silent at a time, and none of these is for longer than a moment.
    for _ in 0..4 {
        let mut client = proxy.connect();
        assert_eq!(client.bytes(7), b"220 a\r\n");
        greeted.push(client);
    }
}

#[test]
fn who_waits_for_a_place_among_the_silent_gets_one_that_is_left() {
    let greeter = crate::tcp::greeter("220 a\r\n");
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - name: db\n    address: {{listen}}\n    {}\nclusters: [{{ name: \
         site, endpoints: [\"{greeter}\"], limits: {{ connections: 8 }} }}]\n",
        SILENT[0]
    ));
    // All at once, and four of them may be silent at a time.
    let clients: Vec<Client> = (0..8).map(|_| proxy.connect()).collect();
    for mut client in clients {
        assert_eq!(client.bytes(7), b"220 a\r\n");
    }
}

#[test]
fn the_silent_leave_half_of_a_cluster_s_connections_to_others() {
    let origin = Origin::start();
    for workers in [1, 2] {
        let proxy = Proxy::start(&format!(
            "admin: {{ address: {{admin}} }}\nworkers: {workers}\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ json: {{ \
             flags: \"%RESPONSE_FLAGS%\", details: \"%RESPONSE_CODE_DETAILS%\" }} }} }}\nlisteners:\n  - name: db\n    address: \
             {{listen}}\n    routes: [{{ match: {{ prefix: / }}, cluster: site }}]\n    tcp: {{ cluster: site, detect_timeout: 100ms \
             }}\nclusters: [{{ name: site, endpoints: [\"{}\"], limits: {{ connections: 5 }} }}]\n",
            origin.address
        ));
        let mut silent: Vec<Client> = (0..8).map(|_| proxy.connect()).collect();
        let overflow: &[&str] = &["limit=\"silent\""];
        proxy.await_metric("pillion_balance_overflow_total", overflow, |count| count == 5.0);
        // Half of five, rounded up; the others are closed, and told apart.
        let records = records(&proxy, 5);
        for record in &records {
            assert_eq!((&record["flags"], &record["details"]), (&"UO".into(), &"silent".into()), "{record}");
        }
        let live = |client: &mut Client| client.end_within(Duration::from_millis(50)) == End::Open;
        let mut kept: Vec<Client> =
            silent.drain(..).filter_map(|mut client| live(&mut client).then_some(client)).collect();
        assert_eq!(kept.len(), 3);
        assert_eq!(proxy.get("/").status, 200, "HTTP has the other half");
        // Who speaks is silent no more, whether HTTP or not, and there is room for another who is.
        kept[0].send("\x01\x02");
        assert_eq!(kept[1].get("/").status, 200);
        let mut next = [proxy.connect(), proxy.connect()];
        proxy.await_metric("pillion_tunnel_connections_active", &[], |count| count >= 3.0);
        assert!(next.iter_mut().all(live), "{workers}");
    }
}

#[test]
fn what_was_begun_as_http_where_http_is_judged_has_the_time_that_http_has() {
    let origin = Origin::start();
    for (listener, times) in [
        ("tcp: { cluster: site, not_http: refuse, detect_timeout: 100ms }", "timeouts: { header: 3s }"),
        (
            "tcp: { cluster: site, detect_timeout: 100ms }\n    filters: [{ name: words, headers: [{ request: { set: { x-a: b } } }] }]",
            "timeouts: { header: 3s }",
        ),
    ] {
        let listener = format!("routes: [{{ match: {{ prefix: / }}, cluster: site }}]\n    {listener}\n    {times}");
        let proxy = proxy(&listener, &[("site", origin.address)]);
        for begun in ["G", "GE", "P", "\r\n", "GET /"] {
            let mut client = proxy.connect();
            client.send(begun);
            thread::sleep(LATE);
            let whole = match begun {
                "\r\n" => "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "P" => "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                _ => "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            };
            client.send(&whole[begun.len()..]);
            assert_eq!(client.receive().status, 200, "{begun:?}, {listener}");
        }
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let mut client = proxy.connect();
        client.send(&preface[..16]);
        thread::sleep(LATE);
        client.send(&preface[16..]);
        assert_eq!(client.bytes(9)[3], 4, "the first frame is SETTINGS");
        // The guard's own deadline ends what goes no further.
        for begun in ["GE", "PRI * HT"] {
            let mut client = proxy.connect();
            client.send(begun);
            assert_eq!(client.end_within(Duration::from_secs(1)), End::Open, "{begun:?}, {listener}");
            assert_ne!(client.end_within(SOON), End::Open, "{begun:?}, {listener}");
        }
        // What is something else is none of it.
        let before = proxy.metrics().sum("pillion_detect_outcomes_total", &["outcome=\"not_http\""]);
        assert!(before < 1.0, "{before}");
        assert_ne!(proxy.connect().end_within(SOON), End::Open);
        let mut client = proxy.connect();
        client.send("\x01");
        assert_ne!(client.end_within(SOON), End::Open);
        proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"not_http\""], |count| count == 2.0);
    }
}

#[test]
fn the_record_of_what_was_waited_for_in_vain_says_for_how_long() {
    let listener = "routes: [{ match: { prefix: / }, cluster: site }]\n    tcp: { cluster: site, not_http: refuse, detect_timeout: 300ms }";
    let proxy = proxy(listener, &[("site", echo())]);
    assert_ne!(proxy.connect().end_within(SOON), End::Open);
    let record = records(&proxy, 1).remove(0);
    assert_eq!(record["details"], "not_http", "{record}");
    let duration = record["duration"].as_f64().or_else(|| record["duration"].as_str()?.parse().ok());
    assert!(duration.is_some_and(|millis| (300.0..5000.0).contains(&millis)), "{record}");
}

/// An address that answers no connection: its queue is full.
fn black_hole() -> (SocketAddr, Vec<socket2::Socket>) {
    use socket2::{Domain, SockAddr, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    listener.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("a port is free");
    listener.listen(0).expect("it can listen");
    let address = listener.local_addr().expect("it has an address");
    let to = address.as_socket().expect("of IPv4");
    let mut held = vec![listener];
    for _ in 0..4 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.set_nonblocking(true).expect("a socket can be non-blocking");
        drop(socket.connect(&address));
        held.push(socket);
    }
    (to, held)
}

#[test]
fn who_is_silent_is_heard_while_there_is_no_server_yet_and_where_there_will_be_none() {
    let origin = Origin::start();
    let (hole, _held) = black_hole();
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - name: db\n    address: {{listen}}\n    routes: [{{ match: {{ \
         prefix: / }}, cluster: site }}]\n    tcp: {{ cluster: tunnel, detect_timeout: 100ms }}\nclusters:\n  - {{ name: site, endpoints: \
         [\"{}\"] }}\n  - {{ name: tunnel, endpoints: [\"{hole}\"], connect_timeout: 60s, limits: {{ connections: 2 }} }}\n",
        origin.address
    ));
    let mut clients = [proxy.connect(), proxy.connect()];
    // One of them has a server that never answers, the other one none: one silent connection is all there may be.
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"opaque\""], |count| count == 2.0);
    thread::sleep(LATE);
    let asked = Instant::now();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(asked.elapsed() < SOON / 2, "no connect timeout was waited for");
}

/// What debuggers and ZooKeeper's clients say first, and then wait for their server.
const WORDS: [&str; 4] = ["JDWP-Handshake", "ruok", "+", "\r\n"];

#[test]
fn a_word_that_no_method_begins_with_goes_to_its_server_in_time_where_the_operator_lets_it() {
    let settings = |rest: &str| {
        format!(
            "routes: [{{ match: {{ prefix: / }}, cluster: http }}]\n    tcp: {{ cluster: site, detect_timeout: 200ms{rest} }}"
        )
    };
    let origin = Origin::start();
    let clusters = [("site", echo()), ("http", origin.address)];
    let lets = proxy(&settings(", not_http: pass"), &clusters);
    for pause in [Duration::ZERO, LATE] {
        for word in WORDS {
            let mut client = lets.connect();
            thread::sleep(pause);
            let said = Instant::now();
            client.send(word);
            assert_eq!(client.bytes(word.len()), word.as_bytes(), "{word:?} after {pause:?}");
            assert!(said.elapsed() < Duration::from_secs(2), "{word:?} after {pause:?}: {:?}", said.elapsed());
        }
        // A slow request is one.
        for (begun, rest) in [("G", "ET / HTTP/1.1\r\nHost: a\r\n\r\n"), ("\r\nGET", " / HTTP/1.1\r\nHost: a\r\n\r\n")]
        {
            let mut client = lets.connect();
            thread::sleep(pause);
            client.send(begun);
            thread::sleep(LATE);
            client.send(rest);
            assert_eq!(client.receive().status, 200, "{begun:?} after {pause:?}");
        }
    }
    // Not where he does not say so, and not past what is asked of requests.
    let ruled = settings(", not_http: pass")
        .replace("cluster: http }", "cluster: http, request_headers: { set: { x-a: b } } }");
    for listener in [settings(""), ruled] {
        let waits = proxy(&listener, &clusters);
        for (word, pause) in [("ruok", Duration::ZERO), ("\r\n", LATE)] {
            let mut client = waits.connect();
            thread::sleep(pause);
            client.send(word);
            assert_eq!(client.end_within(Duration::from_secs(1)), End::Open, "{word:?}, {listener}");
        }
    }
}

/// gRPC's servers and Node's send their SETTINGS at once: they have heard nothing, and settle nothing.
#[test]
fn a_late_request_is_one_whatever_a_server_of_http_has_greeted_with() {
    let origin = Origin::start();
    for greeting in ["\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", "HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let clusters = [("site", crate::tcp::greeter(greeting)), ("http", origin.address)];
        let listener =
            "routes: [{ match: { prefix: / }, cluster: http }]\n    tcp: { cluster: site, detect_timeout: 100ms }";
        let proxy = proxy(listener, &clusters);
        let mut client = proxy.connect();
        assert_eq!(client.end_within(LATE), End::Open, "it is held");
        assert_eq!(client.get("/").status, 200);
        let mut client = proxy.connect();
        thread::sleep(LATE);
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        let settings = client.bytes(greeting.len());
        assert_eq!(settings[3], 4, "the first frame is SETTINGS");
        assert_ne!(settings, greeting.as_bytes(), "and the proxy's own");
        // Another protocol gets what was held.
        let mut client = proxy.connect();
        thread::sleep(LATE);
        client.send("\x01word");
        let both = [greeting.as_bytes(), b"\x01word"].concat();
        assert_eq!(client.bytes(both.len()), both);
        let mut client = proxy.connect();
        thread::sleep(LATE);
        client.half_close();
        assert_eq!(client.bytes(greeting.len()), greeting.as_bytes());
    }
}
