//! [`Host`]: what a machine's store holds, the host's side of one machine.

use super::{
    limits::Limiter,
    log::{self, Line, LogBudget, Whose},
    time::{self, Allowance, Verdict},
    wish::Wish,
};
use crate::{
    abi::{AbiVersion, LogLevel, Status},
    calls::{Calls, Seen, Told},
    host::foreign::expression::Expressions,
    plugin::{MachineSpec, Plugin},
    shared::{Numbers, Ready},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pillion_core::exchange::filter::{Metadata, Services, Stream};
use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    rc::Weak,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use wasmtime::{Memory, Trap, TypedFunc};

/// The host's side of a machine.
pub struct Host {
    /// Bounds its memory.
    pub limiter: Limiter,
    /// Its memory, if it exports one.
    pub memory: Option<Memory>,
    /// Its allocator, if it exports one.
    pub allocator: Option<TypedFunc<(u32,), u32>>,
    /// The allocator runs, called by a host function.
    pub allocating: bool,
    /// Bytes on their way into the guest; kept so that giving them needs no allocation.
    pub scratch: Vec<u8>,
    /// The ABI its module speaks.
    pub abi: AbiVersion,
    /// How far the machine is.
    pub stage: Stage,
    /// What it is a machine of.
    pub spec: Arc<MachineSpec>,
    /// Its contexts, but that of the machine itself, by id.
    pub contexts: Contexts,
    /// The id given last.
    pub last_context: u32,
    /// The context that the callback which runs is called for.
    pub current: u32,
    /// The context that host functions act on.
    pub effective: u32,
    /// The function of the guest that runs, for the log.
    pub callback: &'static str,
    /// The time it may take, and what is known of what it took.
    pub time: Allowance,
    /// The clock's ticks, and how many there were when the time was looked at last.
    pub ticks: (Arc<AtomicU64>, u64),
    /// What can be read while the callback runs that brought it.
    pub shown: Shown,
    /// What `proxy_get_status` says: of the call answered last.
    pub status: (u32, Bytes),
    /// Calls under way.
    pub calls: Calls,
    /// Lines it may still log on behalf of no plugin.
    pub lines: LogBudget,
    /// The last warning or error that it logged while it starts: why it refuses, if it does. `None`: it started, and no plugin in it starts.
    pub complaint: Option<String>,
    /// Told when something is in a queue it registered.
    pub ready: mpsc::Sender<Ready>,
    /// Timers the guest set in this callback: a root and its period.
    pub timers: Vec<(u32, Duration)>,
    /// Streams that the guest wants to end in this callback.
    pub wishes: Vec<u32>,
    /// Expressions it made.
    pub expressions: Expressions,
    /// Metrics it defined.
    pub metrics: Numbers,
    /// Roots that said `proxy_done`.
    pub done: Vec<u32>,
    /// Roots that answered `proxy_on_done` with "not yet".
    pub held: Vec<u32>,
}

/// Contexts by id. Ids are the host's own and in sequence, so they are their own hash.
pub type Contexts = HashMap<u32, Context, BuildHasherDefault<Sequence>>;

/// Hashes ids that come in sequence.
#[derive(Debug, Default)]
pub struct Sequence(u64);

impl Hasher for Sequence {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u32(&mut self, id: u32) {
        // The upper bits tell groups apart, the lower ones places: both must differ between neighbours.
        self.0 = u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its own start functions run: only the log and WASI are there.
    Loading,
    /// It serves.
    Serving,
    /// It is tried before a configuration is taken into use: calls go nowhere.
    Trial,
}

/// What a host function acts on.
pub enum Context {
    /// A plugin's.
    Root(Root),
    /// A stream's.
    Stream(StreamContext),
}

/// A plugin in a machine.
pub struct Root {
    /// Its configuration.
    pub plugin: Arc<Plugin>,
    /// Its way to clusters; none on trial.
    pub services: Option<Services>,
    /// Lines it may still log.
    pub lines: LogBudget,
}

/// A stream in a machine.
pub struct StreamContext {
    /// Its plugin's context.
    pub root: u32,
    /// The stream.
    pub stream: Stream,
    /// Bytes that its guest was handed for it so far, which its callbacks have time for: of bodies, answers and messages.
    pub handed: usize,
    /// How the callback that runs wants it to end.
    pub wish: Option<Box<Wish>>,
}

/// What can be read while one callback runs.
#[derive(Debug, Default)]
pub enum Shown {
    /// Nothing of its own.
    #[default]
    Nothing,
    /// `plugin_configuration`, while the plugin's root context is made, and while it is configured.
    PluginConfiguration(Bytes),
    /// The answer to an HTTP call.
    HttpCall {
        /// Its status.
        status: StatusCode,
        /// Its fields.
        headers: HeaderMap,
        /// Its body.
        body: Bytes,
        /// Its trailers; `None`: it had none.
        trailers: Option<HeaderMap>,
    },
    /// An HTTP call whose answer broke off: there is nothing.
    CallReset,
    /// Initial metadata of a gRPC stream.
    GrpcInitialMetadata(Metadata),
    /// Trailing metadata of a gRPC stream.
    GrpcTrailingMetadata(Metadata),
    /// A message of a gRPC call or stream.
    GrpcMessage(Bytes),
}

impl Host {
    /// The host's side of a machine that is not instantiated yet.
    #[must_use]
    pub fn new(spec: Arc<MachineSpec>, abi: AbiVersion, ready: mpsc::Sender<Ready>) -> Self {
        Self {
            limiter: Limiter::new(spec.memory),
            memory: None,
            allocator: None,
            allocating: false,
            scratch: Vec::new(),
            abi,
            stage: Stage::Loading,
            spec,
            contexts: HashMap::default(),
            last_context: 0,
            current: 0,
            effective: 0,
            callback: "the module's start function",
            time: Allowance::new(Duration::ZERO),
            ticks: (Arc::default(), 0),
            shown: Shown::Nothing,
            status: (0, Bytes::new()),
            calls: Calls::new(Weak::new()),
            lines: LogBudget::of_a_machine(),
            complaint: Some(String::new()),
            ready,
            timers: Vec::new(),
            wishes: Vec::new(),
            expressions: Expressions::default(),
            metrics: Numbers::default(),
            done: Vec::new(),
            held: Vec::new(),
        }
    }

    /// A callback begins.
    #[inline]
    pub fn begin(&mut self, name: &'static str, context: u32, budget: Duration) {
        (self.current, self.effective, self.callback) = (context, context, name);
        self.time = Allowance::new(budget);
        self.limiter.begin();
        self.ticks.1 = self.ticks.0.load(Ordering::Relaxed);
    }

    /// Whether the callback that runs has had its time: asked by host functions, as compiled code asks in loops and at functions'
    /// heads alone.
    ///
    /// # Errors
    ///
    /// It has: [`Trap::Interrupt`].
    #[inline]
    pub fn in_time(&mut self) -> wasmtime::Result<()> {
        let ticks = self.ticks.0.load(Ordering::Relaxed);
        if ticks == self.ticks.1 { Ok(()) } else { self.in_time_at(ticks) }
    }

    #[cold]
    fn in_time_at(&mut self, ticks: u64) -> wasmtime::Result<()> {
        self.ticks.1 = ticks;
        match self.judge() {
            Verdict::GoesOn(_) => Ok(()),
            Verdict::UsedUp => Err(Trap::Interrupt.into()),
        }
    }

    /// Whether the callback that runs has had its time, by its thread's CPU clock.
    #[cold]
    pub fn judge(&mut self) -> Verdict {
        let stream = self.handed_before();
        self.time.judge(time::now(), stream)
    }

    /// Why the callback that ran is said to have had its time: by which limit, and what raises it.
    pub fn out_of_time(&self) -> String {
        let field = if self.complaint.is_some() { "limits.start" } else { "limits.callback" };
        let (own, limit) = (self.time.own(), self.time.limit(self.handed_before()));
        let more =
            if limit > own + own / 10 { format!(", {limit:.1?} with what it had to work on") } else { String::new() };
        format!("it took more CPU time than {field} of {own:?} gives it{more}: raise that if it needs more")
    }

    /// What the stream counts that the callback which runs is called for; a plugin counts nothing beyond its callback.
    fn handed_before(&self) -> usize {
        match self.contexts.get(&self.current) {
            Some(Context::Stream(context)) => context.handed,
            Some(Context::Root(_)) | None => 0,
        }
    }

    /// What the guest was handed just now, so many bytes, is of the stream that host functions act on, if they act on one, or else of the one
    /// that is named next: later callbacks of it have time for it, too.
    pub fn count(&mut self, bytes: usize) {
        let own = self.effective == self.current;
        match self.contexts.get_mut(&self.effective) {
            Some(Context::Stream(context)) => {
                context.handed = context.handed.saturating_add(bytes);
                if own {
                    self.time.count(bytes);
                }
            }
            Some(Context::Root(_)) | None => self.time.count_unnamed(bytes),
        }
    }

    /// Host functions act on another context from now on. What a stream was handed before, the callback that names it may work on, and what
    /// came before a stream is named is the stream's: the SDKs of C++ and AssemblyScript read a call's answer before they name whom it is for.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] when there is none.
    pub fn act_on(&mut self, id: u32) -> Result<(), Status> {
        match self.contexts.get_mut(&id).ok_or(Status::BadArgument)? {
            Context::Stream(context) if id != self.effective => {
                let unnamed = self.time.name();
                if id == self.current {
                    self.time.count(unnamed)
                } else {
                    self.time.hand(context.handed)
                }
                context.handed = context.handed.saturating_add(unnamed);
            }
            Context::Stream(_) | Context::Root(_) => {}
        }
        self.effective = id;
        Ok(())
    }

    /// The stream that host functions act on.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] when they act on a plugin or the machine.
    pub fn stream(&self) -> Result<&Stream, Status> {
        match self.contexts.get(&self.effective) {
            Some(Context::Stream(context)) => Ok(&context.stream),
            Some(Context::Root(_)) | None => Err(Status::BadArgument),
        }
    }

    /// The context of that stream.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream).
    pub fn stream_context(&mut self) -> Result<&mut StreamContext, Status> {
        match self.contexts.get_mut(&self.effective) {
            Some(Context::Stream(context)) => Ok(context),
            Some(Context::Root(_)) | None => Err(Status::BadArgument),
        }
    }

    /// The id of the plugin that the effective context belongs to.
    #[must_use]
    pub fn root_id(&self) -> u32 {
        self.root_id_of(self.effective)
    }

    fn root_id_of(&self, id: u32) -> u32 {
        match self.contexts.get(&id) {
            Some(Context::Stream(context)) => context.root,
            Some(Context::Root(_)) | None => id,
        }
    }

    /// The plugin whose callback it is that runs; `None`: the module's own start.
    #[must_use]
    pub fn whose(&self) -> Option<&Plugin> {
        self.root_of(self.root_id_of(self.current)).map(|root| &*root.plugin)
    }

    /// The plugin that the effective context belongs to.
    #[must_use]
    pub fn root(&self) -> Option<&Root> {
        self.root_of(self.root_id())
    }

    /// The plugin of this id.
    #[must_use]
    pub fn root_of(&self, id: u32) -> Option<&Root> {
        match self.contexts.get(&id) {
            Some(Context::Root(root)) => Some(root),
            Some(Context::Stream(_)) | None => None,
        }
    }

    /// The plugin of this id, to be changed.
    pub fn root_of_mut(&mut self, id: u32) -> Option<&mut Root> {
        match self.contexts.get_mut(&id) {
            Some(Context::Root(root)) => Some(root),
            Some(Context::Stream(_)) | None => None,
        }
    }

    /// A plugin's calls were to hold more than they may: logged once.
    #[cold]
    pub fn no_room(&mut self, root: u32) {
        let Some(plugin) = self.root_of(root).map(|root| Arc::clone(&root.plugin)) else { return };
        if self.calls.tell(Told::NoRoom, root) == Seen::First {
            let most = self.limiter.most();
            tracing::warn!(
                filter = %plugin.name,
                "a call is refused the filter, or its answer, or a stream fails: requests that are not written yet may hold half of limits.memory of \
                 {most} bytes, with answers all of it, and less where the process is short of memory; raise the limit if so much \
                 is meant to be under way; further ones are not logged"
            );
        }
    }

    /// A plugin was to have more calls under way than it may: logged once.
    #[cold]
    pub fn too_many(&mut self, root: u32) {
        let Some(plugin) = self.root_of(root).map(|root| Arc::clone(&root.plugin)) else { return };
        if self.calls.tell(Told::TooMany, root) == Seen::First {
            tracing::warn!(
                filter = %plugin.name,
                "a call is refused the filter: it has limits.calls of {} under way on this worker; raise that if so many are meant; \
                 further ones are not logged",
                plugin.limits.calls
            );
        }
    }

    /// A property was to be set for which a stream's state has no room: logged once.
    #[cold]
    pub fn state_is_full(&mut self) {
        let root = self.root_id();
        let Some(plugin) = self.root_of(root).map(|root| Arc::clone(&root.plugin)) else { return };
        if self.calls.tell(Told::State, root) == Seen::First {
            tracing::warn!(
                filter = %plugin.name,
                "a property is refused the filter: what the filters of one stream set has 1,024 keys, each of 4 KiB at most, and 4 MiB \
                 in all, and less where the process is short of memory; an SDK may end the filter for that; further ones are not logged"
            );
        }
    }

    /// No request can be made of what a plugin's call says: logged once.
    #[cold]
    pub fn unsayable(&mut self, root: u32, why: &dyn fmt::Display) {
        let Some(plugin) = self.root_of(root).map(|root| Arc::clone(&root.plugin)) else { return };
        if self.calls.tell(Told::Unsayable, root) == Seen::First {
            tracing::warn!(
                filter = %plugin.name,
                "a call of the filter is not sent, for no request can be made of what it says: {why}; it is refused, or answered by \
                 400 or by the gRPC status 14; further ones are not logged"
            );
        }
    }

    /// A plugin's call is for a cluster that there is not, or that it may not call: logged once.
    #[cold]
    pub fn no_cluster(&mut self, root: u32, cluster: &str, why: &dyn fmt::Display) {
        let Some(plugin) = self.root_of(root).map(|root| Arc::clone(&root.plugin)) else { return };
        if self.calls.tell(Told::Cluster, root) == Seen::First {
            tracing::warn!(
                filter = %plugin.name,
                cluster = log::name(cluster),
                "a call is refused the filter: {why}; name the cluster under `clusters` as the filter does, and in the filter's \
                 allowed_clusters where it has some; further ones are not logged"
            );
        }
    }

    /// Writes a line of the guest's to the log, if somebody reads lines of this level and it may still log.
    pub fn log(&mut self, level: LogLevel, message: &[u8]) {
        if let Some(complaint) = self.complaint.as_mut().filter(|_| level >= LogLevel::Warn) {
            *complaint = log::quoted(message);
        }
        if !log::enabled(level) {
            return;
        }
        let id = self.root_id();
        // While the module starts itself no plugin is in it yet, and between callbacks none is named.
        let (whose, lines) = match self.contexts.get_mut(&id) {
            Some(Context::Root(root)) => (Whose::Filter(root.plugin.name.as_str()), &mut root.lines),
            Some(Context::Stream(_)) | None => (Whose::Vm(&self.spec.vm_id), &mut self.lines),
        };
        match (lines.take(), whose) {
            (Line::Lost, Whose::Filter(name)) => lines.count(name),
            (Line::Lost, Whose::Vm(_)) => {}
            (Line::Written { lost }, whose) => {
                if lost > 0 {
                    log::lost(whose, lost, lines.most());
                }
                log::write(level, whose, message);
            }
        }
    }
}
