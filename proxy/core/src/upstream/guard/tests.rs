//! The guard with hyper's client behind it and a scripted upstream before it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Parts, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::*;
use crate::framing::Fault;

struct Fixture {
    upstream: DuplexStream,
    handle: ResponseHandle,
    sender: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<hyper::Result<Parts<TokioIo<GuardedUpstream<DuplexStream>>>>>,
}

impl Fixture {
    async fn new() -> Self {
        let (client, upstream) = tokio::io::duplex(1 << 16);
        let (socket, handle) = GuardedUpstream::new(client, Limits::default());
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("a handshake");
        Self { upstream, handle, sender, connection: spawn_local(connection.without_shutdown()) }
    }

    /// Sends a request; the upstream answers it with `script` once it has come.
    async fn exchange(
        &mut self,
        method: Method,
        upgrade: UpgradeAsked,
        script: &str,
    ) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.handle.expect_response(&method, upgrade);
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method;
        request.headers_mut().insert("host", "a".parse().expect("a value"));
        let upstream = &mut self.upstream;
        let answer = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(upstream.read_u8().await.expect("a request"));
            }
            for piece in script.as_bytes().chunks(7) {
                // A violation may have closed the connection already.
                let _ = upstream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
        };
        let (response, ()) = tokio::join!(self.sender.send_request(request), answer);
        response
    }
}

macro_rules! guarded {
    ($name:ident, $body:expr) => {
        #[tokio::test(start_paused = true)]
        async fn $name() {
            let local = LocalSet::new();
            let limit = timeout(Duration::from_secs(60), local.run_until($body));
            limit.await.expect("an end");
        }
    };
}

guarded!(responses_pass_one_after_the_other, async {
    let mut it = Fixture::new().await;
    for (method, script, body) in [
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ""),
        (
            Method::POST,
            "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "hi",
        ),
        (Method::GET, "HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", ""),
    ] {
        let response = it.exchange(method, UpgradeAsked::No, script).await.expect("a response");
        assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), body);
        assert!(it.handle.is_idle());
        assert_eq!(it.handle.bytes_answered(), script.len() as u64);
        assert!(it.handle.bytes_sent() > 0);
    }
});

guarded!(a_malformed_head_never_becomes_a_response, async {
    for (script, violation) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::LengthAndEncoding.into()),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Fault::RepeatedLength.into()),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Fault::ObsFold.into()),
        ("HTTP/1.1 101 S\r\n\r\n", Violation::UnaskedUpgrade),
    ] {
        let mut it = Fixture::new().await;
        let error = it.exchange(Method::GET, UpgradeAsked::No, script).await.expect_err(script);
        assert_eq!(ResponseViolation::find(&error), Some(ResponseViolation(violation)), "{script:?}");
        assert_eq!(it.handle.violation(), Some(violation));
        assert!(it.sender.ready().await.is_err(), "the connection is of no more use");
    }
});

guarded!(a_malformed_body_fails_the_body, async {
    let mut it = Fixture::new().await;
    let script = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX";
    let response = it.exchange(Method::GET, UpgradeAsked::No, script).await.expect("a head");
    let error = response.into_body().collect().await.expect_err("a broken body");
    assert_eq!(ResponseViolation::find(&error), Some(ResponseViolation(Fault::BadChunkEnd.into())));
});

guarded!(bytes_behind_a_response_end_the_connection, async {
    let mut it = Fixture::new().await;
    let script = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad";
    let response = it.exchange(Method::GET, UpgradeAsked::No, script).await.expect("the response itself");
    assert_eq!(response.into_body().collect().await.expect("its body").to_bytes(), "hi");
    assert!(it.sender.ready().await.is_err());
    assert_eq!(it.handle.violation(), Some(Violation::Unsolicited));
});

guarded!(bytes_on_an_idle_connection_end_it, async {
    let mut it = Fixture::new().await;
    it.upstream.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.expect("taken");
    let ended = (&mut it.connection).await.expect("no panic");
    assert!(ended.is_err());
    assert_eq!(it.handle.violation(), Some(Violation::Unsolicited));
});

guarded!(a_response_before_its_request_is_not_its_answer, async {
    let (client, mut upstream) = tokio::io::duplex(1 << 16);
    let (mut socket, handle) = GuardedUpstream::new(client, Limits::default());
    handle.expect_response(&Method::GET, UpgradeAsked::No);
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("taken");
    let error = socket.read(&mut [0; 100]).await.expect_err("too early");
    assert_eq!(ResponseViolation::find(&error), Some(ResponseViolation(Violation::Early)));
    assert_eq!(handle.bytes_sent(), 0);
});

guarded!(an_accepted_upgrade_passes_everything, async {
    let mut it = Fixture::new().await;
    let script = "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\0not http\n";
    let response = it.exchange(Method::GET, UpgradeAsked::Yes, script).await.expect("a response");
    assert_eq!(response.status(), 101);
    let parts = (&mut it.connection).await.expect("no panic").expect("no error");
    let mut io = parts.read_buf.chain(parts.io.into_inner());
    let mut got = [0; 10];
    io.read_exact(&mut got).await.expect("what followed");
    assert_eq!(&got, b"\0not http\n");
    it.upstream.write_all(b"more\r\r\r").await.expect("taken");
    io.read_exact(&mut got[..7]).await.expect("the rest");
    assert_eq!(&got[..7], b"more\r\r\r");
});
