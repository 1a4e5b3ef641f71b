//! Filters: the order of their callbacks, and who is not asked.

use super::*;

#[test]
fn requests_pass_in_order_responses_in_reverse() {
    run(
        TWO,
        |_, _| echo(),
        |world| async move {
            let answer = ask(&world, POST).await;
            assert!(answer.body.ends_with("\r\n\r\nabcdef"), "{answer:?}");
            let length = answer.body.len();
            one_record(&world, (200, "-", "via_upstream", "-")).await;
            hears(&[
                "a: open",
                "a: request_headers No",
                "b: open",
                "b: request_headers No",
                "a: request_body 6 Yes",
                "b: request_body 6 Yes",
                "b: response_headers No",
                "a: response_headers No",
                &format!("b: response_body {length} Yes"),
                &format!("a: response_body {length} Yes"),
                "a: log",
                "b: log",
                "a: done",
                "a: gone",
                "b: done",
                "b: gone",
            ]);
        },
    );
}

#[test]
fn a_request_without_a_body_ends_with_its_head() {
    run(
        ONE,
        |_, _| canned("HTTP/1.1 204 No Content\r\n\r\n"),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 204);
            one_record(&world, (204, "-", "via_upstream", "-")).await;
            hears(&["a: open", "a: request_headers Yes", "a: response_headers Yes", "a: log", "a: done", "a: gone"]);
        },
    );
}

#[test]
fn trailers_pass_on_both_sides_of_http2() {
    script("a", |event, stream| {
        match event {
            Event::RequestTrailers => {
                stream.headers(Map::RequestTrailers, |trailers| trailers.add(b"x-more", b"1")).unwrap();
            }
            Event::ResponseTrailers => {
                stream.headers(Map::ResponseTrailers, |trailers| trailers.replace(b"grpc-status", b"5")).unwrap();
            }
            _ => {}
        }
        Do::Continue
    });
    run(
        ONE_H2,
        |_, _| {
            h2_server(|request, mut respond| async move {
                let mut body = request.into_body();
                let (_, trailers) = crate::client::body(&mut body).await.unwrap();
                assert_eq!(trailers.unwrap()["x-more"], "1");
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("ok".into(), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                stream.send_trailers(trailers).unwrap();
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
            stream.send_data("abc".into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-t", HeaderValue::from_static("1"));
            stream.send_trailers(trailers).unwrap();
            let (text, trailers) = body(&mut response.await.unwrap().into_body()).await.unwrap();
            assert_eq!((text.as_str(), &trailers.unwrap()["grpc-status"]), ("ok", &HeaderValue::from_static("5")));
            settle().await;
            hears(&[
                "a: open",
                "a: request_headers No",
                "a: request_body 3 No",
                "a: request_trailers",
                "a: response_headers No",
                "a: response_body 2 No",
                "a: response_trailers",
                "a: log",
                "a: done",
                "a: gone",
            ]);
            one_record(&world, (200, "-", "via_upstream", "-")).await;
        },
    );
}

#[test]
fn nothing_waits_for_a_filter_without_an_end() {
    script("a", |event, _| match event {
        Event::RequestHeaders(_) => Do::PauseAll,
        _ => Do::Continue,
    });
    let routes = "      - match: { prefix: / }\n        cluster: up\n        idle_timeout: 3s";
    run(
        Setup { routes, ..ONE },
        |_, _| echo(),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 504);
            one_record(&world, (504, "SI", "stream_idle_timeout", "proxy")).await;
        },
    );
}

#[test]
fn an_answer_of_the_proxy_s_own_waits_for_no_filter_without_an_end_either() {
    script("a", |event, _| match event {
        Event::RequestHeaders(_) => Do::PauseAll,
        Event::ResponseBody(..) => Do::Pause,
        _ => Do::Continue,
    });
    let routes = "      - match: { prefix: / }\n        cluster: up\n        idle_timeout: 3s";
    run(
        Setup { routes, ..ONE },
        |_, _| echo(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut answer)).await.expect("it ends").ok();
            assert!(
                answer.starts_with(b"HTTP/1.1 504 ") && !answer.ends_with(b"timeout\n"),
                "{}",
                answer.escape_ascii()
            );
            one_record(&world, (504, "SI", "stream_idle_timeout", "proxy")).await;
        },
    );
}

