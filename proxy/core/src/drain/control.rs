//! [`Control`]: a connection's line to its worker.

use super::{Register, Signal, Subject};
use crate::downstream::{
    unfinished::{Room, Sum},
    windows::Windows,
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt,
    rc::{Rc, Weak},
    task::{Context, Waker},
};

/// A connection's line to its worker.
#[derive(Default)]
pub struct Control {
    signal: Cell<Signal>,
    waker: RefCell<Option<Waker>>,
    /// What lives on it.
    subject: OnceCell<Weak<dyn Subject>>,
    /// Of the listener it came by: a listener can be drained alone.
    listener: usize,
    /// Where it is entered.
    register: Weak<Register>,
    /// What its client has begun and not finished counts for.
    unfinished: Cell<u32>,
    /// What waits for its client to read counts for.
    unread: Cell<u32>,
    /// When it came, in tenths of a second.
    came: u32,
    /// Whether it must go because of that.
    shed: Cell<bool>,
    /// Whether it must go in time, since it would not be let in any more.
    revoked: Cell<bool>,
    /// The rule that its client broke, for which it ends with everything on it.
    broken: Cell<Option<&'static str>>,
}

impl Control {
    /// The line of a connection that came by this listener, entered in this register.
    pub(super) fn of(register: &Rc<Register>, listener: usize) -> Self {
        Self { listener, register: Rc::downgrade(register), came: register.now(), ..Self::default() }
    }

    /// The listener it came by.
    pub(super) fn listener(&self) -> usize {
        self.listener
    }

    /// When it came, in tenths of a second.
    pub(super) fn came(&self) -> u32 {
        self.came
    }

    /// Where it is entered.
    pub(super) fn register(&self) -> Option<Rc<Register>> {
        self.register.upgrade()
    }

    /// What lives on it.
    pub(super) fn subject(&self) -> Option<Rc<dyn Subject>> {
        self.subject.get().and_then(Weak::upgrade)
    }

    /// What its client has begun and not finished, and what waits for it to be read, counts for.
    pub(super) fn unfinished(&self) -> u32 {
        self.unfinished.get().saturating_add(self.unread.get())
    }

    /// Whether anybody counts.
    pub(crate) fn counts(&self) -> bool {
        self.register.upgrade().is_some_and(|register| register.unfinished.is_bounded())
    }

    /// It must go because of that.
    pub(super) fn shed(&self) {
        self.shed.set(true);
    }

    /// Notes that the connection ends, with everything on it, for a rule that its client broke. The first one stays.
    pub fn note_broken(&self, rule: &'static str) {
        if self.broken.get().is_none() {
            self.broken.set(Some(rule));
        }
    }

    /// The rule that its client broke, if it ends for one.
    #[must_use]
    pub fn broken(&self) -> Option<&'static str> {
        self.broken.get()
    }

    /// Tells this connection.
    pub fn tell(&self, signal: Signal) {
        if signal > self.signal.get() {
            self.signal.set(signal);
            self.wake();
        }
    }

    /// What the windows of its worker's connections have grown by.
    pub(crate) fn windows(&self) -> Rc<Windows> {
        self.register.upgrade().map_or_else(Rc::default, |register| Rc::clone(register.windows()))
    }

    pub(super) fn wake(&self) {
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes that so many bytes wait for what its client has not finished, instead of what it noted last. With
    /// [`Room::None`] whoever holds them reads no further in this turn.
    pub fn hold(&self, bytes: usize) -> Room {
        self.note(&self.unfinished, Sum::weight(bytes))
    }

    /// Notes that so many bytes wait for its client to read, instead of what it noted last.
    pub(crate) fn keep(&self, bytes: usize) {
        self.note(&self.unread, if bytes == 0 { 0 } else { Sum::weight(bytes) });
    }

    fn note(&self, part: &Cell<u32>, counts: u32) -> Room {
        let Some(register) = self.register.upgrade() else { return Room::Left };
        let before = self.unfinished();
        part.set(counts);
        let after = self.unfinished();
        register.unfinished.changed(before, after);
        if self.shed.get() {
            register.unfinished.left(before);
            register.unfinished.told(after);
            // It holds nothing any more.
            self.shed.set(after != 0);
        }
        let room = register.unfinished.room();
        if room == Room::None && counts != 0 {
            register.shed();
        }
        room
    }

    /// Notes that nothing waits for what its client has not finished any more.
    #[inline]
    pub fn release(&self) {
        if self.unfinished.get() != 0 {
            self.note(&self.unfinished, 0);
        }
    }

    /// It is over.
    pub(super) fn ends(&self) {
        self.release();
        if self.unread.get() != 0 {
            self.keep(0);
        }
    }

    /// Tells it to drain, and that it must be gone in time.
    pub fn revoke(&self) {
        self.revoked.set(true);
        self.tell(Signal::Drain);
    }

    /// Whether it was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.get()
    }

    /// It was revoked, and its time is over.
    pub fn overdue(&self) {
        if let Some(subject) = self.subject() {
            subject.overdue(self);
        }
    }

    /// Whether it must go, because of what its client has not finished.
    #[must_use]
    #[inline]
    pub fn is_shed(&self) -> bool {
        self.shed.get()
    }

    /// Whether it holds something and was not told to go.
    pub(super) fn holds(&self) -> bool {
        self.unfinished() != 0 && !self.shed.get()
    }

    /// How much is in flight on it. What its subject is shared by, which each request does, tells it: nobody counts for
    /// this alone. What serves the connection itself has one share.
    pub(super) fn in_flight(&self) -> usize {
        self.subject.get().map_or(0, |subject| subject.strong_count().saturating_sub(1))
    }

    /// Says what lives on it. Once.
    pub fn concerns(&self, subject: Weak<dyn Subject>) {
        let _ = self.subject.set(subject);
    }

    /// What was told.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal.get()
    }

    /// If it was told to close now: something was in flight on it, and is lost.
    #[inline]
    pub fn note_lost(&self) {
        if self.signal.get() == Signal::Abort
            && let Some(register) = self.register.upgrade()
        {
            register.lost.one_more();
        }
    }

    /// A connection that was told [`Signal::CloseIfIdle`] while busy forgets it.
    pub fn forget(&self) {
        if self.signal.get() == Signal::CloseIfIdle {
            self.signal.set(Signal::Stay);
        }
    }

    /// Whom to wake when something is told. Call once in the connection's task.
    pub fn set_waker(&self, cx: &Context<'_>) {
        if !self.waker.borrow().as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            let before = self.waker.replace(Some(cx.waker().clone()));
            drop(before);
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, listener, .. } = self;
        f.debug_struct("Control").field("signal", signal).field("listener", listener).finish_non_exhaustive()
    }
}
