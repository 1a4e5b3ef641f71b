//! [`Stream`]: what a filter can see of its stream and do to it, in a callback and between callbacks.

use super::{Buffer, Facts, Failed, Filter, Headers, Interest, Map, facts::Told, kept::Kept};
use crate::{
    body::Incoming,
    error::FilterError,
    snapshot::ListenerSnapshot,
    telemetry::{ByteMeter, ConnectionFacts, ResponseFlag},
    upstream::{self, Carrying},
    worker::Cluster,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use pillion_config::model::{self, FailPolicy, Route};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

/// Keys of one stream's state at most, and bytes of all its keys and values: what guests put there lives as long as the
/// stream, and streams may be many.
const MOST_STATE: (usize, usize) = (128, 64 * 1024);

/// Bytes of a local reply's body at most: it is held in memory whole.
pub(super) const MOST_REPLY: usize = 4 << 20;

/// A stream as one of its filters sees it. Clones are cheap; one that outlives the stream does nothing and sees nothing.
///
/// What is given to [`headers`](Self::headers) and [`body`](Self::body) must not call the same stream's methods.
#[derive(Clone)]
pub struct Stream {
    pub(super) shared: Rc<Shared>,
    pub(super) slot: usize,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// A request and its response.
    Http,
    /// A connection's opaque bytes.
    Tcp,
}

/// A direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the client: the request, the bytes that come from downstream.
    Request,
    /// To the client: the response, the bytes that come from upstream.
    Response,
}

/// Who closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Nobody can say.
    Unknown,
    /// The proxy.
    Local,
    /// The other end.
    Remote,
}

/// An answer that a filter gives in place of the upstream's.
#[derive(Debug, Clone)]
pub struct LocalReply {
    /// The status; what is no final status (200 to 599) is sent as 500.
    pub status: u16,
    /// Fields beside those that the proxy sets: `Content-Length`, and `Content-Type: text/plain` where none is given and
    /// there is a body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body. A gRPC client gets it as `grpc-message`.
    pub body: Bytes,
    /// What a gRPC client gets; `None`: what follows from the status.
    pub grpc_status: Option<u32>,
    /// Why, for the access log.
    pub details: Cow<'static, str>,
}

/// Why a filter's wish is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream is over, or ending: nothing can be answered any more.
    #[error("the stream is over")]
    Over,
    /// It is answered already.
    #[error("the stream is answered already")]
    Answered,
    /// Opaque bytes have no answer.
    #[error("not an HTTP stream")]
    NotHttp,
    /// More than a stream may hold.
    #[error("too much")]
    TooMuch,
}

/// How a stream ended, for [`Facts::ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It goes on.
    No,
    /// It is being logged, or over.
    Yes,
}

/// What a stream's filters and their chain share.
pub(crate) struct Shared {
    pub(super) kind: StreamKind,
    /// Not the connection itself: a filter may keep its [`Stream`] for longer.
    pub(super) connection: Rc<ConnectionFacts>,
    pub(super) listener: Arc<ListenerSnapshot>,
    pub(super) route: RefCell<Option<Arc<Route>>>,
    /// Where the route sends the request, unless a filter changes it.
    pub(super) aim: RefCell<Option<Rc<Cluster>>>,
    pub(super) slots: Box<[Slot]>,
    pub(super) request: RefCell<Half>,
    pub(super) response: RefCell<Half>,
    pub(super) phase: Cell<Phase>,
    /// The first stands.
    pub(super) interrupt: RefCell<Option<Interrupt>>,
    /// Who waits for it beside the two halves.
    pub(super) waiting: RefCell<Option<Waker>>,
    pub(super) clear_route: Cell<bool>,
    /// The request was answered here: nothing more of it is shown to filters.
    pub(super) request_over: Cell<bool>,
    pub(super) cluster: RefCell<Option<Box<str>>>,
    pub(super) told: RefCell<Told>,
    /// The connection its request went on last.
    pub(super) carrying: upstream::Told,
    pub(super) meter: ByteMeter,
    state: RefCell<Vec<(Box<[u8]>, Bytes)>>,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// No response yet.
    Request,
    /// The response's head is in the chain.
    Response,
    /// It has left the chain.
    Sent,
    /// The record is being accounted for.
    Logging,
    /// Nothing is called any more.
    Over,
}

/// A filter and what waits at it.
pub(super) struct Slot {
    /// Taken out while it runs.
    pub(super) filter: RefCell<Option<Box<dyn Filter>>>,
    pub(super) model: Arc<model::Filter>,
    pub(super) interest: Interest,
    pub(super) gone: Cell<bool>,
    /// It was told that an opaque connection's upstream is gone.
    pub(super) upstream_closed: Cell<bool>,
    pub(super) request: RefCell<Stage>,
    pub(super) response: RefCell<Stage>,
}

