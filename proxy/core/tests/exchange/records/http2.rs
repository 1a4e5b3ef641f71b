//! HTTP/2 and gRPC.

use super::*;

fn grpc(path: &str) -> http::request::Builder {
    request("POST", path).header("content-type", "application/grpc").header("te", "trailers")
}

#[test]
fn grpc_endings() {
    let setup = Setup { cluster: "    protocol: http2", ..PLAIN };
    let trailers = |status: &'static str| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(status));
        trailers
    };
    // Well.
    run(
        setup,
        move |_, _| {
            h2_server(move |_, mut respond| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("abc".into(), false).unwrap();
                stream.send_trailers(trailers("0")).unwrap();
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let response = fetch(&mut sender, grpc("/s/m").body(()).unwrap()).await.unwrap();
            let (text, trailers) = body(&mut response.into_body()).await.unwrap();
            assert_eq!((text.as_str(), trailers.unwrap()["grpc-status"].to_str().unwrap()), ("abc", "0"));
            let record = world.record().await;
            assert_eq!((record.end(), record.grpc.as_str()), ((200, "-", VIA, "-"), "0"));
        },
    );
    // Its deadline, before the answer.
    run(
        setup,
        |_, _| {
            h2_server(|_, respond| async move {
                sleep(Duration::from_secs(60)).await;
                drop(respond);
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let call = grpc("/s/m").header("grpc-timeout", "100m").body(()).unwrap();
            let response = fetch(&mut sender, call).await.unwrap();
            assert_eq!((response.status().as_u16(), response.headers()["grpc-status"].to_str().unwrap()), (200, "4"));
            ended(&world, 200, "UT", "grpc_timeout", "proxy").await;
        },
    );
    // Its deadline, within the answer.
    run(
        setup,
        |_, _| {
            h2_server(|_, mut respond| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("abc".into(), false).unwrap();
                sleep(Duration::from_secs(60)).await;
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let call = grpc("/s/m").header("grpc-timeout", "100m").body(()).unwrap();
            let response = fetch(&mut sender, call).await.unwrap();
            let (text, trailers) = body(&mut response.into_body()).await.unwrap();
            assert_eq!((text.as_str(), trailers.unwrap()["grpc-status"].to_str().unwrap()), ("abc", "4"));
            ended(&world, 200, "DT", "grpc_timeout", "proxy").await;
            assert_eq!(world.record().await.grpc, "4");
        },
    );
    // Nobody there.
    run(
        setup,
        |_, _| Step::Fail(io::ErrorKind::ConnectionRefused),
        |world| async move {
            let mut sender = http2(&world).await;
            let response = fetch(&mut sender, grpc("/s/m").body(()).unwrap()).await.unwrap();
            assert_eq!((response.status().as_u16(), response.headers()["grpc-status"].to_str().unwrap()), (200, "14"));
            assert_eq!(world.record().await.flags, "UF");
        },
    );
}

#[test]
fn an_empty_last_frame_is_no_cut() {
    // Go's servers end a stream by an empty frame of its own; hyper stops asking once the length is used up.
    let setup = Setup { cluster: "    protocol: http2", ..PLAIN };
    run(
        setup,
        |_, _| {
            h2_server(|_, mut respond| async move {
                let response = Response::builder().header("content-length", "3").body(()).unwrap();
                let mut stream = respond.send_response(response, false).unwrap();
                stream.send_data("abc".into(), false).unwrap();
                sleep(Duration::from_millis(10)).await;
                stream.send_data(Bytes::new(), true).unwrap();
            })
        },
        |world| async move {
            assert_eq!(get(&world, "/").await.body, "abc");
            ended(&world, 200, "-", VIA, "-").await;
        },
    );
}

/// Preface and SETTINGS, then frames.
fn raw_http2(settings: &[u8], frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, settings.len() as u8, 4, 0, 0, 0, 0, 0]);
    bytes.extend(settings);
    bytes.extend(frames.concat());
    bytes
}

/// HEADERS that are a whole request.
fn raw_request(stream: u8, block: &[u8]) -> Vec<u8> {
    [&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, stream], block].concat()
}

/// GET http://a/ (RFC 7541, appendix A).
const GET_A: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];

