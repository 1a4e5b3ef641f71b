//! [`Pace`]: how fast the streams of an HTTP/2 connection are taken, so that their window grows where it is what holds them up.
//!
//! Beside the path. A stream moves no more than its window in a round trip. So one that has taken more than the window it began with
//! is measured now and then, from a PING to its answer: if it took a third of a window or more meanwhile, the window is too small
//! for the way, and whoever runs the connection makes it larger (`downstream/windows.rs`). If not, it is measured for a second round trip:
//! what is held up moves a window at once and then nothing, and a PING behind that is answered before the next. A reader that is slow takes less, and
//! small bodies are never measured. The other way round, what streams hold beyond the window that they began with, since nobody takes it, is known
//! here too: there a large window is only memory. No clock is read.
//!
//! Where the window becomes smaller, h2 0.4 takes what that makes of a stream's credit when the peer acknowledges it, and looks at what it
//! owes the stream when something more of it is given back, which there may be nothing of: all was taken, and the peer may send no more. So
//! streams that can be owed as much are known here, and asked to look then ([`Pace::pay`]).

use h2::FlowControl;
use std::{
    cell::{Cell, RefCell},
    num::NonZeroU32,
    task::{Context, Waker},
};

/// How fast the streams of a connection are taken. One connection's task and those who carry its streams share it.
#[derive(Debug)]
pub struct Pace {
    /// Bytes that a stream may be ahead of its consumer as the connection begins,
    first: u32,
    /// and now.
    window: Cell<u32>,
    phase: Cell<Phase>,
    /// The number of the stream that is measured, or was last,
    measured: Cell<Option<NonZeroU32>>,
    /// bytes that it has taken in that measurement,
    taken: Cell<u64>,
    /// and the round trips for which that was.
    trips: Cell<u64>,
    /// Bytes that are to be taken, by all who may be measured, before the next one,
    rest: Cell<u64>,
    /// and what that was last.
    pause: Cell<u64>,
    /// Streams of which more may come.
    receiving: Cell<usize>,
    /// Bytes that streams hold beyond [`Self::first`] each, together.
    surplus: Cell<usize>,
    /// That has become more, and the connection's task has not looked.
    strained: Cell<bool>,
    /// It became smaller, and nobody has looked yet whether streams are owed what they need to go on.
    owes: Cell<bool>,
    /// Streams of which [`Self::first`] and more was taken, by number.
    large: RefCell<Vec<(NonZeroU32, FlowControl)>>,
    /// The number given last; wraps.
    given: Cell<NonZeroU32>,
    waker: RefCell<Option<Waker>>,
}

/// What of a stream its connection's pace goes by.
#[derive(Debug, Default)]
pub(crate) struct Stride {
    /// Bytes taken of it in all, as far as that goes.
    taken: u32,
    /// Bytes of it that wait for whoever takes them.
    held: u32,
    /// Whoever takes it gathers it.
    gathered: bool,
    /// Its number among the large ones; `None`: it is none.
    number: Option<NonZeroU32>,
    /// Whether it counts among those that receive.
    receives: bool,
}

/// What came of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measured {
    /// The window is what held the stream up.
    HeldUp,
    /// It is not.
    Free,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The window is what it is.
    Fixed,
    /// Nothing is measured.
    Rest,
    /// PING is to be sent.
    Wanted,
    /// Its answer is to come.
    Measuring,
}

/// Bytes between measurements at most: the window is right as long as nothing changes, which is looked at now and then.
const PAUSE: u64 = 64 * 1024 * 1024;

/// Round trips of a measurement, at most.
const TRIPS: u64 = 2;

impl Default for Pace {
    /// Of a connection whose windows stay as they are.
    fn default() -> Self {
        let pace = Self::new(u32::MAX);
        pace.changed(u32::MAX, false);
        pace
    }
}

impl Pace {
    /// Of a connection that begins.
    pub(crate) fn new(first: u32) -> Self {
        Self {
            first,
            window: Cell::new(first),
            phase: Cell::new(Phase::Rest),
            measured: Cell::new(None),
            taken: Cell::new(0),
            trips: Cell::new(0),
            rest: Cell::new(0),
            pause: Cell::new(0),
            receiving: Cell::new(0),
            surplus: Cell::new(0),
            strained: Cell::new(false),
            owes: Cell::new(false),
            large: RefCell::default(),
            given: Cell::new(NonZeroU32::MIN),
            waker: RefCell::new(None),
        }
    }

    /// Bytes that a stream may be ahead of its consumer.
    #[inline]
    pub(crate) fn window(&self) -> u32 {
        self.window.get()
    }

    /// Whether the connection's task has nothing to do for it: nothing is measured, and streams hold no more than when it looked last.
    #[inline]
    pub(crate) fn rests(&self) -> bool {
        matches!(self.phase.get(), Phase::Rest | Phase::Fixed) && !self.strained.get()
    }

    /// The connection's task looks.
    pub(crate) fn looked_at(&self) {
        self.strained.set(false);
    }

    /// Streams of which more may come: the peer has neither ended them nor reset them.
    #[inline]
    pub(crate) fn receiving(&self) -> usize {
        self.receiving.get()
    }

    /// Bytes that streams hold beyond the window they began with.
    #[inline]
    pub(crate) fn surplus(&self) -> usize {
        self.surplus.get()
    }

