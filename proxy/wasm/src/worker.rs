//! A worker's machines: which plugins share one, and what becomes of one that dies.
//!
//! ```text
//!            ┌──────────── dies: streams answered, trace logged once, counted ────────────┐
//!            ▼                                                                             │
//!  Down(until) ── a timer, never a request ──► start, add every plugin ──► Running ────────┘
//! ```
//!
//! The wait before a start doubles with each machine in a row that does not live for a second. What a death, the start before
//! it if that was one again, and its memory took of the worker's time is paid for by the next death: who dies again
//! too soon waits until it was one part in 400 of the time since, a spin one in 1,000 ([`rest`]). The thread's CPU clock tells what
//! it took: what else keeps the thread from running is not the filter's doing.
//! Beyond the filter's `restarts` in a minute it waits until that minute is over.
//!
//! Not every guest can be configured more than once: what keeps its configuration in a cell that is set once refuses the
//! next, or traps. A plugin that does not start beside others gets a slot of its own, of the same key, and those that come
//! later are tried there: the others, and the streams that an earlier configuration still has, stay where they are. Where it
//! trapped, its neighbours' machine is dead; so the [`loader`](crate::loader) tries them together first, and says by
//! [`Place`] who must not be asked in beside others at all.

mod rest;
mod seat;

use crate::{
    census::{Number, starts},
    engine::Runtime,
    metrics::{self, Metrics},
    module::Module,
    plugin::{MachineSpec, Node, Plugin},
    shared::{Ready, Shared},
    vm::{Cause, Failure, Had, Machine, Mourner, StartError, Starts, Took, time},
};
use pillion_config::model::{AllowedCapabilities, Name};
use pillion_core::exchange::filter::{Services, Task};
use rest::{Rest, Rests};
pub use seat::Seat;
use seat::once_each;
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

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
    /// The workload that it is told it serves.
    pub node: Arc<Node>,
}

thread_local! {
    /// The machines of this worker. A worker is a thread.
    static SLOTS: RefCell<HashMap<Key, Weak<Slot>>> = RefCell::default();
    /// All of this worker's, those beside others of their key with them.
    static ALL: RefCell<Vec<Weak<Slot>>> = RefCell::default();
}

/// Gives back the machine of this number, if it is this worker's: it dies, and is started again as after any death.
pub fn give_back(number: Number) {
    // From a copy: those who mourn may make others.
    let slots: Vec<_> = ALL.with_borrow(|all| all.iter().filter_map(Weak::upgrade).collect());
    let machine = slots.iter().filter_map(|slot| slot.running()).find(|machine| machine.number() == Some(number));
    if let Some(machine) = machine {
        machine.give_back();
    }
}

/// Where a plugin may be seated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the machine of others with its key.
    Shared,
    /// Beside others it was seen not to start.
    Apart,
}

/// The place of one machine on this worker, whether it lives or not.
pub struct Slot {
    me: Weak<Self>,
    key: Key,
    runtime: Runtime,
    module: Arc<Module>,
    spec: Arc<MachineSpec>,
    state: RefCell<State>,
    /// Bytes that the machine which runs took as it started; or those that the one had which died, until there is another.
    had: Cell<Had>,
    /// Every plugin in it.
    seats: RefCell<Vec<Weak<Seat>>>,
    /// How long it stays empty after a death.
    rests: RefCell<Rests>,
    /// Its last failures, one of each kind: those are logged in full only once.
    told: RefCell<VecDeque<Failure>>,
}

/// In which time trials that are to end are gone.
const GONE: Duration = Duration::from_millis(100);

/// From here on it is told for how long a filter is away.
const AWAY: Duration = Duration::from_secs(2);

/// Kinds of failures that are remembered of a place: those of one that dies of more are logged again.
const MOST_TOLD: usize = 16;

enum State {
    Down(Option<Task>),
    Running(Rc<Machine>),
}

impl Slot {
    /// The slot of this key on this worker where plugins are tried now, made if there is none, or none that will do.
    #[must_use]
    pub fn of(key: &Key, runtime: &Runtime, module: &Arc<Module>, spec: &Arc<MachineSpec>, place: Place) -> Rc<Self> {
        let known = SLOTS.with_borrow(|slots| slots.get(key).and_then(Weak::upgrade));
        match known {
            Some(slot) if place == Place::Shared || slot.seated().is_empty() => slot,
            Some(_) | None => Self::fresh(key, runtime, module, spec),
        }
    }

