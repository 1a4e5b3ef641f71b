//! Filters: answers of their own, and failures.

use super::*;

#[test]
fn an_answer_passes_back_from_the_filter_that_gave_it() {
    script("b", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            let mut reply = reply(403, "no");
            reply.headers.push((CONTENT_TYPE, HeaderValue::from_static("text/x")));
            reply.headers.push(("x-a".parse().unwrap(), HeaderValue::from_static("1")));
            reply.headers.push(("x-a".parse().unwrap(), HeaderValue::from_static("2")));
            assert_eq!(stream.reply(reply.clone()), Ok(()));
            assert!(stream.reply(reply).is_err(), "the first stands");
        }
        Do::Continue
    });
    run(
        Setup { filters: &["a", "b", "c"], ..PLAIN },
        |_, _| echo(),
        |world| async move {
            let answer = get(&world, "/").await;
            assert_eq!(
                (answer.status, answer.body.as_str(), answer.field("content-type")),
                (403, "no", Some("text/x"))
            );
            assert_eq!(answer.head.matches("x-a: ").count(), 2);
            one_record(&world, (403, "-", "by_filter", "-")).await;
            hears(&[
                "a: open",
                "a: request_headers Yes",
                "b: open",
                "b: request_headers Yes",
                "b: response_headers No",
                "a: response_headers No",
                "b: response_body 2 Yes",
                "a: response_body 2 Yes",
                "a: log",
                "b: log",
                // It is told of what it never saw.
                "c: open",
                "c: log",
                "a: done",
                "a: gone",
                "b: done",
                "b: gone",
                "c: done",
                "c: gone",
            ]);
        },
    );
}

/// As Envoy's: by the filters whose head it answers, not by who answers.
#[test]
fn an_answer_to_a_body_passes_all_filters_that_saw_the_head() {
    // Who holds the head until its body is there keeps it from those behind, and the answer with it.
    for (holds, order) in [(Do::Continue, "cba"), (Do::Pause, "ba")] {
        script("b", move |event, stream| match event {
            Event::RequestHeaders(_) => holds,
            Event::RequestBody(..) => {
                assert_eq!(stream.reply(reply(403, "no")), Ok(()));
                Do::Pause
            }
            _ => Do::Continue,
        });
        run(
            Setup { filters: &["a", "b", "c"], ..PLAIN },
            |_, _| echo(),
            |world| async move {
                assert_eq!(ask(&world, POST).await.status, 403);
                let heard: Vec<_> = events().into_iter().filter(|event| event.contains(": response_")).collect();
                let of = |event: &'static str| order.chars().map(move |name| format!("{name}: {event}"));
                let expected: Vec<_> = of("response_headers No").chain(of("response_body 2 Yes")).collect();
                assert_eq!(heard, expected);
                drop(world);
            },
        );
    }
}

#[test]
fn an_answer_is_given_before_a_filter_behind_it_is_found_to_be_down() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.reply(reply(403, "no")).ok();
        }
        Do::Continue
    });
    script("b", |event, _| if matches!(event, Event::Open) { Do::Fail } else { Do::Continue });
    run(
        TWO,
        |_, _| echo(),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 403);
            one_record(&world, (403, "-", "by_filter", "-")).await;
        },
    );
}

#[test]
fn an_answer_in_place_of_a_response_keeps_no_connection_that_waits_for_its_request() {
    script("a", |event, stream| match event {
        Event::RequestBody(..) => Do::Pause,
        Event::ResponseHeaders(_) => {
            stream.reply(reply(418, "tea")).ok();
            Do::Continue
        }
        _ => Do::Continue,
    });
    let closed = Rc::new(Cell::new(false));
    let seen = Rc::clone(&closed);
    run(
        ONE,
        move |_, _| {
            let seen = Rc::clone(&seen);
            serve(|mut stream| async move {
                head(&mut stream).await.unwrap();
                // Before the body has come, which the filter never lets go.
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.ok();
                seen.set(true);
            })
        },
        |world| async move {
            assert_eq!(ask(&world, POST).await.status, 418);
            settle().await;
            assert!(closed.get(), "the upstream connection is of no use to anybody");
        },
    );
}

