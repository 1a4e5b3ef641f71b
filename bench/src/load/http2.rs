//! HTTP/2 and gRPC unary calls, by the h2 crate: some streams that share a connection.

use super::{
    fault::Fault,
    line::Context,
    plan::{Application, Reuse},
    request::Request,
    tally::Good,
};
use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderMap;
use std::{future::poll_fn, task::Poll};
use tokio::sync::Mutex;

/// A server may say goodbye at any time, and other streams may use a new connection up before this one gets to it; a
/// request that found so many gone one after another has failed.
const GOODBYES: usize = 16;

/// A connection that several streams share; whoever finds it gone makes the next.
#[derive(Debug, Default)]
pub(super) struct Shared {
    current: Mutex<Option<Handle>>,
}

/// A way to send on a connection.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    send: SendRequest<Bytes>,
    /// Tells one connection from those before it.
    number: u64,
}

impl Shared {
    /// Over a connection made before, if it could be.
    pub(super) fn over(send: Option<SendRequest<Bytes>>) -> Self {
        Self { current: Mutex::new(send.map(|send| Handle { send, number: 0 })) }
    }

    /// A connection that is not `gone`.
    async fn handle(&self, context: &Context, gone: Option<u64>) -> Result<Handle, Fault> {
        let mut current = self.current.lock().await;
        let number = match &*current {
            Some(handle) if gone.is_none_or(|gone| handle.number > gone) => return Ok(handle.clone()),
            Some(handle) => handle.number + 1,
            None => gone.map_or(0, |gone| gone + 1),
        };
        *current = None;
        let handle = Handle { send: context.connect_http2().await?, number };
        *current = Some(handle.clone());
        Ok(handle)
    }
}

impl Handle {
    /// The connection is gone.
    pub(super) async fn is_closed(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(matches!(self.send.poll_ready(cx), Poll::Ready(Err(_))))).await
    }
}

/// How an attempt failed.
enum Failed {
    /// The server cannot have seen the request: it goes again, on another connection.
    Unsent,
    Faulted(Fault),
}

/// One request and its answer. `mine` is what this stream used last.
pub(super) async fn exchange(
    context: &Context,
    request: &Request,
    shared: &Shared,
    mine: &mut Option<Handle>,
) -> Result<Good, Fault> {
    let mut gone = None;
    for _attempt in 0..GOODBYES {
        let handle = match (mine.take(), context.plan.reuse) {
            (Some(handle), _) => handle,
            (None, Reuse::KeepAlive) => shared.handle(context, gone).await?,
            (None, Reuse::NewConnection) => Handle { send: context.connect_http2().await?, number: 0 },
        };
        gone = Some(handle.number);
        let Ok(send) = handle.send.ready().await else { continue };
        let mut handle = Handle { send, number: handle.number };
        match ask(context, request, &mut handle.send).await {
            Ok(good) => {
                if context.plan.reuse == Reuse::KeepAlive {
                    *mine = Some(handle);
                }
                return Ok(good);
            }
            Err(Failed::Unsent) => {}
            // The connection may be good still: whether it is, `ready` says next time.
            Err(Failed::Faulted(fault)) => {
                if context.plan.reuse == Reuse::KeepAlive {
                    *mine = Some(handle);
                }
                return Err(fault);
            }
        }
    }
    Err(Fault::Closed)
}

async fn ask(context: &Context, request: &Request, send: &mut SendRequest<Bytes>) -> Result<Good, Failed> {
    let ends = request.body.is_empty();
    let (response, mut body) = send.send_request(request.http2.clone(), ends).map_err(|error| failed(&error))?;
    if !ends {
        body.send_data(request.body.clone(), true).map_err(|error| failed(&error))?;
    }
    let (head, mut body) = response.await.map_err(|error| failed(&error))?.into_parts();
    let mut received = 0;
    let mut comparison = request.compare(&context.compared);
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| cut(&error))?;
        received += data.len() as u64;
        comparison.see(&data);
        body.flow_control().release_capacity(data.len()).map_err(|error| failed(&error))?;
    }
    let good = request.judge(head.status.as_u16(), received);
    if context.plan.application == Application::Grpc {
        let trailers = body.trailers().await.map_err(|error| cut(&error))?;
        let good = good.and_then(|good| grpc_ok(&head.headers, trailers.as_ref()).map(|()| good));
        return good.and_then(|good| comparison.judge().map(|()| good)).map_err(Failed::Faulted);
    }
    good.and_then(|good| comparison.judge().map(|()| good)).map_err(Failed::Faulted)
}

fn failed(error: &h2::Error) -> Failed {
    // Only streams behind the last one that was taken are told of a goodbye without a fault.
    if error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR) {
        Failed::Unsent
    } else if error.reason() == Some(h2::Reason::REFUSED_STREAM) && error.is_remote() {
        Failed::Faulted(Fault::Reset)
    } else {
        Failed::Faulted(Fault::of_h2(error))
    }
}

/// Within the body.
fn cut(error: &h2::Error) -> Failed {
    let ended = error.get_io().is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof);
    Failed::Faulted(if ended { Fault::ShortBody } else { Fault::of_h2(error) })
}

/// The status is in the trailers, or in the head of an answer that has nothing else.
fn grpc_ok(head: &HeaderMap, trailers: Option<&HeaderMap>) -> Result<(), Fault> {
    let status = trailers.and_then(|trailers| trailers.get("grpc-status")).or_else(|| head.get("grpc-status"));
    if status.is_some_and(|status| status == "0") { Ok(()) } else { Err(Fault::GrpcStatus) }
}
