//! The clock of guests: one thread that advances the engine's epoch while a guest runs, and sleeps while none does.
//!
//! A callback is given a deadline in ticks when it begins; compiled code compares it with the epoch, and where it has
//! passed the CPU clock is asked ([`crate::vm::time`]). The thread costs two hundred wake-ups a second while filters are
//! busy and nothing while they are not: after a second in which no guest ran it parks, and the next callback wakes it.
//! Where two looks find a machine in the same callback ticks come closer, until it is over: one that spins ends soon after
//! its limit, and not at the next tick but one.
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

/// Time between two ticks while a callback runs that the last one found running, too.
const CLOSE: Duration = Duration::from_millis(1);

/// Ticks without a guest running after which the thread parks.
const QUIET: u32 = 200;

/// Advances the epoch.
pub struct Ticker {
    engine: Engine,
    /// How often it did: compiled code has its own way to see that.
    ticks: Arc<AtomicU64>,
    /// The turns of every machine. Shared with machines that begin, on any worker.
    machines: Mutex<Vec<Known>>,
    parked: AtomicBool,
    /// Set under the lock of `machines`, by the first that could start it.
    thread: OnceLock<Thread>,
}

/// A machine, as the clock knows it.
struct Known {
    turns: Weak<AtomicU64>,
    /// What it had counted at the last look.
    seen: u64,
}

/// What a look at the machines found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// No guest runs, nor ran since the last look.
    Quiet,
    /// One does, or did.
    Busy,
    /// One is in the same callback as at the last look.
    Long,
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
        machines.push(Known { turns: Arc::downgrade(&turns), seen: 0 });
        drop(machines);
        Ok(Pulse { ticker: Arc::clone(self), turns })
    }

    fn machines(&self) -> std::sync::MutexGuard<'_, Vec<Known>> {
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
        let (mut quiet, mut next) = (0, TICK);
        loop {
            thread::sleep(next);
            self.engine.increment_epoch();
            // It orders nothing; whoever sees it late is told a call later.
            self.ticks.fetch_add(1, Ordering::Relaxed);
            let found = self.look();
            next = if found == Found::Long { CLOSE } else { TICK };
            quiet = if found == Found::Quiet { quiet + 1 } else { 0 };
            if quiet < QUIET {
                continue;
            }
            self.parked.store(true, Ordering::SeqCst);
            // Who enters counts first and looks at the flag then. One that did not see it has counted before now, and a
            // processor shows what it stored within nanoseconds: so after another tick's time everybody was either seen
            // here or has seen the flag, and entering needs no barrier.
            thread::sleep(TICK);
            if self.look() == Found::Quiet {
                thread::park();
            }
            self.parked.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }

    /// What became of the machines since the last look.
    fn look(&self) -> Found {
        let mut found = Found::Quiet;
        self.machines().retain_mut(|known| {
            let Some(turns) = known.turns.upgrade() else { return false };
            let turns = turns.load(Ordering::Acquire);
            let before = std::mem::replace(&mut known.seen, turns);
            found = found.max(match (turns % 2 == 1, turns == before) {
                (true, true) => Found::Long,
                (false, true) => Found::Quiet,
                (_, false) => Found::Busy,
            });
            true
        });
        found
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
        assert_eq!(ticker.look(), Found::Quiet);
        let running = second.enter();
        assert_eq!(ticker.look(), Found::Busy);
        for _ in 0..3 {
            drop(first.enter());
            assert_eq!(ticker.look(), Found::Long, "still the same callback, whatever others do");
        }
        drop(running);
        assert_eq!(ticker.look(), Found::Busy);
        assert_eq!(ticker.look(), Found::Quiet);
        drop(first.enter());
        assert_eq!(ticker.look(), Found::Busy, "one that no look found running");
        let _running = first.enter();
        assert_eq!(ticker.look(), Found::Busy);
        drop(second);
        ticker.look();
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
