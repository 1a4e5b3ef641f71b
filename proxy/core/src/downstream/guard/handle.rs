//! What the guard and the service of one connection say to each other.
//!
//! Both live on one worker: cells, no locks. Heads that the guard released and requests that the service began are
//! counted on both sides, so that a refusal can meet only the stand-in request made for it.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::framing::{Asks, Refusal};

/// The service's end of a guarded connection. Clones are the same connection.
#[derive(Clone)]
pub struct GuardHandle {
    shared: Rc<Shared>,
}

/// What the request that the service was just called with is.
#[derive(Debug)]
pub enum Begin {
    /// A request of the client's.
    Serve(RequestTicket),
    /// A stand-in: answer with the refusal's status and close.
    Refuse(Refusal),
}

/// A request in progress: idle time does not run while one lives.
///
/// Keep it until the response has been handed over, its body included (inside the body, for one), and drop it within the
/// connection's task. An upgrade that was not accepted until then is declined.
pub struct RequestTicket {
    shared: Rc<Shared>,
    ordinal: u64,
}

/// Why an upgrade cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The request asked for none: the bytes behind it were read as a request.
    #[error("this request asked for no upgrade")]
    NotAsked,
    /// It has been answered already.
    #[error("this request's upgrade has been declined")]
    Declined,
}

/// What the guard itself ended a connection for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No request came for too long.
    Idle,
    /// It was idle when it was asked to close.
    Closed,
    /// The client took no byte of an answer for too long.
    WriteStalled,
    /// [`GuardHandle::abort`].
    Aborted,
}

impl Ending {
    /// A stable name in snake case: a metric's label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Closed => "closed",
            Self::WriteStalled => "write_stalled",
            Self::Aborted => "aborted",
        }
    }
}

#[derive(Default)]
pub(super) struct Shared {
    /// Heads given to the codec, stand-ins included.
    released: Cell<u64>,
    /// Requests that the service began.
    begun: Cell<u64>,
    /// Requests whose ticket is gone.
    finished: Cell<u64>,
    refusal: Cell<Option<(Place, Refusal)>>,
    upgrade: Cell<Upgrade>,
    upgraded: Cell<bool>,
    order: Cell<Order>,
    ending: Cell<Option<Ending>>,
    /// Whether the last pending read left without an alarm set, because a response was outstanding.
    unwatched: Cell<bool>,
    reader: Cell<Option<Waker>>,
    pub(super) read: Cell<u64>,
    pub(super) written: Cell<u64>,
}

/// Where a refusal was met.
#[derive(Clone, Copy)]
enum Place {
    /// In a head: the stand-in for it is the request of this number, from 1.
    Head(u64),
    /// In the body of the request released last.
    Body,
}

/// Where the latest upgrade stands; the number is that of the request which asked.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Upgrade {
    #[default]
    None,
    Asked(u64),
    Accepted,
    Declined,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Serve,
    CloseWhenIdle,
    Abort,
}

impl GuardHandle {
    pub(super) fn new() -> (Self, Rc<Shared>) {
        let shared = Rc::new(Shared::default());
        (Self { shared: Rc::clone(&shared) }, shared)
    }

    /// Call it first in every call of the service, exactly once.
    #[must_use]
    pub fn begin(&self) -> Begin {
        let ordinal = self.shared.begun.get() + 1;
        self.shared.begun.set(ordinal);
        match self.shared.refusal.get() {
            Some((Place::Head(refused), refusal)) if refused == ordinal => Begin::Refuse(refusal),
            Some(_) | None => Begin::Serve(RequestTicket { shared: Rc::clone(&self.shared), ordinal }),
        }
    }

    /// The refusal met on this connection, if any: there is at most one, the connection ends with it. One in a body
    /// comes to the service as a body error first; one in a head may never come to be served, when the connection
    /// closes before.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.shared.refusal.get().map(|(_, refusal)| refusal)
    }

    /// The refusal met in the body of a request, if any.
    #[must_use]
    pub fn body_refusal(&self) -> Option<Refusal> {
        match self.shared.refusal.get() {
            Some((Place::Body, refusal)) => Some(refusal),
            Some((Place::Head(_), _)) | None => None,
        }
    }

    /// Whether an upgrade was accepted: when the codec is done with the connection, it is a tunnel.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.shared.upgraded.get()
    }

    /// What the guard itself ended the connection for, if it did.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.shared.ending.get()
    }

    /// Ends the connection as soon as no request is in progress and no byte of one has come: for draining, a maximum
    /// age, memory pressure. An idle connection ends at once, cleanly.
    pub fn close_when_idle(&self) {
        if self.shared.order.get() == Order::Serve {
            self.shared.order.set(Order::CloseWhenIdle);
        }
        self.shared.wake();
    }

    /// Ends the connection now: reads and writes fail. An accepted upgrade ends as well.
    pub fn abort(&self) {
        self.shared.order.set(Order::Abort);
        self.shared.wake();
    }

    /// Requests released to the codec whose ticket has not been dropped.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.shared.outstanding()
    }

    /// Bytes read from the client, those that protocol detection read included.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.shared.read.get()
    }

    /// Bytes the client's socket took.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.shared.written.get()
    }
}

