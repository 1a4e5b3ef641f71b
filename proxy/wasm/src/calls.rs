//! Calls of guests under way: their tokens, their tasks, and how an answer finds its way back into the guest.

use crate::vm::{Machine, state::Shown};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use pillion_core::exchange::filter::{
    CallError, GrpcEvent, GrpcEvents, GrpcReply, GrpcStream, HttpReply, Metadata, Services, Task,
};
use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    rc::Weak,
    time::Duration,
};

/// Calls of one machine under way. What it is dropped with is given up.
pub struct Calls {
    machine: Weak<Machine>,
    under_way: HashMap<u32, Call>,
    /// gRPC streams that are over, until their guest closes or cancels them too, with the plugins they are of.
    over: BTreeMap<u32, u32>,
    last: [u32; 3],
    /// What was said of which plugin.
    told: Vec<(Told, u32)>,
}

/// What is said once of a plugin's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// An answer was larger than it takes.
    TooLarge,
    /// They hold as much as they may.
    NoRoom,
}

/// Streams that are over and that no guest has closed, of one machine: what is remembered of them costs little, and a guest that
/// closes one does so soon. Beyond, those opened first are forgotten.
const MOST_OVER: usize = 4096;

/// A call under way.
pub struct Call {
    /// The plugin it is of.
    root: u32,
    task: Task,
    /// What is sent on a stream.
    stream: Option<GrpcStream>,
    /// Nothing more is: the server gets all of it, though the guest may be gone before.
    closed: bool,
}

/// How long a server may go on with a stream that the guest has closed, once that is gone: as long as an upstream may leave a
/// call's body unread.
const LINGER: Duration = Duration::from_secs(30);

/// Whether something was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was not.
    First,
    /// It was.
    Again,
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
    /// A plugin's call with the task that waits for its answer.
    #[must_use]
    pub fn new(root: u32, task: Task) -> Self {
        Self { root, task, stream: None, closed: false }
    }
}

