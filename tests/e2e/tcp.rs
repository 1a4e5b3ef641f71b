//! Opaque connections: bytes both ways, told from HTTP by what comes first, each with one record.

use pillion_tests::{
    client::{Client, End},
    need,
    origin::Origin,
    proxy::Proxy,
    some_or_return,
    wait::{self, SOON},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const LOG: &str = "access_log:\n  path: \"{dir}/access.log\"\n  format:\n    json:\n      protocol: \"%PROTOCOL%\"\n      \
                   status: \"%RESPONSE_CODE%\"\n      flags: \"%RESPONSE_FLAGS%\"\n      by: \"%TERMINATED_BY%\"\n      \
                   details: \"%RESPONSE_CODE_DETAILS%\"\n      received: \"%BYTES_RECEIVED%\"\n      \
                   sent: \"%BYTES_SENT%\"\n      cluster: \"%UPSTREAM_CLUSTER%\"\n      upstream: \"%UPSTREAM_HOST%\"\n      \
                   duration: \"%DURATION%\"\n";

/// A proxy whose one listener has these settings; `clusters` are names and where they go.
pub(crate) fn proxy(listener: &str, clusters: &[(&str, SocketAddr)]) -> Proxy {
    let clusters: String = clusters
        .iter()
        .map(|(name, address)| format!("  - {{ name: {name}, endpoints: [\"{address}\"], connect_timeout: 2s }}\n"))
        .collect();
    Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{LOG}listeners:\n  - name: db\n    address: {{listen}}\n    \
         {listener}\nclusters:\n{clusters}"
    ))
}

/// A server that gives each connection to `serve`, on a thread of its own.
pub(crate) fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Sends back what comes, and its end.
pub(crate) fn echo() -> SocketAddr {
    server(|mut stream| {
        let mut other = stream.try_clone().expect("a socket can be shared");
        drop(std::io::copy(&mut stream, &mut other));
        drop(other.shutdown(Shutdown::Write));
    })
}

/// Reads to the end, and answers with how much it was.
fn counter() -> SocketAddr {
    server(|mut stream| {
        let count = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(0);
        drop(write!(stream, "{count}"));
    })
}

/// Says `greeting` before anything else, then repeats what it hears.
pub(crate) fn greeter(greeting: &'static str) -> SocketAddr {
    server(move |mut stream| {
        drop(stream.write_all(greeting.as_bytes()));
        let mut other = stream.try_clone().expect("a socket can be shared");
        drop(std::io::copy(&mut stream, &mut other));
    })
}

