//! [`Machine`]: one instance of a module, with its contexts: what runs a guest.
//!
//! ```text
//!  start: instantiate ─► _initialize (main) | _start ─► add_root: create ─► vm_start ─► configure
//!  serve: open ─► request_headers … ─► log, done ─► close          any of them may fail: the machine is dead then
//!  between: tick, http_answered, grpc_*, queue_ready               and every stream of it is told
//! ```
//!
//! A machine is one worker's and is never entered twice: host functions only note what must be done after, and what
//! ends while a guest runs is forgotten once it returns.

mod events;
pub mod failure;
pub mod limits;
pub mod log;
pub mod memory;
mod release;
mod start;
pub mod state;
mod taker;
pub mod time;
pub mod wish;

pub use failure::{Cause, Failure};
pub use start::{Had, StartError, Starts};

use crate::{
    abi::callback::Callbacks,
    census::{Number, touched::Range},
    plugin::Plugin,
    ticker::Pulse,
};
use pillion_core::exchange::filter::{Failed, Services, Stream, Task};
use state::{Context, Host, StreamContext};
use std::{
    cell::{Cell, OnceCell, RefCell, RefMut},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};
use wasmtime::{Store, TypedFunc, WasmParams, WasmResults};

/// One instance of a module, on one worker.
pub struct Machine {
    store: RefCell<Store<Host>>,
    callbacks: Callbacks,
    pulse: Pulse,
    /// Its memory as its module declares it.
    declared: Range,
    /// Bytes that it had when it was made.
    at_first: usize,
    /// Why it is dead, if it is.
    dead: Cell<Option<Cause>>,
    /// Streams that ended while a guest ran.
    orphans: RefCell<Vec<u32>>,
    timers: RefCell<HashMap<u32, Task>>,
    /// Tells it of messages in its queues while it lives, also once its place is another's and a plugin of its says its last words.
    listening: RefCell<Option<Task>>,
    /// By what it is found when memory is short, once it serves.
    number: OnceCell<Number>,
    /// Who is told when it dies.
    mourner: RefCell<Option<Weak<dyn Mourner>>>,
}

/// Bytes that a machine took as it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Took {
    /// Of what its module declares.
    pub declared: usize,
    /// Beyond it.
    pub grown: usize,
}

/// Is told when a machine dies, and how large it is once it has grown and after events.
pub trait Mourner {
    /// It died of this; the callback that killed it took so long of the worker's time, in whole ticks.
    fn died(&self, failure: &Failure, burnt: Duration);

    /// It lives, and holds so many bytes now.
    fn holds(&self, bytes: usize);
}

/// Whether a callback left something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noted {
    Nothing,
    Something,
}

/// CPU time that a callback may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget(pub Duration);

impl Machine {
    /// What the guest exports.
    #[must_use]
    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Why it is dead, if it is.
    #[must_use]
    pub fn dead(&self) -> Option<Cause> {
        self.dead.get()
    }

