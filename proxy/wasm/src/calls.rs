//! Calls of guests under way: their tokens, their tasks, and how an answer finds its way back into the guest.

use crate::vm::{Machine, state::Shown};
use bytes::Bytes;
use http::HeaderMap;
use pillion_core::exchange::filter::{
    CallError, GrpcEvent, GrpcEvents, GrpcReply, GrpcStream, HttpReply, Services, Task,
};
use std::{collections::HashMap, future::Future, rc::Weak};

/// Calls of one machine under way. What it is dropped with is given up.
pub struct Calls {
    machine: Weak<Machine>,
    under_way: HashMap<u32, Call>,
    last: [u32; 3],
}

/// A call under way.
pub struct Call {
    _task: Task,
    sending: Option<GrpcStream>,
}

/// What a call is; it shows in its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 4, 8, 12, …
    Http,
    /// 5, 9, …
    GrpcCall,
    /// 6, 10, …
    GrpcStream,
}

impl Kind {
    /// The kind of a token.
    #[must_use]
    pub fn of(token: u32) -> Option<Self> {
        match token % 4 {
            0 => Some(Self::Http),
            1 => Some(Self::GrpcCall),
            2 => Some(Self::GrpcStream),
            _ => None,
        }
    }
}

impl Call {
    /// A call with the task that waits for its answer.
    #[must_use]
    pub fn new(task: Task, sending: Option<GrpcStream>) -> Self {
        Self { _task: task, sending }
    }
}

impl Calls {
    /// No calls yet, of this machine.
    #[must_use]
    pub fn new(machine: Weak<Machine>) -> Self {
        Self { machine, under_way: HashMap::new(), last: [0; 3] }
    }

    /// The machine they are of.
    #[must_use]
    pub fn machine(&self) -> Weak<Machine> {
        Weak::clone(&self.machine)
    }

    /// A token for a new call; `None`: they are used up.
    pub fn token(&mut self, kind: Kind) -> Option<u32> {
        let class = kind as u32;
        let last = &mut self.last[class as usize];
        *last = last.checked_add(4)?;
        last.checked_add(class)
    }

    /// Notes that a call is under way.
    pub fn begun(&mut self, token: u32, call: Call) {
        self.under_way.insert(token, call);
    }

    /// The sending half of a stream.
    #[must_use]
    pub fn sending(&self, token: u32) -> Option<&GrpcStream> {
        self.under_way.get(&token)?.sending.as_ref()
    }

    /// Gives a call up; `None`: there is none.
    pub fn cancel(&mut self, token: u32) -> Option<()> {
        let call = self.under_way.remove(&token)?;
        if let Some(sending) = &call.sending {
            sending.cancel();
        }
        Some(())
    }

    /// Forgets a call that was answered; what it was, to be dropped outside of the store.
    pub fn take(&mut self, token: u32) -> Option<Call> {
        self.under_way.remove(&token)
    }

    /// Gives all calls up.
    pub fn clear(&mut self) {
        self.under_way.clear();
    }
}

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
                status: Some(reply.status),
                headers: reply.headers,
                body: reply.body,
                trailers: reply.trailers.unwrap_or_default(),
            },
            Err(error) => {
                // As Envoy tells a filter: a response that says what went wrong.
                let (status, text) = error.as_response();
                let body = Bytes::from_static(text.as_bytes());
                Shown::HttpCall { status: Some(status), headers: HeaderMap::new(), body, trailers: HeaderMap::new() }
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
            Err(error) => machine.grpc_closed(root, token, status(&error), error.to_string().into_bytes()),
        }
    })
}

/// Hands on what happens on a gRPC stream.
pub fn grpc_stream(services: &Services, machine: Weak<Machine>, root: u32, token: u32, mut events: GrpcEvents) -> Task {
    services.spawn(async move {
        loop {
            let event = events.next().await;
            let Some(machine) = machine.upgrade() else { return };
            match event {
                Ok(Some(GrpcEvent::Initial(fields))) => machine.grpc_initial(root, token, fields),
                Ok(Some(GrpcEvent::Message(message))) => machine.grpc_message(root, token, message, Last::No),
                Ok(Some(GrpcEvent::Trailing(fields))) => machine.grpc_trailing(root, token, fields),
                Ok(Some(GrpcEvent::Closed(code, message))) => {
                    return machine.grpc_closed(root, token, code, message);
                }
                Ok(None) => return,
                Err(error) => {
                    return machine.grpc_closed(root, token, status(&error), error.to_string().into_bytes());
                }
            }
        }
    })
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

/// A gRPC status for a call that no server answered.
fn status(error: &CallError) -> u32 {
    match error {
        CallError::Timeout => 4,
        CallError::TooLarge => 8,
        CallError::Upstream(_) | CallError::Broken | CallError::Gone => 14,
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_envoys() {
        let mut calls = Calls::new(Weak::new());
        assert_eq!((calls.token(Kind::Http), calls.token(Kind::Http)), (Some(4), Some(8)));
        assert_eq!((calls.token(Kind::GrpcCall), calls.token(Kind::GrpcStream)), (Some(5), Some(6)));
        assert_eq!(Kind::of(9), Some(Kind::GrpcCall));
        assert_eq!(Kind::of(7), None);
    }
}
