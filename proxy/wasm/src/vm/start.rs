//! How a machine comes to life: instantiation, the module's own start, plugins.

use super::{
    Budget, Machine, NOBODY,
    failure::{Cause, Failure},
    log::{self, LogBudget},
    state::{Context, Host, Root, Shown, Stage},
    time::{self, Verdict},
};
use crate::{
    abi::callback::{BadExport, Callbacks},
    calls::Calls,
    census::{starts::Trial, touched::Range},
    engine::Runtime,
    module::Module,
    plugin::{MachineSpec, Plugin},
    shared::Ready,
};
use bytes::Bytes;
use pillion_config::model::Name;
use pillion_core::exchange::filter::Services;
use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;
use wasmtime::{Memory, Store, TypedFunc, UpdateDeadline, WasmParams, WasmResults};

/// Messages that a machine can be told of before it has looked. Of what is beyond another machine is told, or this one once it has looked.
const MOST_READY: usize = 1024;

/// What a machine is started for.
#[derive(Debug, Clone)]
pub enum Starts {
    /// It is to serve.
    ToServe,
    /// It is to serve in the place of one that died: as much as that had it may take of all that is left to those that serve.
    Again(Had),
    /// It is tried, and gone afterwards.
    OnTrial(Arc<Trial>),
}

/// What a machine had that died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Had {
    /// Bytes that it took as it started, or has touched since.
    pub took: usize,
    /// Bytes that it has touched, which are free again.
    pub touched: usize,
}

impl Had {
    /// What it had beyond so many bytes, which it touched before those.
    pub(super) fn beyond(&self, bytes: usize) -> Self {
        Self { took: self.took.saturating_sub(bytes), touched: self.touched.saturating_sub(bytes) }
    }
}

impl Starts {
    /// To be tried, by whoever has nothing else to do with it.
    #[must_use]
    pub fn on_trial() -> Self {
        Self::OnTrial(Trial::new())
    }

    fn stage(&self) -> Stage {
        match self {
            Self::ToServe | Self::Again(_) => Stage::Serving,
            Self::OnTrial(_) => Stage::Trial,
        }
    }
}

/// Why a machine does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It cannot be instantiated: its memory is larger than it may be, say.
    #[error("it cannot be instantiated: {0}")]
    Instantiate(String),
    /// There is no room for what it would touch of its memory.
    #[error(
        "{0} bytes of what its module declares are to be there as it starts (what one of its machines was seen to touch, or all where none was \
         seen yet), and {1} are free"
    )]
    NoRoom(usize, usize),
    /// Nothing would bound its time.
    #[error("there is no thread to bound the time of filters: {0}; raise the limit of processes and threads")]
    NoClock(String),
    /// A function it exports is not the ABI's.
    #[error(transparent)]
    Export(#[from] BadExport),
    /// It failed in a function of its own.
    #[error("{} failed ({}): {}{}{}", .0.callback, .0.cause.word(), .0.words, frames(&.0.backtrace), .1)]
    Failed(Failure, Said),
    /// It answered that it does not accept its configuration.
    #[error("{0} answered false: the filter does not accept its configuration{1}")]
    Refused(&'static str, Said),
}

/// What the guest logged last before that, as a warning or an error: why, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said(Option<String>);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |words| write!(f, "; it logged: {words}"))
    }
}

impl StartError {
    /// Whether it had no memory, since the process has none.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        match self {
            Self::NoRoom(..) => true,
            Self::Failed(failure, _) => failure.cause == Cause::Pressure,
            Self::Instantiate(_) | Self::NoClock(_) | Self::Export(_) | Self::Refused(..) => false,
        }
    }

    /// Whether the guest ended or refused where it is given its plugin's configuration.
    #[must_use]
    pub fn is_of_the_configuration(&self) -> bool {
        match self {
            Self::Failed(Failure { callback, cause: Cause::Trap, .. }, _) | Self::Refused(callback, _) => {
                *callback == "proxy_on_configure"
            }
            Self::Failed(..) | Self::Instantiate(_) | Self::NoRoom(..) | Self::NoClock(_) | Self::Export(_) => false,
        }
    }

    /// The filter in whose callback it ended, if it was one's.
    #[must_use]
    pub fn filter(&self) -> Option<&Name> {
        match self {
            Self::Failed(failure, _) => failure.filter.as_ref(),
            Self::Refused(..) | Self::Instantiate(_) | Self::NoRoom(..) | Self::NoClock(_) | Self::Export(_) => None,
        }
    }

    fn saying(self, words: Option<String>) -> Self {
        let said = Said(words.filter(|words| !words.is_empty()));
        match self {
            Self::Failed(failure, _) => Self::Failed(failure, said),
            Self::Refused(callback, _) => Self::Refused(callback, said),
            other @ (Self::Instantiate(_) | Self::NoRoom(..) | Self::NoClock(_) | Self::Export(_)) => other,
        }
    }
}

