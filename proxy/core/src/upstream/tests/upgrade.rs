use super::*;
use http::header::{CONNECTION, UPGRADE};
use std::future::poll_fn;

static WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

fn upgrading() -> SendOptions<'static> {
    SendOptions { upgrade: Some(&WEBSOCKET), ..options() }
}

async fn exchange(response: Response<Incoming>, cluster: &TestCluster) {
    let Incoming::Upgraded(mut stream) = response.into_body() else { panic!("not a stream") };
    assert_eq!(cluster.state().describe().requests, 1);
    let mut early = [0; 5];
    stream.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early");
    // More than any window, both ways at once.
    let (mut reading, mut writing) = tokio::io::split(stream);
    let up = vec![b'u'; 1_000_000];
    let (down, ()) = tokio::join!(
        async {
            let mut down = Vec::new();
            reading.read_to_end(&mut down).await.unwrap();
            down
        },
        async {
            writing.write_all(&up).await.unwrap();
            writing.shutdown().await.unwrap();
        }
    );
    assert!(down == up, "{} of {} bytes came back", down.len(), up.len());
}

/// Switches protocols, and sends back what it is sent then; knows no HTTP/2.
async fn switches(mut stream: DuplexStream) {
    let head = read_head(&mut stream).await.unwrap();
    if head.starts_with("PRI ") {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        return;
    }
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly";
    stream.write_all(answer.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    tokio::io::copy(&mut reading, &mut writing).await.unwrap();
    writing.shutdown().await.unwrap();
}

#[test]
fn an_upgrade_over_http2_goes_by_what_the_server_speaks() {
    run(async {
        let (cluster, script) = cluster(model(UpstreamProtocol::SameAsDownstream, &[80]), |_, _| serve(switches));
        for _ in 0..2 {
            let mut request = get("/chat");
            *request.method_mut() = Method::CONNECT;
            let over_http2 = SendOptions { downstream: Version::HTTP_2, ..upgrading() };
            let response = send(&cluster, request, &over_http2).await.unwrap();
            assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
            exchange(response, &cluster).await;
        }
        assert_eq!(script.dialed.borrow().len(), 3, "asked once");
        settle().await;
        assert_nothing_held(&cluster);
    });
}

#[test]
fn http1_switches_protocols_and_holds_its_places() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| serve(switches));
        let response = send(&cluster, get("/chat"), &upgrading()).await.unwrap();
        assert_eq!((response.status(), &response.headers()[UPGRADE]), (StatusCode::SWITCHING_PROTOCOLS, &WEBSOCKET));
        assert!(response.headers().contains_key(CONNECTION));
        settle().await;
        assert_eq!((cluster.state().describe().connections, cluster.open()), (1, 1));
        exchange(response, &cluster).await;
        settle().await;
        assert_eq!((cluster.state().describe().connections, cluster.open()), (0, 0));
        assert_nothing_held(&cluster);
    });
}

#[test]
fn an_upgrade_declined_is_a_response_like_another() {
    run(async {
        let (cluster, script) =
            cluster(model(UpstreamProtocol::Http1, &[80]), |_, _| serve(|stream| canned(stream, HELLO)));
        for _ in 0..2 {
            assert_eq!(text(send(&cluster, get("/"), &upgrading()).await.unwrap()).await, "hello");
        }
        assert_eq!((script.dialed.borrow().len(), cluster.resting()), (1, 1));
        let unasked = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        let (cluster, _) = super::cluster(model(UpstreamProtocol::Http1, &[80]), move |_, _| {
            serve(move |stream| canned(stream, unasked))
        });
        let error = send(&cluster, get("/"), &options()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Request(RequestError::Violation(_))), "{error:?}");
    });
}

#[test]
fn connect_is_the_connection_itself() {
    run(async {
        for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
            let (cluster, _) = cluster(model(protocol, &[80]), |_, _| {
                serve(|mut stream| async move {
                    stream.write_all(b"early").await.unwrap();
                    let (mut reading, mut writing) = tokio::io::split(stream);
                    tokio::io::copy(&mut reading, &mut writing).await.unwrap();
                    writing.shutdown().await.unwrap();
                })
            });
            let request = Request::connect("b.example:443").body(empty()).unwrap();
            exchange(send(&cluster, request, &options()).await.unwrap(), &cluster).await;
            settle().await;
            assert_nothing_held(&cluster);
            assert_eq!(cluster.open(), 0);
        }
    });
}

#[test]
fn http2_takes_an_upgrade_as_extended_connect() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http2, &[80]), |_, _| {
            serve(|stream| async move {
                let mut builder = h2::server::Builder::new();
                let mut connection = builder.enable_connect_protocol().handshake(stream).await.unwrap();
                let (request, mut respond) = connection.accept().await.unwrap().unwrap();
                assert_eq!(request.method(), "CONNECT");
                assert_eq!(request.uri(), "http://a.example/chat");
                assert_eq!(request.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
                spawn_local(async move { poll_fn(|cx| connection.poll_closed(cx)).await });
                let mut send = respond.send_response(Response::new(()), false).unwrap();
                send.send_data(Bytes::from_static(b"early"), false).unwrap();
                let stream = crate::tunnel::h2_stream::H2Stream::new(send, request.into_body(), &Rc::default());
                let (mut reading, mut writing) = tokio::io::split(stream);
                tokio::io::copy(&mut reading, &mut writing).await.unwrap();
                writing.shutdown().await.unwrap();
            })
        });
        let response = send(&cluster, get("/chat"), &upgrading()).await.unwrap();
        exchange(response, &cluster).await;
        settle().await;
        assert_nothing_held(&cluster);
    });
}

#[test]
fn http2_without_extended_connect_says_so() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http2, &[80]), |_, _| {
            serve(|stream| async move {
                let mut connection = h2::server::Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
                assert!(connection.accept().await.is_none_or(|request| request.is_err()));
            })
        });
        let error = send(&cluster, get("/chat"), &upgrading()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::UpgradeUnsupported), "{error:?}");
        assert_eq!((error.delivery, error.request.unwrap().method().as_str()), (Delivery::Unsent, "GET"));
        assert_nothing_held(&cluster);
    });
}

#[test]
fn http2_may_decline() {
    run(async {
        let (cluster, _) = cluster(model(UpstreamProtocol::Http2, &[80]), |_, _| {
            serve(|stream| async move {
                let mut builder = h2::server::Builder::new();
                let mut connection = builder.enable_connect_protocol().handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = Response::builder().status(403).body(()).unwrap();
                    respond.send_response(head, false).unwrap().send_data(Bytes::from_static(b"no"), true).unwrap();
                }
            })
        });
        let response = send(&cluster, get("/chat"), &upgrading()).await.unwrap();
        assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::FORBIDDEN, "no"));
        settle().await;
        assert_nothing_held(&cluster);
    });
}
