//! Filters: what they change, and what follows from it.

use super::*;

#[test]
fn changes_reach_the_upstream_and_choose_the_route_again() {
    script("a", |event, stream| {
        match event {
            Event::RequestHeaders(_) => {
                stream.headers(Map::RequestHeaders, |head| {
                    let names: Vec<_> = head.iter().take(4).map(|(name, _)| name.to_vec()).collect();
                    assert_eq!(names, [&b":authority"[..], b":path", b":method", b":scheme"]);
                    assert_eq!(head.get(b"host"), head.get(b":authority"));
                    head.replace(b":path", b"/other?q=1");
                    head.replace(b":authority", b"b.example");
                    head.remove(b"x-out");
                    head.add(b"X-In", b"1");
                });
            }
            Event::ResponseHeaders(_) => {
                stream.headers(Map::ResponseHeaders, |head| {
                    assert_eq!(head.get(b":status"), Some(&b"200"[..]));
                    head.replace(b":status", b"201");
                    head.add(b"x-by", b"a");
                });
            }
            _ => {}
        }
        Do::Continue
    });
    let routes = "      - match: { prefix: /other }
        name: second
        cluster: up
        request_headers: { set: { x-route: second } }
      - match: { prefix: / }
        cluster: up
        request_headers: { set: { x-route: first } }";
    run(
        Setup { routes, ..ONE },
        |_, _| echo(),
        |world| async move {
            let text = "GET /x HTTP/1.1\r\nhost: a.example\r\nx-out: 1\r\nx-stay: 1\r\n\r\n";
            let answer = ask(&world, text).await;
            assert_eq!((answer.status, answer.field("x-by")), (201, Some("a")));
            let seen = &answer.body;
            assert!(seen.starts_with("GET /other?q=1 HTTP/1.1\r\n"), "{seen}");
            for part in ["host: b.example\r\n", "x-in: 1\r\n", "x-route: second\r\n", "x-stay: 1\r\n"] {
                assert!(seen.contains(part), "{part}: {seen}");
            }
            assert!(!seen.contains("x-out"), "{seen}");
            one_record(&world, (201, "-", "via_upstream", "-")).await;
        },
    );
}

#[test]
fn what_cannot_be_sent_is_an_error_that_says_so() {
    type Change = fn(&mut pillion_core::exchange::filter::Headers);
    let cases: [(Change, u16, &str); 14] = [
        (|head| head.remove(b":path"), 404, "filter_removed_required_request_headers{:path}"),
        (|head| head.remove(b":method"), 503, "filter_removed_required_request_headers{:method}"),
        (|head| head.add(b"x-bad", b"a\r\nb: c"), 503, "filter_set_invalid_request_headers"),
        (|head| head.add(b"no name", b"a"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b":path", b"/a b"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b"content-length", b"+1"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b":method", b"G ET"), 503, "filter_set_invalid_request_headers"),
        // A success would be no tunnel's, nor would the server be the proxy's to ask about.
        (|head| head.replace(b":method", b"CONNECT"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b":path", b"*"), 503, "filter_set_invalid_request_headers"),
        // What a client is refused.
        (|head| head.replace(b":path", b""), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b":path", b"inner"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b":path", b"http://b/inner"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b":path", b"/%00"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace_all([(&b"x"[..], &b"y"[..])]), 404, "filter_removed_required_request_headers{:path}"),
    ];
    for (change, status, details) in cases {
        script("a", move |event, stream| {
            if let Event::RequestHeaders(_) = event {
                stream.headers(Map::RequestHeaders, change).unwrap();
            }
            Do::Continue
        });
        run(
            ONE,
            |_, _| echo(),
            move |world| async move {
                assert_eq!(get(&world, "/").await.status, status, "{details}");
                one_record(&world, (status, "FF", details, "proxy")).await;
            },
        );
    }
    for change in [
        (|head| head.remove(b":status")) as Change,
        |head| head.replace(b":status", b"abc"),
        |head| head.replace(b":status", b"101"),
    ] {
        script("a", move |event, stream| {
            if let Event::ResponseHeaders(_) = event {
                stream.headers(Map::ResponseHeaders, change).unwrap();
            }
            Do::Continue
        });
        run(
            ONE,
            |_, _| echo(),
            move |world| async move {
                assert_eq!(get(&world, "/").await.status, 502);
                let details = "filter_removed_required_response_headers{:status}";
                one_record(&world, (502, "FF", details, "proxy")).await;
            },
        );
    }
}

