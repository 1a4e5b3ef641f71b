//! Upstream: which endpoint, over which connection, and what happens when it fails.

use pillion_tests::{
    client::Client,
    dns::NameServer,
    load::Load,
    nginx::Nginx,
    origin::Origin,
    port,
    proxy::{Proxy, Shape},
    scripted::Scripted,
    some_or_return,
    wait::{self, SOON},
};
use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

#[test]
fn round_robin_takes_turns_and_honours_weights() {
    let origins = [Origin::start(), Origin::start(), Origin::start()];
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let proxy = Proxy::start(&Shape { cluster: "balance: round-robin", ..Shape::default() }.yaml(&addresses));
    let mut client = proxy.connect();
    for _ in 0..90 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(origins.each_ref().map(Origin::requests), [30, 30, 30]);

    let yaml = Shape { cluster: "balance: round-robin", ..Shape::default() }.yaml(&[]).replace(
        "endpoints: []",
        &format!("endpoints: [{{ address: \"{}\", weight: 3 }}, {{ address: \"{}\" }}]", addresses[0], addresses[1]),
    );
    let weighted = Proxy::start(&yaml);
    let mut client = weighted.connect();
    for _ in 0..80 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(origins.each_ref().map(Origin::requests), [30 + 60, 30 + 20, 30]);
}

#[test]
fn least_request_avoids_the_slow_endpoint() {
    // So slow that it answers nothing before the others are done.
    let slow = Origin::start();
    let fast = Origin::start();
    let yaml = Shape { cluster: "balance: least-request", ..Shape::default() }.yaml(&[slow.address, fast.address]);
    let proxy = Proxy::start(&yaml);
    // Each endpoint holds what comes to `/hold`, and the fast one is released: whatever is in flight there goes on.
    fast.release();
    let load = Load::start(proxy.address, 8, Duration::ZERO, |_, _| "GET /hold HTTP/1.1\r\nHost: test\r\n\r\n".into());
    load.await_more(500);
    let to_slow = slow.requests();
    slow.release();
    load.stop().assert_clean();
    // No more than half of eight can wait there before the other one always has fewer.
    assert!(to_slow <= 5, "{to_slow} to the slow one, {} to the fast", fast.requests());
}

#[test]
fn a_host_name_is_resolved() {
    let origin = Origin::start();
    let yaml = Shape::default()
        .yaml(&[])
        .replace("endpoints: []", &format!("endpoints: [\"localhost:{}\"]", origin.address.port()));
    let proxy = Proxy::start(&yaml);
    let response =
        wait::until("the name to be resolved", SOON, || Some(proxy.get("/")).filter(|one| one.status == 200));
    assert_eq!(response.status, 200);
    // Another request needs no other look-up.
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn a_name_is_asked_for_again_when_its_time_is_up_and_traffic_follows() {
    let before = Origin::start();
    let moved = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), before.address.port()));
    // Nobody else is there: other sockets of this machine's begin at 127.0.0.1.
    let after = Origin::start_at(moved);
    let names = NameServer::start(&[Ipv4Addr::LOCALHOST], 1);
    let top = format!("dns: {{ servers: [\"{}\"], min_refresh: 1s, timeout: 20s }}", names.address);
    let yaml = Shape { top: &top, ..Shape::default() }
        .yaml(&[])
        .replace("endpoints: []", &format!("endpoints: [\"app.example:{}\"]", moved.port()));
    let proxy = Proxy::start(&yaml);
    let mut client = proxy.connect();
    assert_eq!(client.get("/").status, 200);
    assert_eq!((before.requests(), after.requests()), (1, 0));
    let asked = names.asked();
    names.answer_with(&[Ipv4Addr::new(127, 0, 0, 2)]);
    wait::until_true("traffic to follow the name", || {
        assert_eq!(client.get("/").status, 200, "no request is lost by it");
        after.requests() > 0
    });
    assert!(names.asked() > asked);
    wait::until_true("the connections to the old address to be closed", || before.open() == 0);
}

