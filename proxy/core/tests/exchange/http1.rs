//! HTTP/1 connections: their order, their deadlines, what ends them, and that no cut of the bytes changes any of it.

mod cuts;
mod early;

use crate::{
    client::{answer, closed, fetch, http2, next, request, send},
    server::{HELLO, Step, canned, echo, head, length, serve, silent},
    world::{PLAIN, Setup, World, run, settle},
};
use pillion_core::drain::Signal;
use proptest::prelude::*;
use std::{cell::RefCell, future::poll_fn, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::oneshot,
    time::{Instant, sleep},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Answers each request when its turn has come, after so many seconds.
fn slow(seconds: u64) -> Step {
    serve(move |mut stream| async move {
        while head(&mut stream).await.is_some() {
            sleep(Duration::from_secs(seconds)).await;
            stream.write_all(HELLO.as_bytes()).await.unwrap();
        }
    })
}

/// Sends these bytes after each head, a second between them.
fn saying(pieces: &'static [&'static str]) -> Step {
    serve(move |mut stream| async move {
        while head(&mut stream).await.is_some() {
            for (position, piece) in pieces.iter().enumerate() {
                sleep(Duration::from_secs(position.min(1) as u64)).await;
                stream.write_all(piece.as_bytes()).await.unwrap();
            }
        }
    })
}

async fn seconds(began: Instant, client: &mut DuplexStream) -> u64 {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    began.elapsed().as_secs()
}

const HINTS: &[&str] = &[
    "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n",
    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
    HELLO,
];

#[test]
fn interim_responses_go_ahead_as_they_come() {
    run(
        PLAIN,
        |_, _| saying(HINTS),
        |world| async move {
            let mut client = world.connect();
            for _ in 0..2 {
                let began = Instant::now();
                client.write_all(GET).await.unwrap();
                let hints = next(&mut client, true).await;
                assert_eq!((hints.status, hints.field("link"), hints.field("x-hop")), (103, Some("</a.css>"), None));
                assert_eq!(began.elapsed().as_secs(), 0, "not held back for what follows");
                assert_eq!(next(&mut client, true).await.status, 102);
                let last = next(&mut client, false).await;
                assert_eq!((last.status, last.body.as_str()), (200, "hello"));
                assert_eq!(began.elapsed().as_secs(), 2);
            }
            assert_eq!(world.records().await.len(), 2);
        },
    );
}

#[test]
fn interim_responses_are_nothing_to_http10() {
    run(
        PLAIN,
        |_, _| saying(HINTS),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            assert_eq!(next(&mut client, false).await.status, 200);
            assert!(closed(&mut client).await);
        },
    );
}

#[test]
fn interim_responses_reach_http2_without_expect() {
    run(
        PLAIN,
        |_, _| saying(HINTS),
        |world| async move {
            let mut sender = http2(&world).await;
            let (mut response, _) = send(&mut sender, request("GET", "/").body(()).unwrap(), true).await;
            for status in [103, 102] {
                let interim = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
                assert_eq!(interim.status(), status);
                assert!(!interim.headers().contains_key("x-hop"));
            }
            assert_eq!(response.await.unwrap().status(), 200);
            // And nobody who does not look for them is disturbed.
            let plain = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
            assert_eq!(plain.status(), 200);
        },
    );
}

#[test]
fn a_refusal_is_answered_in_its_place() {
    run(
        PLAIN,
        |_, _| slow(10),
        |world| async move {
            let mut client = world.connect();
            for bytes in [GET, b"GET /b HTTP/1.1\r\nhost: a\r\n\r\nGET /c HTTP/1.1\r\nhost : a\r\n\r\n", GET] {
                client.write_all(bytes).await.unwrap();
            }
            for status in [200, 200, 400] {
                assert_eq!(answer(&mut client).await.status, status);
            }
            assert!(closed(&mut client).await);
            let records = world.records().await;
            assert_eq!((records.len(), records[2].details.as_str()), (3, "space_before_colon"));
            assert_eq!(world.refusals("space_before_colon"), 1.0);
        },
    );
}

