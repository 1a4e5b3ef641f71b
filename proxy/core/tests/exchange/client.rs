//! Clients: raw HTTP/1 bytes, or the h2 crate over a pipe.

use crate::world::World;
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::spawn_local,
};

/// An HTTP/1 answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a field, if there is one.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Sends bytes on a new connection and reads one answer.
pub(crate) async fn ask(world: &World, request: &str) -> Answer {
    let mut client = world.connect();
    client.write_all(request.as_bytes()).await.unwrap();
    answer(&mut client).await
}

/// GET of a path on a new connection.
pub(crate) async fn get(world: &World, path: &str) -> Answer {
    ask(world, &format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n")).await
}

/// Reads one final answer; interim ones are passed over.
pub(crate) async fn answer(client: &mut DuplexStream) -> Answer {
    loop {
        let answer = next(client, false).await;
        if answer.status >= 200 || answer.status == 101 {
            return answer;
        }
    }
}

/// Reads the next answer, an interim one too. `bodiless`: no body follows whatever its head says.
pub(crate) async fn next(client: &mut DuplexStream, bodiless: bool) -> Answer {
    let head = crate::server::head(client).await.expect("an answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let lower = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if bodiless || status < 200 || status == 204 || status == 304 {
    } else if lower.contains("transfer-encoding: chunked") {
        loop {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                match client.read_u8().await {
                    Ok(byte) => size.push(byte),
                    Err(_) => return Answer { status, head, body: String::from_utf8(body).unwrap() + "<cut>" },
                }
            }
            let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            client.read_exact(&mut chunk).await.unwrap();
            body.extend(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if lower.contains("content-length: ") {
        body = vec![0; crate::server::length(&head)];
        client.read_exact(&mut body).await.unwrap();
    } else {
        client.read_to_end(&mut body).await.ok();
    }
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

/// Whether the proxy has closed the connection; waits for it.
pub(crate) async fn closed(client: &mut DuplexStream) -> bool {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest).await {
        Ok(_) => rest.is_empty(),
        Err(_) => true,
    }
}

/// An HTTP/2 client; the connection runs until the sender and all streams are gone.
pub(crate) async fn http2(world: &World) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::Builder::new()
        .enable_push(false)
        .data_frame_budget(usize::MAX)
        .handshake::<_, Bytes>(world.connect())
        .await
        .unwrap();
    spawn_local(connection);
    sender.ready().await.unwrap()
}

/// Sends a head, END_STREAM with it.
pub(crate) async fn fetch(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> Result<Response<RecvStream>, h2::Error> {
    send(sender, request, true).await.0.await
}

/// Sends a head.
pub(crate) async fn send(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    end: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut ready = sender.clone().ready().await.unwrap();
    ready.send_request(request, end).unwrap()
}

/// A body to its end, and the trailers behind it.
pub(crate) async fn body(stream: &mut RecvStream) -> Result<(String, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len()).unwrap();
        all.extend(data);
    }
    let trailers = stream.trailers().await?;
    Ok((String::from_utf8(all).unwrap(), trailers))
}

/// A head for HTTP/2.
pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://a.example{path}"))
}