#[test]
fn an_http2_client_that_does_not_read_is_cut_by_the_proxy() {
    let endless = |_: usize, _: std::net::SocketAddr| {
        serve(|mut stream| async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n").await.unwrap();
            while stream.write_all(&[7; 4096]).await.is_ok() {}
        })
    };
    let impatient = Setup { listener: "    timeouts: { write: 2s }", ..PLAIN };
    // A window of zero stalls the stream; windows without end and an unread socket stall the connection.
    let closed: &[u8] = &[0, 4, 0, 0, 0, 0];
    let open: &[u8] = &[0, 4, 0x7f, 0xff, 0xff, 0xff];
    for settings in [closed, open] {
        run(impatient, endless, move |world| async move {
            let mut client = world.connect();
            let wide = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0];
            client.write_all(&raw_http2(settings, &[&wide, &raw_request(1, GET_A)])).await.unwrap();
            sleep(Duration::from_secs(10)).await;
            ended(&world, 200, "SI", "write_timeout", "proxy").await;
            drop(client);
        });
    }
}

type Fields = &'static [(&'static str, &'static str)];

/// Answers with these fields and, where there is one, a body of two bytes.
fn answering(status: u16, fields: Fields) -> Step {
    h2_server(move |request, mut respond| async move {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let bodiless = status == 304 || request.method() == http::Method::HEAD;
        let mut stream = respond.send_response(response.body(()).unwrap(), bodiless).unwrap();
        if !bodiless {
            stream.send_data("ok".into(), true).unwrap();
        }
    })
}

#[test]
fn a_response_by_http2_is_held_to_the_rules_of_one_by_http1() {
    let setup = Setup { cluster: "    protocol: http2", ..PLAIN };
    let cases: [(u16, Fields, &str); 7] = [
        (200, &[("content-length", "2"), ("content-length", "2")], "repeated_length"),
        (304, &[("content-length", "2"), ("content-length", "2")], "repeated_length"),
        (200, &[("content-length", "")], "bad_length"),
        (304, &[("content-length", "")], "bad_length"),
        (200, &[("x", " a")], "surrounding_space"),
        (200, &[("x", "a\t")], "surrounding_space"),
        (200, &[("te", "trailers")], "connection_specific"),
    ];
    for (status, fields, reason) in cases {
        for method in ["GET", "HEAD"] {
            run(
                setup,
                move |_, _| answering(status, fields),
                move |world| async move {
                    let mut client = world.connect();
                    let asked = format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n");
                    client.write_all(asked.as_bytes()).await.unwrap();
                    assert_eq!(next(&mut client, method == "HEAD").await.status, 502, "{method} {status} {fields:?}");
                    ended(&world, 502, "UPE", reason, "upstream").await;
                },
            );
            run(
                setup,
                move |_, _| answering(status, fields),
                move |world| async move {
                    let mut sender = http2(&world).await;
                    let response = fetch(&mut sender, request(method, "/").body(()).unwrap()).await.unwrap();
                    assert_eq!(response.status(), 502, "{method} {status} {fields:?}");
                    ended(&world, 502, "UPE", reason, "upstream").await;
                },
            );
        }
    }
    // What is well-formed passes.
    run(
        setup,
        move |_, _| answering(304, &[("content-length", "2"), ("x", "a b")]),
        move |world| async move {
            let mut sender = http2(&world).await;
            let response = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
            assert_eq!(response.status(), 304);
            assert_eq!(response.headers()["content-length"], "2");
        },
    );
}

#[test]
fn interim_responses_by_http2_are_counted_and_judged() {
    let setup = Setup { cluster: "    protocol: http2", ..PLAIN };
    let hints = |times: usize, fields: Fields| {
        h2_server(move |_, mut respond| async move {
            for _ in 0..times {
                let mut interim = Response::builder().status(103);
                for (name, value) in fields {
                    interim = interim.header(*name, *value);
                }
                respond.send_informational(interim.body(()).unwrap()).unwrap();
            }
            respond.send_response(Response::new(()), true).unwrap();
        })
    };
    let cases: [(usize, Fields, Option<&str>); 4] = [
        (16, &[("link", "</a>")], None),
        (17, &[("link", "</a>")], Some("too_many_interim")),
        (1, &[("link", "</a> ")], Some("surrounding_space")),
        (1, &[("content-length", "1")], Some("body_not_allowed")),
    ];
    for (times, fields, refused) in cases {
        // HTTP/1.0 is told of none of them.
        for version in ["1.0", "1.1"] {
            run(
                setup,
                move |_, _| hints(times, fields),
                move |world| async move {
                    let asked = format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n");
                    let answer = ask(&world, &asked).await;
                    match refused {
                        Some(reason) => {
                            assert_eq!(answer.status, 502);
                            ended(&world, 502, "UPE", reason, "upstream").await;
                        }
                        None => assert_eq!(answer.status, 200),
                    }
                },
            );
        }
    }
}

