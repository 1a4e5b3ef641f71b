//! Filters: the order of their callbacks, pauses in every phase, answers of their own, failures, bounds.

use crate::{
    client::{Answer, answer, ask, body, closed, fetch, get, http2, request, send},
    scripted::{Do, Event, events, script, services},
    server::{HELLO, canned, echo, head, http2 as h2_server, serve, tell},
    world::{PLAIN, Setup, World, run, settle},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use pillion_core::{
    drain::Signal,
    exchange::filter::{End, HttpCall, LocalReply, Map, Side, Stream},
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TWO: Setup = Setup { filters: &["a", "b"], ..PLAIN };
const ONE: Setup = Setup { filters: &["a"], ..PLAIN };
const ONE_H2: Setup = Setup { filters: &["a"], cluster: "    protocol: http2", ..PLAIN };

const POST: &str = "POST /x HTTP/1.1\r\nhost: a.example\r\ncontent-length: 6\r\n\r\nabcdef";

fn hears(expected: &[&str]) {
    assert_eq!(events(), expected);
}

fn reply(status: u16, body: &'static str) -> LocalReply {
    let status = StatusCode::from_u16(status).unwrap();
    LocalReply { body: Bytes::from_static(body.as_bytes()), ..LocalReply::new(status, "by_filter") }
}

/// A stream that a filter kept for later.
#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Option<Stream>>>);

impl Kept {
    fn keep(&self, stream: &Stream) {
        self.0.replace(Some(stream.clone()));
    }

    async fn wait(&self) -> Stream {
        loop {
            let kept = self.0.borrow().clone();
            if let Some(stream) = kept {
                settle().await;
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn one_record(world: &World, end: (u16, &str, &str, &str)) {
    let record = world.record().await;
    assert_eq!(record.end(), end, "{record:?}");
    world.assert_quiet().await;
}

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
                "b: open",
                "a: request_headers No",
                "b: request_headers No",
                "a: request_body 6 Yes",
                "b: request_body 6 Yes",
                "b: response_headers No",
                "a: response_headers No",
                &format!("b: response_body {length} Yes"),
                &format!("a: response_body {length} Yes"),
                "a: log",
                "a: done",
                "a: gone",
                "b: log",
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
fn a_head_can_wait_and_what_follows_comes_in_one_piece() {
    for pause in [Do::PauseAll, Do::PauseAllAndBuffer] {
        let kept = Kept::default();
        let keep = kept.clone();
        script("a", move |event, stream| match event {
            Event::RequestHeaders(_) => {
                keep.keep(stream);
                pause
            }
            _ => Do::Continue,
        });
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
            let heard = events();
            let heard: Vec<_> = heard.iter().filter(|event| !event.contains("open")).map(String::as_str).collect();
            assert_eq!(
                heard[..6],
                [
                    "a: request_headers Yes",
                    "b: request_headers Yes",
                    "b: response_headers No",
                    "a: response_headers No",
                    "b: response_body 2 Yes",
                    "a: response_body 2 Yes",
                ]
            );
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
    let kept = Kept::default();
    let keep = kept.clone();
    script("a", move |event, stream| match event {
        Event::RequestHeaders(_) => {
            keep.keep(stream);
            Do::PauseAll
        }
        _ => Do::Continue,
    });
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
fn a_grpc_client_is_answered_in_its_own_terms() {
    for (given, expected) in [(None, "7"), (Some(9), "9")] {
        script("a", move |event, stream| {
            if let Event::RequestHeaders(_) = event {
                stream.reply(LocalReply { grpc_status: given, ..reply(403, "not you") }).unwrap();
            }
            Do::Continue
        });
        run(
            ONE_H2,
            |_, _| h2_server(tell),
            |world| async move {
                let mut sender = http2(&world).await;
                let call = request("POST", "/s/m").header("content-type", "application/grpc").body(()).unwrap();
                let response = fetch(&mut sender, call).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(response.headers()["grpc-status"], expected);
                assert_eq!(response.headers()["grpc-message"], "not you");
                one_record(&world, (200, "-", "by_filter", "-")).await;
            },
        );
    }
}

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
    let cases: [(Change, u16, &str); 8] = [
        (|head| head.remove(b":path"), 404, "filter_removed_required_request_headers{:path}"),
        (|head| head.remove(b":method"), 503, "filter_removed_required_request_headers{:method}"),
        (|head| head.add(b"x-bad", b"a\r\nb: c"), 503, "filter_set_invalid_request_headers"),
        (|head| head.add(b"no name", b"a"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b":path", b"/a b"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b"content-length", b"+1"), 503, "filter_set_invalid_request_headers"),
        (|head| head.replace(b":method", b"G ET"), 503, "filter_set_invalid_request_headers"),
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
    let kept = Kept::default();
    let keep = kept.clone();
    script("a-small", move |event, stream| match event {
        Event::RequestHeaders(_) => {
            keep.keep(stream);
            Do::PauseAll
        }
        _ => Do::Continue,
    });
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
                        one_record(&world, (200, "FF", "script_failed", "proxy")).await;
                    } else {
                        let answer = answer(&mut client).await;
                        assert_eq!((answer.status, answer.body.as_str()), (503, ""), "phase {phase}");
                        one_record(&world, (503, "FF", "script_failed", "proxy")).await;
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
        let kept = Kept::default();
        let keep = kept.clone();
        script(name, move |event, stream| match event {
            Event::RequestHeaders(_) => {
                keep.keep(stream);
                Do::PauseAll
            }
            _ => Do::Continue,
        });
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
                    one_record(&world, (503, "FF", "machine_died", "proxy")).await;
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
fn a_client_may_leave_while_its_request_waits() {
    for h2 in [false, true] {
        let kept = Kept::default();
        let keep = kept.clone();
        script("a", move |event, stream| match event {
            Event::RequestHeaders(_) => {
                keep.keep(stream);
                Do::PauseAll
            }
            _ => Do::Continue,
        });
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
    let kept = Kept::default();
    let keep = kept.clone();
    script("a", move |event, stream| match event {
        Event::RequestHeaders(_) => {
            keep.keep(stream);
            Do::PauseAll
        }
        _ => Do::Continue,
    });
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
            let kept = Kept::default();
            let keep = kept.clone();
            script("a", move |event, stream| match event {
                Event::RequestHeaders(_) => {
                    keep.keep(stream);
                    Do::PauseAll
                }
                _ => Do::Continue,
            });
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
                stream.set_state(b"k", Bytes::from_static(b"v")).unwrap();
                assert!(stream.set_state(b"big", vec![0; 70_000].into()).is_err());
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
            assert_eq!(heard[..2], ["b: open", "c: open"]);
        },
    );
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
                body: Bytes::from_static(b"who?"),
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
            let unknown = HttpCall {
                cluster: "nobody",
                headers: &[],
                body: Bytes::new(),
                trailers: &[],
                timeout: Duration::from_secs(1),
            };
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
                body: Bytes::new(),
                trailers: &[],
                timeout: Duration::from_secs(5),
            };
            let bounded = services().bounded(pillion_config::model::AllowedClusters::All, 1, 10);
            let first = bounded.http_call(&call).unwrap();
            assert!(bounded.http_call(&call).is_err(), "one at a time");
            let error = first.await.unwrap_err();
            assert_eq!(error.as_response().0, 504);
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
            let call = HttpCall { cluster: "up", headers: &headers, body: Bytes::new(), trailers: &[], timeout };
            let all = pillion_config::model::AllowedClusters::All;
            assert!(services().bounded(all.clone(), 1, 4).http_call(&call).unwrap().await.is_err(), "five bytes");
            assert_eq!(services().bounded(all, 1, 5).http_call(&call).unwrap().await.unwrap().body, "hello");
        },
    );
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

/// Answers each gRPC message with itself, then status 5.
async fn grpc_echo(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!((request.uri().path(), &request.headers()["x-bin"]), ("/s.S/M", &HeaderValue::from_static("AQI")));
    let response = Response::builder().header("content-type", "application/grpc").header("x-first", "1");
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
fn a_filter_calls_grpc_services() {
    use pillion_core::exchange::filter::{GrpcCall, GrpcEvent};
    run(
        ONE_H2,
        |_, _| h2_server(grpc_echo),
        |world| async move {
            let metadata: [(&[u8], &[u8]); 1] = [(b"x-bin", b"\x01\x02")];
            let timeout = Some(Duration::from_secs(5));
            let call = GrpcCall { cluster: "up", service: "s.S", method: "M", metadata: &metadata, timeout };
            let reply = services().grpc_call(&call, b"hello").unwrap().await.unwrap();
            assert_eq!(
                (reply.status, &reply.message[..], reply.body.as_deref()),
                (5, &b"not there"[..], Some(&b"hello"[..]))
            );
            assert_eq!(reply.initial.fields["x-first"], "1");

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
            let call = GrpcCall { cluster: "up", service: "s.S", method: "M", metadata: &[], timeout: None };
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