#[test]
fn an_answer_may_come_while_the_response_is_read_and_the_request_goes_on() {
    script("a", |event, stream| {
        if let Event::RequestBody(_, End::Yes) = event {
            stream.reply(reply(418, "tea")).ok();
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.ok();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(&POST.as_bytes()[..POST.len() - 3]).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\nhe") {
                answer.push(client.read_u8().await.unwrap());
            }
            client.write_all(b"def").await.unwrap();
            answer.clear();
            client.read_to_end(&mut answer).await.ok();
            assert_eq!(answer, b"", "it is cut");
            one_record(&world, (200, "LR", "by_filter", "proxy")).await;
        },
    );
}

#[test]
fn a_filter_may_answer_in_every_phase() {
    for phase in 0..5 {
        script("a", move |event, stream| {
            let now = match event {
                Event::RequestHeaders(_) => 0,
                Event::RequestBody(..) => 1,
                Event::RequestTrailers => 2,
                Event::ResponseHeaders(_) => 3,
                Event::ResponseBody(..) => 4,
                _ => return Do::Continue,
            };
            if now == phase {
                stream.reply(reply(418, "tea")).ok();
            }
            Do::Continue
        });
        run(
            ONE_H2,
            |_, _| h2_server(tell),
            |world| async move {
                let mut sender = http2(&world).await;
                let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
                stream.send_data("abc".into(), false).unwrap();
                stream.send_trailers(HeaderMap::new()).unwrap();
                if phase == 4 {
                    // The head is gone, or was about to go: nothing but the end of the stream can tell the client.
                    if let Ok(response) = response.await {
                        assert_eq!(response.status(), 200);
                        assert!(body(&mut response.into_body()).await.is_err());
                    }
                    one_record(&world, (200, "LR", "by_filter", "proxy")).await;
                } else {
                    let response = response.await.unwrap();
                    assert_eq!(response.status(), 418, "phase {phase}");
                    assert_eq!(body(&mut response.into_body()).await.unwrap().0, "tea");
                    one_record(&world, (418, "-", "by_filter", "-")).await;
                }
                let heard = events();
                let heads = heard.iter().filter(|event| event.contains("response_headers")).count();
                assert_eq!(heads, 1, "{heard:?}");
                assert_eq!(heard[heard.len() - 3..], ["a: log", "a: done", "a: gone"]);
            },
        );
    }
}

#[test]
fn an_answer_may_come_later_and_then_nothing_is_sent_upstream() {
    let kept = held("a", Do::PauseAll);
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(POST.as_bytes()).await.unwrap();
            kept.wait().await.reply(reply(401, "who")).unwrap();
            assert_eq!(answer(&mut client).await.status, 401);
            assert!(world.dialed.borrow().is_empty());
            one_record(&world, (401, "-", "by_filter", "-")).await;
        },
    );
}

#[test]
fn a_failure_follows_the_filters_policy() {
    for phase in 0..6 {
        for (name, setup) in [("a", ONE), ("a-open", Setup { filters: &["a-open"], ..PLAIN })] {
            script(name, move |event, _| {
                let now = match event {
                    Event::Open => 0,
                    Event::RequestHeaders(_) => 1,
                    Event::RequestBody(..) => 2,
                    Event::ResponseHeaders(_) => 3,
                    Event::ResponseBody(..) => 4,
                    _ => return Do::Continue,
                };
                if now == phase { Do::Fail } else { Do::Continue }
            });
            run(
                setup,
                |_, _| echo(),
                move |world| async move {
                    let mut client = world.connect();
                    client.write_all(POST.as_bytes()).await.unwrap();
                    let key =
                        format!("pillion_filter_failures_total{{filter={name},listener=web,reason=script_failed}}");
                    let failures = if phase == 5 { 0.0 } else { 1.0 };
                    if name == "a-open" || phase == 5 {
                        assert!(answer(&mut client).await.body.ends_with("abcdef"), "phase {phase}");
                        one_record(&world, (200, "-", "via_upstream", "-")).await;
                    } else if phase == 4 {
                        let mut all = String::new();
                        client.read_to_string(&mut all).await.unwrap();
                        assert!(all.ends_with("\r\n\r\n"), "{all}");
                        one_record(&world, (200, "FF", "script_failed{a}", "proxy")).await;
                    } else {
                        let answer = answer(&mut client).await;
                        assert_eq!((answer.status, answer.body.as_str()), (503, ""), "phase {phase}");
                        one_record(&world, (503, "FF", "script_failed{a}", "proxy")).await;
                    }
                    assert_eq!(world.recorded.get(&key), failures);
                    if phase < 5 {
                        let heard = events();
                        assert!(!heard.iter().any(|event| event.contains("log")), "no callback after it: {heard:?}");
                    }
                },
            );
        }
    }
}

