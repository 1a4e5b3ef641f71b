//! Short memory: what clients leave unfinished must not fill a small container, however fast it comes.

use pillion_tests::{
    cgroup::Cgroup,
    client::Client,
    frames::{Frames, Outcome, block, encoded, kind, request},
    origin::Origin,
    proxy::{Proxy, Shape},
    some_or_return,
    wait::{self, SOON},
};
use std::{
    fs,
    io::{self, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

/// A container as a sidecar has it.
const LIMIT: u64 = 48 << 20;

/// Heads as large as some applications need them, and time enough for all to lie about at once.
const LISTENER: &str = "limits: { header_bytes: 64KiB }\ntimeouts: { header: 2m }";

const LOG: &str = "access_log: { path: \"{dir}/access.log\", format: { text: \"%RESPONSE_CODE% %RESPONSE_FLAGS% \
                   %RESPONSE_CODE_DETAILS% %TERMINATED_BY%\" } }";

fn small(group: &Cgroup, limits: &str, origin: &Origin) -> Proxy {
    let top = format!("{LOG}\n{limits}");
    let yaml =
        Shape { top: &top, listener: LISTENER, route: "timeout: 2m", ..Shape::default() }.yaml(&[origin.address]);
    let proxy = Proxy::start_with(&yaml, |program| group.command(&program));
    proxy.assert_healthy();
    proxy
}

/// Connections that hold what `begin` leaves unfinished, several times what fits into memory; beside each hundredth somebody
/// else is served. Those who are told to go are, the process lives, and nobody's request fails.
fn leave_unfinished<T>(name: &str, many: usize, proxy: &mut Proxy, begin: impl Fn(&Proxy) -> io::Result<T>) -> Vec<T> {
    let mut unfinished = Vec::new();
    for number in 0..many {
        // Whoever was told to go while it sent holds nothing.
        unfinished.extend(begin(proxy));
        assert!(proxy.ended().is_none(), "{name}: the kernel killed it, with {number} connections");
        if number % 100 == 99 {
            assert_eq!(proxy.get("/").status, 200, "{name}: somebody else, beside {number} connections");
        }
    }
    assert!(proxy.ended().is_none(), "{name}: the kernel killed it");
    proxy.await_metric("pillion_guard_refusals_total", &["reason=\"short_memory\""], |shed| shed > 0.0);
    let shed = proxy.metrics().sum("pillion_guard_refusals_total", &["reason=\"short_memory\""]);
    println!("{name}: {shed} told to go, resident {} at most", proxy.resident_peak());
    assert_eq!(proxy.metrics().sum("pillion_accept_refused_total", &["reason=\"memory\""]), 0.0, "nobody was refused");
    proxy.assert_healthy();
    unfinished
}

#[test]
fn heads_left_unfinished_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = small(&group, "", &origin);
    let head = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Padding: {}", "p".repeat(60_000));
    let clients = leave_unfinished("heads", 2400, &mut proxy, |proxy| {
        let mut client = Client::over(TcpStream::connect_timeout(&proxy.address, SOON)?);
        client.try_send(&head).map(|()| client)
    });
    // Those who were told to go have their answer; those who were not may go on.
    let (mut told, mut served) = (0, 0);
    for mut client in clients {
        client.patience(Duration::from_millis(1));
        match client.try_receive("GET") {
            Ok(response) => {
                assert_eq!(response.status, 503);
                told += 1;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                client.patience(SOON);
                if client.try_send("\r\n\r\n").and_then(|()| client.try_receive("GET")).is_ok_and(|it| it.status == 200)
                {
                    served += 1;
                }
            }
            Err(_) => {}
        }
    }
    println!("{told} were answered 503, {served} finished their head and were served");
    assert!(told > 0 && served > 0);
    let log = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
    assert!(log.contains("503 OM short_memory proxy"), "{log:.2000}");
}

#[test]
fn trailers_left_unfinished_do_not_fill_memory() {
    // Each is a request in flight as well, of which the cluster bears a thousand: they get less room than all of memory.
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = small(&group, "limits: { memory_shrink: 25% }", &origin);
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Padding: {}",
        "p".repeat(7_500)
    );
    drop(leave_unfinished("trailers", 900, &mut proxy, |proxy| {
        let mut client = Client::over(TcpStream::connect_timeout(&proxy.address, SOON)?);
        client.try_send(&request).map(|()| client)
    }));
}

#[test]
fn header_blocks_left_unfinished_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = small(&group, "", &origin);
    let padding = encoded(kind::CONTINUATION, 0, 1, &block(&[("x-padding", "p".repeat(15_000))]));
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(encoded(kind::SETTINGS, 0, 0, &[]));
    bytes.extend(encoded(kind::HEADERS, 0, 1, &block(&request("GET", "/"))));
    (0..3).for_each(|_| bytes.extend_from_slice(&padding));
    drop(leave_unfinished("header blocks", 2400, &mut proxy, |proxy| {
        let mut stream = TcpStream::connect_timeout(&proxy.address, SOON)?;
        stream.set_write_timeout(Some(SOON))?;
        stream.write_all(&bytes).map(|()| stream)
    }));
}