#[test]
fn requests_wait_while_an_answer_streams() {
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                for number in 0.. {
                    let Some(_) = head(&mut stream).await else { return };
                    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
                    for _ in 0..3 {
                        sleep(Duration::from_secs(1)).await;
                        stream.write_all(format!("1\r\n{number}\r\n").as_bytes()).await.unwrap();
                    }
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(GET).await.unwrap();
            assert!(head(&mut client).await.unwrap().contains("transfer-encoding: chunked\r\n"));
            // Within the first answer: the next two, the second cut in its head.
            client.write_all(&[GET, &GET[..9]].concat()).await.unwrap();
            let mut first = [0; 3 * 6 + 5];
            client.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"1\r\n0\r\n1\r\n0\r\n1\r\n0\r\n0\r\n\r\n");
            client.write_all(&GET[9..]).await.unwrap();
            for body in ["111", "222"] {
                assert_eq!(answer(&mut client).await.body, body);
            }
            world.assert_quiet().await;
        },
    );
}

#[test]
fn a_head_has_one_deadline_however_it_comes() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            let began = Instant::now();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").await.unwrap();
            let mut heard = Vec::new();
            while heard.is_empty() {
                client.write_all(b"a").await.unwrap();
                tokio::time::timeout(Duration::from_secs(1), client.read_buf(&mut heard)).await.ok();
                assert!(began.elapsed() < Duration::from_secs(600));
            }
            assert!(heard.starts_with(b"HTTP/1.1 408 "), "{}", heard.escape_ascii());
            let deadline = world.worker.view().snapshot.listeners[0].model.http.timeouts.header;
            assert!((deadline..deadline + Duration::from_secs(2)).contains(&began.elapsed()), "{:?}", began.elapsed());
            assert_eq!(world.refusals("head_timeout"), 1.0);

            // Each has its own: slow, but none too slow.
            let mut client = world.connect();
            client.write_all(&GET[..9]).await.unwrap();
            for _ in 0..5 {
                sleep(deadline * 2 / 3).await;
                client.write_all(&[&GET[9..], &GET[..9]].concat()).await.unwrap();
                assert_eq!(answer(&mut client).await.status, 200);
            }
        },
    );
}

#[test]
fn idle_time_runs_between_requests_only() {
    let idle = Setup {
        listener: "    timeouts: { idle: 60s }",
        routes: "      - match: { prefix: / }\n        cluster: up\n        timeout: none",
        ..PLAIN
    };
    run(
        idle,
        |_, _| slow(100),
        |world| async move {
            let mut client = world.connect();
            for _ in 0..5 {
                client.write_all(GET).await.unwrap();
                assert_eq!(answer(&mut client).await.status, 200);
                sleep(Duration::from_secs(50)).await;
            }
            // An old client's extra line is no head.
            client.write_all(b"\r\n").await.unwrap();
            let began = Instant::now();
            let took = seconds(began, &mut client).await;
            assert!((60..76).contains(&took), "{took} s");
            assert_eq!(world.records().await.len(), 5);
        },
    );
}

#[test]
fn what_never_has_content_has_no_length() {
    const EMPTY: &[&str] = &[
        "HTTP/1.1 103 Early Hints\r\ncontent-length: 0\r\nlink: </a>\r\n\r\n",
        "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nx-a: 1\r\n\r\n",
    ];
    run(
        PLAIN,
        |_, _| saying(EMPTY),
        |world| async move {
            let mut client = world.connect();
            for _ in 0..2 {
                client.write_all(GET).await.unwrap();
                for (status, beside) in [(103, "link"), (204, "x-a")] {
                    let answer = next(&mut client, false).await;
                    assert_eq!((answer.status, answer.field("content-length")), (status, None), "{}", answer.head);
                    assert!(answer.field(beside).is_some(), "{}", answer.head);
                }
            }
        },
    );
}

