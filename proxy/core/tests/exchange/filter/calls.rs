//! Filters: calls of their own to clusters.

use super::*;

/// Answers each gRPC message with itself, then status 5.
pub(super) async fn grpc_echo(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!((request.uri().path(), &request.headers()["x-bin"]), ("/s.S/M", &HeaderValue::from_static("AQI")));
    let response = Response::builder().header("content-type", "application/grpc").header("x-first", "1");
    let response = response.header("x-asked", request.uri().authority().unwrap().as_str());
    let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        if !data.is_empty() {
            stream.send_data(data, false).unwrap();
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("5"));
    trailers.insert("grpc-message", HeaderValue::from_static("not%20there"));
    stream.send_trailers(trailers).unwrap();
}

#[test]
fn a_filter_calls_a_cluster_while_the_stream_waits() {
    script("a", |event, stream| {
        if let Event::RequestHeaders(_) = event {
            let services = services();
            let headers: [(&[u8], &[u8]); 4] =
                [(b":method", b"POST"), (b":path", b"/check"), (b":authority", b"auth"), (b"x-a", b"1")];
            let call = HttpCall {
                cluster: "up",
                headers: &headers,
                body: b"who?",
                trailers: &[],
                timeout: Duration::from_secs(5),
            };
            let answer = services.http_call(&call).unwrap();
            let stream = stream.clone();
            services
                .spawn(async move {
                    let answer = answer.await.unwrap();
                    assert_eq!(answer.status, 200);
                    let text = String::from_utf8(answer.body.to_vec()).unwrap();
                    assert!(text.starts_with("POST /check HTTP/1.1\r\n") && text.ends_with("who?"), "{text}");
                    assert!(text.contains("host: auth\r\n") && text.contains("content-length: 4\r\n"), "{text}");
                    stream.headers(Map::RequestHeaders, |head| head.add(b"x-checked", b"yes")).unwrap();
                    stream.resume(Side::Request);
                })
                .detach();
            return Do::PauseAll;
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let answer = get(&world, "/").await;
            assert!(answer.body.contains("x-checked: yes\r\n"), "{answer:?}");
            let unknown =
                HttpCall { cluster: "nobody", headers: &[], body: b"", trailers: &[], timeout: Duration::from_secs(1) };
            assert!(services().http_call(&unknown).is_err());
            assert!(services().http_call(&HttpCall { cluster: "up", ..unknown }).is_err(), "no :method");
        },
    );
}

#[test]
fn calls_time_out_and_are_bounded() {
    run(
        ONE,
        |_, _| serve(|mut stream| async move { while head(&mut stream).await.is_some() {} }),
        |world| async move {
            let headers: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")];
            let call = HttpCall {
                cluster: "up",
                headers: &headers,
                body: b"",
                trailers: &[],
                timeout: Duration::from_secs(5),
            };
            let bounded = services().bounded(pillion_config::model::AllowedClusters::All, 1, 10);
            let first = bounded.http_call(&call).unwrap();
            assert!(bounded.http_call(&call).is_err(), "one at a time");
            let error = first.await.unwrap_err();
            assert_eq!(error.as_response().unwrap().0, 504);
            assert!(bounded.http_call(&call).is_ok(), "and then another");
            let nobody = pillion_config::model::AllowedClusters::Only(Vec::new());
            assert!(services().bounded(nobody, 1, 10).http_call(&call).is_err());
            world.assert_quiet().await;
        },
    );
    run(
        ONE,
        |_, _| canned(HELLO),
        |_world| async move {
            let headers: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")];
            let timeout = Duration::from_secs(5);
            let call = HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout };
            let all = pillion_config::model::AllowedClusters::All;
            let error = services().bounded(all.clone(), 1, 4).http_call(&call).unwrap().await.unwrap_err();
            assert!(matches!(error, CallError::TooLarge) && error.as_response().is_none(), "five bytes: {error:?}");
            assert_eq!(services().bounded(all, 1, 5).http_call(&call).unwrap().await.unwrap().body, "hello");
        },
    );
}