pub(crate) fn records(proxy: &Proxy, count: usize) -> Vec<Value> {
    let file = proxy.dir().join("access.log");
    let lines = || fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    wait::until_true(&format!("{count} records"), || lines().len() >= count);
    let lines = lines();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn record(proxy: &Proxy) -> Value {
    records(proxy, 1).remove(0)
}

#[test]
fn bytes_go_both_ways_and_one_record_tells_of_them() {
    let echo = echo();
    let proxy = proxy("tcp: { cluster: echo }", &[("echo", echo)]);
    let mut client = proxy.connect();
    let said: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    let mut writer = client.stream().try_clone().expect("a socket can be shared");
    let sending = thread::spawn({
        let said = said.clone();
        move || {
            writer.write_all(&said).expect("the proxy takes it");
            writer.shutdown(Shutdown::Write).expect("a socket can be half closed");
        }
    });
    assert!(client.bytes(said.len()) == said, "what comes back is what was said");
    sending.join().expect("everything was sent");
    assert_eq!(client.end_within(SOON), End::Closed);
    let record = record(&proxy);
    assert_eq!((&record["received"], &record["sent"]), (&300_000.into(), &300_000.into()), "{record}");
    assert_eq!((&record["flags"], &record["by"], &record["protocol"]), (&"-".into(), &"-".into(), &Value::Null));
    assert_eq!((&record["cluster"], &record["upstream"]), (&"echo".into(), &echo.to_string().into()));
    proxy.await_metric("pillion_tunnel_connections_total", &["listener=\"db\""], |count| count == 1.0);
    proxy.await_metric("pillion_tunnel_connections_active", &["listener=\"db\""], |count| count == 0.0);
    proxy.await_metric("pillion_tunnel_received_bytes_total", &["listener=\"db\""], |count| count == 300_000.0);
    assert_eq!(proxy.metrics().sum("pillion_exchange_requests_total", &[]), 0.0, "it is no request");
}

#[test]
fn a_half_closed_connection_still_hears_the_answer() {
    let proxy = proxy("tcp: { cluster: counter }", &[("counter", counter())]);
    let mut client = proxy.connect();
    client.send(vec![7; 12_345]).half_close();
    assert_eq!(client.bytes(5), b"12345");
    assert_eq!(client.end_within(SOON), End::Closed);
}

#[test]
fn who_cannot_be_reached_is_told_apart_in_the_record() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    let proxy = proxy("tcp: { cluster: nobody }", &[("nobody", nobody)]);
    let mut client = proxy.connect();
    assert_ne!(client.end_within(SOON), End::Open);
    let record = record(&proxy);
    assert_eq!((&record["flags"], &record["details"]), (&"UF".into(), &"refused".into()), "{record}");
    assert_eq!((&record["by"], &record["upstream"]), (&"upstream".into(), &nobody.to_string().into()), "{record}");
    proxy.await_metric("pillion_tunnel_failures_total", &["flag=\"UF\""], |count| count == 1.0);
}

#[test]
fn silence_ends_a_connection_after_its_idle_timeout_and_no_sooner() {
    let proxy = proxy("tcp: { cluster: echo, idle_timeout: 1s }", &[("echo", echo())]);
    let mut client = proxy.connect();
    for _ in 0..8 {
        client.send("x");
        assert_eq!(client.bytes(1), b"x");
        thread::sleep(Duration::from_millis(300));
    }
    let begun = Instant::now();
    assert_eq!(client.end_within(SOON), End::Closed);
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    let record = record(&proxy);
    assert_eq!((&record["flags"], &record["details"]), (&"SI".into(), &"idle_timeout".into()), "{record}");
}

#[test]
fn one_port_serves_http_and_what_is_not() {
    let origin = Origin::start();
    let proxy = proxy(
        "routes: [{ match: { prefix: / }, cluster: site }]\n    tcp: { cluster: echo }",
        &[("site", origin.address), ("echo", echo())],
    );
    assert_eq!(proxy.get("/").status, 200);
    let mut opaque = proxy.connect();
    opaque.send("EHLO mail.example.com\r\n");
    assert_eq!(opaque.bytes(23), b"EHLO mail.example.com\r\n");
    // In pieces, the last of which tells.
    let mut client = proxy.connect();
    for piece in ["GE", "T / HT", "TP/1.1\r\nHost: test\r\n\r\n"] {
        client.send(piece);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.receive().status, 200);
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"opaque\""], |count| count == 1.0);
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"http1\""], |count| count >= 2.0);
    drop(opaque);
    proxy.assert_healthy();
}

