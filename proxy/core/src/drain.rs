//! What a worker tells its connections: leave when idle, leave gracefully, leave now.
//!
//! Beside the path. Each connection registers once and keeps its [`Control`]; telling all of them is a walk over
//! the register, and a connection that is told nothing pays nothing. It never closes anything itself. The same line carries
//! the other way what a connection's client has not finished ([`unfinished`]).

mod control;

pub use control::Control;

use crate::downstream::{
    held::Spares,
    limit::Pressure,
    unfinished::{self, Allowance, Sum},
    windows::Windows,
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    cmp::Reverse,
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
        let control = Rc::new(Control::of(self, listener));
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
        let told = |control: &&Rc<Control>| listener.is_none_or(|wanted| wanted == control.listener());
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
        let rests = |of: &&Rc<Control>| pressure == Pressure::Refuse || now - of.came() >= NEW;
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
        let holders = controls.iter().map(|of| of.unfinished()).zip(0..).collect();
        for place in unfinished::largest(holders, excess) {
            let control = &controls[place];
            control.shed();
            self.unfinished.told(control.unfinished());
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
            if let Some(subject) = control.subject() {
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
            if let Some(subject) = control.subject() {
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
        if let Some(register) = self.control.register() {
            self.control.ends();
            register.leave(self.slot);
        }
    }
}

#[cfg(test)]
mod tests;