#[test]
fn a_filter_calls_grpc_services() {
    use pillion_core::exchange::filter::{GrpcCall, GrpcEvent};
    run(
        ONE_H2,
        |_, _| h2_server(grpc_echo),
        |world| async move {
            let metadata: [(&[u8], &[u8]); 1] = [(b"x-bin", b"\x01\x02")];
            let timeout = Some(Duration::from_secs(5));
            let call =
                GrpcCall { cluster: "up", authority: None, service: "s.S", method: "M", metadata: &metadata, timeout };
            let reply = services().grpc_call(&call, b"hello").unwrap().await.unwrap();
            assert_eq!(
                (reply.status, &reply.message[..], reply.body.as_deref()),
                (5, &b"not there"[..], Some(&b"hello"[..]))
            );
            assert_eq!([&reply.initial.fields["x-first"], &reply.initial.fields["x-asked"]], ["1", "up"]);
            let elsewhere = GrpcCall { authority: Some("my.auth"), ..call.clone() };
            let reply = services().grpc_call(&elsewhere, b"hello").unwrap().await.unwrap();
            assert_eq!(reply.initial.fields["x-asked"], "my.auth");

            let (stream, mut events) = services().grpc_stream(&GrpcCall { timeout: None, ..call.clone() }).unwrap();
            stream.send(b"one").unwrap();
            assert!(matches!(events.next().await.unwrap(), Some(GrpcEvent::Initial(_))));
            assert!(matches!(events.next().await.unwrap(), Some(GrpcEvent::Message(message)) if message == "one"));
            stream.send(b"").unwrap();
            stream.send(b"two").unwrap();
            assert!(matches!(events.next().await.unwrap(), Some(GrpcEvent::Message(message)) if message.is_empty()));
            assert!(matches!(events.next().await.unwrap(), Some(GrpcEvent::Message(message)) if message == "two"));
            stream.close();
            assert!(matches!(events.next().await.unwrap(), Some(GrpcEvent::Trailing(_))));
            assert!(matches!(events.next().await.unwrap(), Some(GrpcEvent::Closed(5, _))));
            assert!(events.next().await.unwrap().is_none());
            assert!(stream.send(b"late").is_err());

            let all = pillion_config::model::AllowedClusters::All;
            let error = services().bounded(all.clone(), 1, 4).grpc_call(&call, b"hello").unwrap().await.unwrap_err();
            assert!(matches!(error, CallError::TooLarge), "five bytes: {error:?}");
            let (stream, mut events) = services().bounded(all, 1, 4).grpc_stream(&call).unwrap();
            stream.send(b"four").unwrap();
            stream.send(b"fives").unwrap();
            assert!(matches!(events.next().await, Ok(Some(GrpcEvent::Initial(_)))));
            assert!(matches!(events.next().await, Ok(Some(GrpcEvent::Message(message))) if message == "four"));
            assert!(matches!(events.next().await, Err(CallError::TooLarge)));
            assert!(matches!(events.next().await, Ok(None)));

            // Given up: the server sees a reset, and nothing is left in flight.
            let (stream, events) = services().grpc_stream(&call).unwrap();
            drop((stream, events));
            world.assert_quiet().await;
        },
    );
}

/// Answers with a head that says it all.
async fn grpc_refuse(_: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let response = Response::builder().header("grpc-status", "7").header("grpc-message", "not%20you");
    respond.send_response(response.body(()).unwrap(), true).unwrap();
}

#[test]
fn trailers_that_come_alone_are_trailers_with_a_status() {
    use pillion_core::exchange::filter::{GrpcCall, GrpcEvent};
    run(
        ONE_H2,
        |_, _| h2_server(grpc_refuse),
        |_| async move {
            let call =
                GrpcCall { cluster: "up", authority: None, service: "s.S", method: "M", metadata: &[], timeout: None };
            let (_stream, mut events) = services().grpc_stream(&call).unwrap();
            let Some(GrpcEvent::Initial(initial)) = events.next().await.unwrap() else { panic!("no initial metadata") };
            assert!(initial.status.is_none() && initial.fields.is_empty(), "{initial:?}");
            let Some(GrpcEvent::Trailing(trailing)) = events.next().await.unwrap() else { panic!("no trailers") };
            assert_eq!(
                (trailing.status, &trailing.fields["grpc-status"]),
                (Some(StatusCode::OK), &"7".parse().unwrap())
            );
            let Some(GrpcEvent::Closed(status, message)) = events.next().await.unwrap() else { panic!("no end") };
            assert_eq!((status, &message[..]), (7, &b"not you"[..]));
        },
    );
}