#[test]
fn what_filters_and_rules_ask_of_http_is_not_had_by_silence_or_by_other_words() {
    let application = greeter("anything");
    let limited = "filters: [{ name: fair, rate_limit: { requests: 100, per: 1h } }]";
    let ruled = "authorization: { rules: [{ action: deny, requests: [{ prefix: /admin }] }] }";
    for (listener, route) in [(limited, ""), ("connections: 100", ruled), ("connections: 100", limited)] {
        let comma = if route.is_empty() { "" } else { ", " };
        let settings = |not_http: &str| {
            format!(
                "{listener}\n    routes: [{{ match: {{ prefix: / }}, cluster: site{comma}{route} }}]\n    \
                 tcp: {{ cluster: site, detect_timeout: 100ms{not_http} }}"
            )
        };
        let origin = Origin::start();
        let strict = proxy(&settings(", server_first: [1]"), &[("site", application)]);
        for words in ["", "\x01", "EHLO a\r\n"] {
            let mut client = strict.connect();
            client.send(words);
            match client.end_within(SOON) {
                // A socket that is closed with bytes unread is reset.
                End::Closed | End::Reset => {}
                other => panic!("{listener} {route}: {words:?} got {other:?}"),
            }
        }
        strict.await_metric("pillion_detect_outcomes_total", &["outcome=\"not_http\""], |count| count == 3.0);
        let record = records(&strict, 3).remove(0);
        assert_eq!((&record["flags"], &record["details"]), (&"UAEX".into(), &"not_http".into()), "{record}");
        // What some servers would take for a request is judged, or refused as one.
        let behind = " HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes();
        for words in [
            &b"GET  /admin"[..],
            b"GET\t/admin",
            b"GET\x0c/admin",
            b"\x0bGET /admin",
            b"\xa0GET /admin",
            b"GET\r/admin",
            b"GET\xa0/admin",
            b"GET\x85/admin",
            b"GET\x1f/admin",
            b"GET /admin\x0c",
            b"GET /admin\xa0",
            b"GET /admin\r",
            b"GET /admin\x0cHTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /admin\xa0HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /admin\r\n\r\n",
        ] {
            let mut client = strict.connect();
            client.send(words);
            if !words.ends_with(b"\n") {
                client.send(behind);
            }
            assert_eq!(client.receive().status, 400, "{}", words.escape_ascii());
        }
        // Where the operator says so it passes, and a port whose server speaks first is no HTTP's.
        let lenient = proxy(&settings(", not_http: pass"), &[("site", application)]);
        assert_eq!(lenient.connect().bytes(8), b"anything");
        let http = proxy(&settings(""), &[("site", origin.address)]);
        assert_eq!(http.get("/").status, 200, "HTTP is judged as ever");
        assert_eq!(http.get("/admin").status, if route == ruled { 403 } else { 200 });
    }
    // Written, it holds where nothing judges; rules that come later end what is carried.
    let written = "routes: [{ match: { prefix: / }, respond: { status: 403 } }]\n    tcp: { cluster: site, not_http: refuse, detect_timeout: 100ms }";
    let refusing = proxy(written, &[("site", application)]);
    assert!(matches!(refusing.connect().end_within(SOON), End::Closed | End::Reset));
    let open = |route: &str| {
        format!(
            "routes: [{{ match: {{ prefix: / }}, cluster: site{route} }}]\n    tcp: {{ cluster: site, detect_timeout: 100ms }}"
        )
    };
    let later = proxy(&open(""), &[("site", application)]);
    let mut carried = later.connect();
    assert_eq!(carried.bytes(8), b"anything");
    let yaml = fs::read_to_string(later.dir().join("pillion.yaml")).expect("the configuration is there");
    later.replace_config(&yaml.replace(&open(""), &open(&format!(", {ruled}"))));
    assert_eq!(later.admin_post("/reload").status, 200);
    assert!(matches!(carried.end_within(SOON), End::Closed | End::Reset));
    // So is what a route answers itself, what nobody routes, and what is done to headers, but on the way out.
    for (settings, passes) in [
        (
            "routes: [{ match: { prefix: /a }, respond: { status: 403 } }, { match: { prefix: / }, cluster: site }]",
            false,
        ),
        ("routes: [{ match: { prefix: /a }, cluster: site }]", false),
        ("routes: [{ match: { prefix: / }, cluster: site, request_headers: { remove: [x-a] } }]", false),
        (
            "filters: [{ name: words, headers: [{ request: { set: { x-a: b } } }] }]\n    routes: [{ match: { prefix: / }, cluster: site }]",
            false,
        ),
        ("direction: outbound\n    routes: [{ match: { prefix: /a }, cluster: site }]", true),
        ("routes: [{ match: { prefix: /a }, cluster: site }, { match: { prefix: / }, cluster: site }]", true),
    ] {
        let listener = format!("{settings}\n    tcp: {{ cluster: site, detect_timeout: 100ms }}");
        let proxy = proxy(&listener, &[("site", application)]);
        let mut client = proxy.connect();
        match passes {
            true => assert_eq!(client.bytes(8), b"anything", "{settings}"),
            false => assert!(matches!(client.end_within(SOON), End::Closed | End::Reset), "{settings}"),
        }
    }
}