    /// The connection's task, to be woken for what it has to do.
    pub(crate) fn remember(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Whether PING is to be sent, so that a stream is measured.
    #[inline]
    pub(crate) fn wants(&self) -> bool {
        self.phase.get() == Phase::Wanted
    }

    /// It is sent.
    pub(crate) fn begin(&self) {
        self.phase.set(Phase::Measuring);
    }

    /// Its answer came. `None`: nothing is known by it, or not yet.
    pub(crate) fn end(&self) -> Option<Measured> {
        if self.phase.get() != Phase::Measuring {
            return None;
        }
        let trips = self.trips.get() + 1;
        // h2 gives credit back by half windows, and what of that was given before the PING comes before its answer: of a stream that is
        // held up less than half a window is seen to move. A third is what hyper goes by, too.
        let moved = 3 * self.taken.get() >= trips * u64::from(self.window.get());
        if !moved && trips < TRIPS {
            self.trips.set(trips);
            self.phase.set(Phase::Wanted);
            return None;
        }
        self.phase.set(Phase::Rest);
        Some(if moved { Measured::HeldUp } else { Measured::Free })
    }

    /// The window is another one; `more` if it may become another still.
    pub(crate) fn changed(&self, window: u32, more: bool) {
        let before = self.window.replace(window);
        self.phase.set(if more { Phase::Rest } else { Phase::Fixed });
        // What is under way was sent by the former one. Where that was too large for others, not soon.
        self.pause(if window < before { PAUSE / 4 } else { u64::from(before) });
    }

    /// It stays as it is: the next look is later than the last one was.
    pub(crate) fn stays(&self) {
        self.pause((2 * self.pause.get()).clamp(u64::from(self.window.get()), PAUSE));
    }

    /// The peer was told of a smaller window, by which streams may be owed what they need to go on.
    pub(crate) fn owe(&self) {
        self.owes.set(!self.large.borrow().is_empty());
    }

    /// Whether they may be.
    #[inline]
    pub(crate) fn owes(&self) -> bool {
        self.owes.get()
    }

    /// The peer has acknowledged it: each is given what it is owed.
    pub(crate) fn pay(&self) {
        self.owes.set(false);
        for (_, flow) in &mut *self.large.borrow_mut() {
            // Of one that is over nothing is owed.
            flow.release_capacity(0).ok();
        }
    }

    fn pause(&self, bytes: u64) {
        self.pause.set(bytes);
        self.rest.set(bytes);
    }

    fn moved(&self, number: Option<NonZeroU32>, bytes: u32) {
        match self.phase.get() {
            Phase::Fixed => {}
            Phase::Wanted | Phase::Measuring => {
                if number == self.measured.get() {
                    self.taken.set(self.taken.get() + u64::from(bytes));
                }
            }
            Phase::Rest => {
                self.rest.set(self.rest.get().saturating_sub(u64::from(bytes)));
                if self.rest.get() == 0 {
                    self.measured.set(number);
                    self.taken.set(0);
                    self.trips.set(0);
                    self.phase.set(Phase::Wanted);
                    self.wake();
                }
            }
        }
    }

    fn holds(&self, before: u32, after: u32) {
        let beyond = |held: u32| held.saturating_sub(self.first) as usize;
        self.surplus.set(self.surplus.get() - beyond(before) + beyond(after));
        if after > before {
            self.strained.set(true);
            self.wake();
        }
    }
}

impl Stride {
    /// More may come of it.
    #[inline]
    pub(crate) fn begins(&mut self, pace: &Pace) {
        self.receives = true;
        pace.receiving.set(pace.receiving.get() + 1);
    }

    /// Nothing more comes of it; what came may wait still. As often as it is seen.
    #[inline]
    pub(crate) fn has_come(&mut self, pace: &Pace) {
        if std::mem::take(&mut self.receives) {
            pace.receiving.set(pace.receiving.get() - 1);
        }
    }

    /// So many bytes are taken by their consumer. Whether it is a large one from here on.
    #[inline]
    pub(crate) fn taken(&mut self, bytes: usize, pace: &Pace) -> bool {
        let before = self.taken;
        self.taken = before.saturating_add(bytes as u32);
        if self.taken < pace.first {
            return false;
        }
        let becomes_large = before < pace.first;
        if becomes_large {
            let number = pace.given.get().checked_add(1).unwrap_or(NonZeroU32::MIN);
            pace.given.set(number);
            self.number = Some(number);
        }
        if self.taken > pace.first && !self.gathered {
            pace.moved(self.number, bytes as u32);
        }
        becomes_large
    }

    /// Whether what is taken from here on goes no further for now: a larger window would only fill memory sooner.
    pub(crate) fn gather(&mut self, gathered: bool) {
        self.gathered = gathered;
    }

    /// It is a large one, to which `flow` gives credit back.
    #[cold]
    pub(crate) fn enlist(&mut self, flow: FlowControl, pace: &Pace) {
        let number = self.number.expect("invariant: a large one has a number");
        pace.large.borrow_mut().push((number, flow));
    }

    /// It is over.
    pub(crate) fn ends(&mut self, pace: &Pace) {
        self.has_come(pace);
        self.holds(0, pace);
        if let Some(number) = self.number.take() {
            let mut large = pace.large.borrow_mut();
            let at = large.iter().position(|(known, _)| *known == number);
            let gone = at.map(|at| large.swap_remove(at));
            drop(large);
            drop(gone);
        }
    }

    /// So many bytes wait for it now.
    #[inline]
    pub(crate) fn holds(&mut self, bytes: u32, pace: &Pace) {
        let before = std::mem::replace(&mut self.held, bytes);
        if before > pace.first || bytes > pace.first {
            pace.holds(before, bytes);
        }
    }

    /// Bytes that wait for it.
    #[inline]
    pub(crate) fn held(&self) -> u32 {
        self.held
    }
}