#[test]
fn a_filter_may_fail_while_it_holds_a_stream() {
    for (name, setup) in [("a", ONE), ("a-open", Setup { filters: &["a-open"], ..PLAIN })] {
        let kept = held(name, Do::PauseAll);
        run(
            setup,
            |_, _| echo(),
            move |world| async move {
                let mut client = world.connect();
                client.write_all(POST.as_bytes()).await.unwrap();
                let failed = pillion_core::exchange::filter::Failed { details: "machine_died" };
                kept.wait().await.fail(failed);
                let answer = answer(&mut client).await;
                if name == "a" {
                    assert_eq!(answer.status, 503);
                    one_record(&world, (503, "FF", "machine_died{a}", "proxy")).await;
                } else {
                    assert!(answer.body.ends_with("abcdef"));
                    one_record(&world, (200, "-", "via_upstream", "-")).await;
                }
            },
        );
    }
}

#[test]
fn a_stream_can_be_closed_without_an_answer() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.close("wasm_close_stream");
        }
        Do::PauseAll
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(POST.as_bytes()).await.unwrap();
            assert!(closed(&mut client).await);
            one_record(&world, (0, "LR", "wasm_close_stream", "proxy")).await;
        },
    );
    run(
        ONE_H2,
        |_, _| h2_server(tell),
        |world| async move {
            let mut sender = http2(&world).await;
            let error = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap_err();
            assert!(error.is_reset(), "{error:?}");
            one_record(&world, (0, "LR", "wasm_close_stream", "proxy")).await;
        },
    );
}

#[test]
fn errors_of_the_proxy_pass_the_filters_too() {
    script("b", |event, stream| {
        if let Event::ResponseHeaders(_) = event {
            stream.headers(Map::ResponseHeaders, |head| head.add(b"x-seen", b"b"));
        }
        Do::Continue
    });
    run(
        TWO,
        |_, _| crate::server::Step::Fail(std::io::ErrorKind::ConnectionRefused),
        |world| async move {
            let answer = get(&world, "/").await;
            assert_eq!((answer.status, answer.field("x-seen")), (503, Some("b")));
            assert_eq!(world.record().await.flags, "UF");
        },
    );
}

/// Tells with the response what is known of the connection that was wanted.
fn tells_of_its_connection() {
    script("a", |event, stream| {
        let known = (stream.connection_wait().is_some(), stream.connect_failure(), stream.carrying().is_some());
        match event {
            Event::RequestHeaders(_) => assert_eq!(known, (false, None, false)),
            Event::ResponseHeaders(_) => {
                let known = format!("{known:?}");
                stream.headers(Map::ResponseHeaders, |head| head.add(b"x-known", known.as_bytes()));
            }
            _ => {}
        }
        Do::Continue
    });
}

#[test]
fn filters_know_why_no_connection_was_made() {
    tells_of_its_connection();
    run(
        ONE,
        |_, _| crate::server::Step::Fail(std::io::ErrorKind::ConnectionRefused),
        |world| async move {
            let answer = get(&world, "/").await;
            assert_eq!((answer.status, answer.field("x-known")), (503, Some("(true, Some(Refused), false)")));
        },
    );
    tells_of_its_connection();
    run(
        ONE,
        |_, _| canned(HELLO),
        |world| async move {
            assert_eq!(get(&world, "/").await.field("x-known"), Some("(true, None, true)"));
        },
    );
}