/// Clients connect ahead of their requests, and segments are lost: who is silent for longer than the first bytes are waited for is
/// connected to the server, and is what he says all the same.
#[test]
fn a_client_that_speaks_late_and_before_its_server_is_what_it_says() {
    let origin = Origin::start();
    let listener =
        "routes: [{ match: { prefix: / }, cluster: site }]\n    tcp: { cluster: opaque, detect_timeout: 100ms }";
    let proxy = proxy(listener, &[("site", origin.address), ("opaque", echo())]);
    let late = Duration::from_millis(300);
    for begun in ["", "G", "\r\nGET", "GET /"] {
        let mut client = proxy.connect();
        client.send(begun);
        thread::sleep(late);
        let whole = "\r\nGET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://a/b\r\n\r\n";
        let whole = if begun.starts_with('\r') { whole } else { &whole[2..] };
        client.send(&whole[begun.len()..]);
        let seen = client.receive().json();
        assert!(seen["headers"].get("x-forwarded-client-cert").is_none(), "{begun:?}: {seen}");
        // It is an HTTP connection from then on.
        assert_eq!(client.get("/").status, 200, "{begun:?}");
    }
    let records = records(&proxy, 8);
    assert!(records.iter().all(|record| record["protocol"] == "HTTP/1.1"), "{records:?}");
    let mut second = proxy.connect();
    thread::sleep(late);
    second.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert_eq!(second.bytes(9)[3], 4, "the first frame is SETTINGS");
    let mut opaque = proxy.connect();
    thread::sleep(late);
    opaque.send("\0late");
    assert_eq!(opaque.bytes(5), b"\0late");
    assert_eq!(proxy.metrics().sum("pillion_tunnel_connections_active", &[]), 1.0);
    // What was begun, and is nothing, does not last.
    let mut begun = proxy.connect();
    begun.send("G");
    assert!(matches!(begun.end_within(Duration::from_secs(20)), End::Closed | End::Reset));
    let record = self::records(&proxy, 9).pop().expect("its record");
    assert_eq!((&record["flags"], &record["details"]), (&"DPE".into(), &"first_bytes_timeout".into()), "{record}");
}