    /// A slot with nobody in it, where plugins of this key are tried from now on.
    fn fresh(key: &Key, runtime: &Runtime, module: &Arc<Module>, spec: &Arc<MachineSpec>) -> Rc<Self> {
        let slot = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            key: key.clone(),
            runtime: runtime.clone(),
            module: Arc::clone(module),
            spec: Arc::clone(spec),
            state: RefCell::new(State::Down(None)),
            had: Cell::default(),
            seats: RefCell::default(),
            rests: RefCell::default(),
            told: RefCell::default(),
        });
        SLOTS.with_borrow_mut(|slots| {
            slots.retain(|_, slot| slot.strong_count() > 0);
            slots.insert(key.clone(), Rc::downgrade(&slot));
        });
        ALL.with_borrow_mut(|all| {
            all.retain(|slot| slot.strong_count() > 0);
            all.push(Rc::downgrade(&slot));
        });
        slot
    }

    /// Seats a plugin: in the machine that runs, or in a new one. That it does not start alone counts as a death.
    #[must_use]
    pub fn seat(self: &Rc<Self>, plugin: &Arc<Plugin>, services: Services, metrics: Metrics) -> Rc<Seat> {
        let seat = Seat::of(Rc::clone(self), Arc::clone(plugin), services, metrics);
        self.admit(&seat);
        seat
    }

    fn admit(&self, seat: &Rc<Seat>) {
        let begun = time::now();
        let Some(machine) = self.running() else {
            self.push(seat);
            if !matches!(*self.state.borrow(), State::Down(Some(_)))
                && let Err(error) = self.start()
            {
                self.not_started(seat, &error, begun);
            }
            return;
        };
        // Counted among the others only once it sits: it is not one of those who mourn if it kills them.
        match seat.sit(&machine) {
            Ok(()) => {
                self.push(seat);
                seat.up();
                self.holds(machine.memory());
            }
            Err(error) if self.seated().is_empty() => {
                self.push(seat);
                self.not_started(seat, &error, begun);
            }
            Err(error) => self.part(seat, &error),
        }
    }

    fn push(&self, seat: &Rc<Seat>) {
        let mut seats = self.seats.borrow_mut();
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Rc::downgrade(seat));
    }

    /// A plugin does not start beside others: it has a machine of its own from now on.
    fn part(&self, seat: &Rc<Seat>, error: &StartError) {
        tracing::info!(
            filter = %seat.plugin().name, vm_id = self.spec.vm_id,
            "the wasm filter does not start with this configuration in a machine that has another: it has one of its own; {error}"
        );
        self.seats.borrow_mut().retain(|known| !std::ptr::eq(known.as_ptr(), Rc::as_ptr(seat)));
        let own = Self::fresh(&self.key, &self.runtime, &self.module, &self.spec);
        seat.go_to(Rc::clone(&own));
        own.admit(seat);
    }

    fn not_started(&self, seat: &Rc<Seat>, error: &StartError, begun: Duration) {
        tracing::error!(filter = %seat.plugin().name, "the wasm filter does not start on this worker: {error}");
        metrics::failure(&seat.plugin().name, Cause::Start);
        self.down(time::now().saturating_sub(begun), seat);
    }

    fn running(&self) -> Option<Rc<Machine>> {
        match &*self.state.borrow() {
            State::Running(machine) if machine.dead().is_none() => Some(Rc::clone(machine)),
            State::Running(_) | State::Down(_) => None,
        }
    }

    fn seated(&self) -> Vec<Rc<Seat>> {
        self.seats.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    /// Starts a machine with every plugin in it that starts beside the others.
    fn start(&self) -> Result<(), StartError> {
        let begun = time::now();
        // Every turn but the last has one less.
        let (seats, machine, told) = loop {
            let seats = self.seated();
            let limit = seats.iter().map(|seat| seat.plugin().limits.start).max();
            let Some(limit) = limit else { return Ok(()) };
            let starts = match self.had.get() {
                Had { took: 0, .. } => Starts::ToServe,
                had => Starts::Again(had),
            };
            let (machine, told) = Machine::start(&self.runtime, &self.module, &self.spec, limit, &starts)?;
            let failed = seats.iter().find_map(|seat| seat.sit(&machine).err().map(|error| (seat, error)));
            match failed {
                None => break (seats, machine, told),
                // Apart they would take more of what there is too little of.
                Some((_, error)) if seats.len() == 1 || error.is_short_of_memory() => return Err(error),
                Some((seat, error)) => {
                    // Not beside the one that is started for it.
                    drop(machine);
                    self.part(seat, &error);
                }
            }
        };
        let me: Weak<dyn Mourner> = Weak::<Self>::clone(&self.me);
        machine.set_mourner(me);
        machine.enter_census();
        let took = time::now().saturating_sub(begun);
        let Took { declared, grown } = machine.took();
        self.had.set(Had { took: declared + grown, touched: 0 });
        self.rests.borrow_mut().started(took, Instant::now());
        tracing::debug!(vm_id = self.spec.vm_id, ?took, "wasm machine started");
        let Some(first) = seats.first() else { return Ok(()) };
        let bytes = machine.memory();
        let listening = first.services().spawn(listen(Rc::downgrade(&machine), told, Arc::clone(&self.spec.shared)));
        machine.set_listening(listening);
        let before = self.state.replace(State::Running(machine));
        drop(before);
        seats.iter().for_each(|seat| seat.up());
        self.holds(bytes);
        Ok(())
    }

    /// The machine is dead: it is started again after a while. `seat` is that of the plugin which died, or any of its plugins.
    fn down(&self, burnt: Duration, seat: &Rc<Seat>) {
        let Rest { wait, why } = self.rests.borrow_mut().died(burnt, seat.plugin().limits.restarts, Instant::now());
        if wait >= AWAY {
            let name = &seat.plugin().name;
            let with_it = with_it(&self.seated(), name);
            tracing::warn!(filter = %name, "the filter is away for {wait:.1?}, then its machine is started again: {why}{with_it}");
        }
        let me = Weak::clone(&self.me);
        let dead = match self.state.replace(State::Down(None)) {
            State::Running(machine) => Some(machine),
            State::Down(_) => None,
        };
        if let Some(machine) = &dead {
            let touched = machine.touched();
            self.had.set(Had { took: self.had.get().took.max(touched), touched });
        }
        let task = seat.services().spawn(async move {
            let until = tokio::time::Instant::now() + wait;
            if let Some(machine) = dead {
                let freeing = machine.release().await;
                let Some(slot) = me.upgrade() else { return };
                slot.rests.borrow_mut().freed(freeing, Instant::now());
            }
            tokio::time::sleep_until(until).await;
            if me.upgrade().is_some_and(|slot| starts::make_room(slot.had.get().touched)) {
                tokio::time::sleep(GONE).await;
            }
            if let Some(slot) = me.upgrade() {
                slot.restart();
            }
        });
        self.state.replace(State::Down(Some(task)));
        for seat in self.seated() {
            seat.leave();
        }
    }

    fn restart(&self) {
        if self.seated().is_empty() {
            return;
        }
        self.rests.borrow_mut().restart(Instant::now());
        let begun = time::now();
        let result = self.start();
        let seats = self.seated();
        for seat in once_each(&seats) {
            seat.metrics().restarted();
        }
        if let Err(error) = result
            && let Some(seat) = of(&seats, error.filter())
        {
            let name = &seat.plugin().name;
            let with_it = with_it(&seats, name);
            tracing::error!(filter = %name, "the wasm filter cannot be started again: {error}{with_it}");
            for seat in once_each(&seats) {
                metrics::failure(&seat.plugin().name, Cause::Start);
            }
            self.down(time::now().saturating_sub(begun), seat);
        }
    }
}

