//! A worker's machines: which plugins share one, and what becomes of one that dies.
//!
//! ```text
//!            ┌──────────── dies: streams answered, trace logged once, counted ────────────┐
//!            ▼                                                                             │
//!  Down(until) ── a timer, never a request ──► start, add every plugin ──► Running ────────┘
//! ```
//!
//! The wait before a start is at least 200 times what the death, and the start before it if that was one again, took of
//! the worker's time, and at least 200 times what giving back its memory took, so that a filter that always dies takes at most 0.5 % of it; and it doubles with each restart of the
//! last minute; beyond the filter's `restarts` in a minute it waits until that minute is over.

use crate::{
    engine::Runtime,
    metrics::Metrics,
    module::Module,
    plugin::{MachineSpec, Plugin},
    shared::Ready,
    vm::{Budget, Cause, Failure, Machine, Mourner, StartError, state::Stage},
};
use pillion_config::model::AllowedCapabilities;
use pillion_core::exchange::filter::{Failed, Services, Task};
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The share of a worker's time that deaths and starts may take: one part in so many.
const SHARE: u32 = 200;

/// The shortest wait before a start.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest wait before a start.
const LONGEST: Duration = Duration::from_secs(60);

/// The time over which restarts are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// What tells machines apart: the module's digest and all that its machine is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The module's SHA-256.
    pub module: [u8; 32],
    /// Under which id its data is.
    pub vm_id: String,
    /// What it is given at its start.
    pub configuration: Vec<u8>,
    /// What it sees of the environment.
    pub environment: Vec<Vec<u8>>,
    /// Bytes of memory it may have.
    pub memory: usize,
    /// What of the ABI it may use.
    pub capabilities: AllowedCapabilities,
}

thread_local! {
    /// The machines of this worker. A worker is a thread.
    static SLOTS: RefCell<HashMap<Key, Weak<Slot>>> = RefCell::default();
}

/// The place of one machine on this worker, whether it lives or not.
pub struct Slot {
    me: Weak<Self>,
    runtime: Runtime,
    module: Arc<Module>,
    spec: Arc<MachineSpec>,
    state: RefCell<State>,
    /// Every plugin in it.
    seats: RefCell<Vec<Weak<Seat>>>,
    /// When it was started again, of the last minute.
    restarts: RefCell<VecDeque<Instant>>,
    /// What starting the machine that runs took of the worker's time.
    start_took: Cell<Duration>,
    /// Its last failure's words: the same one is logged in full only once.
    told: RefCell<Option<Failure>>,
}

enum State {
    Down(Option<Task>),
    Running {
        machine: Rc<Machine>,
        /// Tells it of messages in its queues, as long as it is kept.
        _listening: Task,
    },
}

/// A plugin's place in a machine.
pub struct Seat {
    slot: Rc<Slot>,
    plugin: Arc<Plugin>,
    services: Services,
    metrics: Metrics,
    /// Its root context in the machine that runs now; 0: none.
    root: Cell<u32>,
}

impl Slot {
    /// The slot of this key on this worker, made and started if there is none.
    #[must_use]
    pub fn of(key: &Key, runtime: &Runtime, module: &Arc<Module>, spec: &Arc<MachineSpec>) -> Rc<Self> {
        SLOTS.with_borrow_mut(|slots| {
            if let Some(slot) = slots.get(key).and_then(Weak::upgrade) {
                return slot;
            }
            slots.retain(|_, slot| slot.strong_count() > 0);
            let slot = Rc::new_cyclic(|me| Self {
                me: Weak::clone(me),
                runtime: runtime.clone(),
                module: Arc::clone(module),
                spec: Arc::clone(spec),
                state: RefCell::new(State::Down(None)),
                seats: RefCell::default(),
                restarts: RefCell::default(),
                start_took: Cell::default(),
                told: RefCell::default(),
            });
            slots.insert(key.clone(), Rc::downgrade(&slot));
            slot
        })
    }

