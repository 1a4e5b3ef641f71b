//! Filters: pauses in every phase, and their bounds.

use super::*;

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const NOT_MODIFIED: &str = "HTTP/1.1 304 Not Modified\r\n\r\n";

#[test]
fn a_head_can_wait_and_what_follows_comes_in_one_piece() {
    for pause in [Do::PauseAll, Do::PauseAllAndBuffer] {
        let kept = held("a", pause);
        run(
            ONE,
            |_, _| echo(),
            |world| async move {
                let mut client = world.connect();
                client.write_all(&POST.as_bytes()[..POST.len() - 3]).await.unwrap();
                let stream = kept.wait().await;
                client.write_all(b"def").await.unwrap();
                settle().await;
                assert!(world.dialed.borrow().is_empty());
                // What waits can be read and changed.
                stream.headers(Map::RequestHeaders, |head| {
                    assert_eq!(head.get(b":path"), Some(&b"/x"[..]));
                    head.add(b"x-late", b"1");
                });
                stream.resume(Side::Request);
                stream.resume(Side::Request);
                stream.resume(Side::Response);
                let answer = answer(&mut client).await;
                assert!(answer.body.contains("x-late: 1\r\n") && answer.body.ends_with("abcdef"), "{answer:?}");
                assert!(stream.headers(Map::RequestHeaders, |_| ()).is_none(), "it has gone on");
                let heard = events();
                assert_eq!(heard[2], "a: request_body 6 Yes", "{heard:?}");
                one_record(&world, (200, "-", "via_upstream", "-")).await;
            },
        );
    }
}

#[test]
fn a_body_held_back_is_shown_again_with_what_follows() {
    for h2 in [false, true] {
        script("a", |event, stream| match event {
            Event::RequestHeaders(_) => Do::Pause,
            Event::RequestBody(_, End::No) => Do::Pause,
            Event::RequestBody(size, End::Yes) => {
                let whole = stream.body(Side::Request, |body| body.to_vec()).unwrap();
                assert_eq!((whole.len(), &whole[..3]), (size, &b"abc"[..]));
                // The head is still here: what is known of the body may go into it.
                stream.headers(Map::RequestHeaders, |head| head.add(b"x-size", size.to_string().as_bytes())).unwrap();
                Do::Continue
            }
            _ => Do::Continue,
        });
        let cluster = if h2 { "    protocol: http2" } else { "" };
        run(
            Setup { cluster, ..ONE },
            move |_, _| if h2 { h2_server(tell) } else { echo() },
            |world| async move {
                let mut client = world.connect();
                client.write_all(&POST.as_bytes()[..POST.len() - 3]).await.unwrap();
                settle().await;
                client.write_all(b"def").await.unwrap();
                let answer = answer(&mut client).await;
                assert!(answer.body.contains("x-size: 6") && answer.body.ends_with("abcdef"), "{answer:?}");
                let heard = events();
                assert_eq!(heard[1..4], ["a: request_headers No", "a: request_body 3 No", "a: request_body 6 Yes"]);
                one_record(&world, (200, "-", "via_upstream", "-")).await;
            },
        );
    }
}

#[test]
fn a_body_held_back_goes_on_when_the_filter_says_so() {
    for status in [Do::Pause, Do::Watermark] {
        let kept = Kept::default();
        let keep = kept.clone();
        script("a", move |event, stream| match event {
            Event::RequestBody(..) => {
                keep.keep(stream);
                status
            }
            _ => Do::Continue,
        });
        run(
            TWO,
            |_, _| echo(),
            |world| async move {
                let mut client = world.connect();
                client.write_all(POST.as_bytes()).await.unwrap();
                kept.wait().await.resume(Side::Request);
                let answer = answer(&mut client).await;
                assert!(answer.body.ends_with("abcdef"), "{answer:?}");
                let heard = events();
                assert_eq!(heard[4..6], ["a: request_body 6 Yes", "b: request_body 6 Yes"], "{heard:?}");
                one_record(&world, (200, "-", "via_upstream", "-")).await;
            },
        );
    }
}