/// RFC 9110 §6.5.1. Who is to blame for such a trailer is who set it.
#[test]
fn trailers_that_may_be_none_are_those_of_who_set_them() {
    const OURS: &str = "x-fine";
    const FORBIDDEN: &str = "content-type";
    // What the client, the filter of the request, the server and the filter of the response set.
    type Record = (u16, &'static str, &'static str, &'static str);
    let cases: [([&'static str; 4], Record); 5] = [
        ([OURS; 4], (200, "-", "via_upstream", "-")),
        ([FORBIDDEN, OURS, OURS, OURS], (400, "DPE", "forbidden_trailer", "downstream")),
        ([OURS, FORBIDDEN, OURS, OURS], (503, "FF", "filter_set_invalid_request_headers", "proxy")),
        ([OURS, OURS, FORBIDDEN, OURS], (200, "UPE", "forbidden_trailer", "upstream")),
        ([OURS, OURS, OURS, FORBIDDEN], (200, "FF", "filter_set_invalid_response_headers", "proxy")),
    ];
    for ([by_client, by_request, by_server, by_response], record) in cases {
        script("a", move |event, stream| {
            match event {
                Event::RequestTrailers => {
                    stream.headers(Map::RequestTrailers, |trailers| trailers.add(by_request.as_bytes(), b"1")).unwrap();
                }
                Event::ResponseTrailers => {
                    stream
                        .headers(Map::ResponseTrailers, |trailers| trailers.add(by_response.as_bytes(), b"1"))
                        .unwrap();
                }
                _ => {}
            }
            Do::Continue
        });
        let trailers =
            |name| HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static("1"))]);
        run(
            ONE_H2,
            move |_, _| {
                h2_server(move |request, mut respond| async move {
                    let Ok(_) = crate::client::body(&mut request.into_body()).await else { return };
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data("ok".into(), false).unwrap();
                    stream.send_trailers(trailers(by_server)).unwrap();
                })
            },
            move |world| async move {
                let mut sender = http2(&world).await;
                let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
                stream.send_trailers(trailers(by_client)).unwrap();
                // What breaks off behind a head may be told before it is read.
                let whole = match response.await {
                    Ok(response) => {
                        assert_eq!(response.status().as_u16(), record.0);
                        body(&mut response.into_body()).await.is_ok()
                    }
                    Err(_) => false,
                };
                assert_eq!(whole, record.0 != 200 || record.1 == "-", "{record:?}");
                one_record(&world, record).await;
            },
        );
    }
}

#[test]
fn what_filters_set_is_cleaned_by_the_clients_rules() {
    script("a", |event, stream| {
        match event {
            Event::RequestHeaders(_) => {
                stream.headers(Map::RequestHeaders, |head| {
                    let path = head.get(b"x-path").map(<[u8]>::to_vec).unwrap();
                    head.replace(b":path", &path);
                    head.replace(b"x-value", b" a b\t");
                });
            }
            Event::ResponseHeaders(_) => {
                stream.headers(Map::ResponseHeaders, |head| {
                    for name in ["te", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding"] {
                        head.replace(name.as_bytes(), b"x");
                    }
                    head.replace(b"x-value", b"\tc d ");
                });
            }
            _ => {}
        }
        Do::Continue
    });
    let routes = "      - match: { prefix: /private }
        respond: { status: 403 }
      - match: { prefix: / }
        cluster: up";
    run(
        Setup { routes, ..ONE },
        |_, _| echo(),
        |world| async move {
            for path in ["/private", "/a/../private", "//private", "/%70rivate", "/a/%2e%2e/private"] {
                let text = format!("GET / HTTP/1.1\r\nhost: a\r\nx-path: {path}\r\n\r\n");
                assert_eq!(ask(&world, &text).await.status, 403, "{path}");
            }
            let answer = ask(&world, "GET / HTTP/1.1\r\nhost: a\r\nx-path: ?q=1\r\n\r\n").await;
            assert_eq!(answer.status, 200);
            let seen = &answer.body;
            assert!(seen.starts_with("GET /?q=1 HTTP/1.1\r\n") && seen.contains("x-value: a b\r\n"), "{seen}");
            assert_eq!(answer.field("x-value"), Some("c d"));
            for name in ["te", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding"] {
                assert_eq!(answer.field(name), None, "{name} is this connection's");
            }
        },
    );
}

#[test]
fn a_trace_that_a_filter_makes_has_no_body() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| head.replace(b":method", b"TRACE")).unwrap();
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 200);
            let text = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
            assert_eq!(ask(&world, text).await.status, 503);
        },
    );
}