#[test]
fn a_server_that_speaks_first_is_heard_though_its_client_says_nothing() {
    let origin = Origin::start();
    let servers = [("site", origin.address), ("mail", greeter("220 hello\r\n"))];
    let slow = proxy("routes: [{ match: { prefix: / }, cluster: site }]\n    tcp: { cluster: mail }", &servers);
    assert_eq!(slow.connect().bytes(11), b"220 hello\r\n");
    // Where the port is known for it, without a wait: the deadline here is longer than the test's patience.
    let port = slow.address.port();
    drop(slow);
    let yaml = format!(
        "tcp: {{ cluster: mail, detect_timeout: 1h, server_first: [{port}] }}\n    \
         routes: [{{ match: {{ prefix: / }}, cluster: site }}]"
    );
    let known = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - name: db\n    address: 127.0.0.1:{port}\n    \
         {yaml}\nclusters:\n  - {{ name: site, endpoints: [\"{}\"] }}\n  - {{ name: mail, endpoints: [\"{}\"] }}\n",
        servers[0].1, servers[1].1
    ));
    let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(client.bytes(11), b"220 hello\r\n");
    drop(known);
}

#[test]
fn tls_goes_by_the_name_it_asks_for_untouched() {
    let openssl = some_or_return!(need::program("openssl", "openssl"));
    // Each backend keeps the first byte it hears; 22 is a TLS handshake.
    let (heard, said) = std::sync::mpsc::channel();
    let recorder = |who: &'static str| {
        let heard = heard.clone();
        server(move |mut stream| {
            let mut first = [0];
            if stream.read_exact(&mut first).is_ok() {
                heard.send((who, first[0])).ok();
            }
        })
    };
    let clusters = [("api", recorder("api")), ("any", recorder("any")), ("other", recorder("other"))];
    let proxy = proxy(
        "tcp:\n      cluster: other\n      detect_timeout: 10s\n      server_names:\n        \
         - { name: api.example.com, cluster: api }\n        - { name: \"*.example.com\", cluster: any }",
        &clusters,
    );
    for (name, who) in [("api.example.com", "api"), ("WWW.example.com", "any"), ("elsewhere.net", "other")] {
        let status = Command::new(&openssl)
            .args(["s_client", "-connect", &proxy.address.to_string(), "-servername", name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("openssl runs");
        assert!(!status.success(), "nobody answers a handshake here");
        assert_eq!(said.recv_timeout(SOON).expect("a backend hears"), (who, 22), "{name}");
    }
    proxy.connect().send("not TLS at all");
    assert_eq!(said.recv_timeout(SOON).expect("a backend hears"), ("other", b'n'));
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"tls\""], |count| count == 3.0);
}