#[test]
fn a_name_that_does_not_resolve_is_503_and_does_not_stop_others() {
    let origin = Origin::start();
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\ndns: {{ servers: [\"{}\"], timeout: 300ms }}\nlisteners:\n  - name: web\n    \
         address: {{listen}}\n    routes:\n      - {{ match: {{ prefix: /lost }}, cluster: lost }}\n      \
         - {{ match: {{ prefix: / }}, cluster: origin }}\nclusters:\n  - name: lost\n    \
         endpoints: [\"nowhere.invalid:80\"]\n  - name: origin\n    endpoints: [\"{}\"]\n",
        port::free(),
        origin.address
    );
    let proxy = Proxy::start(&yaml);
    let waiting = thread::spawn({
        let address = proxy.address;
        move || Client::connect(address).get("/lost").status
    });
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(waiting.join().expect("the client does not panic"), 503);
}

#[test]
fn nobody_listening_is_503_with_uf() {
    let proxy = Proxy::to(port::free());
    assert_eq!(proxy.get("/").status, 503);
    proxy.await_metric("pillion_respond_answers_total", &["flag=\"UF\""], |count| count == 1.0);
    proxy.await_metric("pillion_connect_failures_total", &["cluster=\"origin\""], |count| count >= 1.0);
}

#[test]
fn another_endpoint_is_not_troubled_by_a_dead_one_for_long() {
    let origin = Origin::start();
    let yaml = Shape { cluster: "balance: round-robin", ..Shape::default() }.yaml(&[port::free(), origin.address]);
    let proxy = Proxy::start(&yaml);
    let good = (0..40).filter(|_| proxy.get("/").status == 200).count();
    assert!(good >= 20, "{good} of 40");
}

#[test]
fn a_connection_that_is_never_made_times_out() {
    // A full backlog drops SYNs: connecting hangs.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let socket = socket2::SockRef::from(&listener);
    socket.listen(0).expect("a listening socket takes another backlog");
    let address = listener.local_addr().expect("a bound socket has an address");
    let _filling: Vec<_> = (0..3)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            filler.set_nonblocking(true).expect("a socket can be made non-blocking");
            drop(filler.connect(&address.into()));
            filler
        })
        .collect();
    thread::sleep(Duration::from_millis(50));
    let proxy = Shape { cluster: "connect_timeout: 300ms", ..Shape::default() }.start(address);
    let begun = Instant::now();
    assert_eq!(proxy.get("/").status, 503);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(250), "answered after {took:?}");
    proxy.await_metric("pillion_connect_failures_total", &["reason=\"timeout\""], |count| count >= 1.0);
}

#[test]
fn a_late_response_is_504_with_ut() {
    let origin = Origin::start();
    // Long enough for a busy machine to bring the second head in time.
    let proxy = Shape { route: "timeout: 3s", ..Shape::default() }.start(origin.address);
    let mut client = proxy.connect();
    let begun = Instant::now();
    assert_eq!(client.get("/hold").status, 504);
    assert!(begun.elapsed() >= Duration::from_millis(2900), "answered after {:?}", begun.elapsed());
    proxy.await_metric("pillion_respond_answers_total", &["flag=\"UT\""], |count| count == 1.0);
    // The timeout is for the head: a body that takes longer is not cut.
    assert_eq!(client.get("/stall/3500").text(), "late");
}

#[test]
fn silence_beyond_the_idle_timeout_ends_a_request() {
    let origin = Origin::start();
    let proxy = Shape { route: "idle_timeout: 300ms", ..Shape::default() }.start(origin.address);
    let mut client = proxy.connect();
    client.send("GET /stall/600000 HTTP/1.1\r\nHost: test\r\n\r\n");
    match client.try_receive("GET") {
        Ok(response) => assert_eq!(response.status, 504),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}"),
    }
    proxy.assert_healthy();
}

