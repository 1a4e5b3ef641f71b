//! The node agent: attaches for a proxy without privileges, watches, tells what it sees, detaches at the end.
//!
//! ```text
//!  attach ─► look every second ─► alarm? the kill switch ─► series ─► GET /metrics, where --metrics names an address
//!     ▲              │
//!     └── its cgroup has gone, and is there again
//!  claims ten times a second, where --capture-inbound asks for it ─► programs on the proxies' network namespaces
//! ```
//!
//! Without `--metrics` it counts nothing itself: what the programs count, and what is known of connections that ended, stands in
//! their maps for `pillion redirect status`.

use super::{
    metrics::Metrics,
    serve::{self, Standing as Shown},
    watched::{Fullness, tell, tell_let_go, tell_room},
};
use crate::{
    log,
    metrics::{Build, Recorder},
    signals::{Asked, Signals},
};
use redirect::{
    Detached, Options, Standing, Watch,
    inbound::{Change, Namespaces},
};
use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    runtime::Builder,
    task::LocalSet,
    time::{sleep, sleep_until},
};

/// Attaches, watches until a signal, detaches unless it is to `stay`. What comes into network namespaces is given to their proxies where
/// directories are named that have `namespaces`' files.
///
/// # Errors
///
/// It cannot be attached, or `metrics` cannot be listened on, of which nothing is left behind.
pub(crate) fn run(
    options: &Options,
    metrics: Option<SocketAddr>,
    namespaces: &[PathBuf],
    stay: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    log::install(log::Level::Info);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, live(options, metrics, namespaces, stay))
}

async fn live(
    options: &Options,
    metrics: Option<SocketAddr>,
    namespaces: &[PathBuf],
    stay: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    // Before anything is attached, so that no signal leaves it so.
    let mut signals = Signals::install()?;
    let shown = Rc::<Shown>::default();
    let metrics = match metrics {
        None => None,
        Some(address) => Some(serve_metrics(address, &shown).await?),
    };
    attach(options, metrics.as_ref())?;
    let mut watch = Watch::new(&options.instance)?;
    let mut inbound = if options.inbound { Some(Inbound::new(options, namespaces)?) } else { None };
    let (mut said, mut failed, mut fullness) = (Standing::There, None, Fullness::default());
    let mut again = Again::default();
    loop {
        match look(&mut watch, options, metrics.as_ref(), &shown, (&mut said, &mut fullness)) {
            Ok(()) => failed = None,
            Err(error) => {
                let words = error.to_string();
                if failed.as_ref() != Some(&words) {
                    tracing::error!("the redirect cannot be watched: {words}");
                    failed = Some(words);
                }
            }
        }
        if let Some(inbound) = &mut inbound {
            inbound.look();
            if inbound.namespaces.is_let_go() {
                shown.amiss.set(Some("attached by somebody else, without --capture-inbound: start the agent again"));
            }
            if let Some(metrics) = &metrics {
                let namespaces = &inbound.namespaces;
                metrics.namespaces(namespaces.captured(), namespaces.waiting().map(|(_, why)| why));
            }
        }
        match said {
            Standing::Severed => again.attach(options, metrics.as_ref()),
            _ => again = Again::default(),
        }
        if until_the_next_look(&mut signals, &mut watch, metrics.as_ref(), &mut inbound).await == Next::Leave {
            return leave(options, stay);
        }
    }
}

/// Serves the series, and whether it works, to whoever asks at `address`.
async fn serve_metrics(address: SocketAddr, shown: &Rc<Shown>) -> Result<Metrics, Box<dyn Error>> {
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("--metrics {address}: cannot listen: {error}"))?;
    let recorder = Recorder::install(Build::THIS)?;
    tracing::info!(address = %listener.local_addr()?, "metrics served");
    tokio::task::spawn_local(serve::serve(listener, recorder, Rc::clone(shown)));
    Ok(Metrics::register())
}

fn attach(options: &Options, metrics: Option<&Metrics>) -> Result<(), redirect::AttachError> {
    let attached = redirect::attach(options).inspect_err(|error| {
        if let Some(metrics) = metrics {
            metrics.declined(error.reason());
        }
    })?;
    tracing::info!(
        instance = %options.instance,
        cgroup = %options.cgroup.display(),
        replaced = attached.replaced,
        on = attached.on,
        "redirect attached"
    );
    tell_let_go(attached.let_go);
    tell_room(options.sockets, attached.room);
    if let Some(metrics) = metrics {
        metrics.attached(attached.load_time);
    }
    Ok(())
}