#[test]
fn an_empty_line_buys_no_time_for_the_first_head() {
    let setup = Setup { listener: "    timeouts: { header: 2s, idle: 60s }", ..PLAIN };
    for ahead in ["\r", "\r\n", "\r\n\r"] {
        for begun in ["", "GET / HT"] {
            run(
                setup,
                |_, _| canned(HELLO),
                move |world| async move {
                    let began = Instant::now();
                    let mut client = world.connect();
                    client.write_all(ahead.as_bytes()).await.unwrap();
                    sleep(Duration::from_secs(1)).await;
                    // What begins in the middle has what is left.
                    if ahead == "\r\n" {
                        client.write_all(begun.as_bytes()).await.unwrap();
                    }
                    let mut all = String::new();
                    client.read_to_string(&mut all).await.unwrap();
                    let took = began.elapsed().as_secs();
                    assert!((2..4).contains(&took), "{ahead:?} {begun:?}: {took} s");
                    let answered = ahead == "\r\n" && !begun.is_empty();
                    assert_eq!(all.starts_with("HTTP/1.1 408"), answered, "{all}");
                },
            );
        }
    }
    // It is served all the same.
    run(
        setup,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"\r\n").await.unwrap();
            sleep(Duration::from_secs(1)).await;
            client.write_all(GET).await.unwrap();
            assert_eq!(answer(&mut client).await.status, 200);
        },
    );
}

#[test]
fn a_body_may_be_slow_but_not_silent() {
    let setup = Setup {
        listener: "    timeouts: { body: 30s }",
        routes: "      - match: { prefix: / }\n        cluster: up\n        idle_timeout: none",
        ..PLAIN
    };
    run(
        setup,
        |_, _| echo(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n").await.unwrap();
            for _ in 0..5 {
                sleep(Duration::from_secs(25)).await;
                client.write_all(b"x").await.unwrap();
            }
            let began = Instant::now();
            assert_eq!(answer(&mut client).await.status, 408);
            let took = began.elapsed().as_secs();
            assert!((30..47).contains(&took), "{took} s");
            assert!(closed(&mut client).await);
            assert_eq!((world.refusals("body_timeout"), world.records().await.len()), (1.0, 1));
        },
    );
}

const BIG: usize = 1 << 20;

fn big() -> Step {
    serve(|mut stream| async move {
        while head(&mut stream).await.is_some() {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BIG}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![7; BIG]).await.unwrap();
        }
    })
}

#[test]
fn a_client_that_reads_slowly_is_served_to_the_end_of_a_drain() {
    run(
        PLAIN,
        |_, _| big(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(GET).await.unwrap();
            let (mut all, mut buffer) = (0, vec![0; 32 * 1024]);
            loop {
                sleep(Duration::from_secs(20)).await;
                if all == 0 {
                    world.worker.drain();
                }
                match client.read(&mut buffer).await.unwrap() {
                    0 => break,
                    len => all += len,
                }
            }
            assert!(all > BIG);
            assert_eq!(world.record().await.end(), (200, "-", "via_upstream", "-"));
            world.worker.idle().await;
        },
    );
}

#[test]
fn an_idle_connection_closes_when_told_and_a_busy_one_does_not() {
    run(
        PLAIN,
        |_, _| slow(10),
        |world| async move {
            let mut idle = world.connect();
            idle.write_all(GET).await.unwrap();
            assert_eq!(answer(&mut idle).await.status, 200);
            let mut busy = world.connect();
            busy.write_all(GET).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            let began = Instant::now();
            world.worker.tell(Signal::CloseIfIdle);
            assert_eq!(seconds(began, &mut idle).await, 0);
            for _ in 0..2 {
                let last = answer(&mut busy).await;
                assert_eq!((last.status, last.field("connection")), (200, None));
                busy.write_all(GET).await.unwrap();
            }
        },
    );
}

#[test]
fn after_a_refusal_input_is_drained_within_bounds() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n").await.unwrap();
            assert_eq!(answer(&mut client).await.status, 400);
            let began = Instant::now();
            // Much more than the pipe holds: someone takes it, for a while.
            for _ in 0..512 {
                client.write_all(&[b'x'; 16 * 1024]).await.unwrap();
            }
            assert!(closed(&mut client).await);
            settle().await;
            world.assert_quiet().await;
            sleep(Duration::from_secs(3)).await;
            assert!(client.write_all(b"x").await.is_err());
            assert!(began.elapsed().as_secs() < 5);
            // Not without bound.
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n").await.unwrap();
            assert_eq!(answer(&mut client).await.status, 400);
            let began = Instant::now();
            while client.write_all(&[b'x'; 4096]).await.is_ok() {}
            assert_eq!(began.elapsed().as_secs(), 0);
        },
    );
}

