//! Memory that filters hold, of bodies and of their own: it is accounted for as what clients hold is, and given back where it is
//! short, so that other listeners are served on and the kernel kills nobody.

mod machines;
mod made;
mod shared;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use pillion_tests::{
    cgroup::Cgroup,
    client::Client,
    origin::Origin,
    proxy::Proxy,
    some_or_return,
    wait::{self, SOON},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

/// Says what it does by its plugin configuration's first letter: B gathers requests' bodies, R responses', D what comes from
/// downstream, H holds requests behind their heads; L takes 1 MiB with each request, Q as well and holds the request; A appends 1 MiB to
/// requests' bodies; P answers by itself with 100 KiB, M with 4 MB, E makes 100 KiB of
/// responses' bodies, T 4 MB of what comes from upstream; W writes 1.8 MB into heads and holds them; S stores 100 values of 600,000 bytes in shared data, and as many messages in a queue.
const GUEST: &str = r#"(module
  (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $drop (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $store (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_register_shared_queue" (func $queue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $does (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $buffer (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)))
    (global.set $does (i32.load8_u (i32.load (i32.const 0))))
    (i32.const 1))
  (func $is (param i32) (result i32) (i32.eq (global.get $does) (local.get 0)))
  ;; 100 KiB of text, behind what the rest uses.
  (func $page (result i32)
    (if (i32.eq (memory.size) (i32.const 2)) (then (drop (memory.grow (i32.const 16)))))
    (memory.fill (i32.const 131072) (i32.const 120) (i32.const 102400))
    (i32.const 131072))
  ;; 4 MB of it.
  (func $much (result i32)
    (if (i32.eq (memory.size) (i32.const 2)) (then (drop (memory.grow (i32.const 64)))))
    (memory.fill (i32.const 131072) (i32.const 120) (i32.const 4000000))
    (i32.const 131072))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (if (call $is (i32.const 0x45)) ;; E
      (then (drop (call $drop (i32.const 2) (i32.const 48) (i32.const 14)))))
    (i32.const 0))
  (data (i32.const 48) "content-length")
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $number i32)
    (if (call $is (i32.const 0x53)) ;; S
      (then
        (if (i32.eq (memory.size) (i32.const 2)) (then (drop (memory.grow (i32.const 16)))))
        (loop $more
          (local.set $number (i32.add (local.get $number) (i32.const 1)))
          (i32.store (i32.const 16) (local.get $number))
          (drop (call $store (i32.const 16) (i32.const 4) (i32.const 131072) (i32.const 600000) (i32.const 0)))
          (drop (call $queue (i32.const 16) (i32.const 4) (i32.const 24)))
          (drop (call $enqueue (i32.load (i32.const 24)) (i32.const 131072) (i32.const 600000)))
          (br_if $more (i32.lt_u (local.get $number) (i32.const 100))))))
    (if (call $is (i32.const 0x4d)) ;; M
      (then
        (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (call $much) (i32.const 4000000) (i32.const 0) (i32.const 0) (i32.const -1)))
        (return (i32.const 1))))
    (if (call $is (i32.const 0x50)) ;; P
      (then
        (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (call $page) (i32.const 102400) (i32.const 0) (i32.const 0) (i32.const -1)))
        (return (i32.const 1))))
    (if (call $is (i32.const 0x57)) ;; W
      (then
        (i32.store8 (i32.const 16) (i32.const 0x77))
        (loop $more
          (local.set $number (i32.add (local.get $number) (i32.const 1)))
          (drop (call $add (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24) (i32.const 60000)))
          (br_if $more (i32.lt_u (local.get $number) (i32.const 30))))
        (return (i32.const 1))))
    (if (i32.or (call $is (i32.const 0x4c)) (call $is (i32.const 0x51))) ;; L, Q
      (then
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
        ;; Every page is touched: what is not is not resident.
        (memory.fill
          (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1048576)) (i32.const 1) (i32.const 1048576))))
    (i32.or (call $is (i32.const 0x48)) (call $is (i32.const 0x51)))) ;; H, Q
  (func (export "proxy_on_request_body") (param $context i32) (param $size i32) (param $end i32) (result i32)
    (if (i32.and (call $is (i32.const 0x41)) (local.get $end)) ;; A
      (then
        (if (i32.eq (memory.size) (i32.const 2)) (then (drop (memory.grow (i32.const 16)))))
        (drop (call $set (i32.const 0) (local.get $size) (i32.const 0) (i32.const 131072) (i32.const 1048576)))))
    (i32.and (call $is (i32.const 0x42)) (i32.eqz (local.get $end)))) ;; B
  (func (export "proxy_on_response_body") (param $context i32) (param $size i32) (param $end i32) (result i32)
    (if (i32.and (call $is (i32.const 0x45)) (local.get $end)) ;; E
      (then (drop (call $set (i32.const 1) (i32.const 0) (local.get $size) (call $page) (i32.const 102400)))))
    (call $is (i32.const 0x52))) ;; R
  (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) (call $is (i32.const 0x44))) ;; D
  (func (export "proxy_on_upstream_data") (param $context i32) (param $size i32) (param $end i32) (result i32)
    (if (call $is (i32.const 0x54)) ;; T
      (then (drop (call $set (i32.const 3) (i32.const 0) (local.get $size) (call $much) (i32.const 4000000)))))
    (i32.const 0)))
