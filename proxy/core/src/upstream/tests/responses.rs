//! Responses over HTTP/1.1, cut into small pieces: what is let through, what is not, and what becomes of the connection.

use super::*;
use crate::{
    framing::{Fault, Violation},
    http1::Broken,
};
use futures_util::FutureExt;
use http::header::TRAILER;

/// Waits for a request's head, then says `script` in small pieces; the connection stays open for `after`.
async fn scripted(mut stream: DuplexStream, script: &'static str, after: Duration) {
    while read_head(&mut stream).await.is_some() {
        for piece in script.as_bytes().chunks(7) {
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if after.is_zero() {
            return;
        }
    }
}

fn answering(script: &'static str, after: Duration) -> TestCluster {
    cluster(model(UpstreamProtocol::Http1, &[80]), move |_, _| serve(move |stream| scripted(stream, script, after))).0
}

const STAYS: Duration = Duration::from_secs(1);

fn method(method: &str) -> Request<TestBody> {
    Request::builder().method(method).uri("http://a.example/").body(empty()).unwrap()
}

#[test]
fn responses_pass_and_their_connection_serves_again() {
    run(async {
        for (asked, script, body) in [
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ""),
            (
                "POST",
                "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                "hi",
            ),
            ("GET", "HTTP/1.1 204 N\r\n\r\n", ""),
            ("GET", "HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", ""),
            ("GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", "hi"),
        ] {
            let cluster = answering(script, STAYS);
            for _ in 0..3 {
                let response = send(&cluster, method(asked), &options()).await.unwrap();
                assert_eq!(text(response).await, body, "{script:?}");
                settle().await;
                assert_eq!((cluster.resting(), cluster.open()), (1, 1), "{script:?}");
            }
            assert_nothing_held(&cluster);
        }
    });
}

#[test]
fn a_connection_that_says_it_closes_does_not_rest() {
    run(async {
        for (script, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nhi", "hi"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi"),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end"),
            ("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n", ""),
        ] {
            let cluster = answering(script, Duration::ZERO);
            let response = send(&cluster, get("/"), &options()).await.unwrap();
            assert_eq!(text(response).await, body, "{script:?}");
            settle().await;
            assert_eq!((cluster.resting(), cluster.open()), (0, 0), "{script:?}");
            assert_nothing_held(&cluster);
        }
    });
}

#[test]
fn a_malformed_head_never_becomes_a_response() {
    run(async {
        for (script, violation) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                Fault::LengthAndEncoding.into(),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Fault::RepeatedLength.into()),
            ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Fault::ObsFold.into()),
            ("HTTP/1.1 101 S\r\n\r\n", Violation::UnaskedUpgrade),
            ("SSH-2.0-x\r\n", Violation::BadStatusLine),
        ] {
            let cluster = answering(script, STAYS);
            let error = send(&cluster, get("/"), &options()).await.unwrap_err();
            let met = matches!(error.cause, Cause::Request(RequestError::Violation(met)) if met == violation);
            assert!(met, "{script:?}: {error:?}");
            assert_eq!((error.delivery, error.carrier), (Delivery::Answered, Carrier::Fresh));
            assert_eq!(cluster.open(), 0);
            assert_nothing_held(&cluster);
        }
    });
}

#[test]
fn a_body_that_breaks_fails_as_it_broke() {
    run(async {
        for (script, after, broken) in [
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
                STAYS,
                Broken::Violation(Fault::BadChunkEnd.into()),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Duration::ZERO, Broken::Closed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Duration::ZERO, Broken::Closed),
        ] {
            let cluster = answering(script, after);
            let response = send(&cluster, get("/"), &options()).await.unwrap();
            let error = response.into_body().collect().await.unwrap_err();
            assert!(matches!(error, BodyError::Http1(met) if met == broken), "{script:?}: {error:?}");
            assert_eq!(cluster.open(), 0);
            assert_nothing_held(&cluster);
        }
    });
}

#[test]
fn bytes_behind_a_response_end_the_connection() {
    run(async {
        let cluster = answering(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
            STAYS,
        );
        for _ in 0..2 {
            assert_eq!(text(send(&cluster, get("/"), &options()).await.unwrap()).await, "hi");
            settle().await;
            assert_eq!((cluster.resting(), cluster.open()), (0, 0));
        }
    });
}

#[test]
fn what_a_server_says_before_it_is_asked_is_no_answer() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            let (ours, mut theirs) = duplex(1024);
            let said = theirs.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").now_or_never();
            said.expect("room in the pipe").unwrap();
            let server = async move {
                let mut sink = Vec::new();
                theirs.read_to_end(&mut sink).await.unwrap();
                assert!(sink.is_empty(), "nothing was sent");
            };
            Step::Serve(Box::pin(server), ours)
        });
        let error = send(&cluster, get("/x"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::Violation(Violation::Early))), "{error:?}");
        assert_eq!(error.delivery, Delivery::Unsent);
        assert_eq!(error.request.unwrap().uri(), "http://a.example/x");
        assert_eq!(cluster.open(), 0);
    });
}