/// Of TLS that is passed on, too, the log says what was asked for where that was read.
#[test]
fn the_name_that_tls_passed_on_asks_for_is_logged() {
    let openssl = some_or_return!(need::program("openssl", "openssl"));
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \"%REQUESTED_SERVER_NAME%\" }} }}\n\
         listeners: [{{ name: db, address: {{listen}}, tcp: {{ cluster: c, detect_timeout: 10s, \
         server_names: [{{ name: a.example.com, cluster: c }}] }} }}]\nclusters: [{{ name: c, endpoints: [\"{}\"] }}]\n",
        named("x")
    ));
    Command::new(&openssl)
        .args(["s_client", "-connect", &proxy.address.to_string(), "-servername", "a.example.com"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("openssl runs");
    let log = proxy.dir().join("access.log");
    wait::until_true("it is logged", || std::fs::read_to_string(&log).is_ok_and(|log| log == "a.example.com\n"));
}

/// Says its name to each, and closes.
fn named(name: &'static str) -> SocketAddr {
    server(move |mut stream| drop(stream.write_all(name.as_bytes())))
}

#[test]
fn clusters_share_connections_by_weight_and_endpoints_take_turns() {
    let [a, b, c] = ["a", "b", "c"].map(named);
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - name: db\n    address: {{listen}}\n    tcp:\n      \
         clusters: [{{ name: one, weight: 1 }}, {{ name: two, weight: 3 }}, \
         {{ name: none, weight: 0 }}]\nclusters:\n  - {{ name: one, endpoints: [\"{a}\"] }}\n  - {{ name: two, endpoints: \
         [\"{b}\", \"{c}\"], balance: round-robin }}\n  - {{ name: none, endpoints: [\"127.0.0.1:1\"] }}\n"
    ));
    const MANY: usize = 400;
    let mut heard = std::collections::HashMap::new();
    for _ in 0..MANY {
        *heard.entry(proxy.connect().bytes(1)[0]).or_insert(0_usize) += 1;
    }
    let of = |name: u8| heard.get(&name).copied().unwrap_or(0);
    assert_eq!(of(b'a') + of(b'b') + of(b'c'), MANY, "{heard:?}");
    // A quarter of 400 is 100; five times its deviation of 8.7 either way.
    assert!((55..=145).contains(&of(b'a')), "{heard:?}");
    assert!(of(b'b').abs_diff(of(b'c')) <= 1, "{heard:?}");
}

/// Nothing was sent to the one that is not there.
#[test]
fn who_cannot_be_reached_is_passed_over_for_another_of_its_cluster() {
    let (nobody, alive) = (std::net::TcpListener::bind("127.0.0.1:0").expect("a port"), named("a"));
    let dead = nobody.local_addr().expect("it has an address");
    drop(nobody);
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - {{ name: db, address: {{listen}}, tcp: {{ cluster: c \
         }} }}\nclusters:\n  - {{ name: c, endpoints: [\"{dead}\", \"{alive}\"], balance: round-robin }}\n"
    ));
    for _ in 0..8 {
        assert_eq!(proxy.connect().bytes(1), b"a");
    }
}

#[test]
fn a_name_nobody_serves_is_closed_with_its_flag() {
    let proxy =
        proxy("tcp:\n      server_names:\n        - { name: a.example.com, cluster: echo }", &[("echo", echo())]);
    let mut client = proxy.connect();
    client.send("hello?");
    assert_ne!(client.end_within(SOON), End::Open);
    let record = record(&proxy);
    assert_eq!(
        (&record["flags"], &record["details"], &record["by"]),
        (&"NR".into(), &"no_route".into(), &"proxy".into())
    );
}

#[test]
fn a_drain_lets_open_connections_finish() {
    let mut proxy = proxy("tcp: { cluster: echo }", &[("echo", echo())]);
    let mut client = proxy.connect();
    client.send("before");
    assert_eq!(client.bytes(6), b"before");
    proxy.signal(Signal::TERM);
    wait::until_true("the listener to close", || TcpStream::connect(proxy.address).is_err());
    client.send("after");
    assert_eq!(client.bytes(5), b"after");
    client.half_close();
    assert_eq!(client.end_within(SOON), End::Closed);
    assert!(proxy.wait(SOON).success());
    // Those that looked whether the listener was closed have records too.
    let log = fs::read_to_string(proxy.dir().join("access.log")).expect("there is a log");
    let ours = log.lines().find(|line| line.contains("\"received\":11,")).expect("the connection has a record");
    assert!(ours.contains("\"flags\":\"-\"") && ours.contains("\"sent\":11,"), "{ours}");
}

/// Bytes that each of many connections may cost once they rest, in the unoptimised build: the sockets' own memory is the
/// kernel's, and no buffer is held.
const RESTING: u64 = 12 << 10;

#[test]
fn connections_that_rest_hold_no_buffer() {
    const MANY: usize = 400;
    let proxy = proxy("tcp: { cluster: echo }", &[("echo", echo())]);
    let mut warm = proxy.connect();
    let said = vec![1; 60_000];
    warm.send(&said);
    warm.bytes(said.len());
    let before = proxy.resident_own();
    let mut open: Vec<_> = (0..MANY).map(|_| proxy.connect()).collect();
    for client in &mut open {
        client.send(&said);
        client.bytes(said.len());
    }
    let grown = proxy.resident_own().saturating_sub(before);
    assert!(grown < MANY as u64 * RESTING, "{} bytes a connection", grown / MANY as u64);
}

fn stream_in_constant_memory(bytes: u64) {
    let proxy = proxy("tcp: { cluster: counter }", &[("counter", counter())]);
    let mut client = proxy.connect();
    let piece = vec![0x5a; 1 << 20];
    client.send(&piece);
    let before = proxy.resident_own();
    for _ in 1..bytes >> 20 {
        client.send(&piece);
    }
    let grown = proxy.resident_own().saturating_sub(before);
    client.patience(SOON).half_close();
    let count = bytes.to_string();
    assert_eq!(client.bytes(count.len()), count.as_bytes());
    assert!(grown < 4 << 20, "grown by {grown} bytes");
    assert_eq!(record(&proxy)["received"], bytes);
}

#[test]
fn a_gibibyte_in_constant_memory() {
    stream_in_constant_memory(1 << 30);
}

#[test]
#[ignore = "ten times the one above: for those who change the copying"]
fn ten_gibibytes_in_constant_memory() {
    stream_in_constant_memory(10 << 30);
}
