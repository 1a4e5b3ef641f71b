//! The control thread: the process's main thread, which does everything that is not traffic.
//!
//! ```text
//!  signals ─► load ─► bind ─► start workers ─► serve admin and probes ─► wait for events ─► drain ─► exit
//!                                                    ▲        │ signals, files, admin calls,
//!                                                    └────────┘ names, memory, dying workers
//! ```
//!
//! A configuration, the first one as well as any later one, is *prepared* (read, bound, compiled, its names looked
//! up) and then *committed*. What cannot be prepared changes nothing.
//!
//! Nothing here blocks but reading small files. Where the group's CPU quota is used up the kernel stops all threads
//! alike, this one included, until the next period: no priority within a process helps against that. But in the
//! rest of the period this thread, which sleeps nearly always, is scheduled before a worker that runs always, so it
//! answers within a period or two (100 ms each by default). Priorities are left as they are: lowering the workers'
//! would also put them behind the application they serve, and cannot be undone without privileges.

mod admin_ports;
mod claim;
mod commit;
mod deliver;
mod events;
mod loading;
pub mod state;
mod workers;

#[cfg(test)]
mod passthrough;
mod pressure;
#[cfg(test)]
mod tests;

use crate::{
    app_probes::AppProbes,
    application::{Application, Record},
    assembly::{Plane, Rejected, Source},
    cgroup::{self, Meter},
    descriptors,
    discovery::Services,
    dns::Names,
    drain::Drain,
    edge::Edge,
    loopback::Loopback,
    memory,
    proof::Proof,
    reload::Watcher,
    secrets::Keeper,
    signals::Signals,
    sockets::Sockets,
    worker::Death,
};
use admin_ports::AdminPorts;
use commit::{Failure, Prepared};
use loading::Behind;
use pillion_core::telemetry::metrics::{ConfigMetrics, DnsMetrics};
use state::{Certificates, Claim, Interception, Request, Stage, State};
use std::{
    cell::{Cell, RefCell},
    io,
    num::NonZeroUsize,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::{LocalSet, spawn_local},
    time::sleep,
};
use workers::Workers;

/// Between a configuration's taking effect and the giving back of what it took to get there: whoever waited for it comes
/// first.
const TIDY_AFTER: Duration = Duration::from_secs(1);

/// Time for admin answers that are being made when the process exits.
const ANSWERS: Duration = Duration::from_millis(500);

/// How the process ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything in flight was finished, or nothing was, or nobody has been there any more to whom it mattered.
    Drained,
    /// 1: the configuration, a port or the system did not allow a start.
    NotStarted,
    /// 3: connections were cut, at the drain's deadline or by a second signal.
    Cut,
    /// 4: a worker died of a bug; the supervisor should start the proxy anew.
    Died,
}

/// What is done once the listeners are served.
pub type OnLive = Box<dyn FnOnce(&State)>;

/// What the caller wants to be told or done.
#[derive(Default)]
pub struct Hooks {
    /// Called once, when the listeners are served.
    pub on_live: Option<OnLive>,
    /// Drain and exit after this time, as if by a signal.
    pub exit_after: Option<Duration>,
}

/// Why the process did not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// The control thread at work.
struct Control<P: Plane> {
    plane: Rc<P>,
    source: Source,
    hooks: Hooks,
    state: Rc<State>,
    in_force: Rc<RefCell<Option<Arc<P::Snapshot>>>>,
    prepared: Option<Prepared<P>>,
    /// The configuration that is not in force since something that its filters are loaded from could not be had.
    behind: Option<Behind<P>>,
    /// Why there is no first configuration any more.
    not_started: Option<Failure>,
    count: NonZeroUsize,
    sockets: Sockets,
    workers: Workers<P::Snapshot>,
    names: Names,
    services: Services,
    watcher: Watcher,
    keeper: Keeper,
    loopback: Loopback,
    edge: Edge,
    /// When the node's agent is told again of who waits for it.
    claiming: claim::Claiming,
    proof: Proof,
    ports: AdminPorts,
    signals: Signals,
    requests: mpsc::Receiver<Request>,
    deaths: mpsc::UnboundedReceiver<Death>,
    /// The way out, once it is taken.
    drain: Option<Drain>,
    /// `/drain_listeners` was called.
    closed: bool,
    /// Servers of which it was said that they are spoken to in the clear.
    said_clear: RefCell<Vec<String>>,
    /// That a configuration is not read any more was said.
    said_stale: bool,
    /// Every worker was told to drain and has.
    idle: bool,
    /// Signals that asked to leave.
    asked_to_leave: u32,
    /// When memory is looked at again; `None`: it is not limited.
    memory_at: Option<Instant>,
    /// When the last machine of a filter was given back because memory was short.
    given_back: Option<Instant>,
    /// When freed memory was last given back because little was left.
    tidied: Option<Instant>,
    /// When memory was last found so full that requests are refused.
    full_at: Option<Instant>,
    /// When what a new configuration took is given back.
    tidy_at: Option<Instant>,
    metrics: ControlMetrics,
    /// What is known of the application beside us.
    application: Application,
    /// The drain that runs began because of it, and ends if the application comes back in time.
    by_absence: bool,
}

/// The series of what this thread does.
struct ControlMetrics {
    config: ConfigMetrics,
    dns: DnsMetrics,
}