/// As Envoy's: what no message can have is refused at once, what none can be made of is answered.
#[test]
fn what_cannot_be_said_is_refused_and_what_cannot_be_written_is_answered() {
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let call = |fields: &[(&[u8], &[u8])]| {
                let headers: Vec<_> = [(&b":method"[..], &b"GET"[..]), (b":path", b"/"), (b":authority", b"a")]
                    .into_iter()
                    .filter(|(name, _)| !fields.iter().any(|(changed, _)| changed == name))
                    .chain(fields.iter().copied())
                    .collect();
                let timeout = Duration::from_secs(5);
                services().http_call(&HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout })
            };
            let unsayable: [(&[u8], &[u8]); 7] = [
                (b":path", b"/a\r\nb"),
                (b":method", b"CONNECT"),
                (b":authority", b"a\0"),
                (b":authority", b"a\r\nx-b: 2"),
                (b"x-a", b"1\r\nx-b: 2"),
                (b"x a", b"1"),
                (b"x-a\r\n", b"1"),
            ];
            for field in unsayable {
                assert_eq!(call(&[field]).err(), Some(CallRefused::Malformed), "{field:?}");
            }
            let unwritable: [(&[u8], &[u8]); 6] = [
                (b":path", b"/a b"),
                (b":path", b""),
                (b":path", b"a"),
                (b":method", b"G T"),
                (b":method", b""),
                (b"", b"1"),
            ];
            for field in unwritable {
                let error = call(&[field]).unwrap().await.unwrap_err();
                assert_eq!(error.as_response().unwrap().0, 400, "{field:?}");
            }
            drop(world);
        },
    );
}

/// A map holds 24,576 names: the proxy's own beside so many of a filter's were a panic.
#[test]
fn no_count_of_fields_is_a_panic() {
    let names: Vec<_> = (0..24_600).map(|number| format!("x-{number}")).collect();
    let filled = Rc::<Cell<usize>>::default();
    let (count, more) = (Rc::clone(&filled), names.clone());
    script("a", move |event, stream| {
        let map = match event {
            Event::RequestHeaders(_) => Map::RequestHeaders,
            Event::ResponseHeaders(_) => Map::ResponseHeaders,
            _ => return Do::Continue,
        };
        stream.headers(map, |head| more[..count.get()].iter().for_each(|name| head.add(name.as_bytes(), b""))).unwrap();
        Do::Continue
    });
    run(
        ONE,
        |_, _| canned(HELLO),
        |world| async move {
            for count in (24_560..24_580).chain([24_600]) {
                let line =
                    [(&b":method"[..], &b"POST"[..]), (b":path", b"/"), (b":authority", b"a"), (b"te", b"trailers")];
                let fields = names[..count].iter().map(|name| (name.as_bytes(), &b""[..]));
                let headers: Vec<_> = line.into_iter().chain(fields).collect();
                let timeout = Duration::from_secs(5);
                let call = HttpCall { cluster: "up", headers: &headers, body: b"b", trailers: &[], timeout };
                assert!(services().http_call(&call).unwrap().await.unwrap_err().is_unwritable(), "{count}");
                filled.set(count);
                let mut client = http2(&world).await;
                let asked = request("GET", "/").header("te", "trailers").body(()).unwrap();
                assert_eq!(fetch(&mut client, asked).await.unwrap().status(), 503, "{count}");
            }
        },
    );
}

#[test]
fn an_answer_that_breaks_off_is_none() {
    run(
        ONE,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await.unwrap();
            })
        },
        |_world| async move {
            let headers: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")];
            let timeout = Duration::from_secs(5);
            let call = HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout };
            let error = services().http_call(&call).unwrap().await.unwrap_err();
            assert!(matches!(error, CallError::Broken) && error.as_response().is_none(), "{error:?}");
        },
    );
}

/// At the first start as at a reload, and whatever is new in that.
#[test]
fn a_filter_that_calls_as_it_starts_finds_its_own_configurations_clusters() {
    let calls = Rc::<RefCell<Vec<_>>>::default();
    let note = Rc::clone(&calls);
    on_start(move |services| {
        let headers: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":path", b"/keys"), (b":authority", b"auth")];
        let call =
            HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout: Duration::from_secs(1) };
        note.borrow_mut().push(services.http_call(&call));
    });
    run(
        ONE,
        |_, _| canned(HELLO),
        |world| async move {
            let made = calls.take();
            assert_eq!(made.len(), 1);
            for call in made {
                assert_eq!(call.expect("it may be made").await.unwrap().body, "hello");
            }
            // Another filter, so that it is made anew.
            world.apply(Setup { filters: &["b"], ..ONE }, Vec::new());
            for call in calls.take() {
                assert_eq!(call.expect("it may be made").await.unwrap().body, "hello");
            }
            get(&world, "/").await;
        },
    );
}

#[test]
fn a_call_whose_time_is_up_within_its_answer_has_none() {
    run(
        ONE,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await.unwrap();
                std::future::pending::<()>().await;
            })
        },
        |_world| async move {
            let headers: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")];
            let timeout = Duration::from_secs(5);
            let call = HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout };
            let error = services().http_call(&call).unwrap().await.unwrap_err();
            assert!(matches!(error, CallError::Late) && error.as_response().is_none(), "{error:?}");
        },
    );
}