/// What waits at a filter, of one direction.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) head: HeadHere,
    pub(super) body: Flow,
    pub(super) held: Buffer,
    /// Held back and not shown again.
    pub(super) parked: Option<Box<Buffer>>,
    /// The body's end waits here.
    pub(super) end: bool,
    pub(super) trailers: TrailersHere,
    /// It was told to go on.
    pub(super) resume: bool,
    /// One of its callbacks of this direction runs.
    pub(super) running: bool,
}

/// A head, as one filter has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum HeadHere {
    /// Not come, or being shown.
    #[default]
    NotYet,
    /// Stays; the body comes to the filter.
    Stopped,
    /// Stays with all that follows. Whether too much is an error.
    Held(TooMuch),
    /// Gone on.
    Passed,
    /// The message began behind this filter.
    Skipped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMuch {
    Fails,
    Waits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Flow {
    #[default]
    Flowing,
    Stopped(StopFlow),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopFlow {
    Buffer,
    Watermark,
    NoBuffer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TrailersHere {
    #[default]
    No,
    /// Not shown yet: the head stays with all that follows.
    Unseen,
    /// Shown, and stopped.
    Stopped,
}

/// One direction of a stream.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) head: Option<Headers>,
    /// What the log shows of a head that is gone.
    pub(super) kept: Option<Kept>,
    pub(super) head_at: At,
    /// No body follows the head.
    pub(super) head_ends: bool,
    pub(super) trailers: Option<Headers>,
    pub(super) trailers_at: At,
    /// What has left the chain and was not fetched.
    pub(super) out: Buffer,
    /// Nothing but trailers comes behind `out`.
    pub(super) ended: bool,
    /// Where the body comes from.
    pub(super) source: Incoming,
    pub(super) source_ended: bool,
    /// Its body was given to whoever sends it on.
    pub(super) handed_out: bool,
    /// Bytes that the head promised and that have not been fetched.
    pub(super) length: Option<u64>,
    pub(super) waker: Option<Waker>,
}

/// Where a head or trailers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Nowhere,
    Slot(usize),
    Out,
    /// Fetched.
    Gone,
}

/// What ends a stream's course.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// An answer; `Some`: given on the request's side by the filter in this slot.
    Reply(Box<(LocalReply, Option<ResponseFlag>)>, Option<usize>),
    /// No answer.
    Close(&'static str),
    /// An error; the slot as for a reply.
    Error(FilterError, Option<usize>),
}

impl Default for Half {
    fn default() -> Self {
        Self {
            head: None,
            kept: None,
            head_at: At::Nowhere,
            head_ends: false,
            trailers: None,
            trailers_at: At::Nowhere,
            out: Buffer::default(),
            ended: false,
            source: Incoming::Empty,
            source_ended: false,
            handed_out: false,
            length: None,
            waker: None,
        }
    }
}

impl Stage {
    /// Whether something waits for [`Stream::resume`].
    pub(super) fn paused(&self) -> bool {
        matches!(self.head, HeadHere::Stopped | HeadHere::Held(_))
            || self.body != Flow::Flowing
            || self.trailers != TrailersHere::No
    }

    /// Bytes held back.
    pub(super) fn bytes(&self) -> usize {
        self.held.len() + self.parked.as_ref().map_or(0, |parked| parked.len())
    }

    /// Everything held back, in order.
    pub(super) fn take(&mut self) -> Buffer {
        let held = std::mem::take(&mut self.held);
        match self.parked.take() {
            None => held,
            Some(mut parked) => {
                parked.put_all(held);
                *parked
            }
        }
    }
}

impl Slot {
    pub(super) fn stage(&self, side: Side) -> &RefCell<Stage> {
        match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        }
    }
}

impl Shared {
    pub(super) fn new(
        kind: StreamKind,
        connection: Rc<ConnectionFacts>,
        listener: Arc<ListenerSnapshot>,
        slots: Box<[Slot]>,
        told: Told,
        meter: ByteMeter,
    ) -> Rc<Self> {
        Rc::new(Self {
            kind,
            connection,
            listener,
            route: RefCell::default(),
            aim: RefCell::default(),
            slots,
            request: RefCell::default(),
            response: RefCell::default(),
            phase: Cell::new(Phase::Request),
            interrupt: RefCell::default(),
            waiting: RefCell::default(),
            clear_route: Cell::new(false),
            request_over: Cell::new(false),
            cluster: RefCell::default(),
            told: RefCell::new(told),
            carrying: RefCell::default(),
            meter,
            state: RefCell::default(),
        })
    }