fn frames(frames: &[String]) -> String {
    if frames.is_empty() { String::new() } else { format!(" (in {})", frames.join(" < ")) }
}

impl Machine {
    /// Instantiates a module and lets it start itself. No plugin is in it yet. What is in its queues is told on the
    /// channel's other end.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn start(
        runtime: &Runtime,
        module: &Module,
        spec: &Arc<MachineSpec>,
        limit: Duration,
        starts: &Starts,
    ) -> Result<(Rc<Self>, mpsc::Receiver<Ready>), StartError> {
        let (ready, told) = mpsc::channel(MOST_READY);
        let host = Host::new(Arc::clone(spec), module.abi(), ready);
        let mut store = Store::new(&runtime.engine, host);
        store.limiter(|host| &mut host.limiter);
        store.epoch_deadline_callback(|mut store| {
            let host = store.data_mut();
            Ok(match host.judge() {
                Verdict::GoesOn(_) if host.stage != Stage::Serving && host.limiter.ending().is_some() => {
                    UpdateDeadline::Interrupt
                }
                Verdict::GoesOn(ticks) => UpdateDeadline::Continue(ticks),
                Verdict::UsedUp => UpdateDeadline::Interrupt,
            })
        });
        store.set_epoch_deadline(time::FIRST);
        let host = store.data_mut();
        host.ticks.0 = runtime.ticker.ticks();
        host.begin("the module's start function", NOBODY, limit);
        let pulse = runtime.ticker.pulse().map_err(|error| StartError::NoClock(error.to_string()))?;
        let needs = module.needs();
        host.limiter.asks(starts, needs).map_err(|no_room| StartError::NoRoom(needs, no_room.free))?;
        let running = pulse.enter();
        let instance = match module.pre().instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) if error.is::<wasmtime::Trap>() => {
                return Err(StartError::Failed(Failure::of(&error, store.data()), Said::default()));
            }
            Err(error) => {
                let denial = store.data().limiter.denial().map(|denial| format!("{denial}; "));
                let words = log::quoted(format!("{error:#}").as_bytes());
                return Err(StartError::Instantiate(format!("{}{words}", denial.unwrap_or_default())));
            }
        };
        let callbacks = Callbacks::resolve(&mut store, &instance, module.abi(), &spec.capabilities)?;
        let memory = instance.get_memory(&mut store, "memory");
        let at = memory.map(|memory| range(&store, memory)).unwrap_or_default();
        let host = store.data_mut();
        (host.memory, host.allocator) = (memory, callbacks.allocator());
        host.limiter.starts(at);
        let at_first = host.limiter.account().told();
        initialise(&mut store, &callbacks).map_err(|error| error.saying(store.data_mut().complaint.take()))?;
        drop(running);
        store.data_mut().stage = starts.stage();
        let machine = Rc::new(Self {
            store: RefCell::new(store),
            callbacks,
            pulse,
            declared: at,
            at_first,
            dead: Cell::new(None),
            orphans: RefCell::default(),
            timers: RefCell::default(),
            listening: RefCell::default(),
            number: OnceCell::new(),
            mourner: RefCell::default(),
        });
        machine.store.borrow_mut().data_mut().calls = Calls::new(Rc::downgrade(&machine));
        Ok((machine, told))
    }

    /// Puts a plugin into the machine; its root context's id.
    ///
    /// # Errors
    ///
    /// Why it does not start. A plugin that only refused leaves a machine that serves those that were in it before; after
    /// anything else it is dead.
    pub fn add_root(&self, plugin: &Arc<Plugin>, services: Option<Services>) -> Result<u32, StartError> {
        let (id, first, sizes) = {
            let mut store = self.store.borrow_mut();
            let host = store.data_mut();
            let first = host.last_context == 0;
            host.complaint = Some(String::new());
            let id = host.new_id().ok_or(StartError::Refused("the host", Said::default()))?;
            let services = services.map(|services| services.holding(Arc::clone(host.limiter.account()) as _));
            let lines = LogBudget::new(plugin.limits.log_lines);
            host.contexts.insert(id, Context::Root(Root { plugin: Arc::clone(plugin), services, lines }));
            host.limiter.account().is_joined(true);
            let size = |bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let sizes = (size(&host.spec.configuration), size(&plugin.configuration));
            (id, first, sizes)
        };
        let begun = self.begin_root(plugin, id, sizes);
        let complaint = {
            let mut store = self.store.borrow_mut();
            let host = store.data_mut();
            host.limiter.account().is_joined(false);
            host.complaint.take()
        };
        if begun.is_err() && !first && self.dead().is_none() {
            // The others go on; its timers, and what the guest has for it, do not.
            self.bury(id, Budget(plugin.limits.callback));
        }
        begun.map(|()| id).map_err(|error| error.saying(complaint))
    }

    fn begin_root(&self, plugin: &Plugin, id: u32, sizes: (u32, u32)) -> Result<(), StartError> {
        let budget = Budget(plugin.limits.start);
        let Callbacks { context_create, vm_start, configure, .. } = &self.callbacks;
        let shown = || Shown::PluginConfiguration(plugin.configuration.clone());
        if let Some(create) = context_create {
            self.begin("proxy_on_context_create", create, budget, id, (id, 0), shown())?;
        }
        // Of each plugin, as in Envoy: an SDK hands it to what it made for this root context.
        if let Some(vm_start) = vm_start {
            let name = "proxy_on_vm_start";
            accepted(name, self.begin(name, vm_start, budget, id, (id, sizes.0), Shown::Nothing)?)?;
        }
        if let Some(configure) = configure {
            let name = "proxy_on_configure";
            accepted(name, self.begin(name, configure, budget, id, (id, sizes.1), shown())?)?;
        }
        Ok(())
    }

    /// A callback of a start. Where it fails the machine is dead: with it go the streams of plugins that were in it before.
    fn begin<P: WasmParams, R: WasmResults>(
        &self,
        name: &'static str,
        callback: &TypedFunc<P, R>,
        budget: Budget,
        context: u32,
        params: P,
        shown: Shown,
    ) -> Result<R, StartError> {
        let mut store = self.store.borrow_mut();
        store.data_mut().shown = shown;
        let result = self.enter(&mut store, name, callback, budget, context, params);
        store.data_mut().shown = Shown::Nothing;
        match result {
            Ok(result) => {
                self.after(&mut store);
                Ok(result)
            }
            Err(error) => {
                let failure = Failure::of(&error, store.data());
                let burnt = store.data().time.burnt(time::now());
                drop(store);
                self.die(&failure, context, burnt);
                Err(StartError::Failed(failure, Said::default()))
            }
        }
    }
}

