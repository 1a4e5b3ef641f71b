//! What goes back to the client: fields of this hop, bodies, early answers.

use crate::{
    client::{answer, ask, body, closed, fetch, get, http2, request, send},
    server::{HELLO, canned, head, http2 as h2_server, serve},
    world::{PLAIN, Setup, run},
};
use http::{Response, Version};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

#[test]
fn fields_of_the_hop_are_removed_and_changes_made() {
    let setup = Setup {
        routes: "      - match: { prefix: / }
        cluster: up
        response_headers:
          set:
            x-type: \"%RESP(CONTENT-TYPE)%\"
            x-asked: \"%REQ(:PATH)%\"
            x-up: \"%UPSTREAM_HOST%\"
            x-end: \"%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%\"
            x-took: \"%RESPONSE_DURATION%\"
          remove: [server]",
        ..PLAIN
    };
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/x\r\nserver: s\r\nkeep-alive: timeout=5\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\ncontent-length: 2\r\n\r\nok";
    run(
        setup,
        move |_, _| canned(answer),
        |world| async move {
            let answer = get(&world, "/a?b").await;
            for (name, expected) in [
                ("x-type", Some("text/x")),
                ("x-asked", Some("/a?b")),
                ("x-up", Some("10.0.0.1:80")),
                ("x-end", Some("200 via_upstream -")),
                ("server", None),
                ("keep-alive", None),
                ("x-hop", None),
            ] {
                assert_eq!(answer.field(name), expected, "{name}");
            }
            // Whether there is an access log, and what it shows, has no say in it.
            assert!(answer.field("x-took").is_some_and(|took| took.parse::<u64>().is_ok()), "{answer:?}");
        },
    );
}

#[test]
fn the_path_as_it_came_is_what_the_client_sent() {
    let was = "{ set: { x-was: '%REQ(X-ENVOY-ORIGINAL-PATH)%' } }";
    let routes = format!(
        "      - {{ match: {{ prefix: /tell }}, cluster: up, rewrite: {{ prefix: /told }}, request_headers: {was} }}
      - {{ match: {{ prefix: / }}, cluster: up, response_headers: {was} }}"
    );
    let setup = Setup { cluster: "    protocol: http2", routes: routes.leak(), ..PLAIN };
    run(
        setup,
        |_, _| h2_server(crate::server::tell),
        |world| async move {
            // Dot segments, double slashes and letters that need no escape are cleaned away for everybody else.
            let raw = "/a//./%7euser/../c?x=%7e";
            assert_eq!(get(&world, raw).await.field("x-was"), Some(raw));
            assert_eq!(get(&world, "/clean").await.field("x-was"), Some("/clean"));
            let body = get(&world, "/tell//./me").await.body;
            assert!(
                body.starts_with("GET http://a.example/told/me\n") && body.contains("\nx-was: /tell//./me\n"),
                "{body}"
            );
        },
    );
}