    /// Where it is told which connection carries its request.
    pub(in crate::exchange) fn carrying(&self) -> &upstream::Told {
        &self.carrying
    }

    pub(super) fn half(&self, side: Side) -> &RefCell<Half> {
        match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        }
    }

    pub(super) fn wake(&self, side: Side) {
        let waker = self.half(side).borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes what ends the stream's course, unless something has, and wakes whoever goes on with it.
    pub(super) fn interrupt(&self, interrupt: Interrupt) {
        {
            let mut known = self.interrupt.borrow_mut();
            if known.is_some() || self.phase.get() >= Phase::Logging {
                return;
            }
            *known = Some(interrupt);
        }
        let waiting = self.waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
        self.wake(Side::Request);
        self.wake(Side::Response);
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt.borrow().is_some()
    }

    /// Takes a filter out of the chain: it failed.
    pub(super) fn fail(&self, slot: usize, failed: Failed) {
        let at = &self.slots[slot];
        if at.gone.replace(true) {
            return;
        }
        // Not while it is borrowed: dropping it runs the filter's own code. While it runs it is not here.
        let filter = at.filter.try_borrow_mut().ok().and_then(|mut filter| filter.take());
        drop(filter);
        self.listener.telemetry.metrics.filter_failure(&at.model.name, failed.details);
        tracing::debug!(target: "pillion::filter", filter = %at.model.name, details = failed.details, "failed");
        match at.model.fail {
            FailPolicy::Closed => {
                let by = (self.phase.get() == Phase::Request).then_some(slot);
                self.interrupt(Interrupt::Error(FilterError::Failed(failed.details), by));
            }
            FailPolicy::Open => {
                for side in [Side::Request, Side::Response] {
                    if let Ok(mut stage) = at.stage(side).try_borrow_mut() {
                        stage.resume = stage.paused();
                    }
                    self.wake(side);
                }
            }
        }
    }
}

impl Stream {
    /// What it carries.
    #[must_use]
    pub fn kind(&self) -> StreamKind {
        self.shared.kind
    }