    /// Seats a plugin: in the machine that runs, or in a new one. A failure counts as a death.
    #[must_use]
    pub fn seat(self: &Rc<Self>, plugin: &Arc<Plugin>, services: Services, metrics: Metrics) -> Rc<Seat> {
        let seat =
            Rc::new(Seat { slot: Rc::clone(self), plugin: Arc::clone(plugin), services, metrics, root: Cell::new(0) });
        let mut seats = self.seats.borrow_mut();
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Rc::downgrade(&seat));
        drop(seats);
        let begun = Instant::now();
        let running = self.running();
        let result = match running {
            Some(machine) => seat.sit(&machine),
            None if matches!(*self.state.borrow(), State::Down(Some(_))) => return seat,
            None => {
                let started = self.start();
                return started.map_or_else(|error| self.not_started(&seat, &error, begun), |()| seat.clone());
            }
        };
        if let Err(error) = result {
            return self.not_started(&seat, &error, begun);
        }
        seat
    }

    fn not_started(&self, seat: &Rc<Seat>, error: &StartError, begun: Instant) -> Rc<Seat> {
        tracing::error!(filter = %seat.plugin.name, "the wasm filter does not start on this worker: {error}");
        seat.metrics.failure(Cause::Start);
        self.down(begun.elapsed(), seat);
        Rc::clone(seat)
    }

    fn running(&self) -> Option<Rc<Machine>> {
        match &*self.state.borrow() {
            State::Running { machine, .. } if machine.dead().is_none() => Some(Rc::clone(machine)),
            State::Running { .. } | State::Down(_) => None,
        }
    }

    fn seated(&self) -> Vec<Rc<Seat>> {
        self.seats.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    /// Starts a machine with every plugin in it.
    fn start(&self) -> Result<(), StartError> {
        let seats = self.seated();
        let Some(first) = seats.first() else { return Ok(()) };
        let limit = seats.iter().map(|seat| seat.plugin.limits.start).max().unwrap_or_default();
        let begun = Instant::now();
        let (machine, told) = Machine::start(&self.runtime, &self.module, &self.spec, limit, Stage::Serving)?;
        for seat in &seats {
            seat.sit(&machine)?;
        }
        let me: Weak<dyn Mourner> = Weak::<Self>::clone(&self.me);
        machine.set_mourner(me);
        self.start_took.set(begun.elapsed());
        tracing::debug!(vm_id = self.spec.vm_id, took = ?self.start_took.get(), "wasm machine started");
        let listening = first.services.spawn(listen(Rc::downgrade(&machine), told));
        let before = self.state.replace(State::Running { machine, _listening: listening });
        drop(before);
        for seat in &seats {
            seat.metrics.up();
        }
        Ok(())
    }

    /// The machine is dead: it is started again after a while. `seat` is any of its plugins.
    fn down(&self, burnt: Duration, seat: &Rc<Seat>) {
        let wait = self.wait(burnt, seat.plugin.limits.restarts);
        tracing::debug!(filter = %seat.plugin.name, ?wait, "the filter's machine will be started again");
        let me = Weak::clone(&self.me);
        let dead = match self.state.replace(State::Down(None)) {
            State::Running { machine, .. } => Some(machine),
            State::Down(_) => None,
        };
        let task = seat.services.spawn(async move {
            let freeing = match dead {
                Some(machine) => machine.release().await,
                None => Duration::ZERO,
            };
            tokio::time::sleep(wait.max(freeing.saturating_mul(SHARE))).await;
            if let Some(slot) = me.upgrade() {
                slot.restart();
            }
        });
        self.state.replace(State::Down(Some(task)));
        for seat in self.seated() {
            seat.root.set(0);
            seat.metrics.down();
        }
    }

    fn restart(&self) {
        let seats = self.seated();
        let Some(seat) = seats.first() else { return };
        self.restarts.borrow_mut().push_back(Instant::now());
        let begun = Instant::now();
        let result = self.start();
        for seat in &seats {
            seat.metrics.restarted();
        }
        if let Err(error) = result {
            tracing::error!(filter = %seat.plugin.name, "the wasm filter cannot be started again: {error}");
            for seat in &seats {
                seat.metrics.failure(Cause::Start);
            }
            self.down(begun.elapsed(), seat);
        }
    }

    fn wait(&self, burnt: Duration, most: u32) -> Duration {
        let mut restarts = self.restarts.borrow_mut();
        let now = Instant::now();
        while restarts.front().is_some_and(|at| now.duration_since(*at) > WINDOW) {
            restarts.pop_front();
        }
        let over = restarts.front().filter(|_| restarts.len() >= most as usize);
        let over = over.map(|oldest| WINDOW.saturating_sub(now.duration_since(*oldest)));
        // The first start is no crash loop's.
        let start = self.start_took.take();
        let burnt = if restarts.is_empty() { burnt } else { burnt + start };
        backoff(u32::try_from(restarts.len()).unwrap_or(u32::MAX), burnt).max(over.unwrap_or_default())
    }
}