/// Where a memory is.
pub(super) fn range(store: &Store<Host>, memory: Memory) -> Range {
    Range { start: memory.data_ptr(store).addr(), length: memory.data_size(store) }
}

fn accepted(name: &'static str, answer: u32) -> Result<(), StartError> {
    if answer == 0 { Err(StartError::Refused(name, Said::default())) } else { Ok(()) }
}

/// Lets the module start itself, as its toolchain has it.
fn initialise(store: &mut Store<Host>, callbacks: &Callbacks) -> Result<(), StartError> {
    if let Some(initialize) = &callbacks.initialize {
        own(store, "_initialize", initialize, ())?;
        if let Some(main) = &callbacks.main {
            own(store, "main", main, (0, 0))?;
        } else if let Some(main) = &callbacks.main_void {
            own(store, "__main_void", main, ())?;
        }
    } else if let Some(start) = &callbacks.start {
        own(store, "_start", start, ())?;
    }
    Ok(())
}

fn own<P: WasmParams, R: WasmResults>(
    store: &mut Store<Host>,
    name: &'static str,
    function: &TypedFunc<P, R>,
    params: P,
) -> Result<R, StartError> {
    store.data_mut().callback = name;
    function
        .call(&mut *store, params)
        .map_err(|error| StartError::Failed(Failure::of(&error, store.data()), Said::default()))
}
