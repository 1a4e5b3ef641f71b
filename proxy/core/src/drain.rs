//! What a worker tells its connections: leave when idle, leave gracefully, leave now.
//!
//! Beside the path. Each connection registers once and keeps its [`Control`]; telling all of them is a walk over
//! the register, and a connection that is told nothing pays nothing. It never closes anything itself. The same line carries
//! the other way what a connection's client has not finished ([`unfinished`]).

use crate::downstream::{
    held::Spares,
    limit::Pressure,
    unfinished::{self, Allowance, Room, Sum},
    windows::Windows,
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    cmp::Reverse,
    fmt,
    future::poll_fn,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::time::Instant;

/// One connection in so many is cut at a time where memory is shorter than refusing bears.
const RELIEVED: usize = 16;

/// Tenths of a second for which a connection is new: its client, which waits for a handshake perhaps, is about to ask.
const NEW: u32 = 10;

/// What a connection is told. Later ones are stronger; a weaker one never undoes a stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Signal {
    /// Nothing.
    #[default]
    Stay,
    /// Close at once if no request is in flight; otherwise forget it.
    CloseIfIdle,
    /// Announce the end (`Connection: close`, GOAWAY), finish what is in flight, close.
    Drain,
    /// Close now.
    Abort,
}

/// The connections of a worker.
#[derive(Debug, Default)]
pub struct Register {
    controls: RefCell<Vec<Option<Rc<Control>>>>,
    free: RefCell<Vec<usize>>,
    open: Cell<usize>,
    /// From where ages are counted.
    begun: OnceCell<Instant>,
    empty: RefCell<Vec<Waker>>,
    unfinished: Sum,
    windows: Rc<Windows>,
    spares: Spares,
    lost: Arc<Lost>,
}

/// Requests and tunnels that were cut because their connection had to close at once. Shared by all workers: the exit code is
/// the process's.
#[derive(Debug, Default)]
pub struct Lost(AtomicUsize);

impl Lost {
    /// How many so far; more than one may be counted for a connection.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Something that lives on a connection's line, and may have to end when the configuration changes.
pub trait Subject {
    /// Looks whether it may go on under what is in force now, and tells `control` what follows.
    fn look_again(&self, control: &Control);

    /// Was [revoked](Control::revoke) and is here still, with something in flight, when its time is over.
    fn overdue(&self, control: &Control);

    /// Must end with all that is in flight on it, since memory is short: notes so, and tells `control`.
    fn relieve(&self, control: &Control);
}

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
    /// When it came, in tenths of a second.
    came: u32,
    /// Whether it must go because of that.
    shed: Cell<bool>,
    /// Whether it must go in time, since it would not be let in any more.
    revoked: Cell<bool>,
    /// The rule that its client broke, for which it ends with everything on it.
    broken: Cell<Option<&'static str>>,
}

/// A connection's place in the register, given up on drop.
#[derive(Debug)]
pub struct Registration {
    slot: usize,
    control: Rc<Control>,
}

impl Register {
    /// A register whose connections leave no more unfinished than this allows, and which counts there what is cut.
    #[must_use]
    pub fn within(allowance: Arc<Allowance>, lost: Arc<Lost>) -> Rc<Self> {
        let windows = Windows::within(Arc::clone(&allowance));
        Rc::new(Self { unfinished: Sum::within(allowance), windows, lost, ..Self::default() })
    }

