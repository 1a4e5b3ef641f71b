//! Filters: answers before their request has wholly come.

use super::*;

/// A server answers before it has the request, and a filter that holds its answer gives another one, or fails: what the client sends
/// after that would pass every filter, and a server would take for whole what was cut.
#[test]
fn a_request_goes_no_further_where_its_answer_is_replaced_while_it_is_held() {
    for (by_http2, fails) in [(false, false), (false, true), (true, false), (true, true)] {
        let kept = Kept::default();
        let keeps = kept.clone();
        script("a", move |event, stream| match event {
            Event::ResponseHeaders(_) => {
                keeps.keep(stream);
                Do::PauseAll
            }
            _ => Do::Continue,
        });
        let read = Rc::<RefCell<Vec<u8>>>::default();
        let reads = Rc::clone(&read);
        run(
            ONE,
            move |_, _| {
                let reads = Rc::clone(&reads);
                serve(|mut stream| async move {
                    head(&mut stream).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
                    let mut piece = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut piece).await {
                        reads.borrow_mut().extend(&piece[..length]);
                    }
                })
            },
            |world| async move {
                let ends = async |kept: &Kept| {
                    let stream = kept.wait().await;
                    match fails {
                        true => stream.fail(Failed { details: "died" }),
                        false => stream.reply(reply(403, "no")).unwrap(),
                    }
                };
                let expected = if fails { 503 } else { 403 };
                if by_http2 {
                    let mut sender = http2(&world).await;
                    let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
                    stream.send_data("first".into(), false).unwrap();
                    ends(&kept).await;
                    assert_eq!(response.await.unwrap().status(), expected);
                    let reset = poll_fn(|cx| stream.poll_reset(cx));
                    assert_eq!(timeout(Duration::from_secs(1), reset).await.unwrap().unwrap(), h2::Reason::NO_ERROR);
                } else {
                    let mut client = world.connect();
                    let post = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
                    client.write_all(post).await.unwrap();
                    ends(&kept).await;
                    let answer = answer(&mut client).await;
                    assert_eq!((answer.status, answer.field("connection")), (expected, Some("close")));
                    client.write_all(b"6\r\nsecret\r\n0\r\n\r\n").await.ok();
                }
                settle().await;
                let read = String::from_utf8(read.borrow().clone()).unwrap();
                assert_eq!(read, "5\r\nfirst\r\n");
            },
        );
    }
}

/// Else its upstream would wait for the body for ever, and each such request would cost the cluster a connection.
#[test]
fn an_upstream_that_was_not_sent_the_body_is_let_go_where_a_filter_answers_in_its_place() {
    for (held, answered) in [
        (false, "HTTP/1.1 204 No Content\r\n\r\n"),
        (false, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        (true, "HTTP/1.1 401 Unauthorized\r\ncontent-length: 3\r\n\r\nout"),
    ] {
        let kept = Rc::new(RefCell::new(None::<Stream>));
        let keeps = Rc::clone(&kept);
        script("a", move |event, stream| match event {
            Event::ResponseHeaders(_) if held => {
                keeps.replace(Some(stream.clone()));
                Do::Pause
            }
            Event::ResponseHeaders(_) => {
                stream.reply(reply(403, "no")).unwrap();
                Do::Pause
            }
            Event::ResponseBody(..) => Do::Pause,
            _ => Do::Continue,
        });
        let over = Rc::new(Cell::new(false));
        let ends = Rc::clone(&over);
        run(
            ONE,
            move |_, _| {
                let over = Rc::clone(&ends);
                serve(move |mut stream| async move {
                    head(&mut stream).await;
                    stream.write_all(answered.as_bytes()).await.unwrap();
                    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0, "nothing of the body");
                    over.set(true);
                })
            },
            |world| async move {
                let mut client = world.connect();
                let asks = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 6\r\n\r\n";
                client.write_all(asks).await.unwrap();
                if held {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    kept.take().unwrap().reply(reply(403, "no")).unwrap();
                }
                assert_eq!(answer(&mut client).await.status, 403);
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(over.get(), "{answered}");
            },
        );
    }
}

/// Once its filters are gone nothing of it goes on, and the client was told that its connection does.
#[test]
fn what_comes_of_a_body_after_its_filters_are_gone_is_read_and_goes_nowhere() {
    script("a", |_, _| Do::Continue);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sees = Rc::clone(&seen);
    run(
        ONE,
        move |_, _| {
            let seen = Rc::clone(&sees);
            serve(move |mut stream| {
                let seen = Rc::clone(&seen);
                async move {
                    head(&mut stream).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
                    let mut body = Vec::new();
                    stream.read_to_end(&mut body).await.ok();
                    seen.borrow_mut().extend(body);
                }
            })
        },
        |world| async move {
            let mut client = world.connect();
            for _ in 0..2 {
                client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").await.unwrap();
                let answer = answer(&mut client).await;
                assert_eq!((answer.status, answer.body.as_str(), answer.field("connection")), (200, "no", None));
                client.write_all(b"def").await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let seen = seen.take();
            assert!(seen.starts_with(b"abc") && !seen.contains(&b'd'), "{seen:?}");
        },
    );
}
