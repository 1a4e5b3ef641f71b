//! Calls of guests under way: their tokens, their tasks, and how an answer finds its way back into the guest.

mod answers;

pub use answers::{Last, grpc, grpc_stream, http};

use crate::vm::Machine;
use answers::stream_failed;
use pillion_core::exchange::filter::{CallError, GrpcStream, Services, Task};
use std::{
    collections::{BTreeMap, HashMap},
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

/// What is said once of a plugin's calls and streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// An answer was larger than it takes.
    TooLarge,
    /// They hold as much as they may.
    NoRoom,
    /// As many as may be are under way.
    TooMany,
    /// A stream's state is full.
    State,
    /// No request can be made of what one says.
    Unsayable,
    /// One is for a cluster that there is not, or that the filter may not call.
    Cluster,
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

    #[test]
    fn what_is_over_is_remembered_within_a_bound_and_while_its_plugin_is_there() {
        let mut calls = Calls::new(Weak::new());
        for number in 0..=u32::try_from(MOST_OVER).unwrap() {
            calls.mute(6 + 4 * number, number % 2);
        }
        assert_eq!((calls.over.len(), calls.close(6)), (MOST_OVER, None), "opened first");
        assert_eq!((calls.close(10), calls.close(10)), (Some(()), None));
        assert!(calls.leave(0, None).is_empty());
        assert_eq!((calls.cancel(14), calls.cancel(18)), (None, Some(())));
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
