//! Tasks that wait for answers to calls of guests, and hand them to the machines.

use super::{Call, LINGER};
use crate::vm::{Machine, state::Shown};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use pillion_core::exchange::filter::{
    CallError, GrpcEvent, GrpcEvents, GrpcReply, GrpcStream, HttpReply, Metadata, Services, Task,
};
use std::{future::Future, rc::Weak};

/// Waits for the answer to an HTTP call.
pub fn http(
    services: &Services,
    machine: Weak<Machine>,
    root: u32,
    token: u32,
    answer: impl Future<Output = Result<HttpReply, CallError>> + 'static,
) -> Task {
    services.spawn(async move {
        let answer = answer.await;
        let Some(machine) = machine.upgrade() else { return };
        let shown = match answer {
            Ok(reply) => Shown::HttpCall {
                status: reply.status,
                headers: reply.headers,
                body: reply.body,
                trailers: reply.trailers,
            },
            Err(error) => {
                tell(&machine, root, &error);
                // As Envoy tells a filter: a response that says what went wrong, unless one had begun.
                match error.as_response() {
                    None => Shown::CallReset,
                    Some((status, text)) => {
                        let (headers, body) = (described(text), Bytes::from_static(text.as_bytes()));
                        Shown::HttpCall { status, headers, body, trailers: None }
                    }
                }
            }
        };
        machine.http_answered(root, token, shown);
    })
}

/// Waits for the answer to a gRPC call.
pub fn grpc(
    services: &Services,
    machine: Weak<Machine>,
    root: u32,
    token: u32,
    answer: impl Future<Output = Result<GrpcReply, CallError>> + 'static,
) -> Task {
    services.spawn(async move {
        let answer = answer.await;
        let Some(machine) = machine.upgrade() else { return };
        match answer {
            Ok(GrpcReply { status: 0, body: Some(message), .. }) => {
                machine.grpc_message(root, token, message, Last::Yes)
            }
            // A call that went well has a message; without one something is wrong with the server.
            Ok(GrpcReply { status: 0, body: None, .. }) => {
                machine.grpc_closed(root, token, INTERNAL, b"no message".to_vec());
            }
            Ok(reply) => machine.grpc_closed(root, token, reply.status, reply.message),
            Err(error) => {
                tell(&machine, root, &error);
                let (status, message) = error.as_grpc();
                machine.grpc_closed(root, token, status, message.into_bytes());
            }
        }
    })
}

/// The fields of a response that stands in for a server's, as Envoy's.
fn described(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !text.is_empty() {
        headers.insert(CONTENT_LENGTH, text.len().into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    headers
}

/// A gRPC stream, whose events are handed on until it ends.
pub fn grpc_stream(
    services: &Services,
    machine: Weak<Machine>,
    root: u32,
    token: u32,
    (sending, mut events): (GrpcStream, GrpcEvents),
) -> Call {
    let task = services.spawn(async move {
        hand_on(&machine, root, token, &mut events).await;
        // Its guest is gone, or it is over. Beyond that time the stream is reset as its events are dropped.
        let rest = async { while let Ok(Some(_)) = events.next().await {} };
        let _ = tokio::time::timeout(LINGER, rest).await;
    });
    Call { root, task, stream: Some(sending), closed: false }
}

async fn hand_on(machine: &Weak<Machine>, root: u32, token: u32, events: &mut GrpcEvents) {
    loop {
        let event = events.next().await;
        let Some(machine) = machine.upgrade().filter(|machine| machine.goes_on(token)) else { return };
        match event {
            Ok(Some(GrpcEvent::Initial(metadata))) => machine.grpc_initial(root, token, metadata),
            Ok(Some(GrpcEvent::Message(message))) => {
                machine.grpc_message(root, token, message, Last::No);
                drop(machine);
                // A server that says much at once must not keep the worker to itself.
                tokio::task::yield_now().await;
            }
            Ok(Some(GrpcEvent::Trailing(metadata))) => machine.grpc_trailing(root, token, metadata),
            Ok(Some(GrpcEvent::Closed(code, message))) => {
                return machine.grpc_closed(root, token, code, message);
            }
            Ok(None) => return,
            Err(error) => return stream_failed(&machine, root, token, &error),
        }
    }
}

/// As Envoy tells a filter: by trailers that came alone and say what went wrong, unless a response had begun.
pub(super) fn stream_failed(machine: &Machine, root: u32, token: u32, error: &CallError) {
    tell(machine, root, error);
    let (status, message) = error.as_grpc();
    let mut trailing = Metadata::default();
    if error.as_response().is_some() {
        machine.grpc_initial(root, token, Metadata::default());
        trailing.status = Some(StatusCode::OK);
        trailing.fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        trailing.fields.insert("grpc-status", status.into());
        if let Ok(message) = HeaderValue::from_str(&message) {
            trailing.fields.insert("grpc-message", message);
        }
    }
    if machine.goes_on(token) {
        machine.grpc_trailing(root, token, trailing);
    }
    machine.grpc_closed(root, token, status, message.into_bytes());
}

/// Has it logged where the guest's own limit, or what it said, is why a call failed.
fn tell(machine: &Machine, root: u32, error: &CallError) {
    match error {
        error if error.is_unwritable() => machine.unsayable(root, error),
        CallError::TooLarge => machine.answer_too_large(root),
        CallError::NoRoom(_) => machine.no_room(root),
        CallError::Timeout
        | CallError::Late
        | CallError::Upstream(_)
        | CallError::Unwritable(_)
        | CallError::Broken
        | CallError::Gone => {}
    }
}

/// Whether a message ends its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// More may follow.
    No,
    /// Nothing follows.
    Yes,
}

/// `INTERNAL` (gRPC status codes).
const INTERNAL: u32 = 13;