"#;

/// A body within what a filter may hold.
const BODY: usize = 900_000;

/// Clients with such bodies, several times what fits into memory.
const MANY: usize = 150;

/// A listener without filters, and one with the guest.
fn holding(origin: &Origin, group: &Cgroup, does: char, filter: &str, top: &str) -> Proxy {
    let module = STANDARD.encode(wat::parse_str(GUEST).expect("the guest's text is right"));
    let route = "routes: [{ match: { prefix: / }, cluster: origin, timeout: 2m }]";
    let filtered = match does {
        'D' | 'T' => "tcp: { cluster: origin, filters: [holds] }".to_owned(),
        _ => format!("filters: [holds], {route}"),
    };
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\n{top}\n\
         access_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \"%RESPONSE_CODE% %RESPONSE_FLAGS% \
         %RESPONSE_CODE_DETAILS% %TERMINATED_BY%\" }} }}\n\
         listeners:\n  - {{ name: quiet, address: {{listen}}, {route} }}\n  \
         - {{ name: filtered, address: {{listen2}}, {filtered} }}\n\
         filters:\n  - {{ name: holds, {filter} wasm: {{ inline: \"{module}\", configuration: {does}, \
           limits: {{ callback: 5s }} }} }}\n\
         clusters: [{{ name: origin, endpoints: [\"{}\"], limits: {{ connections: 2000, pending: 2000, requests: 2000 }} }}]\n",
        origin.address
    );
    Proxy::start_with(&yaml, |program| group.command(&program))
}

/// Sends what is read of it.
fn send(address: SocketAddr, head: &str, body: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, SOON).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(100))).ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    // What is held back by the proxy waits in the kernel; whoever is refused is cut.
    drop(stream.write_all(body));
    Some(stream)
}

/// Many clients whose bodies the guest holds; somebody else is served beside them, and the kernel does not kill.
fn hold(proxy: &mut Proxy, head: &str, body: &[u8]) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for number in 0..MANY {
        clients.extend(send(proxy.second, head, body));
        assert!(proxy.ended().is_none(), "the kernel killed it, with {number} clients");
        if number % 25 == 24 {
            assert_eq!(quiet(proxy), Some(200), "somebody else, beside {number} clients");
        }
    }
    println!("resident {} at most", proxy.resident_peak());
    clients
}

fn log(proxy: &Proxy) -> String {
    fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default()
}