fn status(outcome: &Outcome) -> Option<u16> {
    if let Outcome::Answered(status, _) = outcome { Some(*status) } else { None }
}

/// A body that is kept in case it must be sent again.
const BODY: usize = 60_000;

#[test]
fn whole_requests_that_wait_for_their_answer_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = small(&group, "", &origin);
    let request = format!("PUT /hold HTTP/1.1\r\nHost: test\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
    let mut clients = Vec::new();
    for number in 1..=900 {
        let mut client = proxy.connect();
        client.try_send(&request).expect("it is read");
        clients.push(client);
        assert!(proxy.ended().is_none(), "the kernel killed it, with {number} requests");
        if number % 100 == 0 {
            assert_eq!(proxy.get("/").status, 200, "somebody else, beside {number} requests");
        }
    }
    println!("resident {} at most", proxy.resident_peak());
    // What was taken on is served, sent once or not.
    origin.release();
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
    proxy.assert_healthy();
}

#[test]
fn streams_of_connections_that_live_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = small(&group, "", &origin);
    let mut connections: Vec<_> = (0..40).map(|_| Frames::connect(proxy.address)).collect();
    let mut streams = Vec::new();
    for stream in (1..).step_by(2).take(22) {
        for (place, connection) in connections.iter_mut().enumerate() {
            let sent = connection
                .headers(stream, &request("PUT", "/hold"), false)
                .and_then(|()| (0..4).try_for_each(|part| connection.data(stream, &[b'x'; BODY / 4], part == 3)));
            sent.expect("it is read");
            streams.push((place, stream));
        }
        assert!(proxy.ended().is_none(), "the kernel killed it, with {} streams", streams.len());
        assert_eq!(proxy.get("/").status, 200, "somebody else, beside {} streams", streams.len());
    }
    println!("resident {} at most", proxy.resident_peak());
    origin.release();
    proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
    let log = wait::until("every record", SOON, || {
        let log = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
        Some(log).filter(|log| log.lines().count() >= streams.len() + 22)
    });
    assert!(log.lines().all(|line| line.starts_with("200 - ")), "{log:.2000}");
    proxy.assert_healthy();
}

#[test]
fn large_heads_of_whole_requests_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = small(&group, "", &origin);
    let padding = "p".repeat(15_000);
    // The answer would tell all of it again, more than the windows of a client that reads nothing yet.
    let head = [&request("HEAD", "/hold")[..], &[("x-padding", &padding)]].concat();
    let mut connections = Vec::new();
    for number in 1..=60 {
        let mut connection = Frames::connect(proxy.address);
        for stream in (1..).step_by(2).take(30) {
            connection.headers(stream, &head, true).expect("it is read");
        }
        connections.push(connection);
        assert!(proxy.ended().is_none(), "the kernel killed it, with {number} connections");
        if number % 10 == 0 {
            assert_eq!(proxy.get("/").status, 200, "somebody else, beside {number} connections");
        }
    }
    proxy.await_metric("pillion_respond_answers_total", &["flag=\"OM\""], |told| told > 0.0);
    println!("resident {} at most", proxy.resident_peak());
    let log = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
    assert!(log.contains("503 OM short_memory proxy"), "{log:.2000}");
    // What was taken on is served, and there is room again.
    origin.release();
    proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
    assert_eq!(status(&connections[0].outcome(1)), Some(200));
    proxy.assert_healthy();
}

#[test]
fn small_requests_in_flight_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    // As many requests as several clusters bear together, each of them small, which come faster than memory is looked at.
    let shape = Shape {
        top: LOG,
        listener: "timeouts: { body: 2m }",
        route: "timeout: 2m",
        cluster: "limits: { connections: 20000, pending: 20000, requests: 20000 }",
    };
    let mut proxy = Proxy::start_with(&shape.yaml(&[origin.address]), |program| group.command(&program));
    let mut connections: Vec<_> = (0..60).map(|_| Frames::connect(proxy.address)).collect();
    for stream in (1..).step_by(2).take(60) {
        for connection in &mut connections {
            // Some are cut meanwhile.
            drop(
                connection
                    .headers(stream, &request("POST", "/hold"), false)
                    .and_then(|()| connection.data(stream, b"x", false)),
            );
        }
        assert!(proxy.ended().is_none(), "the kernel killed it, {stream}");
    }
    proxy.await_metric("pillion_guard_refusals_total", &["reason=\"short_memory\""], |told| told > 0.0);
    println!("resident {} at most", proxy.resident_peak());
    drop(connections);
    proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
    origin.release();
    proxy.assert_healthy();
    let log = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
    assert!(!log.contains("DC,OM") && !log.contains("OM,DC"), "who was cut did not leave: {log:.2000}");
}