#[test]
fn malformed_trailers_by_http2_cut_the_response() {
    run(
        Setup { cluster: "    protocol: http2", ..PLAIN },
        |_, _| {
            h2_server(|_, mut respond| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("abc".into(), false).unwrap();
                sleep(Duration::from_millis(10)).await;
                let mut trailers = http::HeaderMap::new();
                trailers.insert("x-sum", http::HeaderValue::from_static("1 "));
                stream.send_trailers(trailers).unwrap();
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let response = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
            assert!(body(&mut response.into_body()).await.is_err());
            ended(&world, 200, "UPE", "surrounding_space", "upstream").await;
        },
    );
}

#[test]
fn http2_requests_that_are_reset_have_their_record() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            // By the codec: a value that begins with a space. By h2: no method, then an index that is none: the end.
            let spaced = raw_request(1, &[GET_A, b"\x00\x01x\x02 x"].concat());
            let (nameless, fine) = (raw_request(3, &GET_A[1..]), raw_request(5, GET_A));
            client.write_all(&raw_http2(&[], &[&spaced, &nameless, &fine])).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            client.write_all(&raw_request(7, &[0x80])).await.unwrap();
            sleep(Duration::from_secs(10)).await;
            drop(client);
            let records = world.records().await;
            let mut ends: Vec<_> = records.iter().map(|record| record.end()).collect();
            ends.sort_unstable();
            let refused = (0, "DPE", "http2_refused", "downstream");
            assert_eq!(ends, [refused, refused, (0, "DPE", "surrounding_space", "downstream"), (200, "-", VIA, "-")]);
        },
    );
}

#[test]
fn what_else_was_on_a_connection_that_broke_the_protocol_says_so() {
    // Before its response, and within it.
    for begun in [false, true] {
        run(
            PLAIN,
            move |_, _| {
                serve(move |mut stream| async move {
                    head(&mut stream).await;
                    if begun {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
                    }
                    sleep(Duration::from_secs(60)).await;
                })
            },
            move |world| async move {
                let mut client = world.connect();
                client.write_all(&raw_http2(&[], &[&raw_request(1, GET_A)])).await.unwrap();
                sleep(Duration::from_secs(1)).await;
                // An index that is none.
                client.write_all(&raw_request(3, &[0x80])).await.unwrap();
                sleep(Duration::from_secs(10)).await;
                drop(client);
                let records = world.records().await;
                let mut ends: Vec<_> = records.iter().map(|record| record.end()).collect();
                ends.sort_unstable();
                let status = if begun { 200 } else { 0 };
                assert!(ends.contains(&(status, "DPE", "http2_protocol", "downstream")), "{ends:?}");
                assert!(ends.contains(&(0, "DPE", "http2_refused", "downstream")), "{ends:?}");
            },
        );
    }
}

#[test]
fn a_response_that_ends_its_connection_ends_the_others_there_and_all_say_why() {
    // Takes two requests, begins to answer the first where asked to, and breaks the second's head by a name in upper case.
    let breaking = |begun: bool| {
        serve(move |mut stream| async move {
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut piece = [0; 4096];
            assert!(stream.read(&mut piece).await.unwrap() > 0);
            sleep(Duration::from_secs(1)).await;
            if begun {
                stream.write_all(&[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88]).await.unwrap();
            }
            sleep(Duration::from_secs(1)).await;
            stream.write_all(&[&[0, 0, 5, 1, 5, 0, 0, 0, 3, 0x88][..], b"\x00\x01X\x00"].concat()).await.unwrap();
            while stream.read(&mut piece).await.is_ok_and(|taken| taken > 0) {}
        })
    };
    for begun in [false, true] {
        run(
            Setup { cluster: "    protocol: http2", ..PLAIN },
            move |_, _| breaking(begun),
            |world| async move {
                let (mut first, mut second) = (world.connect(), world.connect());
                for client in [&mut first, &mut second] {
                    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                    sleep(Duration::from_millis(100)).await;
                }
                sleep(Duration::from_secs(5)).await;
                let records = world.records().await;
                let mut ends: Vec<_> = records.iter().map(|record| record.end()).collect();
                ends.sort_unstable();
                let why = |status| (status, "UPE", "upstream_http2_protocol", "upstream");
                assert_eq!(ends, [why(if begun { 200 } else { 502 }), why(502)]);
            },
        );
    }
}
