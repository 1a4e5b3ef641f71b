//! What is sent again, and what never is.

use crate::{
    client::{answer, ask, get, http2, request, send},
    server::{HELLO, Step, canned, head, http2 as h2_server, serve},
    world::{PLAIN, Setup, run},
};
use h2::Reason;
use http::Response;
use std::{cell::Cell, io, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Answers once, takes a second request and hangs up.
fn fickle() -> Step {
    serve(|mut stream| async move {
        head(&mut stream).await;
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        head(&mut stream).await;
    })
}

#[test]
fn the_keep_alive_race_costs_no_idempotent_request_and_never_sends_a_post_twice() {
    for (bytes, status, dialed) in [(GET, 200, 2), (POST, 503, 1)] {
        run(
            PLAIN,
            |nth, _| if nth == 0 { fickle() } else { canned(HELLO) },
            move |world| async move {
                assert_eq!(get(&world, "/").await.status, 200);
                assert_eq!(ask(&world, bytes).await.status, status);
                assert_eq!(world.dialed.borrow().len(), dialed);
                let record = world.records().await.pop().unwrap();
                assert_eq!(record.attempts as usize, dialed, "{record:?}");
            },
        );
    }
}

#[test]
fn another_address_is_tried_the_same_one_is_not() {
    let two = Setup { endpoints: "[\"10.0.0.1:80\", \"10.0.0.2:80\"]", ..PLAIN };
    run(
        two,
        |nth, _| if nth == 0 { Step::Fail(io::ErrorKind::ConnectionRefused) } else { canned(HELLO) },
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 200);
            let dialed = world.dialed.borrow().clone();
            assert!(dialed.len() == 2 && dialed[0] != dialed[1], "{dialed:?}");
            assert_eq!(world.record().await.host, dialed[1].to_string());
        },
    );
    run(
        two,
        |_, _| Step::Fail(io::ErrorKind::ConnectionRefused),
        |world| async move {
            assert_eq!(ask(&world, POST).await.status, 503);
            assert_eq!(world.dialed.borrow().len(), 2);
        },
    );
}

#[test]
fn a_refused_stream_is_sent_again_body_and_all() {
    let two = Setup { cluster: "    protocol: http2", endpoints: "[\"10.0.0.1:80\", \"10.0.0.2:80\"]", ..PLAIN };
    let refused = Rc::new(Cell::new(0));
    run(
        two,
        move |_, _| {
            let refused = Rc::clone(&refused);
            h2_server(move |request, mut respond| {
                let first = refused.replace(refused.get() + 1) == 0;
                async move {
                    if first {
                        respond.send_reset(Reason::REFUSED_STREAM);
                        return;
                    }
                    let mut body = request.into_body();
                    let data = body.data().await.unwrap().unwrap();
                    assert_eq!(data, "abc");
                    respond.send_response(Response::new(()), true).unwrap();
                }
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
            stream.send_data("abc".into(), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
            assert_eq!(world.record().await.attempts, 2);
        },
    );
}

#[test]
fn the_last_attempt_that_fails_says_that_there_is_no_other() {
    let four = Setup { endpoints: "[\"10.0.0.1:80\", \"10.0.0.2:80\", \"10.0.0.3:80\", \"10.0.0.4:80\"]", ..PLAIN };
    run(
        four,
        |_, _| Step::Fail(io::ErrorKind::ConnectionRefused),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 503);
            let record = world.record().await;
            assert_eq!((record.flags.as_str(), record.attempts), ("UF,URX", 3));
        },
    );
    // Nothing was given up that could have helped: no other address, or a request that may not go twice.
    for (endpoints, bytes) in [("[\"10.0.0.1:80\"]", GET), (four.endpoints, POST)] {
        run(
            Setup { endpoints, ..PLAIN },
            |_, _| serve(|mut stream| async move { drop(head(&mut stream).await) }),
            move |world| async move {
                assert_eq!(ask(&world, bytes).await.status, 503);
                assert_eq!(world.record().await.flags, "UC");
            },
        );
    }
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// HEADERS frames in what an HTTP/2 client sent.
fn heads(sent: &[u8]) -> usize {
    let mut rest = sent.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_or_default();
    let mut heads = 0;
    while let Some(head) = rest.get(..9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        heads += usize::from(head[3] == 1);
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    heads
}

#[test]
fn what_a_goaway_leaves_out_is_sent_again_whatever_its_method() {
    // Takes two requests, and says that it will answer the first only (RFC 9113 §6.8).
    let leaving = || {
        serve(|mut stream| async move {
            let (settings, goaway, response) = (4, 7, 1);
            stream.write_all(&frame(settings, 0, 0, b"")).await.unwrap();
            let (mut sent, mut piece) = (Vec::new(), [0; 4096]);
            while heads(&sent) < 2 {
                let taken = stream.read(&mut piece).await.unwrap();
                assert!(taken > 0, "the connection ended with {} requests", heads(&sent));
                sent.extend(&piece[..taken]);
            }
            stream.write_all(&frame(goaway, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await.unwrap();
            // `:status: 200` is entry 8 of HPACK's static table; END_STREAM and END_HEADERS.
            stream.write_all(&frame(response, 5, 1, &[0x88])).await.unwrap();
            stream.read_to_end(&mut sent).await.ok();
        })
    };
    run(
        Setup { cluster: "    protocol: http2", ..PLAIN },
        move |nth, _| if nth == 0 { leaving() } else { h2_server(crate::server::tell) },
        |world| async move {
            let (mut first, mut second) = (world.connect(), world.connect());
            for client in [&mut first, &mut second] {
                client.write_all(POST.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(100)).await;
            }
            assert_eq!((answer(&mut first).await.status, answer(&mut second).await.status), (200, 200));
            assert_eq!(world.dialed.borrow().len(), 2);
            let mut attempts: Vec<_> = world.records().await.iter().map(|record| record.attempts).collect();
            attempts.sort_unstable();
            assert_eq!(attempts, [1, 2]);
        },
    );
}
