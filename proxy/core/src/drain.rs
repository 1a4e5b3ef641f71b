//! What a worker tells its connections: leave when idle, leave gracefully, leave now.
//!
//! Beside the path. Each connection registers once and keeps its [`Control`]; telling all of them is a walk over
//! the register, and a connection that is told nothing pays nothing. It never closes anything itself.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

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
    empty: RefCell<Vec<Waker>>,
}

/// A connection's line to its worker.
#[derive(Debug, Default)]
pub struct Control {
    signal: Cell<Signal>,
    waker: RefCell<Option<Waker>>,
    /// Of the listener it came by: a listener can be drained alone.
    listener: usize,
}

/// A connection's place in the register, given up on drop.
#[derive(Debug)]
pub struct Registration {
    register: Weak<Register>,
    slot: usize,
    control: Rc<Control>,
}

impl Register {
    /// Enters a connection that came by the listener with this identity.
    #[must_use]
    pub fn enter(self: &Rc<Self>, listener: usize) -> Registration {
        let control = Rc::new(Control { signal: Cell::new(Signal::Stay), waker: RefCell::new(None), listener });
        let mut controls = self.controls.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            controls.push(None);
            controls.len() - 1
        });
        controls[slot] = Some(Rc::clone(&control));
        self.open.set(self.open.get() + 1);
        Registration { register: Rc::downgrade(self), slot, control }
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Tells every connection, or those of one listener.
    pub fn tell(&self, listener: Option<usize>, signal: Signal) {
        // Waking only schedules the task, so nothing re-enters the register from here.
        for control in self.controls.borrow().iter().flatten() {
            if listener.is_none_or(|wanted| wanted == control.listener) {
                control.tell(signal);
            }
        }
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
        self.controls.borrow_mut()[slot] = None;
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
    /// Tells this connection.
    pub fn tell(&self, signal: Signal) {
        if signal > self.signal.get() {
            self.signal.set(signal);
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }

    /// What was told.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal.get()
    }

    /// A connection that was told [`Signal::CloseIfIdle`] while busy forgets it.
    pub fn forget(&self) {
        if self.signal.get() == Signal::CloseIfIdle {
            self.signal.set(Signal::Stay);
        }
    }

    /// Whom to wake when something is told. Call once in the connection's task.
    pub fn set_waker(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
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

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(register) = self.register.upgrade() {
            register.leave(self.slot);
        }
    }
}
