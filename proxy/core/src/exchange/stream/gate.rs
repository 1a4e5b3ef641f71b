//! [`Gate`]: holds a request's body back until somebody wants it (`Expect: 100-continue`, RFC 9110 §10.1.1).

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Holds a body back until the upstream has said 100 (Continue) or has been silent long enough. Where it answers instead, the body
/// mostly is not wanted and stays where it is.
#[derive(Debug, Clone, Default)]
pub struct Gate(Rc<State>);

#[derive(Debug, Default)]
struct State {
    open: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Whether it was this call that opened a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It was.
    Now,
    /// It was open.
    Before,
}

impl Gate {
    /// Lets the body through.
    pub fn open(&self) -> Opened {
        if self.0.open.replace(true) {
            return Opened::Before;
        }
        let waker = self.0.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        Opened::Now
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.open.get()
    }

    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.open.get() {
            return Poll::Ready(());
        }
        self.0.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}