    /// Enters a connection that came by the listener with this identity.
    #[must_use]
    pub fn enter(self: &Rc<Self>, listener: usize) -> Registration {
        let control = Rc::new(Control {
            signal: Cell::new(Signal::Stay),
            waker: RefCell::new(None),
            subject: OnceCell::new(),
            listener,
            register: Rc::downgrade(self),
            unfinished: Cell::new(0),
            came: self.now(),
            shed: Cell::new(false),
            revoked: Cell::new(false),
            broken: Cell::new(None),
        });
        let mut controls = self.controls.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            controls.push(None);
            controls.len() - 1
        });
        controls[slot] = Some(Rc::clone(&control));
        self.open.set(self.open.get() + 1);
        Registration { slot, control }
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Tells every connection, or those of one listener.
    pub fn tell(&self, listener: Option<usize>, signal: Signal) {
        // Told from a copy: what a waker runs may enter or leave the register.
        let told = |control: &&Rc<Control>| listener.is_none_or(|wanted| wanted == control.listener);
        let controls: Vec<_> = self.controls.borrow().iter().flatten().filter(told).cloned().collect();
        for control in controls {
            control.tell(signal);
        }
    }

    /// Tenths of a second since the first connection.
    fn now(&self) -> u32 {
        let tenths = self.begun.get_or_init(Instant::now).elapsed().as_millis() / 100;
        // Thirteen years.
        u32::try_from(tenths).unwrap_or(u32::MAX)
    }

    /// Tells every connection to close if it is at rest. One that came just now is not, unless memory is so short that
    /// nobody else would be let in either.
    pub fn close_idle(&self, pressure: Pressure) {
        let now = self.now();
        let rests = |of: &&Rc<Control>| pressure == Pressure::Refuse || now - of.came >= NEW;
        // From a copy, as above.
        let controls: Vec<_> = self.controls.borrow().iter().flatten().filter(rests).cloned().collect();
        for control in controls {
            control.tell(Signal::CloseIfIdle);
        }
    }

    /// Those who keep bytes that they can do without.
    pub(crate) fn spares(&self) -> &Spares {
        &self.spares
    }

    /// What the windows of its worker's connections have grown by.
    pub(crate) fn windows(&self) -> &Rc<Windows> {
        &self.windows
    }

    /// What its connections, and requests in flight, hold.
    pub(crate) fn held(&self) -> &Sum {
        &self.unfinished
    }

    /// What is kept in case a request must be sent again is let go. Where more is held than is allowed even then, those who
    /// hold the most of what is unfinished are told to go.
    pub fn shed(&self) {
        self.spares.let_go();
        let excess = self.unfinished.excess();
        if excess == 0 {
            return;
        }
        // From a copy, as above.
        let controls: Vec<_> = self.controls.borrow().iter().flatten().filter(|of| of.holds()).cloned().collect();
        let holders = controls.iter().map(|of| of.unfinished.get()).zip(0..).collect();
        for place in unfinished::largest(holders, excess) {
            let control = &controls[place];
            control.shed.set(true);
            self.unfinished.told(control.unfinished.get());
            control.wake();
        }
    }

    /// The last resort before the kernel kills the process: one in [`RELIEVED`] of those with something in flight is cut, those with
    /// the most first.
    pub fn relieve(&self) {
        // From a copy, as above.
        let controls: Vec<_> = self.controls.borrow().iter().flatten().cloned().collect();
        let mut busy: Vec<_> =
            controls.iter().filter(|of| of.signal() != Signal::Abort && of.in_flight() > 0).collect();
        busy.sort_by_key(|of| Reverse(of.in_flight()));
        for control in busy.iter().take(busy.len().div_ceil(RELIEVED)) {
            if let Some(subject) = control.subject.get().and_then(Weak::upgrade) {
                subject.relieve(control);
            }
        }
    }

    /// Everything that lives looks whether it may go on. Gives those that were revoked by this look: when their time is over
    /// they are [overdue](Control::overdue).
    #[must_use]
    pub fn look_again(&self) -> Vec<Weak<Control>> {
        // From a copy, as above.
        let controls: Vec<_> = self.controls.borrow().iter().flatten().cloned().collect();
        let mut revoked = Vec::new();
        for control in controls {
            let before = control.is_revoked();
            if let Some(subject) = control.subject.get().and_then(Weak::upgrade) {
                subject.look_again(&control);
            }
            if control.is_revoked() && !before {
                revoked.push(Rc::downgrade(&control));
            }
        }
        revoked
    }

    /// Ready once no connection is open.
    pub fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.open.get() == 0 {
            return Poll::Ready(());
        }
        self.empty.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    fn leave(&self, slot: usize) {
        let gone = self.controls.borrow_mut()[slot].take();
        // With it goes its waker, and with that perhaps a task: not while the register is borrowed.
        drop(gone);
        self.free.borrow_mut().push(slot);
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 {
            // The room a burst took is given back.
            self.controls.borrow_mut().clear();
            self.controls.borrow_mut().shrink_to_fit();
            self.free.borrow_mut().clear();
            self.free.borrow_mut().shrink_to_fit();
            self.empty.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Control {
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

    fn wake(&self) {
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes that so many bytes wait for what its client has not finished, instead of what it noted last. With
    /// [`Room::None`] whoever holds them reads no further in this turn.
    pub fn hold(&self, bytes: usize) -> Room {
        let Some(register) = self.register.upgrade() else { return Room::Left };
        let after = Sum::weight(bytes);
        let before = self.unfinished.replace(after);
        register.unfinished.changed(before, after);
        if self.shed.get() {
            register.unfinished.left(before);
            register.unfinished.told(after);
        }
        let room = register.unfinished.room();
        if room == Room::None {
            register.shed();
        }
        room
    }

    /// Notes that nothing waits any more.
    #[inline]
    pub fn release(&self) {
        if self.unfinished.get() != 0 {
            self.released();
        }
    }

    #[cold]
    fn released(&self) {
        let Some(register) = self.register.upgrade() else { return };
        let held = self.unfinished.take();
        if self.shed.take() {
            register.unfinished.left(held);
        }
        register.unfinished.changed(held, 0);
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
        if let Some(subject) = self.subject.get().and_then(Weak::upgrade) {
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
    fn holds(&self) -> bool {
        self.unfinished.get() != 0 && !self.shed.get()
    }

    /// How much is in flight on it. What its subject is shared by, which each request does, tells it: nobody counts for
    /// this alone. What serves the connection itself has one share.
    fn in_flight(&self) -> usize {
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

impl Registration {
    /// The connection's line to its worker.
    #[must_use]
    pub fn control(&self) -> &Rc<Control> {
        &self.control
    }
}

impl Registration {
    /// Ready when whoever registered must end now. Only its task polls its control.
    pub async fn aborted(&self) {
        self.told(Signal::Abort).await;
    }

    /// Ready when whoever registered must end as soon as nothing is in flight. Only its task polls its control.
    pub async fn drained(&self) {
        self.told(Signal::Drain).await;
    }

    async fn told(&self, signal: Signal) {
        poll_fn(|cx| {
            self.control.set_waker(cx);
            if self.control.signal() >= signal { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(register) = self.control.register.upgrade() {
            self.control.release();
            register.leave(self.slot);
        }
    }
}

#[cfg(test)]
mod tests;