/// Nothing on `/s.S/Slow`; a head, and then nothing or a reset.
async fn grpc_fails(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let path = request.uri().path();
    if path == "/s.S/Slow" {
        std::future::pending::<()>().await;
    }
    if path == "/s.S/Alone" {
        let head = Response::builder().status(403).header("grpc-status", "16").body(()).unwrap();
        respond.send_response(head, true).unwrap();
        return;
    }
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    if path == "/s.S/Stall" {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    stream.send_reset(h2::Reason::INTERNAL_ERROR);
}

#[test]
fn a_grpc_call_that_comes_to_nothing_ends_as_envoys() {
    use pillion_core::exchange::filter::{GrpcCall, GrpcEvent};
    run(
        ONE_H2,
        |_, _| h2_server(grpc_fails),
        |_world| async move {
            let timeout = Some(Duration::from_secs(5));
            let call =
                |method| GrpcCall { cluster: "up", authority: None, service: "s.S", method, metadata: &[], timeout };
            for (method, status, message) in
                [("Slow", 14, "upstream request timeout"), ("Stall", 13, "response_timeout")]
            {
                let error = services().grpc_call(&call(method), b"hello").unwrap().await.unwrap_err();
                assert_eq!(error.as_grpc(), (status, message.to_owned()), "{method}");
            }
            let reset = "upstream_reset_after_response_started{remote_reset}";
            let reply = services().grpc_call(&call("Reset"), b"hello").unwrap().await.unwrap();
            assert_eq!((reply.status, &reply.message[..]), (13, reset.as_bytes()));
            let (_stream, mut events) = services().grpc_stream(&call("Reset")).unwrap();
            assert!(matches!(events.next().await, Ok(Some(GrpcEvent::Initial(_)))));
            assert!(matches!(events.next().await, Ok(Some(GrpcEvent::Trailing(none))) if none.fields.is_empty()));
            assert!(matches!(events.next().await, Ok(Some(GrpcEvent::Closed(13, _)))));
            let reply = services().grpc_call(&call("Alone"), b"hello").unwrap().await.unwrap();
            assert_eq!(reply.status, 16, "beside 403");
        },
    );
}

/// As Envoy's: whoever watches a cluster that filters alone call sees it fail.
#[test]
fn calls_are_requests_of_their_cluster_in_the_metrics() {
    use pillion_core::exchange::filter::GrpcCall;
    fn count(world: &World, class: &str) -> f64 {
        world.recorded.get(&format!("pillion_upstream_requests_total{{class={class},cluster=up}}"))
    }
    let call = |method: &[u8]| {
        let headers: [(&[u8], &[u8]); 3] = [(b":method", method), (b":path", b"/"), (b":authority", b"a")];
        let timeout = Duration::from_secs(5);
        services().http_call(&HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout }).unwrap()
    };
    run(
        ONE,
        |number, _| match number {
            0 => serve(|mut stream| async move {
                head(&mut stream).await.unwrap();
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                head(&mut stream).await.unwrap();
                stream.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
            }),
            _ => crate::server::Step::Fail(std::io::ErrorKind::ConnectionRefused),
        },
        |world| async move {
            let active = |world: &World| world.recorded.get("pillion_upstream_requests_active{cluster=up}");
            let first = call(b"GET");
            assert_eq!(active(&world), 1.0);
            assert_eq!(first.await.unwrap().status, 200);
            assert_eq!(call(b"GET").await.unwrap().status, 503);
            call(b"GET").await.unwrap_err();
            // Never asked: it cannot be written, or was given up before it began.
            call(b"G T").await.unwrap_err();
            drop(call(b"GET"));
            assert_eq!((count(&world, "2xx"), count(&world, "5xx"), count(&world, "none")), (1.0, 1.0, 1.0));
            assert_eq!(active(&world), 0.0);
        },
    );
    run(
        ONE_H2,
        |_, _| h2_server(grpc_fails),
        |world| async move {
            let timeout = Some(Duration::from_secs(5));
            let call =
                |method| GrpcCall { cluster: "up", authority: None, service: "s.S", method, metadata: &[], timeout };
            services().grpc_call(&call("Alone"), b"hello").unwrap().await.unwrap();
            services().grpc_call(&call("Slow"), b"hello").unwrap().await.unwrap_err();
            assert_eq!((count(&world, "4xx"), count(&world, "none")), (1.0, 1.0));
        },
    );
}
