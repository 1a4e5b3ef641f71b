//! Framing: where messages begin and end, in every way HTTP has of saying so.

use pillion_tests::{
    client::{Client, End},
    frames::{Frames, Outcome, request},
    origin::{Origin, checksum, pattern},
    proxy::{Proxy, Shape},
    response::Framing,
    scripted::Scripted,
    wait::{self, SOON},
};
use std::{
    io::Read as _,
    thread,
    time::{Duration, Instant},
};

#[test]
fn bodies_are_absent_where_the_rules_say_so() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    let head = client.exchange("HEAD /bytes/5000 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5000")));
    assert_eq!(client.get("/status/204").framing, Framing::None);
    assert_eq!(client.get("/status/304").framing, Framing::None);
    // All on one connection: a body that should not be there would have spoilt this.
    assert_eq!(client.get("/bytes/3").body, pattern(0, 3));
}

#[test]
fn an_http10_client_gets_no_chunks() {
    let server = Scripted::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    let response = client.exchange("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!((response.text().as_str(), response.framing), ("hello", Framing::Close), "{}", response.head);
}

#[test]
fn an_http10_client_can_tell_a_broken_answer_from_a_whole_one() {
    for (rest, ends) in [("5\r\nhello\r\n0\r\n\r\n", End::Closed), ("5\r\nhello\r\n", End::Reset)] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{rest}");
        let server = Scripted::answering_once(answer);
        let proxy = Proxy::to(server.address);
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
        let ended = wait::until("the connection's end", SOON, || match client.end_within(Duration::from_millis(100)) {
            End::Bytes(_) | End::Open => None,
            ended => Some(ended),
        });
        assert_eq!(ended, ends, "after {rest:?}");
    }
}

#[test]
fn chunks_go_both_ways_as_they_come() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    // The echo of the first chunk comes before the second is sent: nothing is held back for more.
    let mut early = String::new();
    wait::until_true("the first chunk to come back", || {
        early.push_str(&String::from_utf8_lossy(&client.some().unwrap_or_default()));
        early.contains("hello")
    });
    assert!(early.starts_with("HTTP/1.1 200"), "{early}");
    client.send("1\r\n!\r\n0\r\n\r\n");
    let mut rest = String::new();
    wait::until_true("the end", || {
        rest.push_str(&String::from_utf8_lossy(&client.some().unwrap_or_default()));
        rest.ends_with("0\r\n\r\n")
    });
    assert!(rest.contains('!'), "{rest}");
}

#[test]
fn announced_trailers_pass_over_http1() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let response = proxy.connect().exchange("GET /trailers HTTP/1.1\r\nHost: test\r\nTE: trailers\r\n\r\n");
    assert_eq!(response.text(), "hello");
    assert_eq!(response.trailers, [("x-checksum".to_owned(), "5".to_owned())], "{}", response.head);
}

#[test]
fn trailers_pass_from_http2_to_http1_and_back() {
    let origin = Origin::start();
    let proxy = Shape { cluster: "protocol: http2", ..Shape::default() }.start(origin.address);
    let mut frames = Frames::connect(proxy.address);
    frames.headers(1, &request("POST", "/echo"), false).expect("a head is sent");
    frames.data(1, b"hello", false).expect("data is sent");
    frames.headers(1, &[("x-sum", "5")], true).expect("trailers are sent");
    assert_eq!(frames.outcome(1), Outcome::Answered(200, b"hello".to_vec()));
    let response = proxy.connect().exchange("GET /trailers HTTP/1.1\r\nHost: test\r\nTE: trailers\r\n\r\n");
    assert_eq!(response.text(), "hello");
}

#[test]
fn expect_is_forwarded_and_the_body_released_on_the_servers_100() {
    let server = Scripted::start(|mut peer| {
        let Ok(mut request) = peer.head() else { return };
        assert_eq!(request.header("expect"), Some("100-continue"));
        thread::sleep(Duration::from_millis(150));
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = Vec::new();
        while body.len() < 5 {
            match peer.some() {
                Ok(bytes) if !bytes.is_empty() => body.extend(bytes),
                Ok(_) | Err(_) => return,
            }
        }
        request.body = body;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
        peer.send(&request.body);
    });
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    let begun = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.receive().status, 100);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(140), "100 came after {waited:?}, before the server's");
    assert_eq!(client.send("hello").receive_for("POST").text(), "hello");
}

