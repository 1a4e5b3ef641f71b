//! The clock of guests: one thread that advances the engine's epoch while a guest runs, and sleeps while none does.
//!
//! A callback is given a deadline in ticks when it begins; compiled code compares it with the epoch, and where it has
//! passed the CPU clock is asked ([`crate::vm::time`]). The thread costs two hundred wake-ups a second while filters are
//! busy and nothing while they are not: after a second in which no guest ran it parks, and the next callback wakes it.
//!
//! Entering a guest is two plain stores and a look at a flag that seldom changes: each machine counts for itself
//! ([`Pulse`]), and workers share no cache line that one of them writes.

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence},
    },
    thread::{self, Thread},
    time::Duration,
};
use wasmtime::Engine;

/// Time between two ticks.
pub const TICK: Duration = Duration::from_millis(5);

/// Ticks without a guest running after which the thread parks.
const QUIET: u32 = 200;

/// Advances the epoch.
pub struct Ticker {
    engine: Engine,
    /// How often it did: compiled code has its own way to see that.
    ticks: Arc<AtomicU64>,
    /// The turns of every machine. Shared with machines that begin, on any worker.
    machines: Mutex<Vec<Weak<AtomicU64>>>,
    parked: AtomicBool,
    /// Set under the lock of `machines`, by the first that could start it.
    thread: OnceLock<Thread>,
}

/// One machine's word to the clock: that its guest runs.
pub struct Pulse {
    ticker: Arc<Ticker>,
    /// How often the guest was entered and left: odd while it runs. One worker writes it, the clock reads it.
    turns: Arc<AtomicU64>,
}

/// A guest is running, until this is dropped.
pub struct Running<'a>(&'a Pulse);

impl Ticker {
    pub(crate) fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self {
            engine,
            ticks: Arc::default(),
            machines: Mutex::default(),
            parked: AtomicBool::new(false),
            thread: OnceLock::new(),
        })
    }

    /// How often it has ticked, now and later.
    #[must_use]
    pub fn ticks(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.ticks)
    }

    /// A machine begins. The first one starts the thread.
    ///
    /// # Errors
    ///
    /// There can be no thread now, and without it a guest's time has no bound. The next machine tries again.
    pub fn pulse(self: &Arc<Self>) -> io::Result<Pulse> {
        self.pulse_by(|| self.start())
    }

    fn pulse_by(self: &Arc<Self>, start: impl FnOnce() -> io::Result<Thread>) -> io::Result<Pulse> {
        let turns = Arc::default();
        let mut machines = self.machines();
        if self.thread.get().is_none() {
            let started = start()?;
            self.thread.get_or_init(|| started);
        }
        machines.push(Arc::downgrade(&turns));
        drop(machines);
        Ok(Pulse { ticker: Arc::clone(self), turns })
    }

    fn machines(&self) -> std::sync::MutexGuard<'_, Vec<Weak<AtomicU64>>> {
        // Nobody panics while holding it; a list is whole between any two statements.
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(self: &Arc<Self>) -> io::Result<Thread> {
        let ticker = Arc::clone(self);
        let started =
            thread::Builder::new().name("pillion-wasm-tick".to_owned()).stack_size(64 * 1024).spawn(move || {
                ticker.tick();
            });
        started.map(|handle| handle.thread().clone())
    }

    fn tick(&self) {
        let (mut quiet, mut seen) = (0, 0);
        loop {
            thread::sleep(TICK);
            self.engine.increment_epoch();
            // It orders nothing; whoever sees it late is told a call later.
            self.ticks.fetch_add(1, Ordering::Relaxed);
            quiet = if self.stirred(&mut seen) { 0 } else { quiet + 1 };
            if quiet < QUIET {
                continue;
            }
            self.parked.store(true, Ordering::SeqCst);
            // Who enters counts first and looks at the flag then. One that did not see it has counted before now, and a
            // processor shows what it stored within nanoseconds: so after another tick's time everybody was either seen
            // here or has seen the flag, and entering needs no barrier.
            thread::sleep(TICK);
            if !self.stirred(&mut seen) {
                thread::park();
            }
            self.parked.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }

    /// Whether a guest runs, or ran since the last look. `seen`: what was counted then.
    fn stirred(&self, seen: &mut u64) -> bool {
        let (mut all, mut runs) = (0_u64, false);
        self.machines().retain(|machine| {
            let Some(turns) = machine.upgrade() else { return false };
            let turns = turns.load(Ordering::Acquire);
            all = all.wrapping_add(turns);
            runs |= turns % 2 == 1;
            true
        });
        runs | (std::mem::replace(seen, all) != all)
    }
}

impl Pulse {
    /// The guest begins to run.
    #[must_use]
    pub fn enter(&self) -> Running<'_> {
        self.turn();
        // See `tick`: the flag is to be read after the turn is counted.
        compiler_fence(Ordering::SeqCst);
        if self.ticker.parked.load(Ordering::Relaxed)
            && let Some(thread) = self.ticker.thread.get()
        {
            thread.unpark();
        }
        Running(self)
    }

    /// No addition that others could interleave with: only this machine's worker writes.
    fn turn(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns.wrapping_add(1), Ordering::Release);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.turn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_seen_while_it_runs_and_once_after() {
        let ticker = Ticker::new(Engine::default());
        let (first, second) = (ticker.pulse().unwrap(), ticker.pulse().unwrap());
        let mut seen = 0;
        assert!(!ticker.stirred(&mut seen));
        let running = second.enter();
        for _ in 0..3 {
            assert!(ticker.stirred(&mut seen));
        }
        drop(running);
        assert!(ticker.stirred(&mut seen));
        assert!(!ticker.stirred(&mut seen));
        drop(first.enter());
        assert!(ticker.stirred(&mut seen), "one that no look found running");
        drop(second);
        ticker.stirred(&mut seen);
        assert_eq!(ticker.machines().len(), 1, "a machine that is gone is forgotten");
    }

    #[test]
    fn no_machine_begins_without_a_clock_and_the_next_one_tries_again() {
        let ticker = Ticker::new(Engine::default());
        let full = || Err(io::ErrorKind::WouldBlock.into());
        assert!(ticker.pulse_by(full).is_err());
        assert_eq!(ticker.machines().len(), 0);
        let _pulse = ticker.pulse().unwrap();
        assert!(ticker.pulse_by(full).is_ok(), "it runs by now");
    }

    #[test]
    fn a_clock_that_has_parked_ticks_again_for_a_guest_that_runs() {
        let ticker = Ticker::new(Engine::default());
        let pulse = ticker.pulse().unwrap();
        let wait = |parked: bool| {
            while ticker.parked.load(Ordering::SeqCst) != parked {
                thread::sleep(TICK);
            }
        };
        wait(true);
        let _running = pulse.enter();
        wait(false);
    }
}