#[test]
fn requests_beyond_the_circuit_are_503_with_uo() {
    let origin = Origin::start();
    let proxy = Shape { cluster: "limits: { requests: 2 }", ..Shape::default() }.start(origin.address);
    let mut busy = [proxy.connect(), proxy.connect()];
    for client in &mut busy {
        client.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    wait::until_true("both to arrive", || origin.requests() == 2);
    let refused = proxy.get("/");
    assert_eq!(refused.status, 503);
    origin.release();
    for client in &mut busy {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(proxy.get("/").status, 200);
    proxy.await_metric("pillion_respond_answers_total", &["flag=\"UO\""], |count| count == 1.0);
    proxy.await_metric("pillion_balance_overflow_total", &["limit=\"requests\""], |count| count == 1.0);
}

#[test]
fn connections_stay_within_the_circuit() {
    let origin = Origin::start();
    let cluster = "limits: { connections: 3, pending: 1000 }";
    let proxy = Shape { cluster, ..Shape::default() }.start(origin.address);
    let load =
        Load::start(proxy.address, 16, Duration::ZERO, |_, _| "GET /slow/5 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned());
    load.await_more(200);
    assert!(origin.open() <= 3, "{} connections", origin.open());
    load.stop().assert_clean();
}

#[test]
fn connections_are_used_again() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn connections_are_closed_when_idle() {
    let origin = Origin::start();
    let proxy = Shape { cluster: "idle_timeout: 300ms", ..Shape::default() }.start(origin.address);
    for round in 1..3 {
        assert_eq!(proxy.get("/").status, 200);
        assert_eq!(origin.connections(), round);
        wait::until_true("the idle connection to be closed", || origin.open() == 0);
    }
}

/// A server that answers a random number of requests on a connection and then closes it, sometimes just as a request
/// comes: the request on the wire is then lost. Counts how often each `X-Test-Id` was read whole.
fn fickle(ids: &Arc<Mutex<HashMap<String, usize>>>) -> Scripted {
    let ids = Arc::clone(ids);
    Scripted::start(move |mut peer| {
        let mut random = (peer.number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut answered = 0;
        loop {
            // Never before the first answer: a request lost on a fresh connection is the server's failure, not the race.
            if answered > 0 && next(4) == 0 {
                // Closes while resting, at a moment that has nothing to do with what the proxy does.
                thread::sleep(Duration::from_micros(next(1500)));
                return;
            }
            let Ok(request) = peer.request() else { return };
            if let Some(id) = request.header("x-test-id") {
                *ids.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default() += 1;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            answered += 1;
        }
    })
}

#[test]
fn a_server_that_closes_idle_connections_at_random_costs_no_get() {
    let ids = Arc::default();
    let server = fickle(&ids);
    let proxy = Proxy::to(server.address);
    let load = Load::start(proxy.address, 4, Duration::from_micros(400), |connection, number| {
        format!("GET /{connection}/{number} HTTP/1.1\r\nHost: test\r\n\r\n")
    });
    load.await_more(3000);
    // The race is run by chance: until it was, the load goes on.
    let replays = wait::until("a request to meet a closing connection", SOON * 2, || {
        load.await_more(100);
        Some(proxy.metrics().sum("pillion_retry_replays_total", &["cluster=\"origin\""])).filter(|count| *count > 0.0)
    });
    load.stop().assert_clean();
    println!("{replays} replays over {} connections", server.connections());
    assert!(server.connections() > 100, "the server closed too little to show anything: {}", server.connections());
}

#[test]
fn a_post_that_may_have_arrived_is_never_sent_twice() {
    let ids: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let server = fickle(&ids);
    let proxy = Proxy::to(server.address);
    let load = Load::start(proxy.address, 4, Duration::from_micros(400), |connection, number| {
        format!("POST / HTTP/1.1\r\nHost: test\r\nX-Test-Id: {connection}-{number}\r\nContent-Length: 5\r\n\r\nhello")
    });
    load.await_more(1500);
    let figures = load.stop();
    let ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
    let twice: Vec<_> = ids.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{} arrived twice: {twice:?}", twice.len());
    // Those that could not be replayed are told so. One request in four meets a server about to close; how many of them
    // come before it does is this machine's affair.
    assert!(figures.failed.len() * 2 < figures.answered, "{} failed of {}", figures.failed.len(), figures.answered);
    assert!(figures.failed.iter().all(|failure| failure.contains("status 50")), "{:?}", figures.failed.first());
}

#[test]
fn a_server_that_takes_the_request_and_dies_gets_a_post_once() {
    let server = Scripted::start(|mut peer| {
        // The first request of a connection is answered, so that the second meets a reused connection.
        if peer.number == 0 && peer.request().is_ok() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        drop(peer.request());
    });
    let proxy = Proxy::to(server.address);
    assert_eq!(proxy.get("/warm").status, 200);
    let response = proxy.post("/once", b"hello");
    assert!(matches!(response.status, 502 | 503), "{}", response.status);
    assert_eq!(server.received_text().matches("POST /once").count(), 1);
    proxy.await_metric("pillion_respond_answers_total", &["flag=\"UC\""], |count| count == 1.0);
}

#[test]
fn a_get_lost_on_a_reused_connection_is_sent_again() {
    let server = Scripted::start(|mut peer| {
        if peer.request().is_ok() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            // Reads the next request and closes without a word on every connection but the second.
            if peer.number == 1 {
                while peer.request().is_ok() {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
            } else {
                drop(peer.request());
            }
        }
    });
    let proxy = Proxy::to(server.address);
    assert_eq!(proxy.get("/warm").status, 200);
    assert_eq!(proxy.get("/again").text(), "ok");
    assert_eq!(server.received_text().matches("GET /again").count(), 2);
    proxy.await_metric("pillion_retry_replays_total", &["reason=\"idempotent\""], |count| count == 1.0);
}

#[test]
fn a_response_cut_in_its_body_is_cut_for_the_client_too() {
    let server = Scripted::answering_once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let error = client.try_receive("GET").expect_err("the body is cut");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
}

#[test]
fn a_client_that_leaves_frees_the_servers_connection() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    for _ in 0..10 {
        let mut client = proxy.connect();
        client.send("GET /slow/60000 HTTP/1.1\r\nHost: test\r\n\r\n");
        wait::until_true("the request to arrive", || origin.open() > 0);
        drop(client);
    }
    wait::until_true("the server's connections to be closed", || origin.open() == 0);
    proxy.await_metric("pillion_upstream_requests_active", &[], |active| active == 0.0);
}

#[test]
fn nginx_that_closes_after_every_few_requests_costs_nothing() {
    let nginx = some_or_return!(Nginx::start(7));
    let proxy = Proxy::to(nginx.address);
    let load = Load::gets(proxy.address, 8, Duration::ZERO);
    load.await_more(3000);
    load.stop().assert_clean();
}

#[test]
fn http2_to_http2_shares_a_connection() {
    let origin = Origin::start();
    let proxy = Shape { cluster: "protocol: http2", ..Shape::default() }.start(origin.address);
    let load = Load::gets(proxy.address, 8, Duration::ZERO);
    load.await_more(500);
    load.stop().assert_clean();
    assert!(origin.connections() <= 4, "{} connections", origin.connections());
}
