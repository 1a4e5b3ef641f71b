//! `same-as-downstream`: a client that came by HTTP/2 says nothing of what the server speaks.

use super::*;
use futures_util::future::join_all;
use http::header::CONTENT_TYPE;

const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// What Python's `http.server` answers, which takes an unknown version for HTTP/0.9.
const PAGE: &str = "<!DOCTYPE HTML>\n<html>Invalid HTTP version (2.0)</html>";
/// As servers on hyper answer that speak HTTP/1.1 alone.
const SILENCE: &str = "";

/// Serves HTTP/1.1 alone and answers with the body it was sent: by the preface of HTTP/2 with `refusal`, and closes then.
async fn http1_alone(mut stream: DuplexStream, refusal: &'static str) {
    while let Some(head) = read_head(&mut stream).await {
        if head.starts_with("PRI ") {
            stream.write_all(refusal.as_bytes()).await.ok();
            return;
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        let close = if head.starts_with("get /last ") { "connection: close\r\n" } else { "" };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{close}\r\n", body.len());
        stream.write_all(&[answer.as_bytes(), &body].concat()).await.unwrap();
        if !close.is_empty() {
            return;
        }
    }
}

/// Serves HTTP/2 alone, as HTTP/2 says.
async fn http2_alone(stream: DuplexStream) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data(Bytes::from_static(b"by HTTP/2"), true).unwrap();
    }
}

fn same(plan: impl Fn(usize, SocketAddr) -> Step + 'static) -> (TestCluster, Rc<Script>) {
    cluster(model(UpstreamProtocol::SameAsDownstream, &[80]), plan)
}

fn over_http2() -> SendOptions<'static> {
    SendOptions { downstream: Version::HTTP_2, ..options() }
}