#[test]
fn a_response_can_wait_in_every_phase() {
    for phase in 0..3 {
        let kept = Kept::default();
        let keep = kept.clone();
        script("b", move |event, stream| match (event, phase) {
            (Event::ResponseHeaders(_), 0) | (Event::ResponseBody(..), 1) | (Event::ResponseTrailers, 2) => {
                keep.keep(stream);
                if phase == 0 { Do::PauseAll } else { Do::Pause }
            }
            _ => Do::Continue,
        });
        run(
            Setup { filters: &["a", "b"], ..ONE_H2 },
            |_, _| {
                h2_server(|_, mut respond| async move {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data("ok".into(), false).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-t", HeaderValue::from_static("1"));
                    stream.send_trailers(trailers).unwrap();
                })
            },
            |world| async move {
                let mut sender = http2(&world).await;
                let (response, _) = send(&mut sender, request("GET", "/").body(()).unwrap(), true).await;
                let stream = kept.wait().await;
                // Trailers that go on take the body with them, held back or not.
                assert_eq!(phase == 1, events().iter().any(|event| *event == "a: response_trailers"));
                stream.resume(Side::Response);
                let (text, trailers) = body(&mut response.await.unwrap().into_body()).await.unwrap();
                assert_eq!((text.as_str(), &trailers.unwrap()["x-t"]), ("ok", &HeaderValue::from_static("1")));
                one_record(&world, (200, "-", "via_upstream", "-")).await;
            },
        );
    }
}

#[test]
fn too_much_to_hold_is_an_error() {
    for pause in [Do::Pause, Do::PauseAllAndBuffer] {
        script("a-small", move |event, _| match event {
            Event::RequestHeaders(_) => pause,
            Event::RequestBody(..) => Do::Pause,
            _ => Do::Continue,
        });
        run(
            Setup { filters: &["a-small"], ..PLAIN },
            |_, _| echo(),
            |world| async move {
                let long = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 17\r\n\r\n{}", "x".repeat(17));
                let answer = ask(&world, &long).await;
                assert_eq!((answer.status, answer.body.as_str()), (413, "Payload Too Large"));
                one_record(&world, (413, "DPE", "request_payload_too_large", "downstream")).await;
                let heard = events();
                assert!(heard.iter().any(|event| event == "a-small: response_headers No"), "{heard:?}");
            },
        );
    }
    // The response's head waits: 500; it is gone: cut.
    for hold in [true, false] {
        script("a-small", move |event, _| match event {
            Event::ResponseHeaders(_) if hold => Do::Pause,
            Event::ResponseBody(..) => Do::Pause,
            _ => Do::Continue,
        });
        run(
            Setup { filters: &["a-small"], ..PLAIN },
            |_, _| canned(format!("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{}", "x".repeat(20))),
            move |world| async move {
                let mut client = world.connect();
                client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                if hold {
                    assert_eq!(answer(&mut client).await.status, 500);
                } else {
                    let mut all = String::new();
                    client.read_to_string(&mut all).await.unwrap();
                    assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("\r\n\r\n"), "{all}");
                }
                let status = if hold { 500 } else { 200 };
                one_record(&world, (status, "LR", "response_payload_too_large", "proxy")).await;
            },
        );
    }
    // A watermark holds the client back instead.
    let kept = held("a-small", Do::PauseAll);
    run(
        Setup { filters: &["a-small"], ..PLAIN },
        |_, _| echo(),
        |world| async move {
            let mut client = world.connect();
            let long = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n{}", "x".repeat(200_000));
            let (mut read, mut write) = tokio::io::split(&mut client);
            let sent = async { write.write_all(long.as_bytes()).await.unwrap() };
            let read = async {
                kept.wait().await.resume(Side::Request);
                let mut start = [0; 12];
                read.read_exact(&mut start).await.unwrap();
                assert_eq!(&start, b"HTTP/1.1 200");
            };
            tokio::join!(sent, read);
        },
    );
}