/// What comes behind a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Look,
    Leave,
}

/// Takes what ended, and gives claimed network namespaces to their proxies, until the next look is due or it is asked to leave.
async fn until_the_next_look(
    signals: &mut Signals,
    watch: &mut Watch,
    metrics: Option<&Metrics>,
    inbound: &mut Option<Inbound>,
) -> Next {
    let due = Instant::now() + redirect::EVERY;
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Leave => return Next::Leave,
                Asked::Reload | Asked::Reopen => {}
            },
            // An agent is one of a node: ten looks into an empty ring are cheaper than a descriptor in the reactor.
            () = sleep(redirect::GATHER) => {
                watch.take(|event| {
                    if let Some(metrics) = metrics {
                        metrics.ended(event);
                    }
                });
                if let Some(inbound) = inbound {
                    inbound.look();
                }
            }
            () = sleep_until(due.into()) => return Next::Look,
        }
    }
}

/// Detaches, unless what is attached is to stay for the next agent.
fn leave(options: &Options, stay: bool) -> Result<ExitCode, Box<dyn Error>> {
    if stay {
        tracing::info!("the redirect stays attached, unwatched until there is another agent");
        return Ok(ExitCode::SUCCESS);
    }
    match redirect::detach(&options.instance)? {
        Detached::Claimed(namespaces) => {
            tracing::info!(
                namespaces,
                "redirect detached; claims are kept for the next agent while their proxies listen"
            );
        }
        Detached::Draining(ends) => tracing::info!(ends, "redirect detached, connections go on through TCP"),
        Detached::Absent | Detached::Gone | Detached::Foreign { .. } => tracing::info!("redirect detached"),
    }
    Ok(ExitCode::SUCCESS)
}

/// What comes into the proxies' network namespaces.
struct Inbound {
    namespaces: Namespaces,
    /// Why it could not be looked after last, so that it is said once.
    failed: Option<String>,
}

impl Inbound {
    fn new(options: &Options, folders: &[PathBuf]) -> Result<Self, redirect::AttachError> {
        // It may come: a runtime makes it when it needs it.
        for folder in folders.iter().filter(|folder| !folder.is_dir()) {
            tracing::warn!(
                folder = %folder.display(),
                "--namespaces names a directory that is not there: no network namespace is found in it before it is"
            );
        }
        Ok(Self { namespaces: Namespaces::new(options, folders)?, failed: None })
    }

    fn look(&mut self) {
        match self.namespaces.look() {
            Ok(changes) => {
                self.failed = None;
                say_all(&changes);
            }
            Err(error) => {
                let words = error.to_string();
                if self.failed.as_ref() != Some(&words) {
                    tracing::error!("network namespaces cannot be looked after: {words}");
                    self.failed = Some(words);
                }
            }
        }
    }
}

/// How many of one look are told one by one: a node of which all proxies wait for one reason has one thing to tell.
const MOST_TOLD: usize = 4;

/// Tells what a look has done: first what is wrong with all of it.
fn say_all(changes: &[Change]) {
    let is_of_one = |change: &&Change| matches!(change, Change::Waiting { .. } | Change::Gone { .. });
    changes.iter().filter(|change| !is_of_one(change)).for_each(say);
    let mut waiting: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        match change {
            Change::Waiting { why, .. } => waiting.entry(why.word()).or_default().push(change),
            Change::Gone { .. } => waiting.entry("gone").or_default().push(change),
            _ => {}
        }
    }
    for alike in waiting.into_values() {
        if alike.len() <= MOST_TOLD {
            alike.into_iter().for_each(say);
        } else {
            say_together(&alike);
        }
    }
}

fn say_together(alike: &[&Change]) {
    let inode = |change: &&Change| match change {
        Change::Waiting { inode, .. } | Change::Gone { inode: Some(inode) } => Some(inode.to_string()),
        _ => None,
    };
    let first: Vec<_> = alike.iter().filter_map(inode).take(MOST_TOLD).collect();
    let inodes = format!("{} …", first.join(", "));
    match alike {
        [Change::Waiting { why, .. }, ..] => tracing::warn!(
            namespaces = alike.len(),
            %inodes,
            "proxies have claimed what comes into their network namespaces and are not given it: {why}"
        ),
        _ => tracing::info!(namespaces = alike.len(), %inodes, "claimed network namespaces have gone"),
    }
}