impl Calls {
    /// No calls yet, of this machine.
    #[must_use]
    pub fn new(machine: Weak<Machine>) -> Self {
        Self { machine, under_way: HashMap::new(), over: BTreeMap::new(), last: [0; 3], told: Vec::new() }
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

    /// Notes that this is said of a plugin; whether it was before.
    pub fn tell(&mut self, what: Told, root: u32) -> Seen {
        if self.told.contains(&(what, root)) {
            return Seen::Again;
        }
        self.told.push((what, root));
        Seen::First
    }

    /// Notes that a call is under way.
    pub fn begun(&mut self, token: u32, call: Call) {
        self.under_way.insert(token, call);
    }

    /// Notes a gRPC call that goes nowhere: what is said on it is heard by nobody.
    pub fn mute(&mut self, token: u32, root: u32) {
        if self.over.len() == MOST_OVER {
            self.over.pop_first();
        }
        self.over.insert(token, root);
    }

    /// Whether a call is under way: a guest that gave it up hears no more of it.
    #[must_use]
    pub fn goes_on(&self, token: u32) -> bool {
        self.under_way.contains_key(&token)
    }

    /// The sending half of a stream; within `Some`, `None`: it is over, and what is sent goes nowhere, as in Envoy. `None`: there
    /// is no such stream.
    #[must_use]
    pub fn sending(&self, token: u32) -> Option<Option<&GrpcStream>> {
        match self.under_way.get(&token) {
            Some(call) => call.stream.as_ref().map(Some),
            None => self.over.contains_key(&token).then_some(None),
        }
    }

    /// The guest sends nothing more on a stream. What the server says is still heard, as in Envoy. `None`: there is no such stream.
    pub fn close(&mut self, token: u32) -> Option<()> {
        let Some(call) = self.under_way.get_mut(&token) else { return self.forget(token) };
        call.stream.as_ref()?.close();
        call.closed = true;
        Some(())
    }

    /// Gives a call up; `None`: there is none.
    pub fn cancel(&mut self, token: u32) -> Option<()> {
        let Some(call) = self.under_way.remove(&token) else { return self.forget(token) };
        if let Some(stream) = &call.stream {
            stream.cancel();
        }
        Some(())
    }

    /// A stream fails, though not in the callback that runs: its guest is told by the next.
    pub fn fail(&mut self, services: &Services, token: u32, why: CallError) {
        let Some(call) = self.under_way.get_mut(&token) else { return };
        if let Some(stream) = &call.stream {
            stream.cancel();
        }
        let (machine, root) = (Weak::clone(&self.machine), call.root);
        call.task = services.spawn(async move {
            if let Some(machine) = machine.upgrade() {
                stream_failed(&machine, root, token, &why);
            }
        });
    }

    fn forget(&mut self, token: u32) -> Option<()> {
        self.over.remove(&token).map(|_| ())
    }

    /// A call is over; what it was, to be dropped outside of the store.
    pub fn take(&mut self, token: u32) -> Option<Call> {
        self.under_way.remove(&token)
    }

    /// As [`take`](Self::take), of gRPC: its guest may still close or cancel it, and send, as in Envoy.
    pub fn end(&mut self, token: u32) -> Option<Call> {
        let call = self.take(token)?;
        self.mute(token, call.root);
        Some(call)
    }

    /// The guest was told of that end: a stream that it had not closed before it may close later, as in Envoy.
    pub fn ended(&mut self, token: u32, call: &Call) {
        if call.closed || call.stream.is_none() {
            self.over.remove(&token);
        }
    }

    /// A plugin is gone: what it has under way is given up, as in Envoy, but for a while what servers have not got yet of streams
    /// that are closed. What is to be dropped outside of the store.
    #[must_use]
    pub fn leave(&mut self, root: u32, services: Option<&Services>) -> Vec<Call> {
        self.over.retain(|_, of| *of != root);
        self.told.retain(|(_, of)| *of != root);
        let (open, closed): (Vec<_>, Vec<_>) =
            self.under_way.extract_if(|_, call| call.root == root).map(|(_, call)| call).partition(|call| !call.closed);
        if let Some(services) = services.filter(|_| !closed.is_empty()) {
            let lingering = async move {
                tokio::time::sleep(LINGER).await;
                drop(closed);
            };
            services.spawn(lingering).detach();
        }
        open
    }

    /// Gives all calls up, and what servers have not got yet of streams that are closed.
    pub fn clear(&mut self) {
        self.under_way.clear();
        self.over.clear();
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let closed = self.under_way.drain().filter(|(_, call)| call.closed);
        closed.for_each(|(_, call)| call.task.detach());
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
fn stream_failed(machine: &Machine, root: u32, token: u32, error: &CallError) {
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

/// Has it logged where the guest's own limit is why a call failed.
fn tell(machine: &Machine, root: u32, error: &CallError) {
    match error {
        CallError::TooLarge => machine.answer_too_large(root),
        CallError::NoRoom(_) => machine.no_room(root),
        CallError::Timeout | CallError::Late | CallError::Upstream(_) | CallError::Broken | CallError::Gone => {}
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

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn tokens_are_envoys() {
        let mut calls = Calls::new(Weak::new());
        assert_eq!((calls.token(Kind::Http), calls.token(Kind::Http)), (Some(4), Some(8)));
        assert_eq!((calls.token(Kind::GrpcCall), calls.token(Kind::GrpcStream)), (Some(5), Some(6)));
        assert_eq!(Kind::of(9), Some(Kind::GrpcCall));
        assert_eq!(Kind::of(7), None);
    }

    /// A stream that is closed goes on without its machine, and ends with its death.
    #[tokio::test]
    async fn what_is_left_of_closed_streams_ends_when_the_guest_died() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let services = Services::new(Weak::new());
                for (dies, left) in [(true, 1), (false, 2)] {
                    let alive = Rc::new(());
                    let mut calls = Calls::new(Weak::new());
                    let mine = Rc::clone(&alive);
                    let task = services.spawn(async move {
                        std::future::pending::<()>().await;
                        drop(mine);
                    });
                    calls.begun(6, Call { root: 1, task, stream: None, closed: true });
                    if dies {
                        calls.clear();
                    }
                    drop(calls);
                    tokio::task::yield_now().await;
                    assert_eq!(Rc::strong_count(&alive), left, "{dies}");
                }
            })
            .await;
    }
}
