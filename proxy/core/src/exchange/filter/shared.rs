//! [`Shared`]: what a stream's filters and their chain share: how far the stream is, what ends its course, its account.

use super::{
    Failed, Headers, Interest, Side, StreamKind,
    facts::Told,
    kept::Kept,
    metadata,
    slots::Slots,
    stage::{At, Half, Slot},
    state::State,
    stream::{LocalReply, Stream},
};
use crate::{
    downstream::held::Held,
    error::{FilterError, ProxyError},
    exchange::respond,
    snapshot::ListenerSnapshot,
    telemetry::{ByteMeter, ConnectionFacts, Record, ResponseFlag},
    upstream,
    worker::{Cluster, View, Worker},
};
use http::{request, response};
use pillion_config::model::{FailPolicy, Route};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// What a stream's filters and their chain share.
pub(crate) struct Shared {
    pub(super) kind: StreamKind,
    /// Not the connection itself: a filter may keep its [`Stream`] for longer.
    pub(super) connection: Rc<ConnectionFacts>,
    pub(super) view: Rc<View>,
    pub(super) listener: Arc<ListenerSnapshot>,
    pub(super) route: RefCell<Option<Arc<Route>>>,
    /// Where the route sends the request, unless a filter changes it.
    pub(super) aim: RefCell<Option<Rc<Cluster>>>,
    pub(super) slots: Slots,
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
    /// What its filters hold back of bodies, and wrote into heads, counts for.
    pub(super) held: Held,
    /// Bytes that its filters wrote into heads and trailers.
    pub(super) written: Cell<usize>,
    pub(super) state: RefCell<State>,
    /// What filters tell those behind them.
    pub(super) metadata: RefCell<metadata::Tellings>,
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

/// What ends a stream's course.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// An answer.
    Reply(Box<(LocalReply, Option<ResponseFlag>)>),
    /// No answer.
    Close(&'static str),
    /// An error.
    Error(FilterError),
}

impl Shared {
    pub(super) fn new(
        kind: StreamKind,
        connection: Rc<ConnectionFacts>,
        (view, listener): (Rc<View>, Arc<ListenerSnapshot>),
        slots: Box<[Slot]>,
        told: Told,
        meter: ByteMeter,
        worker: &Rc<Worker>,
    ) -> Rc<Self> {
        // Made where it stays: it is more than a KiB, and would be copied there otherwise.
        Rc::new_cyclic(|_| Self {
            kind,
            connection,
            view,
            listener,
            route: RefCell::default(),
            aim: RefCell::default(),
            slots: Slots::new(slots),
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
            held: Held::nothing(worker),
            written: Cell::new(0),
            state: RefCell::default(),
            metadata: RefCell::default(),
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

    /// There is no memory for more of this direction.
    pub(super) fn is_short_of_memory(&self, side: Side) {
        self.interrupt(Interrupt::Error(match side {
            Side::Request => FilterError::RequestShortMemory,
            Side::Response => FilterError::ResponseShortMemory,
        }));
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt.borrow().is_some()
    }

    /// The request was answered here: what comes of it yet goes nowhere.
    pub(super) fn forget_request(&self) {
        self.request_over.set(true);
        let source = self.request.borrow_mut().forget_source();
        drop(source);
        // Whoever sends it on is told.
        self.wake(Side::Request);
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
                let (filter, details) = (at.model.name.clone(), failed.details);
                self.interrupt(Interrupt::Error(FilterError::Failed { filter, details }));
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

    /// Begins the stream at a filter, unless it has begun there. One that cannot serve is passed by, or ends the stream, as
    /// its policy says.
    pub(super) fn open(self: &Rc<Self>, slot: usize) {
        let Some(instance) = self.slots[slot].instance.take() else { return };
        match instance.open(&Stream { shared: Rc::clone(self), slot }) {
            Ok(filter) => drop(self.slots[slot].filter.replace(Some(filter))),
            Err(failed) => self.fail(slot, failed),
        }
    }

    /// What the record knows by now.
    pub(in crate::exchange) fn tell(&self, record: &Record) {
        record.tell(&mut self.told.borrow_mut());
    }

    /// The stream is over: its filters are told, and let go.
    pub(in crate::exchange) fn over(self: &Rc<Self>, record: &Record) {
        if self.phase.get() >= Phase::Logging {
            return;
        }
        self.tell(record);
        self.end();
    }

    /// How the stream was cut once its response's head was gone.
    pub(in crate::exchange) fn cut(&self) -> (ResponseFlag, Cow<'static, str>) {
        use ResponseFlag::LocalReset;
        match &*self.interrupt.borrow() {
            Some(Interrupt::Error(error)) => {
                let error = ProxyError::from(error.clone());
                (error.flag(), respond::details(&error))
            }
            Some(Interrupt::Close(details)) => (LocalReset, Cow::Borrowed(details)),
            Some(Interrupt::Reply(reply)) => (LocalReset, reply.0.details.clone()),
            None => (LocalReset, Cow::Borrowed("filter_interrupted")),
        }
    }

    /// Ready when something ended the stream's course.
    pub(super) fn poll_interruption(&self, cx: &Context<'_>) -> Poll<()> {
        if self.interrupted() {
            return Poll::Ready(());
        }
        self.waiting.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Ready when a filter ended what became of a request that left HTTP: without an answer, or by one that comes too late.
    /// That a filter failed ends nothing: what is carried does not pass it. An opaque connection ends as its bytes are read, but for
    /// one that there is no memory for: its client may not read what came before, either.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        let ended = match (&*self.interrupt.borrow(), self.kind) {
            (Some(Interrupt::Reply(_) | Interrupt::Close(_)), kind) => kind == StreamKind::Http,
            (Some(Interrupt::Error(error)), StreamKind::Tcp) => {
                matches!(error, FilterError::RequestShortMemory | FilterError::ResponseShortMemory)
            }
            (Some(Interrupt::Error(_)) | None, _) => false,
        };
        if ended {
            return Poll::Ready(());
        }
        self.waiting.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Whether some filter reads heads and trailers when the stream is logged.
    pub(super) fn keeps_heads(&self) -> bool {
        self.slots.iter().any(|slot| slot.interest.has(Interest::LOG))
    }

    /// The request's head as it goes on, for the log, where its route changed it behind the chain.
    pub(super) fn keep_request(&self, head: &request::Parts, scheme: &'static str) {
        self.request.borrow_mut().kept = Some(Kept::of(&Headers::request(head.clone(), scheme)));
    }

    /// The response's head as it went out, for the log, where the chain has not seen it.
    pub(in crate::exchange) fn keep_response(&self, head: &response::Parts) {
        let mut half = self.response.borrow_mut();
        if self.keeps_heads() && !half.comes_back && (half.kept.is_none() || half.head_at != At::Gone) {
            half.head = None;
            half.kept = Some(Kept::response(head));
        }
    }

    /// The response's head was written, and nobody needs it any more: it is kept where that was put off until now.
    pub(in crate::exchange) fn written(&self, head: response::Parts) {
        let mut half = self.response.borrow_mut();
        if std::mem::take(&mut half.comes_back) {
            half.kept = Some(Kept::whole(head));
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("phase", &self.phase.get()).finish_non_exhaustive()
    }
}