#[test]
fn a_client_may_leave_while_its_request_waits() {
    for h2 in [false, true] {
        let kept = held("a", Do::PauseAll);
        run(
            ONE,
            |_, _| echo(),
            move |world| async move {
                if h2 {
                    let mut sender = http2(&world).await;
                    let (response, _) = send(&mut sender, request("GET", "/").body(()).unwrap(), true).await;
                    kept.wait().await;
                    drop(response);
                } else {
                    let mut client = world.connect();
                    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                    kept.wait().await;
                }
                one_record(&world, (0, "DC", "downstream_remote_disconnect", "downstream")).await;
                let heard = events();
                assert_eq!(heard[heard.len() - 3..], ["a: log", "a: done", "a: gone"]);
                // What outlives its stream does nothing.
                let stream = kept.wait().await;
                stream.resume(Side::Request);
                assert!(stream.reply(reply(200, "late")).is_err());
                assert!(stream.headers(Map::RequestHeaders, |_| ()).is_none());
            },
        );
    }
}

#[test]
fn a_drain_waits_for_a_paused_stream_and_cuts_it_at_its_end() {
    let kept = held("a", Do::PauseAll);
    run(
        ONE,
        |_, _| echo(),
        move |world| async move {
            let mut client = world.connect();
            client.write_all(POST.as_bytes()).await.unwrap();
            let stream = kept.wait().await;
            world.worker.drain();
            settle().await;
            stream.resume(Side::Request);
            let answer = answer(&mut client).await;
            assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
            assert!(closed(&mut client).await);
            world.worker.idle().await;
        },
    );
    run(
        ONE,
        |_, _| echo(),
        move |world| async move {
            let kept = held("a", Do::PauseAll);
            let mut client = world.connect();
            client.write_all(POST.as_bytes()).await.unwrap();
            kept.wait().await;
            world.worker.drain();
            world.worker.tell(Signal::Abort);
            assert!(closed(&mut client).await);
            one_record(&world, (0, "LR", "drain_deadline", "proxy")).await;
        },
    );
}

#[test]
fn a_body_that_waits_to_be_asked_for_is_asked_for() {
    script("a", |event, _| match event {
        Event::RequestHeaders(_) => Do::Pause,
        Event::RequestBody(_, End::No) => Do::Pause,
        _ => Do::Continue,
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let mut client = world.connect();
            let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
            client.write_all(head.as_bytes()).await.unwrap();
            assert_eq!(crate::client::next(&mut client, true).await.status, 100);
            client.write_all(b"abc").await.unwrap();
            let begun = tokio::time::Instant::now();
            let answer = answer(&mut client).await;
            assert!(begun.elapsed() < Duration::from_millis(500), "the upstream was not to be asked again");
            assert!(answer.body.ends_with("abc") && !answer.body.contains("expect"), "{answer:?}");
        },
    );
}

#[test]
fn a_body_is_asked_for_where_a_filter_took_away_what_the_server_would_ask_by() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| head.remove(b"expect")).unwrap();
        }
        Do::Continue
    });
    for setup in [ONE, ONE_H2] {
        run(
            setup,
            move |_, _| if setup.cluster.is_empty() { echo() } else { h2_server(tell) },
            |world| async move {
                let mut client = world.connect();
                let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
                client.write_all(head.as_bytes()).await.unwrap();
                assert_eq!(crate::client::next(&mut client, true).await.status, 100);
                client.write_all(b"abc").await.unwrap();
                let answer = crate::client::next(&mut client, false).await;
                assert_eq!(answer.status, 200, "and not again");
                assert!(!answer.body.contains("expect"), "{answer:?}");
            },
        );
    }
}

#[test]
fn pieces_can_be_thrown_away() {
    script("a", |event, stream| match event {
        Event::RequestHeaders(_) => {
            stream.headers(Map::RequestHeaders, |head| head.remove(b"content-length"));
            Do::Continue
        }
        Event::RequestBody(_, End::No) => Do::Drop,
        _ => Do::Continue,
    });
    run(
        ONE_H2,
        |_, _| h2_server(tell),
        |world| async move {
            let mut client = world.connect();
            client.write_all(&POST.as_bytes()[..POST.len() - 3]).await.unwrap();
            settle().await;
            client.write_all(b"def").await.unwrap();
            let answer = answer(&mut client).await;
            assert!(answer.body.ends_with("\ndef"), "{answer:?}");
        },
    );
}