/// How long to wait after so many restarts in the last minute, when so much time was burnt.
fn backoff(restarts: u32, burnt: Duration) -> Duration {
    let doubled = SHORTEST.saturating_mul(1 << restarts.min(10)).min(LONGEST);
    doubled.max(burnt.saturating_mul(SHARE))
}

impl Mourner for Slot {
    fn died(&self, failure: &Failure, burnt: Duration) {
        let seats = self.seated();
        let Some(seat) = seats.first() else { return };
        for seat in &seats {
            seat.metrics.failure(failure.cause);
        }
        let known = self.told.borrow().as_ref() == Some(failure);
        let names = || seats.iter().map(|seat| seat.plugin.name.as_str()).collect::<Vec<_>>().join(", ");
        let Failure { cause, callback, words, backtrace } = failure;
        if known {
            tracing::debug!(filter = %names(), callback, reason = cause.word(), "the wasm filter died again as before");
        } else {
            let backtrace = backtrace.join(" < ");
            tracing::error!(
                filter = %names(), callback, reason = cause.word(), backtrace,
                "the wasm filter died: {words}; its machine is started again, the same death is not logged twice"
            );
            self.told.replace(Some(failure.clone()));
        }
        self.down(burnt, seat);
    }
}

/// Tells a machine of messages in queues it registered.
async fn listen(machine: Weak<Machine>, mut told: mpsc::Receiver<Ready>) {
    while let Some(Ready { root, queue }) = told.recv().await {
        let Some(machine) = machine.upgrade() else { return };
        machine.queue_ready(root, queue);
        // A guest that fills its own queue must not keep the worker to itself.
        tokio::task::yield_now().await;
    }
}

impl Seat {
    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// CPU time that a callback of it may take.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget(self.plugin.limits.callback)
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The machine that runs now, and the plugin's root context in it.
    ///
    /// # Errors
    ///
    /// None runs.
    pub fn machine(&self) -> Result<(Rc<Machine>, u32), Failed> {
        match self.slot.running() {
            Some(machine) if self.root.get() != 0 => Ok((machine, self.root.get())),
            Some(_) | None => Err(Cause::Down.failed()),
        }
    }

    fn sit(&self, machine: &Rc<Machine>) -> Result<(), StartError> {
        self.root.set(0);
        let root = machine.add_root(&self.plugin, Some(self.services.clone()))?;
        self.root.set(root);
        Ok(())
    }
}

impl Drop for Seat {
    /// The plugin is in no configuration any more, and its last stream is over.
    fn drop(&mut self) {
        self.metrics.gone();
        if let Some(machine) = self.slot.running()
            && self.root.get() != 0
        {
            machine.retire(self.root.get(), self.budget(), Some(&self.services));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loop_takes_half_a_percent_at_most() {
        for millis in [0, 1, 50, 1_000] {
            let burnt = Duration::from_millis(millis);
            for restarts in 0..100 {
                assert!(backoff(restarts, burnt) >= burnt * SHARE);
                assert!(backoff(restarts, burnt) >= SHORTEST);
            }
        }
        assert_eq!(backoff(0, Duration::ZERO), SHORTEST);
        assert_eq!(backoff(3, Duration::ZERO), SHORTEST * 8);
        assert_eq!(backoff(u32::MAX, Duration::ZERO), LONGEST);
    }
}
