//! HTTP/2 by the h2 crate: bodies by path, and gRPC calls whose message is sent back.

use super::bodies::Bodies;
use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use std::sync::Arc;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
};

/// Serves a connection until the client leaves.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, bodies: Arc<Bodies>) -> Result<(), h2::Error> {
    let mut builder = server::Builder::new();
    // As the client's: flow control is not what is measured.
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24).max_concurrent_streams(1 << 14);
    let mut connection = builder.handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        if is_grpc(&request) || !request.body().is_end_stream() {
            let bodies = Arc::clone(&bodies);
            spawn_local(async move {
                // A stream that fails is its client's to tell of.
                answer_after_body(request, respond, &bodies).await.ok();
            });
        } else {
            // No body to wait for: no task.
            answer(&request, respond, &bodies).ok();
        }
    }
    Ok(())
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn answer<B>(request: &Request<B>, mut respond: SendResponse<Bytes>, bodies: &Bodies) -> Result<(), h2::Error> {
    let body = bodies.find(request.uri().path()).body.clone();
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CONTENT_LENGTH, (body.len() as u64).into());
    let mut stream = respond.send_response(response, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body, true)?;
    }
    Ok(())
}

async fn answer_after_body(
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    bodies: &Bodies,
) -> Result<(), h2::Error> {
    let is_grpc = is_grpc(&request);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(data) = request.body_mut().data().await {
        let data = data?;
        request.body_mut().flow_control().release_capacity(data.len())?;
        // A message in one piece is sent back without a copy.
        match (is_grpc, first.is_empty()) {
            (false, _) => {}
            (true, true) => first = data,
            (true, false) => rest.extend_from_slice(&data),
        }
    }
    if !is_grpc {
        return answer(&request, respond, bodies);
    }
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(first, false)?;
    if !rest.is_empty() {
        stream.send_data(rest.freeze(), false)?;
    }
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