#[test]
fn trailers_come_down_and_go_up_if_they_were_promised() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                let head = read_head(&mut stream).await.unwrap();
                assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
                let mut body = [0; 26];
                stream.read_exact(&mut body).await.unwrap();
                assert_eq!(&body, b"2\r\nhi\r\n0\r\nx-sum: a+b/c\r\n\r\n");
                let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhey\r\n0\r\nX-Sum: 7\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                canned(stream, HELLO).await;
            })
        });
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("a+b/c"));
        trailers.insert("x-unannounced", HeaderValue::from_static("1"));
        let frames = futures_util::stream::iter([
            Ok(http_body::Frame::data(Bytes::from_static(b"hi"))),
            Ok(http_body::Frame::trailers(trailers)),
        ]);
        let mut request = post("/", Box::pin(http_body_util::StreamBody::new(frames)));
        request.headers_mut().insert(TRAILER, HeaderValue::from_static("X-Sum"));
        let body = send(&cluster, request, &options()).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "7");
        assert_eq!(body.to_bytes(), "hey");
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (1, 1));
    });
}

#[test]
fn a_head_and_a_small_body_leave_in_one_write() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                let mut buffer = [0; 1024];
                let len = stream.read(&mut buffer).await.unwrap();
                let whole = "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nmoney";
                assert_eq!(std::str::from_utf8(&buffer[..len]).unwrap(), whole);
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                canned(stream, HELLO).await;
            })
        });
        let response = send(&cluster, post("/", full("money")), &options()).await.unwrap();
        assert_eq!(text(response).await, "hello");
    });
}

#[test]
fn a_server_that_answers_and_takes_no_more_is_heard() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                read_head(&mut stream).await.unwrap();
                let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
                stream.write_all(answer.as_bytes()).await.unwrap();
            })
        });
        let frames = futures_util::stream::unfold(0u32, |sent| async move {
            tokio::task::yield_now().await;
            Some((Ok(http_body::Frame::data(Bytes::from(vec![0; 100_000]))), sent + 1))
        });
        let body: TestBody = Box::pin(http_body_util::StreamBody::new(frames));
        let response = send(&cluster, post("/", body), &options()).await.unwrap();
        assert_eq!((response.status().as_u16(), text(response).await.as_str()), (413, "no"));
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (0, 0));
        assert_nothing_held(&cluster);
    });
}

#[test]
fn an_upload_goes_on_while_its_response_comes() {
    run(async {
        // An echo: the response begins before the request has ended.
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                read_head(&mut stream).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n").await.unwrap();
                let (mut reading, mut writing) = tokio::io::split(stream);
                tokio::io::copy(&mut AsyncReadExt::take(&mut reading, 300_000), &mut writing).await.unwrap();
                canned(reading.unsplit(writing), HELLO).await;
            })
        });
        let frames = futures_util::stream::iter(
            (0..300u32).map(|n| Ok(http_body::Frame::data(Bytes::from(vec![n as u8; 1000])))),
        );
        let mut request = post("/", Box::pin(http_body_util::StreamBody::new(frames)));
        request.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("300000"));
        let body = send(&cluster, request, &options()).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!((body.len(), body[299_999]), (300_000, 43));
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (1, 1));
        assert_eq!(text(send(&cluster, get("/"), &options()).await.unwrap()).await, "hello");
    });
}

#[test]
fn a_request_whose_body_was_begun_comes_back_as_a_head_if_nothing_left() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            let (mut ours, closed) = duplex(64);
            // Reads never end, writes fail: its own side has closed it for writing.
            ours.shutdown().now_or_never().expect("at once").unwrap();
            Step::Serve(
                Box::pin(async move {
                    sleep(Duration::from_secs(5)).await;
                    drop(closed);
                }),
                ours,
            )
        });
        let error = send(&cluster, post("/x", full("money")), &options()).await.unwrap_err();
        assert_eq!((error.delivery, error.request.is_none()), (Delivery::Unsent, true), "{error:?}");
        assert_eq!(error.head.unwrap().uri, "http://a.example/x");
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_close_at_rest_is_heard_over_tcp_and_the_next_request_gets_another_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut model = model(UpstreamProtocol::Http1, &[]);
        let address = EndpointAddress::Ip(listener.local_addr().unwrap());
        model.endpoints.push(Endpoint { address, weight: 1, identity: None, metadata: None });
        let state = ClusterState::new(Arc::new(model));
        let cluster: TestCluster = WorkerCluster::new(
            state,
            Rc::new(crate::io::Tcp::default()),
            Rc::new(Random::seeded(1)),
            Rc::default(),
            Rc::default(),
        );
        for _ in 0..3 {
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                for _ in 0..2 {
                    assert!(stream.read(&mut buffer).await.unwrap() > 0);
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                }
                stream
            };
            let client = async {
                let options = options();
                for _ in 0..2 {
                    assert_eq!(text(send(&cluster, get("/"), &options).await.unwrap()).await, "hello");
                }
            };
            let (stream, ()) = tokio::join!(server, client);
            assert_eq!((cluster.resting(), cluster.open()), (1, 1));
            drop(stream);
            let gone = async {
                while cluster.open() > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), gone).await.expect("reaped");
            assert_eq!(cluster.resting(), 0);
        }
    });
}
