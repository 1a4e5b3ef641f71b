//! Alarms: deadlines that are nearly always called off.
//!
//! Beside the path. A request has a deadline and hardly ever meets it; setting a timer for each and taking it away again
//! would lock and relink the runtime's timer wheel twice a request. So a worker keeps the timers that were called off,
//! still set: the next request takes one whose ring comes too early, and sets it anew only if it really rings. In steady
//! load the wheel is touched once a timeout, not twice a request. An alarm never rings late and never early.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Timers kept at most: what a worker has in flight in ordinary times. One more costs what every timer costs.
const SHELF: usize = 64;

/// A worker's timers that wait for their next use.
#[derive(Debug, Default)]
pub struct Alarms {
    shelf: RefCell<Vec<Pin<Box<Sleep>>>>,
}

/// One deadline at a time. Dropping it calls the deadline off.
#[derive(Debug)]
pub struct Alarm {
    alarms: Rc<Alarms>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarms {
    /// An alarm that is not set. Takes nothing until it is.
    #[must_use]
    pub fn alarm(self: &Rc<Self>) -> Alarm {
        Alarm { alarms: Rc::clone(self), timer: None }
    }

    fn take(&self, at: Instant) -> Pin<Box<Sleep>> {
        self.shelf.borrow_mut().pop().unwrap_or_else(|| Box::pin(sleep_until(at)))
    }

    fn put(&self, timer: Pin<Box<Sleep>>) {
        let mut shelf = self.shelf.borrow_mut();
        if shelf.len() < SHELF {
            shelf.push(timer);
        }
    }
}

impl Alarm {
    /// Ready when it is `at`. A later call may name another time, which is then the only one.
    pub fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| self.alarms.take(at));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            // That was the ring of a deadline called off.
            timer.as_mut().reset(at);
        }
    }

    /// Waits until it is `at`. Cancel-safe: dropping the future calls nothing off but the wait.
    pub async fn until(&mut self, at: Instant) {
        poll_fn(|cx| self.poll_at(cx, at)).await;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.alarms.put(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    fn paused<F: Future<Output = ()>>(test: F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime can be made").block_on(test);
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_alarm_rings_at_its_own_time_whoever_had_its_timer_before() {
        paused(async {
            let alarms = Rc::<Alarms>::default();
            let begun = Instant::now();
            for (called_off, wanted) in [(1, 5), (9, 3), (2, 2), (4, 1)] {
                let mut first = alarms.alarm();
                let early = timeout(SECOND / 2, first.until(Instant::now() + called_off * SECOND)).await;
                assert!(early.is_err(), "it rang early");
                drop(first);
                let at = Instant::now() + wanted * SECOND;
                alarms.alarm().until(at).await;
                // The runtime's wheel counts milliseconds.
                assert!(
                    Instant::now() >= at && Instant::now() - at <= Duration::from_millis(2),
                    "{:?}",
                    begun.elapsed()
                );
            }
        });
    }

    #[test]
    fn a_timer_called_off_is_used_again_and_few_are_kept() {
        paused(async {
            let alarms = Rc::<Alarms>::default();
            let mut many: Vec<_> = (0..2 * SHELF).map(|_| alarms.alarm()).collect();
            for alarm in &mut many {
                assert!(timeout(Duration::ZERO, alarm.until(Instant::now() + SECOND)).await.is_err());
            }
            drop(many);
            assert_eq!(alarms.shelf.borrow().len(), SHELF);
            let mut again = alarms.alarm();
            assert!(timeout(Duration::ZERO, again.until(Instant::now() + SECOND)).await.is_err());
            assert_eq!(alarms.shelf.borrow().len(), SHELF - 1);
        });
    }

    #[test]
    fn another_time_takes_the_place_of_the_first() {
        paused(async {
            let alarms = Rc::<Alarms>::default();
            let begun = Instant::now();
            let mut alarm = alarms.alarm();
            assert!(timeout(SECOND, alarm.until(begun + 10 * SECOND)).await.is_err());
            alarm.until(begun + 3 * SECOND).await;
            assert!(begun.elapsed() >= 3 * SECOND && begun.elapsed() < 4 * SECOND);
            alarm.until(begun + 7 * SECOND).await;
            assert!(begun.elapsed() >= 7 * SECOND && begun.elapsed() < 8 * SECOND);
        });
    }
}