#[test]
fn expect_is_released_after_a_second_where_the_server_says_nothing() {
    let server = Scripted::start(|mut peer| {
        while let Ok(request) = peer.request() {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            peer.send(&request.body);
        }
    });
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    let begun = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.receive().status, 100);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(900), "released after {waited:?}");
    assert_eq!(client.send("hello").receive_for("POST").text(), "hello");
}

#[test]
fn a_final_answer_to_expect_comes_without_the_body() {
    let server = Scripted::start(|mut peer| {
        if peer.head().is_ok() {
            peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
            peer.until_closed();
        }
    });
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let response = client.receive_for("POST");
    assert_eq!((response.status, response.text().as_str()), (401, "no"));
    proxy_still_serves(&proxy, &server);
}

/// A client that takes the answer for a "no" would have its next request read as the body, which goes to the first one's server.
#[test]
fn an_answer_that_comes_before_100_is_the_connections_last() {
    let server = Scripted::start(|mut peer| {
        if peer.head().is_ok() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            while let Ok(bytes) = peer.some() {
                assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
                if bytes.is_empty() {
                    break;
                }
            }
        }
    });
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n");
    let response = client.receive_for("POST");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(response.header("connection"), Some("close"));
    client.send("GET /secret HTTP/1.1\r\nHost: test\r\n\r\n");
    let end = client.end_within(SOON);
    assert!(matches!(end, End::Closed | End::Reset), "{end:?}");
}

fn proxy_still_serves(proxy: &Proxy, server: &Scripted) {
    let before = server.connections();
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.receive_for("POST").status, 401);
    assert!(server.connections() > before, "a connection with a body left unsent was used again");
}

#[test]
fn early_hints_reach_the_client_before_the_answer() {
    let server = Scripted::start(|mut peer| {
        while peer.request().is_ok() {
            peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    // RFC 9110 §15.2: 1xx is forwarded.
    let hints = client.receive();
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a.css>; rel=preload")));
    let response = client.receive();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
}

#[test]
fn an_http10_client_never_sees_1xx() {
    let server = Scripted::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = Proxy::to(server.address);
    let response = proxy.connect().exchange("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
}

#[test]
fn an_early_answer_comes_while_the_body_is_still_being_sent() {
    let server = Scripted::start(|mut peer| {
        if peer.head().is_ok() {
            peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large");
            peer.until_closed();
        }
    });
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n");
    client.send(pattern(0, 64 << 10));
    let response = client.receive_for("POST");
    assert_eq!((response.status, response.text().as_str()), (413, "too large"));
    proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    // The first is the slowest: its answer must still come first.
    let mut requests = "GET /slow/300 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
    for number in 0..20 {
        requests.push_str(&format!("POST /{number} HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"));
    }
    client.send(requests);
    assert_eq!(client.receive().json()["target"], "/slow/300");
    for number in 0..20 {
        assert_eq!(client.receive_for("POST").json()["target"], format!("/{number}"));
    }
}

#[test]
fn ten_mebibytes_up_and_down_arrive_unchanged() {
    let origin = Origin::start();
    for cluster in ["protocol: http1", "protocol: http2"] {
        let proxy = Shape { cluster, ..Shape::default() }.start(origin.address);
        let body = pattern(0, 10 << 20);
        let sunk = proxy.post("/sink", &body).json();
        assert_eq!(sunk["length"], body.len(), "{cluster}");
        assert_eq!(sunk["checksum"], checksum(&body), "{cluster}");
        assert!(proxy.get("/bytes/10485760").body == body, "{cluster}: the download differs");
        let mut client = proxy.connect();
        let mut writer = client.stream().try_clone().expect("a socket can be duplicated");
        let sent = body.clone();
        let sending = thread::spawn(move || {
            use std::io::Write as _;
            let head = format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", sent.len());
            writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&sent)).expect("the body is taken");
        });
        assert!(client.receive_for("POST").body == body, "{cluster}: the echo differs");
        sending.join().expect("the sender does not panic");
    }
}

#[test]
fn ten_mebibytes_over_http2_arrive_unchanged() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut frames = Frames::connect(proxy.address);
    frames.get(1, "/bytes/10485760").expect("a request is sent");
    let Outcome::Answered(200, body) = frames.outcome_within(1, SOON * 3) else { panic!("no answer") };
    assert!(body == pattern(0, 10 << 20), "{} bytes came, or others", body.len());
}

/// A download of so many bytes in constant memory: the figure is printed.
fn stream(gibibytes: u64) {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    assert_eq!(proxy.get("/bytes/10485760").body.len(), 10 << 20);
    let before = proxy.resident_peak();
    let count = gibibytes << 30;
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /bytes/{count} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
    let mut stream = client.stream().try_clone().expect("a socket can be duplicated");
    let mut buffer = vec![0; 1 << 20];
    let (mut total, mut head) = (0_u64, None);
    loop {
        let n = stream.read(&mut buffer).expect("the body comes");
        if n == 0 {
            break;
        }
        // The head comes first and is short; what follows it in the same read is body.
        head.get_or_insert_with(|| {
            let at =
                buffer[..n].windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends in the first read");
            at as u64 + 4
        });
        total += n as u64;
    }
    assert_eq!(total - head.unwrap_or(0), count);
    let grown = proxy.resident_peak().saturating_sub(before);
    println!("{gibibytes} GiB streamed; resident memory grew by {grown} bytes");
    assert!(grown < 4 << 20, "resident memory grew by {grown} bytes");
}

#[test]
fn one_gibibyte_streams_in_constant_memory() {
    stream(1);
}

#[test]
#[ignore = "ten seconds and more; run by name"]
fn ten_gibibytes_stream_in_constant_memory() {
    stream(10);
}

#[test]
fn a_slow_reader_holds_the_server_back_and_not_the_proxy() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    proxy.assert_healthy();
    let before = proxy.resident();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Client::connect_narrow(proxy.address, 4096);
            client.send("GET /bytes/1073741824 HTTP/1.1\r\nHost: test\r\n\r\n");
            client
        })
        .collect();
    thread::sleep(Duration::from_millis(700));
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < 8 << 20, "eight readers who do not read cost {grown} bytes");
    proxy.assert_healthy();
    drop(clients);
    proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
}

