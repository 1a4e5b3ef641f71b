use super::*;
use crate::framing::Violation;
use crate::telemetry::Blame;
use http::header::{HOST, TE};

#[test]
fn a_connection_is_used_again_and_the_wire_is_origin_form() {
    run(async {
        let (cluster, script) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                let head = read_head(&mut stream).await.unwrap();
                assert_eq!(head, "GET /x?y=1 HTTP/1.1\r\nhost: a.example\r\n\r\n");
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                canned(stream, HELLO).await;
            })
        });
        for _ in 0..3 {
            let response = send(&cluster, get("/x?y=1"), &options()).await.unwrap();
            assert_eq!(cluster.state().describe().requests, 1);
            assert_eq!(text(response).await, "hello");
        }
        assert_eq!(script.dialed.borrow().len(), 1);
        assert_eq!((cluster.resting(), cluster.open()), (1, 1));
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_body_dropped_halfway_takes_its_connection_along() {
    run(async {
        let (cluster, script) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|stream| canned(stream, "HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\nhello"))
        });
        drop(send(&cluster, get("/"), &options()).await.unwrap());
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (0, 0));
        assert_nothing_held(&cluster);
        drop(send(&cluster, get("/"), &options()).await.unwrap());
        assert_eq!(script.dialed.borrow().len(), 2);
    });
}

#[test]
fn idle_connections_expire_and_leave_no_timer() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| serve(|stream| canned(stream, HELLO)));
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        sleep(Duration::from_secs(59)).await;
        assert_eq!(cluster.resting(), 1);
        sleep(Duration::from_secs(2)).await;
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (0, 0));
        assert_eq!(cluster.state().describe().connections, 0);
    });
}

#[test]
fn resting_connections_are_bounded_and_can_be_closed() {
    run(async {
        let mut model = model(UpstreamProtocol::Http1, &[80]);
        model.idle_connections = 2;
        let (cluster, _) = cluster(model, |_, _| serve(|stream| canned(stream, HELLO)));
        let (request_options, mut responses) = (options(), Vec::new());
        for _ in 0..4 {
            responses.push(send(&cluster, get("/"), &request_options).await.unwrap());
        }
        for response in responses {
            text(response).await;
        }
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (2, 2));
        cluster.close_idle();
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (0, 0));
    });
}

#[test]
fn a_connection_closed_at_rest_is_not_used() {
    run(async {
        let (cluster, script) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                read_head(&mut stream).await.unwrap();
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                sleep(Duration::from_secs(1)).await;
            })
        });
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        assert_eq!(cluster.resting(), 1);
        sleep(Duration::from_secs(2)).await;
        assert_eq!((cluster.resting(), cluster.open()), (0, 0), "pruned when the peer closed it");
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        assert_eq!(script.dialed.borrow().len(), 2);
    });
}

#[test]
fn a_close_that_crosses_the_request_says_what_is_known() {
    run(async {
        // The server closes in the very turn in which the request is sent: the codec has not seen it.
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                read_head(&mut stream).await.unwrap();
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                read_head(&mut stream).await;
            })
        });
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        let error = send(&cluster, get("/"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::Closed)), "{error:?}");
        assert_eq!((error.carrier, error.delivery), (Carrier::Reused, Delivery::Unanswered));
        assert!(error.request.is_none());
        let head = error.head.expect("for who may send it twice");
        assert_eq!((head.uri.to_string().as_str(), head.headers.len()), ("http://a.example/", 0));
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_request_on_a_connection_that_just_closed_is_handed_back_whole() {
    run(async {
        let kept = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&kept);
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), move |_, _| {
            let keep = Rc::clone(&keep);
            serve(|mut stream| async move {
                read_head(&mut stream).await.unwrap();
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                *keep.borrow_mut() = Some(stream);
            })
        });
        text(send(&cluster, get("/"), &options()).await.unwrap()).await;
        settle().await;
        // The codec's task gets no turn between the close and the request.
        drop(kept.take().unwrap());
        let mut request = post("/pay?x=1", full("money"));
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        match send(&cluster, request, &options()).await {
            Err(error) => {
                assert_eq!((error.carrier, error.delivery), (Carrier::Reused, Delivery::Unsent), "{error:?}");
                let request = error.request.expect("handed back");
                assert_eq!(request.uri(), "http://a.example/pay?x=1");
                assert!(!request.headers().contains_key(HOST) && request.headers().contains_key(TE));
                assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "money");
            }
            Ok(response) => panic!("{response:?}"),
        }
        assert_nothing_held(&cluster);
    });
}