#[test]
fn bodies_can_be_replaced() {
    script("a", |event, stream| match event {
        Event::RequestHeaders(_) => {
            stream.headers(Map::RequestHeaders, |head| head.remove(b"content-length"));
            Do::Pause
        }
        Event::ResponseHeaders(_) => {
            stream.headers(Map::ResponseHeaders, |head| head.remove(b"content-length"));
            Do::Continue
        }
        Event::RequestBody(_, End::No) => Do::Pause,
        Event::RequestBody(..) => {
            stream.body(Side::Request, |body| {
                body.prepend(b"<");
                body.append(b">");
            });
            Do::Continue
        }
        Event::ResponseBody(_, End::No) => Do::Pause,
        Event::ResponseBody(..) => {
            let text = stream.body(Side::Response, |body| body.to_vec()).unwrap();
            assert!(text.ends_with(b"<abcdef>"), "{}", String::from_utf8_lossy(&text));
            stream.body(Side::Response, |body| body.replace(b"other"));
            Do::Continue
        }
        _ => Do::Continue,
    });
    run(
        ONE_H2,
        |_, _| h2_server(tell),
        |world| async move {
            let answer = ask(&world, POST).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "other"));
            assert_eq!(answer.field("content-length"), None);
            one_record(&world, (200, "-", "via_upstream", "-")).await;
        },
    );
}

#[test]
fn a_length_that_stays_is_kept_to() {
    // Longer: cut there, so that no server takes the rest for another request.
    script("a", |event, stream| {
        if let Event::RequestBody(..) = event {
            stream.body(Side::Request, |body| body.append(b"GET /smuggled HTTP/1.1\r\n\r\n"));
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(POST.as_bytes()).await.unwrap();
            let first = answer(&mut client).await;
            assert!(first.body.ends_with("\r\n\r\nabcdef"), "{first:?}");
            client.write_all(POST.as_bytes()).await.unwrap();
            let second = answer(&mut client).await;
            assert!(second.body.starts_with("POST /x"), "{second:?}");
        },
    );
    // Shorter: an error, not a server that waits.
    script("a", |event, stream| {
        if let Event::RequestBody(..) = event {
            stream.body(Side::Request, |body| body.replace(b"ab"));
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            assert_eq!(ask(&world, POST).await.status, 503);
            one_record(&world, (503, "FF", "filter_body_too_short", "proxy")).await;
        },
    );
}

#[test]
fn a_route_that_a_filter_leads_to_judges_the_client_too() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| head.replace(b":path", b"/inner"));
        }
        Do::Continue
    });
    let routes = "      - match: { prefix: /inner }
        cluster: up
        authorization: { rules: [{ action: allow, sources: [10.0.0.0/8] }] }
      - match: { prefix: / }
        cluster: up";
    run(
        Setup { routes, ..ONE },
        |_, _| echo(),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 403);
            assert!(world.dialed.borrow().is_empty());
        },
    );
}

#[test]
fn a_length_that_no_body_keeps_reaches_no_server() {
    let post = "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n";
    let plain = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
    for (setup, head) in [(ONE, plain), (ONE, post), (ONE_H2, plain)] {
        for pause in [Do::Continue, Do::PauseAll] {
            let kept = Kept::default();
            let keep = kept.clone();
            script("a", move |event, stream| match event {
                Event::RequestHeaders(_) => {
                    stream.headers(Map::RequestHeaders, |head| head.replace(b"content-length", b"100")).unwrap();
                    keep.keep(stream);
                    pause
                }
                _ => Do::Continue,
            });
            run(
                setup,
                |_, _| canned(HELLO),
                |world| async move {
                    let mut client = world.connect();
                    client.write_all(head.as_bytes()).await.unwrap();
                    kept.wait().await.resume(Side::Request);
                    let refused = answer(&mut client).await;
                    assert_eq!((refused.status, &*refused.body), (503, "invalid body"));
                    assert!(world.dialed.borrow().is_empty(), "it is known before anything is sent");
                    one_record(&world, (503, "FF", "filter_body_too_short", "proxy")).await;
                },
            );
        }
    }
}

#[test]
fn a_connection_whose_request_was_cut_short_serves_no_other() {
    script("a", |event, stream| match event {
        Event::RequestBody(_, End::Yes) => {
            stream.body(Side::Request, |body| body.clear());
            Do::Continue
        }
        _ => Do::Continue,
    });
    run(
        ONE,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            client.write_all(&POST.as_bytes()[..POST.len() - 3]).await.unwrap();
            // The server answers before it has read the body.
            settle().await;
            client.write_all(b"def").await.unwrap();
            settle().await;
            assert_eq!(get(&world, "/").await.status, 200);
            assert_eq!(world.dialed.borrow().len(), 2);
        },
    );
}