/// As many streams as a connection may have.
const STREAMS: usize = 99;

/// Many connections, with as many streams each as they may have and their windows full, several times what fits into memory: the
/// process lives, and others are served once these are gone.
fn stand_still(name: &str, cluster: &str, many: usize, begin: impl Fn(&mut Frames) -> io::Result<()>) {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let shape = Shape { top: LOG, listener: "timeouts: { body: 2m, write: 2m }", route: "timeout: 2m", cluster };
    let origin = Origin::start();
    let mut proxy = Proxy::start_with(&shape.yaml(&[origin.address]), |program| group.command(&program));
    proxy.assert_healthy();
    // Nobody may be sent a byte of any response.
    let mut connections: Vec<_> = (0..many).map(|_| Frames::connect_with(proxy.address, &[(4, 0)])).collect();
    for connection in &mut connections {
        // Some are cut meanwhile.
        drop(begin(connection));
        assert!(proxy.ended().is_none(), "{name}: the kernel killed it");
    }
    thread::sleep(Duration::from_secs(3));
    assert!(proxy.ended().is_none(), "{name}: the kernel killed it");
    println!("{name}: resident {} at most", proxy.resident_peak());
    drop(connections);
    proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
    proxy.assert_healthy();
}

/// Sends as much on each stream as a stream and the connection may.
fn fill(connection: &mut Frames) -> io::Result<()> {
    const PART: usize = 16_383;
    let mut window = 65_535;
    for stream in (1..).step_by(2).take(STREAMS) {
        for _ in 0..4 {
            while window < PART {
                // Nothing for so long: there is no more.
                let Some(frame) = connection.try_next(Duration::from_millis(300))? else { return Ok(()) };
                if frame.kind == kind::WINDOW_UPDATE && frame.stream == 0 {
                    window += frame.payload.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
                }
            }
            window -= PART;
            connection.data(stream, &[b'x'; PART], false)?;
        }
    }
    Ok(())
}

#[test]
fn uploads_that_nobody_takes_do_not_fill_memory() {
    // The first has the only connection, the others wait for it.
    let cluster = "connect_timeout: 2m\nlimits: { connections: 1, pending: 20000, requests: 20000 }";
    stand_still("uploads", cluster, 15, |connection| {
        (1..)
            .step_by(2)
            .take(STREAMS)
            .try_for_each(|stream| connection.headers(stream, &request("POST", "/hold"), false))?;
        fill(connection)
    });
}

#[test]
fn responses_that_nobody_takes_do_not_fill_memory() {
    let cluster = "protocol: http2\nlimits: { connections: 20000, pending: 20000, requests: 20000 }";
    stand_still("responses", cluster, 12, |connection| {
        (1..).step_by(2).take(STREAMS).try_for_each(|stream| connection.get(stream, "/bytes/10000000"))
    });
}

/// Requests that wait, until connections are refused for short memory; and how many were.
pub(crate) fn press(proxy: &mut Proxy) -> (Vec<Client>, f64) {
    let request = format!("GET /hold HTTP/1.1\r\nHost: test\r\nX-Padding: {}\r\n\r\n", "p".repeat(6000));
    // Requests in flight are nobody's to close. A few at a time: memory is looked at ten times a second.
    let mut busy = Vec::new();
    let refused = wait::until("connections to be refused", SOON * 4, || {
        for _ in 0..20 {
            let mut client = proxy.connect();
            drop(client.try_send(&request));
            busy.push(client);
        }
        thread::sleep(Duration::from_millis(10));
        assert!(proxy.ended().is_none(), "the kernel killed it, with {} requests", busy.len());
        let refused = proxy.metrics().sum("pillion_accept_refused_total", &["reason=\"memory\""]);
        Some(refused).filter(|count| *count > 0.0)
    });
    (busy, refused)
}

#[test]
fn where_connections_are_refused_so_are_streams_of_those_that_live() {
    let group = some_or_return!(Cgroup::new(Some(64 << 20), None));
    let origin = Origin::start();
    let mut proxy = small(&group, "limits: { memory_shrink: 25%, memory_refuse: 40% }", &origin);
    let mut old = Frames::connect(proxy.address);
    old.get(1, "/hold").expect("it is read");
    let (busy, _) = press(&mut proxy);
    // Its body is not waited for.
    old.headers(3, &request("PUT", "/"), false).expect("it is read");
    assert_eq!(status(&old.outcome(3)), Some(503));
    // What was taken on before is served.
    origin.release();
    assert_eq!(status(&old.outcome(1)), Some(200));
    drop(busy);
    proxy.assert_healthy();
    let log = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
    assert!(log.contains("503 OM short_memory proxy"), "{log:.2000}");
}