#[test]
fn a_response_nobody_asked_for_is_a_violation() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|stream| canned(stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"))
        });
        let error = send(&cluster, get("/"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::Violation(_))), "{error:?}");
        assert_eq!((error.delivery, error.cause.blame()), (Delivery::Answered, Blame::Upstream));
        let _: Violation;
        settle().await;
        assert_eq!(cluster.open(), 0);
    });
}

#[test]
fn a_failing_request_body_is_not_the_upstreams_fault() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                let mut sink = Vec::new();
                stream.read_to_end(&mut sink).await.ok();
            })
        });
        let frames = futures_util::stream::iter([
            Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
            Err(BodyError::GivenUp(crate::body::GivenUp::Ended)),
        ]);
        let body: TestBody = Box::pin(http_body_util::StreamBody::new(frames));
        let error = send(&cluster, post("/", body), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::RequestBody)), "{error:?}");
        assert_eq!(error.cause.blame(), Blame::Downstream);
        assert_nothing_held(&cluster);
    });
}

#[test]
fn interim_responses_reach_the_hook_before_the_answer() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|stream| {
                canned(
                    stream,
                    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                )
            })
        });
        let heard = Rc::new(RefCell::new(Vec::new()));
        let hook = Rc::clone(&heard);
        let with_hook = SendOptions {
            on_informational: Some(Rc::new(move |status: StatusCode, headers: &HeaderMap| {
                hook.borrow_mut().push((status.as_u16(), headers["link"].clone()));
            })),
            ..options()
        };
        for (options, count) in [(with_hook, 1), (options(), 1)] {
            let response = send(&cluster, get("/"), &options).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(heard.borrow().len(), count);
        }
        assert_eq!(heard.borrow()[0], (103, HeaderValue::from_static("</a>")));
    });
}

#[test]
fn an_early_answer_rests_only_once_the_request_is_out() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| {
            serve(|mut stream| async move {
                read_head(&mut stream).await.unwrap();
                stream.write_all(HELLO.as_bytes()).await.unwrap();
                let mut sink = Vec::new();
                stream.read_to_end(&mut sink).await.ok();
            })
        });
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|data| (Ok(http_body::Frame::data(data)), receiver))
        });
        let body: TestBody = Box::pin(http_body_util::StreamBody::new(frames));
        assert_eq!(text(send(&cluster, post("/", body), &options()).await.unwrap()).await, "hello");
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (0, 1), "still sending");
        drop(sender);
        settle().await;
        assert_eq!((cluster.resting(), cluster.open()), (1, 1));
    });
}

#[test]
fn a_dropped_cluster_closes_what_rests_and_lets_the_rest_finish() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| serve(|stream| canned(stream, HELLO)));
        let (one, two) =
            (send(&cluster, get("/"), &options()).await.unwrap(), send(&cluster, get("/"), &options()).await.unwrap());
        text(one).await;
        let state = Arc::clone(cluster.state());
        drop(cluster);
        settle().await;
        assert_eq!(state.describe().connections, 1);
        assert_eq!(text(two).await, "hello");
        settle().await;
        assert_eq!((state.describe().connections, state.describe().requests), (0, 0));
    });
}

#[test]
fn the_future_stays_small() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| Step::Hang);
        let options = options();
        let future = send(&cluster, get("/"), &options);
        assert!(size_of_val(&future) <= 2624, "{} bytes", size_of_val(&future));
        assert!(size_of::<Incoming>() <= 120, "{} bytes", size_of::<Incoming>());
        let connection = size_of::<super::super::http1::Http1Connection>();
        assert!(connection <= 512, "{connection} bytes");
    });
}
