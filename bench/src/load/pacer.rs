//! Who sends next, and when: one timer for all connections of a thread.
//!
//! A connection that is free asks for its [`Pacer::turn`]. Requests that are already due are handed out at once, else
//! the connection waits in line; whoever waits longest gets the next. The timer is a timerfd: Tokio's own has a grain of
//! a millisecond, ten times what is measured here. It is armed for one moment at a time and never read: setting it anew
//! takes its old event back.

use super::schedule::Schedule;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};
use tokio::io::{Interest, unix::AsyncFd};

/// A request to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// When it should have been sent.
    pub(crate) due: Instant,
    /// How late the generator itself was.
    pub(crate) delay: Duration,
}

/// The schedule of a thread, and the connections that wait for it.
#[derive(Debug)]
pub(crate) struct Pacer {
    schedule: RefCell<Schedule>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    /// Sleeps while nobody waits.
    pacing: RefCell<Option<Waker>>,
    timer: AsyncFd<OwnedFd>,
}

#[derive(Debug)]
struct Waiter {
    since: Instant,
    /// Outer: an answer is there. Inner: `None` when the schedule is over.
    given: Cell<Option<Option<Instant>>>,
    waker: RefCell<Option<Waker>>,
}

impl Pacer {
    #[expect(unsafe_code, reason = "what Tokio watches it cannot check")]
    pub(crate) fn new(schedule: Schedule) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the descriptor is owned by the `AsyncFd` until it is dropped, and never replaced or closed before.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE)? };
        Ok(Self { schedule: RefCell::new(schedule), waiting: RefCell::default(), pacing: RefCell::default(), timer })
    }

    /// Waits for a request to send; `None`: there are no more. Not cancel-safe: a turn given to a future that was
    /// dropped is lost.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let now = Instant::now();
        let in_line = !self.waiting.borrow().is_empty();
        if !in_line {
            if let Some(due) = self.schedule.borrow_mut().take(now) {
                return Some(Turn { due, delay: Duration::ZERO });
            }
            self.schedule.borrow().peek()?;
        }
        let waiter = Rc::new(Waiter { since: now, given: Cell::new(None), waker: RefCell::default() });
        self.waiting.borrow_mut().push_back(Rc::clone(&waiter));
        if let Some(pacing) = self.pacing.take() {
            pacing.wake();
        }
        let due = poll_fn(|cx| match waiter.given.take() {
            Some(due) => Poll::Ready(due),
            None => {
                *waiter.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        });
        let due = due.await?;
        Some(Turn { due, delay: due.max(waiter.since).elapsed() })
    }

    /// Requests that are due by `now` and that nobody took.
    pub(crate) fn drain(&self, now: Instant) -> impl Iterator<Item = Instant> {
        std::iter::from_fn(move || self.schedule.borrow_mut().take(now))
    }

    /// Hands turns out; ends with the schedule.
    pub(crate) async fn pace(&self) -> io::Result<()> {
        loop {
            self.someone_waits().await;
            let Some(due) = self.schedule.borrow().peek() else {
                for waiter in self.waiting.borrow_mut().drain(..) {
                    waiter.give(None);
                }
                return Ok(());
            };
            let now = Instant::now();
            if due > now {
                self.sleep(due - now).await?;
            }
            self.hand_out(Instant::now());
        }
    }

    fn hand_out(&self, now: Instant) {
        let (mut schedule, mut waiting) = (self.schedule.borrow_mut(), self.waiting.borrow_mut());
        while !waiting.is_empty() {
            let Some(due) = schedule.take(now) else { break };
            if let Some(waiter) = waiting.pop_front() {
                waiter.give(Some(due));
            }
        }
    }

    async fn someone_waits(&self) {
        poll_fn(|cx| {
            if self.waiting.borrow().is_empty() {
                *self.pacing.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    async fn sleep(&self, time: Duration) -> io::Result<()> {
        let value = Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().max(1).into() };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        self.timer.readable().await?.clear_ready();
        Ok(())
    }
}

impl Waiter {
    fn give(&self, due: Option<Instant>) {
        self.given.set(Some(due));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