    /// Whether it is over, and its filters are told so.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.shared.phase.get() == Phase::Logging
    }

    /// The filter's name.
    #[must_use]
    pub fn filter(&self) -> &Arc<model::Filter> {
        &self.shared.slots[self.slot].model
    }

    /// Lets `f` read and change fields, if they are at this filter now: from the callback that shows them until it lets
    /// them go on. `None`: they are not.
    pub fn headers<R>(&self, map: Map, f: impl FnOnce(&mut Headers) -> R) -> Option<R> {
        let (side, trailers) = map.parts();
        if self.shared.phase.get() >= Phase::Logging {
            return None;
        }
        let mut half = self.shared.half(side).borrow_mut();
        let half = &mut *half;
        let (at, fields) =
            if trailers { (half.trailers_at, &mut half.trailers) } else { (half.head_at, &mut half.head) };
        (at == At::Slot(self.slot)).then_some(())?;
        fields.as_mut().map(f)
    }

    /// As [`headers`](Self::headers), to read; while the stream is being logged, everything that came can be read.
    pub fn read_headers<R>(&self, map: Map, f: impl FnOnce(&Headers) -> R) -> Option<R> {
        let (side, trailers) = map.parts();
        let logging = self.shared.phase.get() == Phase::Logging;
        if logging && !trailers {
            let mut half = self.shared.half(side).borrow_mut();
            if let Some(kept) = half.kept.take() {
                half.head = Some(kept.headers());
            }
        }
        let half = self.shared.half(side).borrow();
        let (at, fields) = if trailers { (half.trailers_at, &half.trailers) } else { (half.head_at, &half.head) };
        (at == At::Slot(self.slot) || logging).then_some(())?;
        fields.as_ref().map(f)
    }

    /// Lets `f` read and change what of a body is at this filter: in a body callback, and while it holds something back.
    pub fn body<R>(&self, side: Side, f: impl FnOnce(&mut Buffer) -> R) -> Option<R> {
        let mut stage = self.shared.slots[self.slot].stage(side).try_borrow_mut().ok()?;
        (stage.running || !stage.held.is_empty() || stage.body != Flow::Flowing).then(|| f(&mut stage.held))
    }

    /// Lets what this filter holds back go on; nothing if it holds nothing back. Within a callback, once that returns.
    pub fn resume(&self, side: Side) {
        if let Ok(mut stage) = self.shared.slots[self.slot].stage(side).try_borrow_mut() {
            if !stage.running && !stage.paused() {
                return;
            }
            stage.resume = true;
        }
        self.shared.wake(side);
    }

    /// Answers the request here.
    ///
    /// # Errors
    ///
    /// [`Refused`]: nothing happens.
    pub fn reply(&self, reply: LocalReply) -> Result<(), Refused> {
        self.answer(reply, None)
    }

    /// As [`reply`](Self::reply), with a flag for record and metrics.
    ///
    /// # Errors
    ///
    /// [`Refused`]: nothing happens.
    pub fn reply_as(&self, reply: LocalReply, flag: ResponseFlag) -> Result<(), Refused> {
        self.answer(reply, Some(flag))
    }

    fn answer(&self, reply: LocalReply, flag: Option<ResponseFlag>) -> Result<(), Refused> {
        if self.shared.kind == StreamKind::Tcp {
            return Err(Refused::NotHttp);
        }
        if self.shared.phase.get() >= Phase::Logging {
            return Err(Refused::Over);
        }
        if self.shared.interrupted() {
            return Err(Refused::Answered);
        }
        if reply.body.len() > MOST_REPLY {
            return Err(Refused::TooMuch);
        }
        let by = (self.shared.phase.get() == Phase::Request).then_some(self.slot);
        self.shared.interrupt(Interrupt::Reply(Box::new((reply, flag)), by));
        Ok(())
    }

    /// Ends the stream without an answer, as `details`: HTTP/2 resets it, HTTP/1 and opaque connections are closed.
    pub fn close(&self, details: &'static str) {
        self.shared.interrupt(Interrupt::Close(details));
    }

    /// The filter fails outside of a callback: with its machine, say. Its policy applies; it is called no more.
    pub fn fail(&self, failed: Failed) {
        if self.shared.phase.get() < Phase::Logging {
            self.shared.fail(self.slot, failed);
        }
    }

    /// Has the route chosen again once the request's head leaves the chain, though no filter changed it.
    pub fn clear_route_cache(&self) {
        self.shared.clear_route.set(true);
    }

    /// Sends an opaque connection to this cluster in place of its listener's; until it is connected.
    pub fn set_cluster(&self, cluster: &str) {
        self.shared.cluster.replace(Some(cluster.into()));
    }

    /// The connection it came by.
    #[must_use]
    pub fn connection(&self) -> &Rc<ConnectionFacts> {
        &self.shared.connection
    }

    /// The connection that its request went on.
    #[must_use]
    pub fn carrying(&self) -> Option<Rc<Carrying>> {
        self.shared.carrying.borrow().clone()
    }

    /// What is known of it now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts::of(&self.shared)
    }

    /// A value that this stream's filters share.
    #[must_use]
    pub fn state(&self, key: &[u8]) -> Option<Bytes> {
        self.shared.state.borrow().iter().find(|(known, _)| **known == *key).map(|(_, value)| value.clone())
    }

    /// Sets a value that this stream's filters share.
    ///
    /// # Errors
    ///
    /// [`Refused::TooMuch`]: the stream's state is full (128 keys, 64 KiB).
    pub fn set_state(&self, key: &[u8], value: Bytes) -> Result<(), Refused> {
        let mut state = self.shared.state.borrow_mut();
        let others = state.iter().filter(|(known, _)| **known != *key);
        let bytes: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        let (most_keys, most_bytes) = MOST_STATE;
        let full = state.len() >= most_keys;
        if bytes + key.len() + value.len() > most_bytes {
            return Err(Refused::TooMuch);
        }
        match state.iter_mut().find(|(known, _)| **known == *key) {
            Some((_, known)) => *known = value,
            None if full => return Err(Refused::TooMuch),
            None => state.push((key.into(), value)),
        }
        Ok(())
    }
}

impl Map {
    fn parts(self) -> (Side, bool) {
        match self {
            Self::RequestHeaders => (Side::Request, false),
            Self::RequestTrailers => (Side::Request, true),
            Self::ResponseHeaders => (Side::Response, false),
            Self::ResponseTrailers => (Side::Response, true),
        }
    }
}

impl LocalReply {
    /// An answer with this status and no body.
    #[must_use]
    pub fn new(status: StatusCode, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: status.as_u16(),
            headers: Vec::new(),
            body: Bytes::new(),
            grpc_status: None,
            details: details.into(),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("slot", &self.slot)
            .field("phase", &self.shared.phase.get())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("phase", &self.phase.get()).finish_non_exhaustive()
    }
}