fn lines(text: &str, whole: &str) -> usize {
    text.lines().filter(|line| *line == whole).count()
}

fn post(length: usize) -> String {
    format!("POST /sink HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n")
}

fn quiet(proxy: &Proxy) -> Option<u16> {
    let mut client = Client::over(TcpStream::connect_timeout(&proxy.address, SOON).ok()?);
    client.try_send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    client.try_receive("GET").ok().map(|response| response.status)
}

/// A container as a sidecar has it, and what the program takes where it is not optimised.
const LIMIT: u64 = 80 << 20;

#[test]
fn requests_that_filters_gather_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'B', "", "workers: 1");
    let clients = hold(&mut proxy, &post(BODY + 1), &[b'x'; BODY]);
    wait::until_true("some to be refused", || lines(&log(&proxy), "503 OM filter_request_short_memory proxy") > 0);
    // Those who are not are served once they have sent the rest.
    let mut served = 0;
    for mut client in clients {
        client.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let mut answer = [0; 12];
        if client.write_all(b"x").and_then(|()| client.read_exact(&mut answer)).is_ok() && answer.ends_with(b"200") {
            served += 1;
        }
    }
    println!("{served} served");
    assert!(served > 0);
    // What they held counts no more, and small ones were never counted.
    assert_eq!(pillion_tests::client::post(proxy.second, "/sink", &[b'x'; BODY]).status, 200);
    proxy.assert_healthy();
}

/// Of an HTTP/2 client's streams filters may hold sixteen times as much each.
#[test]
fn streams_that_filters_gather_do_not_fill_memory() {
    const LARGE: usize = 10 << 20;
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'B', "", "workers: 1");
    let body = Bytes::from(vec![b'x'; LARGE]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(proxy.second).await.expect("it listens");
        let (client, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        let send = async |end| {
            let request = http::Request::post("http://test/sink").body(()).expect("the request is well-formed");
            let mut client = client.clone().ready().await.expect("the connection lives");
            let (answer, mut stream) = client.send_request(request, false).expect("the connection lives");
            stream.send_data(body.clone(), end).expect("the stream is new");
            (answer, stream)
        };
        let mut held = Vec::new();
        for number in 0..30 {
            held.push(send(false).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(proxy.ended().is_none(), "the kernel killed it, with {number} streams");
        }
        assert_eq!(quiet(&proxy), Some(200), "somebody else, beside them");
        println!("resident {} at most", proxy.resident_peak());
        assert!(lines(&log(&proxy), "503 OM filter_request_short_memory proxy") > 0, "{:.2000}", log(&proxy));
        drop(held);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let answer = send(true).await.0.await.expect("an answer comes");
        assert_eq!(answer.status(), 200, "once they have gone");
    });
    proxy.assert_healthy();
}

/// What clients of HTTP/2 send as far as they were told that they may counts as well, where it waits behind held heads.
#[test]
fn streams_held_behind_their_heads_are_refused_before_others_are() {
    const STREAMS: usize = 95;
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'H', "", "workers: 1");
    let before = group.used();
    let body = Bytes::from(vec![b'x'; 300_000]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
    let refused = "503 OM filter_request_short_memory proxy";
    runtime.block_on(async {
        let mut held = Vec::new();
        for number in 0..14 {
            let stream = tokio::net::TcpStream::connect(proxy.second).await.expect("it listens");
            let (mut client, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
            tokio::spawn(connection);
            for _ in 0..STREAMS {
                let request = http::Request::post("http://test/sink").body(()).expect("the request is well-formed");
                let Ok(ready) = client.ready().await else { panic!("connection {number} ended") };
                client = ready;
                let (answer, mut stream) = client.send_request(request, false).expect("the connection lives");
                stream.send_data(body.clone(), false).expect("the stream is new");
                held.push((answer, stream));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(proxy.ended().is_none(), "the kernel killed it, with {number} connections");
            println!("{number}: {} used, {} refused", group.used(), lines(&log(&proxy), refused));
            assert_eq!(quiet(&proxy), Some(200), "somebody else, beside {number} connections");
        }
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(quiet(&proxy), Some(200), "somebody else, beside all");
        }
        println!("{} used, {} refused", group.used(), lines(&log(&proxy), refused));
        assert!(lines(&log(&proxy), refused) > 0, "{:.2000}", log(&proxy));
        assert!(!log(&proxy).contains(" OM short_memory"), "{:.2000}", log(&proxy));
    });
    runtime.shutdown_background();
    wait::until_true("it to be given back", || group.used() < before + (8 << 20));
    proxy.assert_healthy();
}

#[test]
fn small_requests_that_filters_gather_are_not_refused_beside_large_ones() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'B', "", "workers: 1");
    let clients = hold(&mut proxy, &post(BODY + 1), &[b'x'; BODY]);
    for _ in 0..20 {
        assert_eq!(pillion_tests::client::post(proxy.second, "/sink", &[b'x'; 4000]).status, 200);
    }
    drop(clients);
}