impl Mourner for Slot {
    fn died(&self, failure: &Failure, burnt: Duration) {
        let seats = self.seated();
        let Failure { cause, filter, callback, words, backtrace } = failure;
        // Who died may sit no more, as it is told of its end, or not yet.
        if let Some(name) = filter {
            metrics::failure(name, *cause);
        }
        for name in names(&seats).filter(|name| filter.as_ref() != Some(name)) {
            metrics::failure(name, if filter.is_some() { Cause::Neighbour } else { *cause });
        }
        let known = self.told.borrow().iter().any(|told| told.is_like(failure));
        let whose = || filter.as_ref().map_or_else(|| joined(names(&seats)), ToString::to_string);
        if known {
            tracing::debug!(filter = %whose(), callback, reason = cause.word(), "the wasm filter died again as before");
        } else {
            let backtrace = backtrace.join(" < ");
            let with_it = filter.as_ref().map(|name| with_it(&seats, name)).unwrap_or_default();
            let then = if seats.is_empty() { "has no filter any more" } else { "is started again" };
            tracing::error!(
                filter = %whose(), callback, reason = cause.word(), backtrace,
                "the wasm filter died: {words}{with_it}; its machine {then}, the same death is not logged twice"
            );
            let mut told = self.told.borrow_mut();
            told.truncate(MOST_TOLD - 1);
            told.push_front(failure.clone());
        }
        if let Some(seat) = of(&seats, filter.as_ref()) {
            self.down(burnt, seat);
        }
    }

    fn holds(&self, bytes: usize) {
        let known = |seat: &Weak<Seat>| seat.upgrade().is_none_or(|seat| seat.metrics().told() == bytes);
        if !self.seats.borrow().iter().all(known) {
            self.seated().iter().for_each(|seat| seat.tell_memory(bytes));
        }
    }
}

/// The seat of this filter, or any.
fn of<'a>(seats: &'a [Rc<Seat>], filter: Option<&Name>) -> Option<&'a Rc<Seat>> {
    seats.iter().find(|seat| filter == Some(&seat.plugin().name)).or(seats.first())
}

fn names(seats: &[Rc<Seat>]) -> impl Iterator<Item = &Name> {
    once_each(seats).map(|seat| &seat.plugin().name)
}

fn joined<'a>(names: impl Iterator<Item = &'a Name>) -> String {
    names.map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// What else a machine's end takes than this filter: the end of a sentence.
fn with_it(seats: &[Rc<Seat>], filter: &Name) -> String {
    let others = joined(names(seats).filter(|name| *name != filter));
    if others.is_empty() { others } else { format!("; with it the others of its machine: {others}") }
}

/// Tells a machine of messages in queues it registered.
async fn listen(machine: Weak<Machine>, mut told: mpsc::Receiver<Ready>, shared: Arc<Shared>) {
    while let Some(ready) = told.recv().await {
        let Some(machine) = machine.upgrade() else { return };
        machine.hear(ready);
        shared.queues.tell_rest();
        // A guest that fills its own queue must not keep the worker to itself.
        tokio::task::yield_now().await;
    }
}