/// As in Envoy, to which a client that half-closes within its request has left, too.
#[test]
fn filters_are_shown_no_answer_to_a_client_that_left_within_its_request() {
    for half_closes in [true, false] {
        let _kept = held("a", Do::PauseAll);
        run(
            ONE,
            |_, _| echo(),
            move |world| async move {
                let mut client = world.connect();
                client.write_all(&POST.as_bytes()[..POST.len() - 3]).await.unwrap();
                if half_closes {
                    client.shutdown().await.unwrap();
                    assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0, "nothing is said to it");
                }
                drop(client);
                one_record(&world, (0, "DC", "downstream_remote_disconnect", "downstream")).await;
                hears(&["a: open", "a: request_headers No", "a: log", "a: done", "a: gone"]);
            },
        );
    }
}

#[test]
fn a_client_of_http2_that_reset_its_stream_is_answered_nothing() {
    // Held by a filter, on its way to a server of either protocol, and without filters.
    for (filters, pause, cluster) in [
        (&["a"][..], Do::PauseAll, ""),
        (&["a"], Do::Pause, ""),
        (&["a"], Do::Continue, ""),
        (&["a"], Do::Continue, "    protocol: http2"),
        (&[], Do::Continue, ""),
        (&[], Do::Continue, "    protocol: http2"),
    ] {
        script("a", move |event, stream| match event {
            Event::RequestHeaders(_) => pause,
            Event::RequestBody(..) if pause == Do::Pause => pause,
            Event::Log => {
                let facts = stream.facts();
                assert_eq!((facts.status, facts.grpc_status), (None, None));
                Do::Continue
            }
            _ => Do::Continue,
        });
        run(
            Setup { filters, cluster, ..PLAIN },
            move |_, _| if cluster.is_empty() { silent() } else { h2_server(tell) },
            |world| async move {
                let mut sender = http2(&world).await;
                let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
                stream.send_data("abc".into(), false).unwrap();
                settle().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                stream.send_reset(h2::Reason::CANCEL);
                drop(response);
                one_record(&world, (0, "DC", "downstream_remote_disconnect", "downstream")).await;
                let heard = events();
                assert!(heard.iter().all(|event| !event.contains("response")), "{heard:?}");
                assert_eq!(heard.iter().filter(|event| *event == "a: log").count(), filters.len());
            },
        );
    }
}

/// What the access log names is what filters made of the client's words, also where one of them answers.
#[test]
fn an_answer_of_a_filter_is_logged_with_the_request_as_filters_left_it() {
    for fails in [false, true] {
        script("a", |event, stream| {
            if let Event::RequestHeaders(_) = event {
                stream.headers(Map::RequestHeaders, |head| head.remove(b"x-envoy-id")).unwrap();
                stream.headers(Map::RequestHeaders, |head| head.replace(b":path", b"/changed")).unwrap();
            }
            Do::Continue
        });
        script("b", move |event, stream| match event {
            Event::RequestHeaders(_) if fails => Do::Fail,
            Event::RequestHeaders(_) => {
                stream.reply(reply(429, "no")).unwrap();
                Do::Pause
            }
            _ => Do::Continue,
        });
        run(
            Setup { listener: "    forwarding: { strip_identity: false }", ..TWO },
            |_, _| echo(),
            move |world| async move {
                let request = "GET /x HTTP/1.1\r\nhost: a\r\nx-envoy-id: forged\r\n\r\n";
                assert_eq!(ask(&world, request).await.status, if fails { 503 } else { 429 });
                let told = world.record().await.told;
                assert!(told.ends_with("|-|/changed"), "{told}");
            },
        );
    }
}

/// The route's timeout is the server's: it does not run while a filter holds the request.
#[test]
fn time_in_filters_does_not_count_against_the_server() {
    let kept = Kept::default();
    let keep = kept.clone();
    script("a", move |event, stream| {
        if let Event::RequestHeaders(_) = event {
            keep.keep(stream);
            return Do::PauseAll;
        }
        Do::Continue
    });
    let routes = "      - match: { prefix: / }\n        cluster: up\n        timeout: 500ms";
    run(
        Setup { routes, ..ONE },
        |_, _| echo(),
        |world| async move {
            let held = async {
                let stream = kept.wait().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                stream.resume(Side::Request);
            };
            let (answer, ()) = tokio::join!(get(&world, "/"), held);
            assert_eq!(answer.status, 200);
        },
    );
}