#[test]
fn changes_to_an_answer_of_the_proxy_know_its_status() {
    let setup = Setup {
        routes: "      - match: { prefix: /tea }
        respond: { status: 418 }
        response_headers: { set: { x-end: \"%RESPONSE_CODE% %RESPONSE_FLAGS%\" } }
      - match: { prefix: / }
        cluster: up
        response_headers: { set: { x-end: \"%RESPONSE_CODE% %RESPONSE_FLAGS%\", x-took: \"%RESPONSE_DURATION%\" } }",
        ..PLAIN
    };
    run(
        setup,
        move |_, _| canned("HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n"),
        |world| async move {
            assert_eq!(get(&world, "/tea").await.field("x-end"), Some("418 -"));
            let answer = get(&world, "/").await;
            assert_eq!((answer.field("x-end"), answer.field("x-took")), (Some("502 UPE"), None), "{answer:?}");
        },
    );
}

#[test]
fn an_early_answer_on_http2_ends_the_request() {
    for (cluster, step) in [("    protocol: http2", true), ("", false)] {
        run(
            Setup { cluster, ..PLAIN },
            move |_, _| match step {
                true => h2_server(|request, mut respond| async move {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data("no".into(), true).unwrap();
                    let mut body = request.into_body();
                    while let Some(Ok(_)) = body.data().await {}
                }),
                false => serve(|mut stream| async move {
                    head(&mut stream).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
                    stream.read_to_end(&mut Vec::new()).await.ok();
                }),
            },
            |world| async move {
                let mut sender = http2(&world).await;
                let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
                stream.send_data("abc".into(), false).unwrap();
                let response = response.await.unwrap();
                assert_eq!(body(&mut response.into_body()).await.unwrap().0, "no");
                let reset =
                    tokio::time::timeout(Duration::from_secs(1), std::future::poll_fn(|cx| stream.poll_reset(cx)));
                assert_eq!(reset.await.expect("a reset").unwrap(), h2::Reason::NO_ERROR);
                assert_eq!(world.record().await.end(), (200, "-", "via_upstream", "-"));
                world.assert_quiet().await;
            },
        );
    }
}

#[test]
fn an_early_answer_on_http1_lets_the_request_finish() {
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
                let mut sent = [0; 5];
                stream.read_exact(&mut sent).await.unwrap();
                stream.write_all(&sent).await.unwrap();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n").await.unwrap();
            head(&mut client).await.unwrap();
            client.write_all(b"abcde").await.unwrap();
            let mut back = [0; 5];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"abcde");
        },
    );
}

/// A client may send all that it has before it reads, and a server answer as it reads.
#[test]
fn an_upload_goes_on_while_its_early_answer_waits_for_the_client() {
    const MUCH: usize = 8 << 20;
    for protocol in [Version::HTTP_11, Version::HTTP_2] {
        run(
            PLAIN,
            |_, _| {
                serve(|mut stream| async move {
                    head(&mut stream).await;
                    let (mut from, mut to) = tokio::io::split(stream);
                    let answers = async {
                        to.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n").as_bytes())
                            .await
                            .unwrap();
                        to.write_all(&vec![b'a'; MUCH]).await.unwrap();
                    };
                    let reads = async {
                        let mut left = MUCH;
                        let mut room = vec![0; 64 << 10];
                        while left > 0 {
                            left -= from.read(&mut room).await.unwrap();
                        }
                    };
                    tokio::join!(answers, reads);
                })
            },
            move |world| async move {
                let all = async {
                    if protocol == Version::HTTP_2 {
                        let mut sender = http2(&world).await;
                        let head = request("POST", "/").header("content-length", MUCH).body(()).unwrap();
                        let (response, mut stream) = send(&mut sender, head, false).await;
                        let mut left = vec![b'b'; MUCH];
                        while !left.is_empty() {
                            stream.reserve_capacity(left.len());
                            let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
                            let rest = left.split_off(room);
                            stream.send_data(std::mem::replace(&mut left, rest).into(), false).unwrap();
                        }
                        stream.send_data("".into(), true).unwrap();
                        return body(&mut response.await.unwrap().into_body()).await.unwrap().0.len();
                    }
                    let mut client = world.connect();
                    let asks = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {MUCH}\r\n\r\n");
                    client.write_all(asks.as_bytes()).await.unwrap();
                    client.write_all(&vec![b'b'; MUCH]).await.unwrap();
                    answer(&mut client).await.body.len()
                };
                let came = tokio::time::timeout(Duration::from_secs(20), all).await.expect("all of it, both ways");
                assert_eq!(came, MUCH);
            },
        );
    }
}

#[test]
fn expectations() {
    let asks = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    // The upstream's 100 lets the body go at once; its silence, after a second; a final answer ends the wait.
    for (says, waits) in [(true, 0), (false, 1)] {
        run(
            PLAIN,
            move |_, _| {
                serve(move |mut stream| async move {
                    let head = head(&mut stream).await.unwrap();
                    assert!(head.contains("expect: 100-continue\r\n"), "{head}");
                    if says {
                        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                    }
                    stream.read_exact(&mut [0; 3]).await.unwrap();
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                })
            },
            move |world| async move {
                let began = tokio::time::Instant::now();
                let mut client = world.connect();
                client.write_all(asks.as_bytes()).await.unwrap();
                assert_eq!(crate::client::next(&mut client, true).await.status, 100);
                assert_eq!(began.elapsed().as_secs(), waits);
                client.write_all(b"abc").await.unwrap();
                assert_eq!(answer(&mut client).await.status, 200);
            },
        );
        run(
            PLAIN,
            move |_, _| {
                serve(move |mut stream| async move {
                    head(&mut stream).await.unwrap();
                    if says {
                        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                    }
                    stream.read_exact(&mut [0; 3]).await.unwrap();
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                })
            },
            |world| async move {
                let mut sender = http2(&world).await;
                let head = request("POST", "/").header("expect", "100-continue").header("content-length", "3");
                let (mut response, mut stream) = send(&mut sender, head.body(()).unwrap(), false).await;
                let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
                assert_eq!(interim.status(), 100);
                stream.send_data("abc".into(), true).unwrap();
                assert_eq!(response.await.unwrap().status(), 200);
            },
        );
    }
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 417 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno").await.unwrap();
            })
        },
        move |world| async move {
            assert_eq!(
                crate::client::next(
                    &mut {
                        let mut client = world.connect();
                        client.write_all(asks.as_bytes()).await.unwrap();
                        client
                    },
                    false
                )
                .await
                .status,
                417
            );
        },
    );
    // HTTP/1.0 knows no expectation and gets no interim answer.
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                let head = head(&mut stream).await.unwrap();
                assert!(!head.contains("expect"), "{head}");
                stream.read_exact(&mut [0; 3]).await.unwrap();
                stream.write_all(format!("HTTP/1.1 100 Continue\r\n\r\n{HELLO}").as_bytes()).await.unwrap();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc").await.unwrap();
            let answer = crate::client::next(&mut client, false).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
            assert!(crate::client::closed(&mut client).await);
        },
    );
}

