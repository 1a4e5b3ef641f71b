//! What filters make of little: heads and bodies that they enlarge, answers that they give.

use super::{LIMIT, MANY, hold, holding, lines, log, quiet};
use pillion_tests::{cgroup::Cgroup, client::Client, origin::Origin, some_or_return, wait};
use std::time::Duration;

/// What a guest writes is the proxy's memory, not its own.
#[test]
fn heads_that_filters_enlarge_do_not_fill_memory() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'W', "", "workers: 1");
    let clients = hold(&mut proxy, "GET / HTTP/1.1\r\nHost: test\r\n\r\n", b"");
    wait::until_true("some to be refused", || lines(&log(&proxy), "503 OM filter_request_short_memory proxy") > 0);
    assert_eq!(proxy.metrics().sum("pillion_wasm_failures_total", &["filter=\"holds\""]), 0.0, "no guest dies of it");
    drop(clients);
    proxy.assert_healthy();
}

/// A block page that a filter answers with, and one that it makes of a response, wait for clients that read nothing.
#[test]
fn what_filters_answer_does_not_fill_memory() {
    for does in ['P', 'E'] {
        let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
        let origin = Origin::start();
        let mut proxy = holding(&origin, &group, does, "", "workers: 1");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
        runtime.block_on(async {
            let mut waiting = Vec::new();
            for number in 0..12 {
                let stream = tokio::net::TcpStream::connect(proxy.second).await.expect("it listens");
                let (mut client, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
                tokio::spawn(connection);
                for _ in 0..90 {
                    let request =
                        http::Request::get("http://test/bytes/2").body(()).expect("the request is well-formed");
                    let Ok(ready) = client.ready().await else { break };
                    client = ready;
                    waiting.extend(client.send_request(request, true).map(|(answer, _)| answer));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                assert!(proxy.ended().is_none(), "the kernel killed it, with {number} connections");
            }
            assert_eq!(quiet(&proxy), Some(200), "somebody else, beside them");
            println!("{does}: resident {} at most", proxy.resident_peak());
        });
        runtime.shutdown_background();
        if does == 'P' {
            assert!(lines(&log(&proxy), "503 OM filter_response_short_memory proxy") > 0, "{:.2000}", log(&proxy));
        }
        proxy.assert_healthy();
    }
}

/// What a filter adds beyond the `Content-Length` that it left is cut off, and not kept for what is left.
#[test]
fn what_is_cut_off_behind_the_content_length_is_not_kept() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'A', "", "workers: 1");
    let before = proxy.resident_own();
    let head = "POST /hold HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n";
    let clients = hold(&mut proxy, head, &[b'x'; 20]);
    let grown = proxy.resident_own().saturating_sub(before);
    assert!(grown < MANY as u64 * (100 << 10), "{grown} bytes for {} requests of 20 bytes", clients.len());
    drop(clients);
    proxy.assert_healthy();
}

/// Megabytes that a filter makes of two bytes wait in the proxy for clients that read nothing: as many as there is room for. What a
/// socket has taken of them is no more in the proxy.
#[test]
fn megabytes_that_filters_make_do_not_fill_memory() {
    for (does, refused) in
        [('T', "0 OM filter_response_short_memory proxy"), ('M', "503 OM filter_response_short_memory proxy")]
    {
        let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
        let origin = Origin::start();
        let mut proxy = holding(&origin, &group, does, "", "workers: 1");
        let before = group.used();
        let mut clients = Vec::new();
        for number in 0..MANY {
            let mut client = Client::connect_narrow(proxy.second, 4096);
            let sent = client.try_send("GET /bytes/2 HTTP/1.1\r\nHost: test\r\n\r\n");
            clients.push(client);
            assert!(proxy.ended().is_none(), "{does}: the kernel killed it, with {number} clients");
            assert!(sent.is_ok(), "{does}: client {number} is let in");
            if number % 25 == 24 {
                assert_eq!(quiet(&proxy), Some(200), "{does}: somebody else, beside {number} clients");
            }
        }
        wait::until_true("some to be refused", || lines(&log(&proxy), refused) > 0);
        println!("{does}: {} used of {LIMIT} beside them, {} refused", group.used(), lines(&log(&proxy), refused));
        drop(clients);
        wait::until_true("it to be given back", || group.used() < before + (8 << 20));
        proxy.assert_healthy();
    }
}