    /// Bytes of linear memories and tables now, and of what calls hold in whole parts of 64 KiB.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.store.try_borrow().map_or(0, |store| store.data().limiter.account().told())
    }

    /// Who is told when it dies.
    pub fn set_mourner(&self, mourner: Weak<dyn Mourner>) {
        self.mourner.replace(Some(mourner));
    }

    /// What tells it of messages in its queues: kept until it dies or is gone.
    pub fn set_listening(&self, listening: Task) {
        self.listening.replace(Some(listening));
    }

    /// It serves: from now on it is told elsewhere how large it is.
    pub fn enter_census(&self) {
        if let Ok(mut store) = self.store.try_borrow_mut() {
            let memory = store.data().memory.map(|memory| start::range(&store, memory));
            self.number.set(store.data_mut().limiter.enter(memory.unwrap_or_default())).ok();
        }
    }

    /// Bytes that its start took of memory: what was touched of what its module declares, and what it grew by beyond that.
    #[must_use]
    pub fn took(&self) -> Took {
        let Ok(store) = self.store.try_borrow() else { return Took::default() };
        let grown = store.data().limiter.account().told().saturating_sub(self.at_first);
        Took { declared: self.declared.touched(), grown }
    }

    /// Bytes of its memory that were touched: what its end gives back.
    #[must_use]
    pub fn touched(&self) -> usize {
        let Ok(store) = self.store.try_borrow() else { return 0 };
        store.data().memory.map_or(0, |memory| start::range(&store, memory).touched())
    }

    /// By what it is found when memory is short; `None` before it serves.
    #[must_use]
    pub fn number(&self) -> Option<Number> {
        self.number.get().copied()
    }

    /// It dies, since memory is short. Its guest does not run: nobody asks from within.
    pub fn give_back(&self) {
        if self.dead.get().is_none() {
            self.die(&Failure::pressure(self.memory()), NOBODY, Duration::ZERO);
        }
    }

    /// Calls a callback on a context.
    ///
    /// # Errors
    ///
    /// The machine is dead, by this call or before.
    pub fn call<P: WasmParams, R: WasmResults>(
        &self,
        name: &'static str,
        callback: &TypedFunc<P, R>,
        budget: Budget,
        context: u32,
        params: P,
    ) -> Result<R, Failed> {
        self.run(name, callback, budget, context, params, |_| ())
    }

    /// As [`call`](Self::call); `prepare` sets what the callback can read.
    fn run<P: WasmParams, R: WasmResults>(
        &self,
        name: &'static str,
        callback: &TypedFunc<P, R>,
        budget: Budget,
        context: u32,
        params: P,
        prepare: impl FnOnce(&mut Host),
    ) -> Result<R, Failed> {
        if let Some(cause) = self.dead.get() {
            return Err(cause.failed());
        }
        // It runs: somebody calls it from within a host function, which none here does.
        let Ok(mut store) = self.store.try_borrow_mut() else { return Err(Cause::Busy.failed()) };
        prepare(store.data_mut());
        match self.enter(&mut store, name, callback, budget, context, params) {
            Ok(result) => {
                if self.noted(store.data()) == Noted::Something {
                    self.after(&mut store);
                }
                Ok(result)
            }
            Err(error) => Err(self.killed(store, &error, context)),
        }
    }

    /// The guest died of this.
    #[cold]
    fn killed(&self, mut store: RefMut<'_, Store<Host>>, error: &wasmtime::Error, context: u32) -> Failed {
        let failure = Failure::of(error, store.data());
        let burnt = store.data().time.burnt(time::now());
        let wishes = store.data_mut().take_wishes();
        drop(store);
        let failed = self.die(&failure, context, burnt);
        wish::grant_last(wishes);
        failed
    }

    /// Lets the guest run.
    #[inline]
    fn enter<P: WasmParams, R: WasmResults>(
        &self,
        store: &mut Store<Host>,
        name: &'static str,
        callback: &TypedFunc<P, R>,
        budget: Budget,
        context: u32,
        params: P,
    ) -> wasmtime::Result<R> {
        store.set_epoch_deadline(time::FIRST);
        store.data_mut().begin(name, context, budget.0);
        let running = self.pulse.enter();
        let result = callback.call(store, params);
        drop(running);
        result
    }

    /// Whether anything was noted while the guest ran, which is seldom.
    #[inline]
    fn noted(&self, host: &Host) -> Noted {
        // Nobody else looks at them now.
        let orphans = self.orphans.try_borrow().is_ok_and(|orphans| orphans.is_empty());
        let nothing = host.timers.is_empty() && host.wishes.is_empty() && !host.limiter.has_grown() && orphans;
        if nothing { Noted::Nothing } else { Noted::Something }
    }

    /// Does what host functions noted.
    #[cold]
    fn after(&self, store: &mut Store<Host>) {
        let host = store.data_mut();
        if !host.timers.is_empty() {
            for (root, period) in std::mem::take(&mut host.timers) {
                self.set_timer(host, root, period);
            }
        }
        host.grant_wishes();
        if host.limiter.has_grown() {
            let bytes = host.limiter.tell();
            self.tell_memory(bytes);
        }
        if !self.orphans.borrow().is_empty() {
            for id in self.orphans.take() {
                host.contexts.remove(&id);
            }
        }
    }

    fn set_timer(&self, host: &Host, root: u32, period: Duration) {
        let services = host.root_of(root).and_then(|context| context.services.clone());
        let task = services.filter(|_| !period.is_zero()).map(|services| {
            let machine = host.calls.machine();
            services.every(period, move || {
                if let Some(machine) = machine.upgrade() {
                    machine.tick(root);
                }
            })
        });
        let before = match task {
            Some(task) => self.timers.borrow_mut().insert(root, task),
            None => self.timers.borrow_mut().remove(&root),
        };
        drop(before);
    }

    /// Whoever keeps it is told how large it is.
    fn tell_memory(&self, bytes: usize) {
        let mourner = self.mourner.borrow().as_ref().and_then(Weak::upgrade);
        if let Some(mourner) = mourner {
            mourner.holds(bytes);
        }
    }

    /// The machine is dead: its streams and whoever keeps it are told.
    fn die(&self, failure: &Failure, context: u32, burnt: Duration) -> Failed {
        self.dead.set(Some(failure.cause));
        let failed = failure.cause.failed();
        let mut streams = Vec::new();
        let mut calls = None;
        if let Ok(mut store) = self.store.try_borrow_mut() {
            let host = store.data_mut();
            host.calls.clear();
            host.limiter.leave();
            calls = Some(());
            streams.extend(host.contexts.iter().filter_map(|(id, known)| match known {
                Context::Stream(known) => Some((*id != context, known.stream.clone())),
                Context::Root(_) => None,
            }));
        }
        debug_assert!(calls.is_some(), "a machine dies outside of its guest");
        let (timers, listening) = (self.timers.take(), self.listening.take());
        drop((timers, listening));
        let mourner = self.mourner.borrow().as_ref().and_then(Weak::upgrade);
        if let Some(mourner) = mourner {
            mourner.died(failure, burnt);
        }
        // Last: each may drop a filter of ours. The one whose callback it was first: others may be of the same request, whose record names
        // the filter that it died of.
        streams.sort_by_key(|(other, _)| *other);
        streams.into_iter().for_each(|(_, stream)| stream.fail(failed));
        failed
    }

    /// Begins a stream of a plugin.
    ///
    /// # Errors
    ///
    /// The machine is dead.
    pub fn open(&self, root: u32, stream: &Stream, budget: Budget) -> Result<u32, Failed> {
        if let Some(cause) = self.dead.get() {
            return Err(cause.failed());
        }
        let id = {
            let Ok(mut store) = self.store.try_borrow_mut() else { return Err(Cause::Busy.failed()) };
            let host = store.data_mut();
            let Some(id) = host.new_id() else { return Err(Cause::Contexts.failed()) };
            let context = StreamContext { root, stream: stream.clone(), handed: 0, wish: None };
            host.contexts.insert(id, Context::Stream(context));
            id
        };
        if let Some(create) = &self.callbacks.context_create
            && let Err(failed) = self.call("proxy_on_context_create", create, budget, id, (id, root))
        {
            self.forget(id);
            return Err(failed);
        }
        Ok(id)
    }

    /// Ends a stream.
    pub fn close(&self, id: u32, budget: Budget) {
        if let Some(delete) = &self.callbacks.delete
            && self.dead.get().is_none()
        {
            // A machine that dies of it has said so.
            let _ = self.call("proxy_on_delete", delete, budget, id, (id,));
        }
        self.forget(id);
    }

    fn forget(&self, id: u32) {
        match self.store.try_borrow_mut() {
            Ok(mut store) => {
                let context = store.data_mut().contexts.remove(&id);
                drop(store);
                drop(context);
            }
            Err(_) => self.orphans.borrow_mut().push(id),
        }
    }

    /// Ends a plugin: asks whether it may go, waits a while if it says not yet.
    pub fn retire(self: &Rc<Self>, root: u32, budget: Budget, services: Option<&Services>) {
        if let Ok(mut store) = self.store.try_borrow_mut() {
            // What it said before it was asked is no answer.
            store.data_mut().done.retain(|known| *known != root);
        }
        let done = match &self.callbacks.done {
            Some(done) if self.dead.get().is_none() => self.call("proxy_on_done", done, budget, root, (root,)),
            Some(_) | None => Ok(1),
        };
        match (done, services) {
            (Ok(0), Some(services)) if !self.said_done(root) => {
                if let Ok(mut store) = self.store.try_borrow_mut() {
                    store.data_mut().held.push(root);
                }
                let machine = Rc::clone(self);
                let waiting = services.spawn(async move {
                    let until = Instant::now() + LAST_WORDS;
                    while Instant::now() < until && !machine.said_done(root) && machine.dead.get().is_none() {
                        tokio::time::sleep(LAST_WORDS / 50).await;
                    }
                    machine.bury(root, budget);
                });
                waiting.detach();
            }
            _ => self.bury(root, budget),
        }
    }

    fn said_done(&self, root: u32) -> bool {
        self.store.try_borrow().is_ok_and(|store| store.data().done.contains(&root))
    }

    fn bury(&self, root: u32, budget: Budget) {
        let services = self
            .store
            .try_borrow()
            .ok()
            .and_then(|store| store.data().root_of(root).and_then(|root| root.services.clone()));
        self.close(root, budget);
        // One also that it set as it was told of its end.
        let timer = self.timers.borrow_mut().remove(&root);
        drop(timer);
        if let Ok(mut store) = self.store.try_borrow_mut() {
            let host = store.data_mut();
            host.done.retain(|known| *known != root);
            host.held.retain(|known| *known != root);
            host.spec.shared.queues.leave(root, &host.ready);
            let calls = host.calls.leave(root, services.as_ref());
            drop(store);
            drop(calls);
        }
    }

    /// The plugin of a root context.
    #[must_use]
    pub fn plugin(&self, root: u32) -> Option<Arc<Plugin>> {
        let store = self.store.try_borrow().ok()?;
        store.data().root_of(root).map(|root| Arc::clone(&root.plugin))
    }
}

/// No context's id.
const NOBODY: u32 = 0;

/// How long a plugin that said it is not done yet may go on after its end.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Host {
    /// The next context's id; `None`: they are used up, after four thousand million streams.
    fn new_id(&mut self) -> Option<u32> {
        self.last_context = self.last_context.checked_add(1)?;
        Some(self.last_context)
    }
}