/// A body that waits to be asked for is not wanted when another answer than 100 comes; a server may take what follows for
/// a request of its own.
#[test]
fn what_follows_an_expectation_that_was_refused_reaches_nobody() {
    const SMUGGLED: &str = "GET /admin HTTP/1.1\r\nhost: b\r\n\r\n";
    let later: Rc<RefCell<Vec<String>>> = Rc::default();
    let came = Rc::clone(&later);
    run(
        PLAIN,
        move |number, _| {
            if number > 0 {
                return canned(HELLO);
            }
            let came = Rc::clone(&came);
            serve(move |mut stream| async move {
                head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                // Open to a next request.
                while let Some(next) = head(&mut stream).await {
                    came.borrow_mut().push(next);
                }
            })
        },
        |world| async move {
            let mut client = world.connect();
            let asks = format!(
                "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
                SMUGGLED.len()
            );
            client.write_all(asks.as_bytes()).await.unwrap();
            let told = answer(&mut client).await;
            assert_eq!(told.status, 417);
            assert_eq!(told.field("connection"), Some("close"));
            client.write_all(SMUGGLED.as_bytes()).await.ok();
            assert!(closed(&mut client).await);
            // Somebody else's request goes by another connection: that one is not in the pool.
            assert_eq!(get(&world, "/").await.status, 200);
            assert_eq!(world.dialed.borrow().len(), 2);
            world.assert_quiet().await;
        },
    );
    assert!(later.borrow().is_empty(), "{later:?}");
}

#[test]
fn redirects_use_the_scheme_a_trusted_peer_says() {
    let routes = "      - match: { prefix: / }\n        redirect: { path: /there }";
    let strangers = Setup { routes, ..PLAIN };
    let trusted = Setup { listener: "    forwarding: { trusted: [192.0.2.0/24] }", ..strangers };
    for (setup, expected) in [(strangers, "http://a.example/there"), (trusted, "https://a.example/there")] {
        run(
            setup,
            |_, _| canned(HELLO),
            move |world| async move {
                let request = "GET / HTTP/1.1\r\nhost: a.example\r\nx-forwarded-for: 203.0.113.1\r\nx-forwarded-proto: https\r\n\r\n";
                assert_eq!(ask(&world, request).await.field("location"), Some(expected));
            },
        );
    }
}

#[test]
fn trailers_of_http2_are_held_to_http1s_rule() {
    let setup = Setup { cluster: "    protocol: http2", ..PLAIN };
    let trailers = |names: &[&'static str]| {
        names.iter().map(|name| (http::HeaderName::from_static(name), http::HeaderValue::from_static("7"))).collect()
    };
    // A request: the server sees its end as an error, the client an answer.
    run(
        setup,
        |_, _| {
            h2_server(|request, _respond| async move {
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.data().await {}
                assert!(body.trailers().await.is_err(), "it must not look whole");
            })
        },
        move |world| async move {
            let mut sender = http2(&world).await;
            let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
            stream.send_data("abc".into(), false).unwrap();
            stream.send_trailers(trailers(&["x-sum", "content-length"])).unwrap();
            assert_eq!(response.await.unwrap().status(), 400);
            assert_eq!(world.record().await.end(), (400, "DPE", "forbidden_trailer", "downstream"));
        },
    );
    // A response: the client must not take it for whole.
    run(
        setup,
        move |_, _| {
            h2_server(move |_, mut respond| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("x".into(), false).unwrap();
                sleep(Duration::from_millis(10)).await;
                stream.send_trailers(trailers(&["x-sum", "host"])).unwrap();
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let response = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
            assert!(body(&mut response.into_body()).await.is_err());
            assert_eq!(world.record().await.end(), (200, "UPE", "forbidden_trailer", "upstream"));
        },
    );
    run(
        setup,
        |_, _| {
            h2_server(|request, mut respond| async move {
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.data().await {}
                let trailers = body.trailers().await.unwrap().unwrap();
                assert!(trailers.contains_key("x-sum") && trailers.len() == 1, "{trailers:?}");
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("x".into(), false).unwrap();
                stream.send_trailers(trailers).unwrap();
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
            stream.send_data("abc".into(), false).unwrap();
            stream.send_trailers(trailers(&["x-sum"])).unwrap();
            let (_, trailers) = body(&mut response.await.unwrap().into_body()).await.unwrap();
            let trailers = trailers.unwrap();
            assert!(trailers.contains_key("x-sum") && trailers.len() == 1, "{trailers:?}");
            sleep(Duration::from_millis(1)).await;
        },
    );
}
