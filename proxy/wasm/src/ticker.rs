//! The clock of guests: one thread that advances the engine's epoch while a guest runs, and sleeps while none does.
//!
//! A callback is given a deadline in ticks when it begins; compiled code compares it with the epoch. The thread costs
//! a hundred wake-ups a second while filters are busy and nothing while they are not: after a second in which no tick
//! found a guest running it parks, and the next callback wakes it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};
use wasmtime::Engine;

/// Time between two ticks; time limits are rounded up to it, and one tick is added, since the first one may come at
/// once.
pub const TICK: Duration = Duration::from_millis(5);

/// Ticks without a guest running after which the thread parks.
const QUIET: u32 = 200;

/// Says who runs, and when.
pub struct Ticker {
    engine: Engine,
    /// Guests running now, over all workers.
    running: AtomicUsize,
    parked: AtomicBool,
    /// Ticks so far: what a callback took is told from it without a look at a clock.
    ticks: AtomicU64,
    thread: OnceLock<Option<Thread>>,
}

/// A guest is running, until this is dropped.
pub struct Running<'a>(&'a Ticker);

impl Ticker {
    pub(crate) fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self {
            engine,
            running: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
            thread: OnceLock::new(),
        })
    }

    /// A guest begins to run. The first one starts the thread.
    pub fn enter(self: &Arc<Self>) -> Running<'_> {
        // SeqCst here and below: either the thread sees that somebody runs, or we see that it parks.
        self.running.fetch_add(1, Ordering::SeqCst);
        let thread = self.thread.get_or_init(|| self.start());
        if self.parked.load(Ordering::SeqCst)
            && let Some(thread) = thread
        {
            thread.unpark();
        }
        Running(self)
    }

    /// Ticks so far. While a guest runs they come every [`TICK`].
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    fn start(self: &Arc<Self>) -> Option<Thread> {
        let ticker = Arc::clone(self);
        let started =
            thread::Builder::new().name("pillion-wasm-tick".to_owned()).stack_size(64 * 1024).spawn(move || {
                ticker.tick();
            });
        match started {
            Ok(handle) => Some(handle.thread().clone()),
            Err(error) => {
                tracing::error!("no thread to bound the time of wasm filters: {error}");
                None
            }
        }
    }

    fn tick(&self) {
        let mut quiet = 0;
        loop {
            thread::sleep(TICK);
            self.ticks.fetch_add(1, Ordering::Relaxed);
            self.engine.increment_epoch();
            quiet = if self.running.load(Ordering::SeqCst) == 0 { quiet + 1 } else { 0 };
            if quiet >= QUIET {
                self.parked.store(true, Ordering::SeqCst);
                while self.running.load(Ordering::SeqCst) == 0 {
                    thread::park();
                    if self.running.load(Ordering::SeqCst) == 0 {
                        // Woken by a callback that is over already: more will come.
                        break;
                    }
                }
                self.parked.store(false, Ordering::SeqCst);
                quiet = 0;
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A limit in ticks, for `set_epoch_deadline`.
#[must_use]
pub fn ticks(limit: Duration) -> u64 {
    let whole = limit.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_rounded_up_and_one_tick_is_added() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(TICK), 2);
        assert_eq!(ticks(TICK + Duration::from_nanos(1)), 3);
        assert_eq!(ticks(Duration::MAX), u64::MAX);
    }
}