impl RequestTicket {
    /// The bytes behind this request belong to the protocol it asked for; they pass untouched from now on. Call it
    /// before answering 101, or 2xx to CONNECT.
    ///
    /// # Errors
    ///
    /// When the request asked for no upgrade (`Upgrade` without `Connection: upgrade`, on HTTP/1.0, or for `h2c` alone
    /// is none): do not answer 101 then.
    pub fn accept_upgrade(&self) -> Result<(), UpgradeError> {
        match self.shared.upgrade.get() {
            Upgrade::Asked(ordinal) if ordinal == self.ordinal => {
                self.shared.upgrade.set(Upgrade::Accepted);
                self.shared.upgraded.set(true);
                self.shared.wake();
                Ok(())
            }
            Upgrade::Declined => Err(UpgradeError::Declined),
            Upgrade::None | Upgrade::Asked(_) | Upgrade::Accepted => Err(UpgradeError::NotAsked),
        }
    }

    /// Whether the request asks for an upgrade, so that [`accept_upgrade`](Self::accept_upgrade) would be granted now.
    #[must_use]
    pub fn may_upgrade(&self) -> bool {
        self.shared.upgrade.get() == Upgrade::Asked(self.ordinal)
    }

    /// The bytes behind this request are the next one. Dropping the ticket says the same.
    pub fn decline_upgrade(&self) {
        if self.shared.upgrade.get() == Upgrade::Asked(self.ordinal) {
            self.shared.upgrade.set(Upgrade::Declined);
            self.shared.wake();
        }
    }
}

impl Drop for RequestTicket {
    fn drop(&mut self) {
        self.decline_upgrade();
        self.shared.finished.set(self.shared.finished.get() + 1);
        // The codec polls on by itself after an answer, unless this comes later than that.
        if self.shared.unwatched.get() || self.shared.order.get() != Order::Serve {
            self.shared.wake();
        }
    }
}

impl fmt::Debug for RequestTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTicket").field("ordinal", &self.ordinal).finish_non_exhaustive()
    }
}

impl fmt::Debug for GuardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardHandle")
            .field("outstanding", &self.outstanding())
            .field("refusal", &self.refusal())
            .field("ending", &self.ending())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A head goes to the codec.
    #[inline]
    pub(super) fn head_released(&self, asks: Asks) {
        let ordinal = self.released.get() + 1;
        self.released.set(ordinal);
        match asks {
            Asks::Nothing | Asks::H2c => {}
            Asks::Upgrade | Asks::Connect => self.upgrade.set(Upgrade::Asked(ordinal)),
        }
    }

    /// A stand-in for a refused head goes to the codec.
    pub(super) fn head_refused(&self, refusal: Refusal) {
        self.head_released(Asks::Nothing);
        self.refusal.set(Some((Place::Head(self.released.get()), refusal)));
    }

    pub(super) fn body_refused(&self, refusal: Refusal) {
        self.refusal.set(Some((Place::Body, refusal)));
    }

    /// The answer to a held upgrade, once; `None` while there is none.
    pub(super) fn take_upgrade(&self) -> Option<Upgrade> {
        match self.upgrade.get() {
            answer @ (Upgrade::Accepted | Upgrade::Declined) => {
                self.upgrade.set(Upgrade::None);
                Some(answer)
            }
            Upgrade::None | Upgrade::Asked(_) => None,
        }
    }

    pub(super) fn outstanding(&self) -> u64 {
        self.released.get() - self.finished.get()
    }

    pub(super) fn order(&self) -> Order {
        self.order.get()
    }

    /// The guard ends the connection; the first reason stays.
    pub(super) fn end(&self, ending: Ending) {
        if self.ending.get().is_none() {
            self.ending.set(Some(ending));
        }
    }

    /// A read is pending: whom a handle must wake. `watched`: an alarm will look at idle time anyway.
    #[inline]
    pub(super) fn parked(&self, cx: &Context<'_>, watched: bool) {
        self.unwatched.set(!watched);
        let waker = self.reader.take();
        self.reader.set(match waker {
            Some(waker) if waker.will_wake(cx.waker()) => Some(waker),
            Some(_) | None => Some(cx.waker().clone()),
        });
    }

    fn wake(&self) {
        let waker = self.reader.take();
        if let Some(waker) = &waker {
            waker.wake_by_ref();
        }
        self.reader.set(waker);
    }
}