/// Runs the proxy on this thread until it has gone.
pub fn run<P: Plane>(plane: P, source: Source, hooks: Hooks) -> Exit {
    let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pillion: cannot start: {error}");
            return Exit::NotStarted;
        }
    };
    let exit = LocalSet::new().block_on(&runtime, async {
        spawn_local(memory::keep_small());
        match Control::start(plane, source, hooks) {
            Ok(control) => control.serve().await,
            Err(error) => {
                eprintln!("pillion: {error}");
                Exit::NotStarted
            }
        }
    });
    // A look-up under way must not hold the process up.
    runtime.shutdown_background();
    exit
}

impl<P: Plane> Control<P> {
    fn start(plane: P, source: Source, hooks: Hooks) -> Result<Self, StartError> {
        // First of all, so that a signal means the same from here on.
        let signals = Signals::install()?;
        descriptors::raise();
        let began = SystemTime::now();
        let loaded = source()?;
        let count = cgroup::workers(loaded.config.workers);
        let (deaths_in, deaths) = mpsc::unbounded_channel();
        let (actions, requests) = mpsc::channel(8);
        let plane = Rc::new(plane);
        let in_force: Rc<RefCell<Option<Arc<P::Snapshot>>>> = Rc::default();
        let meter = Meter::of_this_process();
        let keeper = Keeper::new();
        let state = State {
            started: Instant::now(),
            app_probes: AppProbes::of_environment().map_err(|error| Rejected(error.to_string()))?,
            stage: Cell::new(Stage::Starting),
            failed: Cell::new(false),
            said_ready: Cell::new(false),
            certificates: Cell::new(Certificates::Awaited),
            amiss: RefCell::default(),
            taken_back: keeper.taken_back().clone(),
            filters_lack: {
                let (plane, in_force) = (Rc::clone(&plane), Rc::clone(&in_force));
                Box::new(move || {
                    let lack =
                        in_force.borrow().as_ref().map_or_else(Vec::new, |snapshot| plane.filters_lack(snapshot));
                    lack.into_iter().chain(plane.filters_await()).collect()
                })
            },
            application: Record::of_environment(),
            claim: Cell::new(Claim::Made),
            interception: Cell::new(Interception::NotNeeded),
            config: RefCell::default(),
            listeners: RefCell::default(),
            history: RefCell::default(),
            meter,
            pressure: Cell::default(),
            workers: count.get(),
            clusters: {
                let (plane, in_force) = (Rc::clone(&plane), Rc::clone(&in_force));
                Box::new(move || in_force.borrow().as_ref().map_or_else(Vec::new, |snapshot| plane.clusters(snapshot)))
            },
            metrics: {
                let plane = Rc::clone(&plane);
                Box::new(move || plane.metrics())
            },
            answering: Cell::new(0),
            actions,
        };
        let application = Application::of_environment(&state.application, Instant::now()).map_err(Rejected)?;
        let memory_at = state.meter.is_some().then(Instant::now);
        let mut control = Self {
            names: Names::new(loaded.config.dns.clone()),
            services: Services::default(),
            workers: Workers::start(&*plane, count, &deaths_in)?,
            state: Rc::new(state),
            plane,
            source,
            hooks,
            in_force,
            prepared: None,
            behind: None,
            not_started: None,
            count,
            sockets: Sockets::default(),
            watcher: Watcher::default(),
            keeper,
            loopback: Loopback::default(),
            edge: Edge::default(),
            claiming: claim::Claiming::default(),
            proof: Proof::default(),
            ports: AdminPorts::default(),
            signals,
            requests,
            deaths,
            drain: None,
            closed: false,
            said_clear: RefCell::default(),
            said_stale: false,
            idle: false,
            asked_to_leave: 0,
            memory_at,
            given_back: None,
            tidied: None,
            full_at: None,
            application,
            by_absence: false,
            tidy_at: None,
            metrics: ControlMetrics { config: ConfigMetrics::register(began), dns: DnsMetrics::register() },
        };
        control.prepare(loaded, began, None).map_err(|Failure(words)| Rejected(words))?;
        // Probes and admin answer while names are looked up.
        control.serve_ports();
        control.watch_first();
        Ok(control)
    }

    async fn serve(mut self) -> Exit {
        let exit = loop {
            if self.prepared_is_due() {
                if let Err(Failure(words)) = self.commit().await {
                    eprintln!("pillion: {words}");
                    break Exit::NotStarted;
                }
                continue;
            }
            if let Some(Failure(words)) = self.not_started.take() {
                eprintln!("pillion: {words}");
                break Exit::NotStarted;
            }
            if let Some(exit) = self.step().await {
                break exit;
            }
            let event = self.event().await;
            if let Some(exit) = self.handle(event).await {
                break exit;
            }
        };
        self.workers.stop().await;
        self.loopback.end();
        self.edge.end();
        self.plane.flush_logs();
        // Whoever asked it to quit gets the answer.
        let last = Instant::now() + ANSWERS;
        while self.state.answering.get() > 0 && Instant::now() < last {
            sleep(Duration::from_millis(1)).await;
        }
        tracing::info!(code = exit.code(), "gone");
        exit
    }
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::NotStarted => 1,
            Self::Cut => 3,
            Self::Died => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Who waits for a configuration to be in force.
type Waiting = Vec<oneshot::Sender<Result<String, String>>>;