#[test]
fn a_half_closed_client_is_answered_or_let_go_and_never_held() {
    // A client that has left looks the same until something is written to it, so a proxy may take it for gone.
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    client.send("GET /slow/100 HTTP/1.1\r\nHost: test\r\n\r\n").half_close();
    match client.try_receive("GET") {
        Ok(response) => assert_eq!(response.status, 200),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}"),
    }
    assert_eq!(client.end_within(SOON), End::Closed);
}

#[test]
fn a_client_that_leaves_behind_bytes_that_nobody_reads_has_left() {
    // A read would not tell: what it sent comes first.
    let origin = Origin::start();
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\n\
         listeners:\n  - {{ name: web, address: {{listen}}, routes: [{{ match: {{ prefix: / }}, cluster: origin, timeout: 10m }}] }}\n\
         clusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
        origin.address
    ));
    let slow = "GET /slow/600000 HTTP/1.1\r\nHost: test\r\n\r\n";
    for reset in [false, true] {
        let mut client = proxy.connect();
        client.send(format!("{slow}{slow}"));
        proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 1.0);
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
    }
    // Who pipelines and stays is answered.
    let mut client = proxy.connect();
    client.send("GET /slow/1500 HTTP/1.1\r\nHost: test\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!([client.receive().status, client.receive().status], [200, 200]);
}

#[test]
fn a_request_cut_by_the_client_never_looks_whole_to_the_server() {
    let server = Scripted::start(|mut peer| {
        // An error here is the point: the request must not end in order.
        while let Ok(request) = peer.request() {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Got: {}\r\n\r\n", request.body.len()));
        }
    });
    let proxy = Proxy::to(server.address);
    for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut client = proxy.connect();
        let seen = server.received_text().matches("hello").count();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}"));
        wait::until_true("the piece to arrive", || server.received_text().matches("hello").count() > seen);
        drop(client);
        wait::until_true("the server's connection to end", || server.open() == 0);
    }
    assert!(!server.received_text().contains("\r\n0\r\n\r\n"), "the cut body was given an end");
}