fn say(change: &Change) {
    match change {
        Change::Captured { inode, file } => {
            tracing::info!(inode, file = %file.display(), "what comes into a network namespace is given to its proxy");
        }
        Change::Waiting { inode, why } => {
            tracing::warn!(
                inode,
                "a proxy has claimed what comes into its network namespace and is not given it: {why}"
            );
        }
        Change::LetGo { namespaces } => tracing::error!(
            namespaces,
            "the redirect was attached anew without --capture-inbound, by somebody else: what comes into network namespaces that \
             proxies have claimed is let go, past them to the applications. Start this agent again to capture it"
        ),
        Change::Full { claims } => tracing::error!(
            claims,
            "there is no room for another claim to what comes into a network namespace: its proxy waits, and is not ready. Room is made \
             by pods that go from this node"
        ),
        Change::Gone { inode } => tracing::info!(inode, "a claimed network namespace has gone"),
    }
}

/// Attaching again, to the cgroup that was made anew where the one before has gone: while there is none the looks go on, and
/// where it is declined the next try waits twice as long, since each runs the self-test.
#[derive(Default)]
struct Again {
    tries: u32,
    due: Option<Instant>,
    declined: Option<String>,
}

impl Again {
    /// Longest time between two tries.
    const MOST: Duration = Duration::from_secs(60);

    fn attach(&mut self, options: &Options, metrics: Option<&Metrics>) {
        if self.due.is_some_and(|due| Instant::now() < due) || !options.cgroup.is_dir() {
            return;
        }
        let wait = redirect::EVERY.saturating_mul(1 << self.tries.min(6)).min(Self::MOST);
        (self.tries, self.due) = (self.tries.saturating_add(1), Some(Instant::now() + wait));
        match redirect::attach(options) {
            Ok(attached) => {
                tracing::info!(
                    cgroup = %options.cgroup.display(),
                    on = attached.on,
                    "redirect attached to the cgroup that was made anew"
                );
                if let Some(metrics) = metrics {
                    metrics.attached(attached.load_time);
                }
            }
            Err(error) => {
                if let Some(metrics) = metrics {
                    metrics.declined(error.reason());
                }
                let words = error.to_string();
                if self.declined.as_ref() != Some(&words) {
                    tracing::warn!(
                        "the cgroup was made anew, attaching to it is declined and will be tried again: {words}"
                    );
                    self.declined = Some(words);
                }
            }
        }
    }
}

fn look(
    watch: &mut Watch,
    options: &Options,
    metrics: Option<&Metrics>,
    shown: &Shown,
    (said, fullness): (&mut Standing, &mut Fullness),
) -> Result<(), redirect::AttachError> {
    let look = watch.look(|event| {
        if let Some(metrics) = metrics {
            metrics.ended(event);
        }
    })?;
    tell(look.standing, said, || {
        let inbound = if options.inbound { ", and what comes into pods reaches them past their proxies" } else { "" };
        tracing::error!(
            "the redirect was detached by somebody else: plain TCP is used{inbound}. Somebody wanted it so, and this agent does \
             not attach it again by itself: start the agent again for that"
        );
    });
    shown.amiss.set(match look.standing {
        Standing::Detached | Standing::Gone => Some("detached by somebody else: start the agent again to attach it"),
        Standing::Severed => Some("attached to a cgroup that has gone: plain TCP is used"),
        Standing::There | Standing::Anew if look.on => None,
        Standing::There | Standing::Anew => Some("switched off: plain TCP is used"),
    });
    fullness.look(&look, "`--sockets`");
    if let Some(alarm) = look.alarm {
        tracing::error!(alarm = alarm.word(), "redirect switched off: connections go on through TCP");
    }
    if let Some(metrics) = metrics {
        if let Some(alarm) = look.alarm {
            metrics.alarm(alarm);
        }
        metrics.looked(&options.instance, &look);
        metrics.stands(look.on, std::iter::once(look.reading.occupancy));
    }
    Ok(())
}