#[test]
fn requests_held_behind_their_heads_wait_for_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'H', "", "workers: 1");
    let clients = hold(&mut proxy, &post(BODY + 1), &[b'x'; BODY]);
    // What they send waits in the kernel; nobody is refused for it.
    assert_eq!(clients.len(), MANY);
    assert!(!log(&proxy).contains("short_memory"), "{:.2000}", log(&proxy));
    drop(clients);
    proxy.assert_healthy();
}

#[test]
fn responses_that_filters_gather_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'R', "", "workers: 1");
    let head = format!("GET /bytes/{BODY} HTTP/1.1\r\nHost: test\r\n\r\n");
    let clients = hold(&mut proxy, &head, b"");
    wait::until_true("some to be cut", || lines(&log(&proxy), "200 OM filter_response_short_memory proxy") > 0);
    drop(clients);
    proxy.assert_healthy();
}

#[test]
fn opaque_bytes_that_filters_hold_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'D', "", "workers: 1");
    let clients = hold(&mut proxy, "", &[b'x'; BODY]);
    wait::until_true("some to be cut", || log(&proxy).contains("OM filter_request_short_memory proxy"));
    drop(clients);
    proxy.assert_healthy();
}

/// What the allocator keeps of what was freed is nobody's: nobody is refused for it.
#[test]
fn nobody_is_refused_for_memory_that_was_freed() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'B', "", "workers: 1");
    for round in 0..3 {
        // As many as there is room for, so slowly that nobody is told to go for what is not seen yet.
        let mut clients = Vec::new();
        while clients.len() < 75 {
            clients.extend(send(proxy.second, &post(BODY + 1), &[b'x'; BODY]));
            assert!(proxy.ended().is_none(), "the kernel killed it");
            thread::sleep(Duration::from_millis(40));
        }
        println!("{} used of {LIMIT} with all", group.used());
        drop(clients);
        proxy.await_metric("pillion_exchange_requests_active", &["listener=\"filtered\""], |active| active == 0.0);
        println!("{} used of {LIMIT} once all have gone", group.used());
        thread::sleep(Duration::from_millis(1500));
        let used = group.used();
        let few: Vec<_> = (0..8).filter_map(|_| send(proxy.second, &post(BODY + 1), &[b'x'; BODY])).collect();
        let served = few.into_iter().filter_map(|mut client| {
            client.set_read_timeout(Some(SOON)).expect("a timeout can be set");
            let mut answer = [0; 12];
            client
                .write_all(b"x")
                .and_then(|()| client.read_exact(&mut answer))
                .ok()
                .filter(|()| answer.ends_with(b"200"))
        });
        println!("round {round}: {used} used of {LIMIT} a while later");
        assert_eq!(served.count(), 8, "with {used} bytes in use of {LIMIT}, in round {round}");
    }
}