#[test]
fn nothing_follows_a_head_that_waited_where_nothing_was_to_follow() {
    for (h2, head) in [
        (false, "GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n"),
        (false, "POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n"),
        (true, "GET /x HTTP/1.1\r\nhost: a.example\r\n\r\n"),
    ] {
        for pause in [Do::Pause, Do::PauseAll, Do::PauseAllAndBuffer] {
            let kept = held("b", pause);
            let cluster = if h2 { "    protocol: http2" } else { "" };
            run(
                Setup { cluster, ..TWO },
                move |_, _| if h2 { h2_server(tell) } else { canned(NO_CONTENT) },
                |world| async move {
                    let mut client = world.connect();
                    client.write_all(head.as_bytes()).await.unwrap();
                    let stream = kept.wait().await;
                    settle().await;
                    hears(&["a: open", "a: request_headers Yes", "b: open", "b: request_headers Yes"]);
                    stream.resume(Side::Request);
                    let answer = answer(&mut client).await;
                    assert!([200, 204].contains(&answer.status), "{answer:?}");
                    let heard = events();
                    assert!(heard.iter().all(|event| !event.contains("request_body")), "{heard:?}");
                    world.record().await;
                    world.assert_quiet().await;
                },
            );
        }
    }
}

#[test]
fn nothing_follows_a_response_that_waited_where_nothing_was_to_follow() {
    for (method, served) in [("GET", NO_CONTENT), ("GET", NOT_MODIFIED), ("HEAD", HELLO)] {
        for pause in [Do::Pause, Do::PauseAll, Do::PauseAllAndBuffer] {
            let kept = Kept::default();
            let keep = kept.clone();
            script("a", move |event, stream| match event {
                Event::ResponseHeaders(End::Yes) => {
                    keep.keep(stream);
                    pause
                }
                _ => Do::Continue,
            });
            run(
                TWO,
                move |_, _| canned(served),
                |world| async move {
                    let mut client = world.connect();
                    client
                        .write_all(format!("{method} /x HTTP/1.1\r\nhost: a.example\r\n\r\n").as_bytes())
                        .await
                        .unwrap();
                    kept.wait().await.resume(Side::Response);
                    let answer = head(&mut client).await.unwrap();
                    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
                    let heard = events();
                    assert_eq!(heard[4..6], ["b: response_headers Yes", "a: response_headers Yes"], "{heard:?}");
                    assert!(heard.iter().all(|event| !event.contains("_body")), "{heard:?}");
                    world.record().await;
                    world.assert_quiet().await;
                },
            );
        }
    }
}

/// Trailers that a filter adds to the end of a body without: those behind it see a body that does not end, and them.
#[test]
fn trailers_can_be_added_and_wait() {
    for pauses in [false, true] {
        let kept = Kept::default();
        let keep = kept.clone();
        script("b", move |event, stream| match event {
            Event::ResponseBody(_, End::Yes) => {
                stream.headers(Map::ResponseTrailers, |trailers| trailers.add(b"x-t", b"1")).unwrap();
                keep.keep(stream);
                if pauses { Do::Pause } else { Do::Continue }
            }
            Event::ResponseHeaders(_) | Event::ResponseBody(..) => {
                assert!(stream.headers(Map::ResponseTrailers, |_| ()).is_none());
                Do::Continue
            }
            _ => Do::Continue,
        });
        run(
            Setup { filters: &["a", "b"], ..ONE_H2 },
            |_, _| {
                h2_server(|_, mut respond| async move {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data("o".into(), false).unwrap();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    stream.send_data("k".into(), true).unwrap();
                })
            },
            |world| async move {
                let mut sender = http2(&world).await;
                let (response, _) = send(&mut sender, request("GET", "/").body(()).unwrap(), true).await;
                if pauses {
                    kept.wait().await.resume(Side::Response);
                }
                let (text, trailers) = body(&mut response.await.unwrap().into_body()).await.unwrap();
                assert_eq!((text.as_str(), &trailers.unwrap()["x-t"]), ("ok", &HeaderValue::from_static("1")));
                let shown: Vec<_> = events().into_iter().filter(|event| event.starts_with("a: response_")).collect();
                let expected = [
                    "a: response_headers No",
                    "a: response_body 1 No",
                    "a: response_body 1 No",
                    "a: response_trailers",
                ];
                assert_eq!(shown, expected);
                one_record(&world, (200, "-", "via_upstream", "-")).await;
            },
        );
    }
}