#[test]
fn a_response_without_a_body_promises_none() {
    let empty = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    script("a", |event, stream| {
        if let Event::ResponseHeaders(_) = event {
            stream.headers(Map::ResponseHeaders, |head| head.replace(b"content-length", b"100")).unwrap();
        }
        Do::Continue
    });
    run(
        ONE,
        move |_, _| canned(empty),
        |world| async move {
            let mut client = world.connect();
            for _ in 0..2 {
                client.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await.unwrap();
                assert!(head(&mut client).await.unwrap().contains("content-length: 0\r\n"));
            }
            let mut sender = http2(&world).await;
            let mut response = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
            assert_eq!(response.headers()["content-length"], "0");
            assert_eq!(body(response.body_mut()).await.unwrap().0, "");
        },
    );
}

/// As Envoy's: elsewhere there is nothing to write to, and what was written would go nowhere.
#[test]
fn a_body_is_there_in_its_own_callbacks_and_while_they_hold_it() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&seen);
    script("a", move |event, stream| {
        let there = |side| stream.body(side, |body| body.prepend(b"")).is_some();
        told.borrow_mut().push((there(Side::Request), there(Side::Response)));
        match event {
            Event::RequestBody(_, End::No) => Do::Pause,
            _ => Do::Continue,
        }
    });
    run(
        ONE,
        |_, _| canned(HELLO),
        |world| async move {
            assert_eq!(ask(&world, POST).await.status, 200);
            world.assert_quiet().await;
            let (none, request, response) = ((false, false), (true, false), (false, true));
            // open, head, body, head, body, log, done
            assert_eq!(*seen.borrow(), [none, none, request, none, response, none, none]);
            let kept = held("a", Do::PauseAll);
            let mut client = world.connect();
            client.write_all(POST.as_bytes()).await.unwrap();
            let stream = kept.wait().await;
            assert!(stream.body(Side::Request, |_| ()).is_none(), "what waits behind a head was not shown");
            stream.resume(Side::Request);
            assert_eq!(answer(&mut client).await.status, 200);
        },
    );
}

/// Filters lead clients to https by it.
#[test]
fn the_scheme_is_the_one_that_a_trusted_peer_says() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| {
                let scheme = head.get(b":scheme").unwrap().to_vec();
                head.add(b"x-scheme", &scheme);
            });
        }
        Do::Continue
    });
    let trusted = Setup { listener: "    forwarding: { trusted: [192.0.2.0/24] }", ..ONE };
    for (setup, scheme) in [(ONE, "http"), (trusted, "https")] {
        run(
            setup,
            |_, _| echo(),
            |world| async move {
                let request =
                    "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 198.51.100.1\r\nx-forwarded-proto: https\r\n\r\n";
                let answer = ask(&world, request).await;
                assert!(answer.body.contains(&format!("x-scheme: {scheme}\r\n")), "{answer:?}");
            },
        );
    }
}

/// A guest reads its request once more when the stream is logged: as it went on.
#[test]
fn the_log_shows_a_request_as_its_route_changed_it() {
    let seen = Rc::<RefCell<Vec<String>>>::default();
    let note = Rc::clone(&seen);
    script("a", move |event, stream| {
        if event == Event::Log {
            let read = |name: &str| {
                let value =
                    stream.read_headers(Map::RequestHeaders, |head| head.get(name.as_bytes()).map(<[u8]>::to_vec));
                String::from_utf8(value.flatten().unwrap_or_default()).unwrap()
            };
            note.borrow_mut().extend([":path", ":authority", ":method", ":scheme", "x-route"].map(read));
        }
        Do::Continue
    });
    let routes = "      - match: { prefix: /old }
        cluster: up
        rewrite: { prefix: /new, host: b.example }
        request_headers: { set: { x-route: changed } }
      - match: { prefix: / }
        cluster: up";
    run(
        Setup { routes, ..ONE },
        |_, _| echo(),
        |world| async move {
            for (path, expected) in [
                ("/old/x?q", ["/new/x?q", "b.example", "GET", "http", "changed"]),
                ("/other", ["/other", "a.example", "GET", "http", ""]),
            ] {
                assert_eq!(ask(&world, &format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n")).await.status, 200);
                settle().await;
                assert_eq!(seen.take(), expected);
            }
        },
    );
}

#[test]
fn a_client_of_http10_names_no_host_and_filters_are_told_one() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            let host = stream.headers(Map::RequestHeaders, |head| head.get(b":authority").map(<[u8]>::to_vec)).unwrap();
            assert_eq!(host.as_deref(), Some(&b"127.0.0.1:8080"[..]));
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let told = ask(&world, "GET / HTTP/1.0\r\n\r\n").await;
            assert!(told.body.contains("host: 127.0.0.1:8080\r\n"), "{told:?}");
        },
    );
}
