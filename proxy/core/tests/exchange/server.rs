//! Scripted upstreams: raw bytes, or the h2 crate over a pipe.

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response};
use std::{future::Future, io};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::spawn_local,
};

/// What a dial meets.
pub(crate) enum Step {
    Serve(LocalBoxFuture<'static, ()>, DuplexStream),
    Fail(io::ErrorKind),
    Hang,
}

pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A server on the other end of a pipe.
pub(crate) fn serve<F: Future<Output = ()> + 'static>(server: impl FnOnce(DuplexStream) -> F) -> Step {
    let (ours, theirs) = duplex(64 * 1024);
    Step::Serve(Box::pin(server(theirs)), ours)
}

/// Takes what comes and says nothing.
pub(crate) fn silent() -> Step {
    serve(|mut stream| async move {
        stream.read_to_end(&mut Vec::new()).await.ok();
    })
}

/// Answers every request without a body with these bytes.
pub(crate) fn canned(response: impl Into<String>) -> Step {
    let response = response.into();
    serve(|mut stream| async move {
        while head(&mut stream).await.is_some() {
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    })
}

/// Answers every request by telling its head; a body by Content-Length is read and told too.
pub(crate) fn echo() -> Step {
    serve(|mut stream| async move {
        while let Some(head) = head(&mut stream).await {
            let mut told = head.clone().into_bytes();
            let mut body = vec![0; length(&head)];
            stream.read_exact(&mut body).await.unwrap();
            told.extend(body);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", told.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(&told).await.unwrap();
        }
    })
}

/// Reads a head; `None` at the end of the stream.
pub(crate) async fn head(stream: &mut DuplexStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

pub(crate) fn length(head: &str) -> usize {
    let line =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    line.map_or(0, |length| length.parse().unwrap())
}

/// An HTTP/2 server that handles each stream as the test says.
pub(crate) fn http2<F, Fut>(handle: F) -> Step
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    serve(|stream| async move {
        let mut builder = h2::server::Builder::new();
        let Ok(mut connection) =
            builder.enable_connect_protocol().data_frame_budget(usize::MAX).handshake(stream).await
        else {
            return;
        };
        while let Some(Ok((request, respond))) = connection.accept().await {
            spawn_local(handle(request, respond));
        }
    })
}

/// Tells the request's head as the answer's body.
pub(crate) async fn tell(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let mut told = format!("{} {}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        told += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        told += std::str::from_utf8(&data).unwrap();
    }
    if let Ok(Some(trailers)) = body.trailers().await {
        for (name, value) in &trailers {
            told += &format!("trailer {name}: {}\n", value.to_str().unwrap());
        }
    }
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(told.into(), true).unwrap();
}