#[test]
fn a_body_nobody_wants_does_not_hide_its_answer() {
    let setup =
        Setup { routes: "      - match: { prefix: / }\n        respond: { status: 418, body: teapot }", ..PLAIN };
    run(
        setup,
        |_, _| Step::Hang,
        |world| async move {
            // All of it is at hand: the connection goes on.
            let mut client = world.connect();
            for chunked in [false, true, false] {
                let body = "x".repeat(3000);
                let post = if chunked {
                    format!(
                        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nbb8\r\n{body}\r\n0\r\n\r\n"
                    )
                } else {
                    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3000\r\n\r\n{body}")
                };
                client.write_all(post.as_bytes()).await.unwrap();
                let answer = answer(&mut client).await;
                assert_eq!((answer.status, answer.field("connection")), (418, None));
            }
            // It is not: the answer says that it is the last, and can be read.
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nabc").await.unwrap();
            let last = answer(&mut client).await;
            assert_eq!((last.status, last.field("connection"), last.body.as_str()), (418, Some("close"), "teapot"));
            assert!(closed(&mut client).await);
            // What is refused within it is counted, though the answer knows nothing of it.
            let mut client = world.connect();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").await.unwrap();
            let last = answer(&mut client).await;
            assert_eq!((last.status, last.field("connection")), (418, Some("close")));
            settle().await;
            assert_eq!(world.refusals("bad_chunk_size"), 1.0);
        },
    );
}

#[test]
fn trailers_a_client_may_not_send_are_refused() {
    run(
        PLAIN,
        |_, _| silent(),
        |world| async move {
            let mut client = world.connect();
            client
                .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nhost: b\r\n\r\n")
                .await
                .unwrap();
            let last = answer(&mut client).await;
            assert_eq!((last.status, last.field("connection")), (400, Some("close")));
            assert_eq!(world.record().await.details, "forbidden_trailer");
            assert_eq!(world.refusals("forbidden_trailer"), 1.0);
        },
    );
}

#[test]
fn trailers_go_to_those_who_take_them() {
    for (te, expected) in [("te: trailers\r\n", true), ("te: gzip, Trailers\r\n", true), ("", false)] {
        run(
            PLAIN,
            |_, _| {
                saying(&[
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\nx-more: 8\r\n\r\n",
                ])
            },
            move |world| async move {
                let mut client = world.connect();
                client
                    .write_all(format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{te}\r\n").as_bytes())
                    .await
                    .unwrap();
                let mut all = String::new();
                client.read_to_string(&mut all).await.unwrap();
                assert_eq!(all.contains("x-sum: 7\r\n"), expected, "{all}");
                // Nobody promised it by name, as no server of gRPC does.
                assert_eq!(all.contains("x-more: 8\r\n"), expected, "{all}");
            },
        );
    }
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

#[test]
fn what_comes_behind_an_upgrade_is_the_other_protocols_or_the_next_request() {
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await.unwrap();
                sleep(Duration::from_secs(1)).await;
                let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(switch.as_bytes()).await.unwrap();
                let (mut reading, mut writing) = tokio::io::split(stream);
                tokio::io::copy(&mut reading, &mut writing).await.ok();
            })
        },
        |world| async move {
            let mut client = world.connect();
            // As a request it would be refused.
            client.write_all(format!("{UPGRADE}\0first\n").as_bytes()).await.unwrap();
            assert_eq!(answer(&mut client).await.status, 101);
            let mut back = [0; 7];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"\0first\n");
            client.write_all(b"GET / HTTP/1.1\n").await.unwrap();
            client.read_exact(&mut [0; 15]).await.unwrap();
            drop(client);
            assert_eq!(world.record().await.end(), (101, "-", "via_upstream", "-"));
        },
    );
    run(
        PLAIN,
        |_, _| canned("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"),
        |world| async move {
            let mut client = world.connect();
            client.write_all(&[UPGRADE.as_bytes(), GET, b"\0\r\n\r\n".as_slice()].concat()).await.unwrap();
            for status in [403, 403, 400] {
                assert_eq!(answer(&mut client).await.status, status);
            }
            assert!(closed(&mut client).await);
        },
    );
}
