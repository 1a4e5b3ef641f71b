//! What waits where: at each filter ([`Stage`]), and of each direction of a stream ([`Half`]).

use super::{Buffer, Filter, Headers, Instance, Interest, Side, kept::Kept};
use crate::{body::Incoming, worker::WorkerFilter};
use pillion_config::model::{self, FilterKind};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::Waker,
};

/// A filter and what waits at it.
pub(super) struct Slot {
    /// Where the stream begins at it; taken as it does.
    pub(super) instance: Cell<Option<Rc<dyn Instance>>>,
    /// Taken out while it runs.
    pub(super) filter: RefCell<Option<Box<dyn Filter>>>,
    #[expect(
        clippy::redundant_allocation,
        reason = "this worker's count of what all share: see `WorkerFilter::model`"
    )]
    pub(super) model: Rc<Arc<model::Filter>>,
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
    /// It is its body's.
    pub(super) body_shown: bool,
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
    /// It is not shown this message.
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
    /// The head is given back once it is written, and kept as it is.
    pub(super) comes_back: bool,
    pub(super) head_at: At,
    /// No body follows the head.
    pub(super) head_ends: bool,
    /// What follows it may be no HTTP: filters are told that something does.
    pub(super) opens: bool,
    /// Boxed: few messages have them, and each stream has room for two.
    pub(super) trailers: Option<Box<Headers>>,
    pub(super) trailers_at: At,
    /// What has left the chain and was not fetched.
    pub(super) out: Buffer,
    /// Nothing but trailers comes behind `out`.
    pub(super) ended: bool,
    /// Where the body comes from; not here while it is read.
    pub(super) source: Incoming,
    /// Bytes of it that came while filters let nothing more in, with what the stream takes.
    pub(super) outside: usize,
    pub(super) reading: Reading,
    pub(super) source_ended: bool,
    /// A client that waits for it to be asked for was told to go on.
    pub(super) asked_for: bool,
    /// Its body was given to whoever sends it on.
    pub(super) handed_out: bool,
    /// Bytes that the head promised and that have not been fetched.
    pub(super) length: Option<u64>,
    pub(super) waker: Option<Waker>,
}

/// Whether a source is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    No,
    Yes,
    /// It is, and nobody wants it any more.
    Unwanted,
}

impl Half {
    /// Lets the source go. To be dropped where the half is not borrowed.
    pub(super) fn forget_source(&mut self) -> Incoming {
        if self.reading == Reading::Yes {
            self.reading = Reading::Unwanted;
        }
        std::mem::replace(&mut self.source, Incoming::Empty)
    }
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

impl Default for Half {
    fn default() -> Self {
        Self {
            head: None,
            kept: None,
            comes_back: false,
            head_at: At::Nowhere,
            head_ends: false,
            opens: false,
            trailers: None,
            trailers_at: At::Nowhere,
            out: Buffer::default(),
            ended: false,
            source: Incoming::Empty,
            outside: 0,
            reading: Reading::No,
            source_ended: false,
            asked_for: false,
            handed_out: false,
            length: None,
            waker: None,
        }
    }
}

impl Half {
    /// The length of a body that is known whole.
    pub(super) fn whole(&self) -> Option<u64> {
        (self.ended && !self.head_ends && self.trailers_at == At::Nowhere).then_some(self.out.len() as u64)
    }
}

impl Stage {
    /// Whether something waits for [`Stream::resume`](super::Stream::resume).
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
    pub(super) fn new(filter: &WorkerFilter) -> Self {
        Self {
            instance: Cell::new(Some(Rc::clone(&filter.instance))),
            filter: RefCell::default(),
            model: Rc::clone(&filter.model),
            interest: filter.interest,
            gone: Cell::new(false),
            upstream_closed: Cell::new(false),
            request: RefCell::new(Stage::default()),
            response: RefCell::new(Stage::default()),
        }
    }

    /// Whether its settings go by the route, as those of the proxy's own filters do.
    #[inline]
    pub(super) fn asks_for_route(&self) -> bool {
        !matches!(self.model.kind, FilterKind::Wasm(_))
    }

    pub(super) fn stage(&self, side: Side) -> &RefCell<Stage> {
        match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        }
    }
}