#[test]
fn heads_can_be_read_when_it_is_logged() {
    let seen = Rc::new(Cell::new(false));
    let told = Rc::clone(&seen);
    script("a", move |event, stream| {
        match event {
            Event::ResponseHeaders(_) => {
                assert!(stream.read_headers(Map::RequestHeaders, |_| ()).is_none(), "it has gone on");
                let facts = stream.facts();
                assert_eq!((facts.status, facts.attempts), (Some(StatusCode::OK), 1));
                assert_eq!(facts.cluster.unwrap().as_str(), "up");
                assert!(facts.duration.is_none());
                assert_eq!(facts.upstream, Some("10.0.0.1:80".parse().unwrap()));
            }
            Event::Log => {
                let path = stream.read_headers(Map::RequestHeaders, |head| head.get(b":path").map(<[u8]>::to_vec));
                assert_eq!(path.unwrap().unwrap(), b"/x");
                assert!(
                    stream.read_headers(Map::ResponseHeaders, |head| head.get(b"content-length").is_some()).unwrap()
                );
                assert!(stream.headers(Map::RequestHeaders, |_| ()).is_none(), "to read only");
                let facts = stream.facts();
                assert_eq!((facts.received, facts.details.as_deref()), (6, Some("via_upstream")));
                assert!(facts.duration.is_some() && facts.sent > 0);
                assert_eq!(stream.state(b"k").unwrap(), "v");
                told.set(true);
            }
            Event::RequestHeaders(_) => {
                stream.set_state(b"k", b"v").unwrap();
                stream.set_state(b"big", &vec![0; 3 << 20]).unwrap();
                assert!(stream.set_state(b"k", &vec![0; (1 << 20) + 1]).is_err(), "it has what it had");
                stream.set_state(b"big", b"").unwrap();
                stream.set_state(b"k2", &vec![0; 3 << 20]).unwrap();
                for key in 3..1_024_u32 {
                    stream.set_state(&key.to_le_bytes(), b"").unwrap();
                }
                assert!(stream.set_state(b"one more", b"").is_err());
            }
            _ => {}
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            ask(&world, POST).await;
            settle().await;
            assert!(seen.get());
        },
    );
}

/// Each name and value of a head.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(stream: &Stream, map: Map) -> Pairs {
    let all = |head: &Headers| head.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    stream.read_headers(map, all).unwrap_or_default()
}

