//! One timer for all deadlines of a connection.
//!
//! Waits that begin and end all the time (idle, body, write) are watched by a coarse tick: a wait that two ticks see
//! without progress between them is timed from the first of the two. So an ordinary request touches neither the timer nor
//! the clock; a deadline fires up to a quarter of the shortest limit late, never early. A head's deadline is rare (only a
//! head cut over reads has one) and exact.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How often a client that nobody reads from is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a client may take. Each fires at most a quarter of the shortest of idle, body and write late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Between requests: no byte of a head.
    pub idle: Duration,
    /// From the first byte of a head to its last, however many come in between; for the first one from the connection's begin.
    pub head: Duration,
    /// Within a body that is wanted: no byte. `None`: as long as the connection may be idle.
    pub body: Option<Duration>,
    /// While there is something to write: no byte taken.
    pub write: Duration,
}

impl Deadlines {
    fn body(&self) -> Duration {
        self.body.unwrap_or(self.idle)
    }

    fn tick(&self) -> Duration {
        (self.idle.min(self.body()).min(self.write) / 4).max(Duration::from_millis(1))
    }
}

/// What a side of the connection waits for under a coarse deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Idle,
    Body,
    Write,
}

/// Whether a wait may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Waiting,
    Expired,
}

/// The timer. Only the connection's own task may ask it: it wakes whoever asked last.
#[derive(Debug, Default)]
pub(super) struct Timer {
    /// Boxed and made on first use: `!Unpin`, and larger than the rest of it.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether the alarm is set and has not been seen to ring.
    armed: bool,
    /// How often it rang.
    tick: u32,
    read: Watch,
    write: Watch,
    /// When the head that has begun must be complete.
    due: Option<Instant>,
    /// When to look at a client that nobody reads from.
    look: Option<Instant>,
}

/// What a tick saw of one side.
#[derive(Debug, Default)]
struct Watch {
    tick: u32,
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    wait: Wait,
    progress: u64,
    at: Instant,
}

impl Timer {
    /// Called on every pending read or write that a deadline covers. `progress` counts bytes on that side.
    #[inline]
    pub(super) fn watch(&mut self, cx: &mut Context<'_>, deadlines: &Deadlines, wait: Wait, progress: u64) -> Verdict {
        let quiet = self.quiet(cx);
        // The other side may have heard the ring; each looks once a tick.
        if quiet && self.side(wait).tick == self.tick {
            return Verdict::Waiting;
        }
        self.look(cx, deadlines, wait, progress, quiet)
    }

    /// Called on every pending read inside a head, or before the first: its time counts from the first such call until
    /// [`head_ended`](Self::head_ended).
    pub(super) fn head(&mut self, cx: &mut Context<'_>, deadlines: &Deadlines) -> Verdict {
        let now = Instant::now();
        let due = *self.due.get_or_insert(now + deadlines.head);
        if now >= due {
            self.due = None;
            return Verdict::Expired;
        }
        // An alarm that rings earlier comes here again.
        if self.quiet(cx) && self.alarm.as_ref().is_some_and(|alarm| alarm.deadline() <= due) {
            return Verdict::Waiting;
        }
        // The other side's tick must not wait for this.
        self.arm(cx, due.min(now + deadlines.tick()));
        Verdict::Waiting
    }

    /// Called on every poll in which nobody reads from the client. Whether it is time to look whether it has left, as it is
    /// once a second.
    pub(super) fn looks(&mut self, cx: &mut Context<'_>) -> bool {
        let quiet = self.quiet(cx);
        let due = match self.look {
            Some(due) if quiet && self.alarm.as_ref().is_some_and(|alarm| alarm.deadline() <= due) => return false,
            Some(due) => due,
            None => Instant::now() + LOOK,
        };
        let now = Instant::now();
        let next = if now >= due { now + LOOK } else { due };
        self.look = Some(next);
        if !quiet || self.alarm.as_ref().is_none_or(|alarm| alarm.deadline() > next) {
            self.arm(cx, next);
        }
        now >= due
    }

    /// What was seen of the reading side is no wait any more.
    pub(super) fn forget(&mut self) {
        self.read.seen = None;
    }

    /// The head is complete.
    #[inline]
    pub(super) fn head_ended(&mut self) {
        self.due = None;
    }

    /// Whether the alarm will yet ring: two loads, no clock.
    #[inline]
    pub(super) fn is_armed(&self) -> bool {
        self.armed && self.alarm.as_ref().is_some_and(|alarm| !alarm.is_elapsed())
    }

    #[inline]
    fn quiet(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.armed {
            return false;
        }
        if self.is_armed() {
            return true;
        }
        // Rung, or between deadline and ring; a poll tells.
        if self.alarm.as_mut().is_some_and(|alarm| ask(alarm, cx).is_pending()) {
            return true;
        }
        self.armed = false;
        self.tick = self.tick.wrapping_add(1);
        false
    }

    #[cold]
    fn look(&mut self, cx: &mut Context<'_>, deadlines: &Deadlines, wait: Wait, progress: u64, armed: bool) -> Verdict {
        let limit = match wait {
            Wait::Idle => deadlines.idle,
            Wait::Body => deadlines.body(),
            Wait::Write => deadlines.write,
        };
        let now = Instant::now();
        let tick = self.tick;
        let watch = self.side(wait);
        watch.tick = tick;
        match &watch.seen {
            Some(seen) if seen.wait == wait && seen.progress == progress => {
                if now.duration_since(seen.at) >= limit {
                    return Verdict::Expired;
                }
            }
            Some(_) | None => watch.seen = Some(Seen { wait, progress, at: now }),
        }
        if !armed {
            self.arm(cx, now + deadlines.tick());
        }
        Verdict::Waiting
    }

    fn side(&mut self, wait: Wait) -> &mut Watch {
        match wait {
            Wait::Idle | Wait::Body => &mut self.read,
            Wait::Write => &mut self.write,
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>, at: Instant) {
        let alarm = match &mut self.alarm {
            Some(alarm) => {
                alarm.as_mut().reset(at);
                alarm
            }
            None => self.alarm.insert(Box::pin(sleep_until(at))),
        };
        self.armed = true;
        if let Poll::Ready(()) = ask(alarm, cx) {
            // Already past: come again at once.
            cx.waker().wake_by_ref();
        }
    }
}

/// Asks the alarm, whatever the task has done in this turn: one that has used up its budget is told "pending" without
/// being noted, and this alarm is not asked again before it rings.
fn ask(alarm: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    pin!(tokio::task::unconstrained(alarm)).poll(cx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::task::coop;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_used_up_its_budget_is_called_all_the_same() {
        let four = Duration::from_secs(4);
        let deadlines = Deadlines { idle: four, head: four, body: Some(four), write: four };
        let mut timer = Timer::default();
        let mut turns = 0;
        let began = Instant::now();
        let watching = poll_fn(|cx| {
            turns += 1;
            while turns == 1 && coop::has_budget_remaining() {
                let _ = pin!(coop::consume_budget()).poll(cx);
            }
            match timer.watch(cx, &deadlines, Wait::Write, 0) {
                Verdict::Waiting => Poll::Pending,
                Verdict::Expired => Poll::Ready(()),
            }
        });
        tokio::time::timeout(Duration::from_secs(600), watching).await.expect("the alarm rings");
        assert!((4..=5).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }
}