fn grpc() -> Request<TestBody> {
    let mut request = post("/service/Method", full("message"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
    request
}

async fn asked(cluster: &TestCluster, request: Request<TestBody>) -> String {
    text(send(cluster, request, &over_http2()).await.unwrap()).await
}

#[test]
fn a_server_of_http1_alone_serves_clients_of_http2() {
    for refusal in [BAD_REQUEST, PAGE] {
        run(async move {
            let (cluster, script) = same(move |_, _| serve(move |stream| http1_alone(stream, refusal)));
            assert_eq!(asked(&cluster, post("/", full("not twice, not lost"))).await, "not twice, not lost");
            assert_eq!(script.dialed.borrow().len(), 2, "one was asked what it speaks");
            for _ in 0..10 {
                assert_eq!(asked(&cluster, post("/", full("again"))).await, "again");
            }
            assert_eq!(text(send(&cluster, post("/", full("HTTP/1.1")), &options()).await.unwrap()).await, "HTTP/1.1");
            assert_eq!(script.dialed.borrow().len(), 2, "it is known, and its connection rests");
            assert_nothing_held(&cluster);
            sleep(Duration::from_secs(600)).await;
            assert_eq!(asked(&cluster, post("/", full("later"))).await, "later");
            assert_eq!(script.dialed.borrow().len(), 4, "asked again");
            assert_nothing_held(&cluster);
        });
    }
}

#[test]
fn those_who_come_together_ask_once() {
    run(async {
        let (cluster, script) = same(|_, _| serve(|stream| http1_alone(stream, BAD_REQUEST)));
        let answers = join_all((0..20).map(|_| asked(&cluster, post("/", full("each"))))).await;
        assert!(answers.iter().all(|answer| answer == "each"));
        assert_eq!(script.dialed.borrow().len(), 1 + 20);
        assert_nothing_held(&cluster);
    });
}

#[test]
fn one_that_closes_without_a_word_is_believed_the_second_time() {
    run(async {
        let (cluster, script) = same(|_, _| serve(|stream| http1_alone(stream, SILENCE)));
        for (round, dialed) in [2, 3, 3, 3].into_iter().enumerate() {
            assert_eq!(asked(&cluster, post("/", full("body"))).await, "body");
            assert_eq!(script.dialed.borrow().len(), dialed, "round {round}");
        }
        assert_nothing_held(&cluster);
    });
}

#[test]
fn one_that_was_being_started_anew_keeps_http2() {
    run(async {
        let (cluster, script) = same(|nth, _| match nth {
            0 => serve(|stream| async { drop(stream) }),
            1 => Step::Fail(io::ErrorKind::ConnectionRefused),
            _ => serve(http2_alone),
        });
        let error = send(&cluster, get("/"), &over_http2()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Connect(ConnectError::Refused)), "{error:?}");
        assert_eq!(error.delivery, Delivery::Unsent);
        for _ in 0..3 {
            assert_eq!(asked(&cluster, get("/")).await, "by HTTP/2");
        }
        assert_eq!(script.dialed.borrow().len(), 3);
    });
}

#[test]
fn grpc_goes_by_http2_or_not_at_all() {
    run(async {
        let (cluster, _) = same(|_, _| serve(|stream| http1_alone(stream, BAD_REQUEST)));
        for _ in 0..2 {
            let error = send(&cluster, grpc(), &over_http2()).await.unwrap_err();
            assert!(matches!(error.cause, Cause::Connect(ConnectError::NotHttp2)), "{error:?}");
            assert_eq!(error.delivery, Delivery::Unsent);
            // What is known by others changes nothing.
            assert_eq!(asked(&cluster, post("/", full("body"))).await, "body");
        }
        assert_nothing_held(&cluster);
    });
    run(async {
        let (cluster, script) = same(|_, _| serve(http2_alone));
        for _ in 0..3 {
            assert_eq!(asked(&cluster, grpc()).await, "by HTTP/2");
        }
        assert_eq!(script.dialed.borrow().len(), 1);
    });
}

#[test]
fn who_comes_back_may_speak_http2() {
    run(async {
        let (cluster, script) = same(|nth, _| match nth {
            0 | 1 => serve(|stream| http1_alone(stream, BAD_REQUEST)),
            2 => Step::Fail(io::ErrorKind::ConnectionRefused),
            _ => serve(http2_alone),
        });
        assert_eq!(asked(&cluster, get("/last")).await, "");
        assert!(send(&cluster, get("/"), &over_http2()).await.is_err());
        assert_eq!(asked(&cluster, get("/")).await, "by HTTP/2");
        assert_eq!(script.dialed.borrow().len(), 4);
    });
    // Nobody saw it go.
    run(async {
        let (cluster, _) = same(|nth, _| match nth {
            0 | 1 => serve(|stream| http1_alone(stream, BAD_REQUEST)),
            _ => serve(http2_alone),
        });
        assert_eq!(asked(&cluster, get("/last")).await, "");
        assert!(send(&cluster, get("/"), &over_http2()).await.is_err());
        assert_eq!(asked(&cluster, get("/")).await, "by HTTP/2");
    });
    // And the other way.
    run(async {
        let (cluster, _) = same(|nth, _| match nth {
            0 => serve(|stream| async {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                respond.send_response(Response::new(()), true).unwrap();
                connection.graceful_shutdown();
                while let Some(Ok(_)) = connection.accept().await {}
            }),
            _ => serve(|stream| http1_alone(stream, BAD_REQUEST)),
        });
        assert_eq!(asked(&cluster, get("/")).await, "");
        settle().await;
        assert!(send(&cluster, get("/"), &over_http2()).await.is_err());
        assert_eq!(asked(&cluster, post("/", full("body"))).await, "body");
    });
}

#[test]
fn nothing_of_a_request_is_sent_before_it_is_known() {
    run(async {
        let read = Rc::new(RefCell::new(Vec::new()));
        let (cluster, script) = same({
            let read = Rc::clone(&read);
            move |nth, _| {
                let read = Rc::clone(&read);
                serve(move |mut stream| async move {
                    if nth > 0 {
                        return http1_alone(stream, BAD_REQUEST).await;
                    }
                    // Busy with somebody else, for longer than a connect may take.
                    sleep(Duration::from_secs(10)).await;
                    let mut bytes = vec![0; 64 * 1024];
                    let len = stream.read(&mut bytes).await.unwrap();
                    read.borrow_mut().extend_from_slice(&bytes[..len]);
                    stream.write_all(BAD_REQUEST.as_bytes()).await.unwrap();
                })
            }
        });
        let begun = Instant::now();
        assert_eq!(
            asked(&cluster, post("/", full("GET /admin HTTP/1.1\r\n\r\n"))).await,
            "GET /admin HTTP/1.1\r\n\r\n"
        );
        assert_eq!((begun.elapsed().as_secs(), script.dialed.borrow().len()), (10, 2));
        let read = read.borrow();
        let mut frames = read.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("the preface");
        let mut kinds = 0;
        while let [_, high, low, kind, rest @ ..] = frames {
            assert!(matches!(kind, 4 | 8), "SETTINGS and WINDOW_UPDATE alone, not {kind}");
            kinds += 1;
            frames = &rest[5 + (usize::from(*high) << 8 | usize::from(*low))..];
        }
        assert!(kinds > 0 && frames.is_empty());
        assert_nothing_held(&cluster);
    });
}

#[test]
fn one_that_never_says_anything_is_waited_for_as_long_as_a_dead_one() {
    run(async {
        let (cluster, _) = same(|_, _| {
            serve(|stream| async {
                sleep(Duration::from_secs(3600)).await;
                drop(stream);
            })
        });
        let begun = Instant::now();
        let error = send(&cluster, get("/"), &over_http2()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Connect(ConnectError::Timeout(_))), "{error:?}");
        assert_eq!(begun.elapsed().as_secs(), 35);
        assert_nothing_held(&cluster);
    });
}