/// Whether the head was changed, whoever writes it, and whatever follows it.
#[test]
fn a_responses_head_is_logged_as_it_left_the_chain() {
    let (left, logged) = (Rc::<RefCell<Vec<Pairs>>>::default(), Rc::<RefCell<Vec<Pairs>>>::default());
    let (leaves, logs) = (Rc::clone(&left), Rc::clone(&logged));
    script("a", move |event, stream| {
        let changes = pairs(stream, Map::RequestHeaders).contains(&(b":path".to_vec(), b"/changed".to_vec()));
        match event {
            Event::RequestHeaders(_) if changes => {
                stream.set_state(b"changes", b"").unwrap();
            }
            Event::ResponseHeaders(_) => {
                if stream.state(b"changes").is_some() {
                    stream.headers(Map::ResponseHeaders, |head| {
                        head.replace(b":status", b"201");
                        head.add(b"x-by", b"a");
                    });
                }
                leaves.borrow_mut().push(pairs(stream, Map::ResponseHeaders));
            }
            Event::Log => logs.borrow_mut().push(pairs(stream, Map::ResponseHeaders)),
            _ => {}
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            for (method, path) in [("GET", "/"), ("HEAD", "/"), ("GET", "/changed"), ("HEAD", "/changed")] {
                let mut client = world.connect();
                let text = format!("{method} {path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
                client.write_all(text.as_bytes()).await.unwrap();
                client.read_to_end(&mut Vec::new()).await.unwrap();
                settle().await;
                let mut sender = http2(&world).await;
                fetch(&mut sender, request(method, path).body(()).unwrap()).await.unwrap();
                drop(sender);
                settle().await;
            }
            assert_eq!(left.borrow().len(), 8);
            assert!(left.borrow().iter().all(|head| head.len() > 1), "{left:?}");
            assert_eq!(logged, left);
        },
    );
}

#[test]
fn filters_that_want_no_callback_are_passed_by() {
    run(
        Setup { filters: &["deaf", "b"], ..PLAIN },
        |_, _| echo(),
        |world| async move {
            ask(&world, POST).await;
            settle().await;
            let heard = events();
            let deaf: Vec<_> = heard.iter().filter(|event| event.starts_with("deaf")).collect();
            assert_eq!(deaf, ["deaf: open", "deaf: log", "deaf: done", "deaf: gone"]);
            drop(world);
        },
    );
}

#[test]
fn a_reload_keeps_the_instances_of_what_did_not_change() {
    run(
        TWO,
        |_, _| echo(),
        |world| async move {
            world.apply(Setup { filters: &["b", "c"], ..PLAIN }, Vec::new());
            hears(&["a: retired"]);
            let answer: Answer = get(&world, "/").await;
            assert_eq!(answer.status, 200);
            let heard = events();
            assert_eq!((&*heard[0], &*heard[2]), ("b: open", "c: open"));
        },
    );
}

/// A request that `a` moves to a route that has `first` as well.
#[test]
fn filters_of_the_route_that_is_taken_come_behind() {
    let moves = |stream: &Stream| {
        stream.headers(Map::RequestHeaders, |head| head.replace(b":path", b"/second")).unwrap();
    };
    let setup = Setup {
        routes: "      - match: { prefix: /second }\n        cluster: up\n      - match: { prefix: / }\n        cluster: up",
        filters: &["a", "first"],
        ..PLAIN
    };
    // With its head, and with a body that was wanted whole.
    for whole in [false, true] {
        script("a", move |event, stream| match event {
            Event::RequestHeaders(_) if !whole => {
                moves(stream);
                Do::Continue
            }
            Event::RequestHeaders(_) | Event::RequestBody(_, End::No) => Do::Pause,
            Event::RequestBody(..) | Event::RequestTrailers if whole => {
                moves(stream);
                Do::Continue
            }
            _ => Do::Continue,
        });
        script("first", |event, stream| {
            match event {
                Event::RequestHeaders(End::No) => return Do::Pause,
                Event::RequestBody(_, end) => {
                    stream.body(Side::Request, |body| body.replace(b"changed!")).unwrap();
                    return if end == End::Yes { Do::Continue } else { Do::Pause };
                }
                Event::RequestTrailers => {
                    stream.headers(Map::RequestTrailers, |trailers| trailers.add(b"x-more", b"1")).unwrap();
                }
                _ => {}
            }
            Do::Continue
        });
        run(
            setup,
            |_, _| echo(),
            move |world| async move {
                let answer = ask(&world, POST).await;
                assert!(answer.body.ends_with("\r\n\r\nchanged!"), "{answer:?}");
                assert!(answer.body.contains("content-length: 8\r\n"), "{answer:?}");
                one_record(&world, (200, "-", "via_upstream", "-")).await;
                let heard: Vec<_> = events();
                let heads: Vec<_> =
                    heard.iter().filter(|event| event.contains("headers")).map(String::as_str).collect();
                assert_eq!(
                    heads,
                    [
                        "a: request_headers No",
                        "first: request_headers No",
                        "first: response_headers No",
                        "a: response_headers No",
                    ]
                );
                assert!(
                    heard.ends_with(
                        &["a: log", "first: log", "a: done", "a: gone", "first: done", "first: gone"].map(String::from)
                    ),
                    "{heard:?}"
                );
            },
        );
        run(
            Setup { cluster: "    protocol: http2", ..setup },
            |_, _| {
                h2_server(|request, mut respond| async move {
                    let (text, trailers) = crate::client::body(&mut request.into_body()).await.unwrap();
                    let trailers = trailers.unwrap();
                    assert_eq!(
                        (&*text, &trailers["x-t"], &trailers["x-more"]),
                        ("changed!", &HeaderValue::from_static("1"), &HeaderValue::from_static("1"))
                    );
                    respond.send_response(Response::new(()), true).unwrap();
                })
            },
            move |world| async move {
                let mut sender = http2(&world).await;
                let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
                stream.send_data("abc".into(), false).unwrap();
                let trailers = HeaderMap::from_iter([("x-t".parse().unwrap(), HeaderValue::from_static("1"))]);
                stream.send_trailers(trailers).unwrap();
                assert_eq!(response.await.unwrap().status(), 200);
                settle().await;
                events();
            },
        );
    }
    // One that answers there does so in the place of the upstream, and one that fails by its policy.
    for (act, status) in [(None, 503), (Some(()), 418)] {
        script("a", move |event, stream| {
            if let Event::RequestHeaders(_) = event {
                moves(stream);
            }
            Do::Continue
        });
        script("first", move |event, stream| match (event, act) {
            (Event::RequestHeaders(_), Some(())) => {
                stream.reply(reply(418, "no")).unwrap();
                Do::Pause
            }
            (Event::RequestHeaders(_), None) => Do::Fail,
            _ => Do::Continue,
        });
        run(
            setup,
            |_, _| panic!("no upstream"),
            move |world| async move {
                assert_eq!(ask(&world, POST).await.status, status);
            },
        );
    }
}
