//! From a configuration that was read to one that is in force.

use super::{
    Control, TIDY_AFTER, Waiting, admin_ports,
    state::{Certificates, Stage},
};
use crate::{
    assembly::{LoadingFilters, Patience, Plane},
    cgroup::Thresholds,
    descriptors, discovery,
    reload::{Changes, Outcome, Reason, diff},
    secrets::{self, News, Problem},
    sockets, unreachable,
    worker::Order,
};
use pillion_config::{
    Loaded,
    model::{Config, EndpointAddress},
};
use pillion_core::{snapshot::TlsState, telemetry::metrics::ReloadOutcome};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

/// Everything a configuration needs, ready to be put in force. Dropping it changes nothing.
pub(super) struct Prepared<P: Plane> {
    pub(super) config: Arc<Config>,
    files: Vec<PathBuf>,
    began: SystemTime,
    changes: Option<Changes>,
    /// `None` while its filters are loaded.
    pub(super) snapshot: Option<Arc<P::Snapshot>>,
    pub(super) filters: Option<LoadingFilters<P::Filters>>,
    secrets: secrets::Read,
    sockets: sockets::Plan,
    /// `None` once they are served, which the first configuration's are at once.
    ports: Option<admin_ports::Plan>,
    /// When it is put in force whether or not all its names are known.
    due: Instant,
    pub(super) waiting: Waiting,
}

/// What somebody is told who has the first configuration read again before it is in force.
const STARTING: &str =
    "the configuration was read again; the proxy starts with it once the modules of its filters are loaded: see /ready";

/// Why a configuration cannot be put in force: words for an operator.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl<P: Plane> Control<P> {
    /// Reads the configuration again and prepares it, unless it is being prepared already. The outcome is told to whoever asked, when
    /// it is known.
    pub(super) async fn reload(&mut self, waiting: Waiting, reason: Reason) {
        self.reload_with(waiting, reason, None).await;
    }

    /// As [`reload`](Self::reload), with the filters of a configuration: if that is the one that is read, they are in.
    pub(super) async fn reload_with(
        &mut self,
        mut waiting: Waiting,
        reason: Reason,
        had: Option<(Arc<Config>, P::Filters)>,
    ) {
        if self.drain.is_some() || self.closed {
            // Once: from here on there is no other answer.
            if !std::mem::replace(&mut self.said_stale, true) {
                tracing::warn!("the configuration is not read again: the proxy is draining, with the one in force");
            }
            return tell(waiting, &Err("the proxy is draining".to_owned()));
        }
        let began = SystemTime::now();
        let loaded = (self.source)();
        let first = self.in_force.borrow().is_none();
        let underway = |prepared: &Prepared<P>| loaded.as_ref().is_ok_and(|loaded| loaded.config == *prepared.config);
        if self.prepared.as_ref().is_some_and(underway) {
            // Whoever noticed the change first has begun what is to be done about it.
            self.names.look_again();
            return self.wait_for_prepared(waiting);
        }
        // Without another one a start goes on with what it had.
        if let Some(before) = self.prepared.take_if(|_| loaded.is_ok() || !first) {
            // Whoever waited for that one waits for this one now; its sockets must not be in this one's way.
            waiting.extend(before.waiting);
        }
        self.behind = None;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(rejected) => return self.reject(waiting, rejected.0),
        };
        if self.state.config.borrow().as_deref() == Some(&loaded.config) {
            self.watcher.watch(&loaded.files, began);
            // A doubt that was none is nobody's news.
            if reason == Reason::Changed {
                self.state.history.borrow_mut().enter(Outcome::Unchanged);
                self.count_reload(ReloadOutcome::Unchanged);
                tracing::info!("configuration unchanged");
            }
            self.names.look_again();
            // Whoever asks for it may do so for the files that it names, where no event tells of them.
            let lacks = self.renew(reason).await;
            return tell(waiting, &Ok(answer("unchanged".to_owned(), &lacks)));
        }
        if let Err(Failure(words)) = self.prepare(loaded, began, had) {
            self.not_started = first.then(|| Failure(words.clone()));
            return self.reject(waiting, words);
        }
        self.watch_first();
        self.wait_for_prepared(waiting);
    }

    /// Who asked is told when what is prepared is in force, or cannot be.
    fn wait_for_prepared(&mut self, waiting: Waiting) {
        let first = self.in_force.borrow().is_none();
        match &mut self.prepared {
            // A start may wait for them for minutes.
            Some(prepared) if first && prepared.filters.is_some() => tell(waiting, &Err(STARTING.to_owned())),
            Some(prepared) => prepared.waiting.extend(waiting),
            None => {}
        }
    }

    /// Watches the files of a first configuration that has to wait: who corrects them need not.
    pub(super) fn watch_first(&mut self) {
        if self.in_force.borrow().is_none()
            && !self.prepared_is_due()
            && let Some(Prepared { files, began, .. }) = &self.prepared
        {
            self.watcher.watch(files, *began);
        }
    }

    /// Binds, compiles and begins to look names up.
    pub(super) fn prepare(
        &mut self,
        loaded: Loaded,
        began: SystemTime,
        had: Option<(Arc<Config>, P::Filters)>,
    ) -> Result<(), Failure> {
        let words = |error: &dyn std::fmt::Display| Failure(error.to_string());
        let Loaded { config, warnings, files } = loaded;
        for warning in &warnings {
            tracing::warn!("configuration: {warning}");
        }
        for words in unreachable::routes(&config) {
            tracing::warn!("configuration: {words}");
        }
        if let Some(words) = descriptors::shortage(&config) {
            tracing::warn!("{words}");
        }
        let config = Arc::new(config);
        let ports = self.ports.plan(&config.admin).map_err(|error| words(&error))?;
        let sockets = self.sockets.plan(&config.listeners, self.count).map_err(|error| words(&error))?;
        let in_force = self.in_force.borrow().clone();
        let had = had.filter(|(of, _)| *of == config).map(|(_, filters)| filters);
        let patience = if in_force.is_some() { Patience::Reload } else { Patience::Start };
        let filters = match had {
            Some(_) => None,
            None => self.plane.load_filters(&config, in_force.as_ref(), patience),
        };
        let snapshot = match &filters {
            Some(_) => None,
            None => {
                let compiled = self.plane.compile(&config, in_force.as_ref(), had);
                Some(compiled.map_err(|error| words(&error))?)
            }
        };
        let secrets = self.keeper.read(&config);
        let before = self.state.config.borrow().clone();
        if let Some(words) = before.as_ref().and_then(|before| secrets::refused_anew(&config, before, &secrets.secrets))
        {
            return Err(Failure(words));
        }
        let hosts = before.iter().flat_map(|before| hosts(before)).chain(hosts(&config));
        self.names.want(&config.dns, hosts.collect::<Vec<_>>());
        let mut services = discovery::services(&config);
        services.extend(before.iter().flat_map(|before| discovery::services(before)));
        let wanted = self.services.want(&config.kubernetes, &services);
        wanted.map_err(|error| Failure(format!("kubernetes: {error}")))?;
        let patience = match services.is_empty() {
            true => config.dns.timeout,
            false => config.dns.timeout.max(config.kubernetes.timeout),
        };
        self.prepared = Some(Prepared {
            changes: before.map(|before| diff(&before, &config)),
            due: Instant::now() + patience,
            config,
            files,
            began,
            snapshot,
            filters,
            secrets,
            sockets,
            ports: Some(ports),
            waiting: Vec::new(),
        });
        Ok(())
    }

    /// Serves the ports of what is prepared before it is in force.
    pub(super) fn serve_ports(&mut self) {
        if let Some(ports) = self.prepared.as_mut().and_then(|prepared| prepared.ports.take()) {
            self.ports.commit(ports, &self.state);
        }
    }

    /// Whether something is prepared that need not wait for names any more.
    pub(super) fn prepared_is_due(&self) -> bool {
        let due = |prepared: &Prepared<P>| {
            let known = self.names.settled() && self.services.settled();
            prepared.snapshot.is_some() && (known || Instant::now() >= prepared.due)
        };
        self.drain.is_none() && self.prepared.as_ref().is_some_and(due)
    }

    /// When what is prepared is put in force at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.prepared.as_ref().filter(|prepared| prepared.snapshot.is_some()).map(|prepared| prepared.due)
    }

    /// Puts what is prepared in force.
    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        let Some(prepared) = self.prepared.take() else { return Ok(()) };
        let Prepared { config, files, began, changes, snapshot, secrets, sockets, ports, waiting, .. } = prepared;
        let Some(snapshot) = snapshot else { return Ok(()) };
        let first = changes.is_none();
        let mut handed = match self.sockets.commit(sockets, self.count) {
            Ok(handed) => handed,
            Err(error) if first => return Err(Failure(error.to_string())),
            Err(error) => {
                self.reject(waiting, error.to_string());
                return Ok(());
            }
        };
        let claims = self.claim(&config);
        handed.iter_mut().zip(claims).for_each(|(all, claimed)| all.extend(claimed));
        self.names.want(&config.dns, hosts(&config));
        for host in hosts(&config) {
            self.deliver(&host, &config, &snapshot);
        }
        let services = discovery::services(&config);
        if let Err(error) = self.services.want(&config.kubernetes, &services) {
            // It was right when it was prepared; who is followed is followed on.
            tracing::warn!(%error, "the API server");
        }
        for service in &services {
            self.deliver_service(service, &config, &snapshot);
        }
        self.say_in_the_clear(&config);
        // Before anything is accepted: whoever comes first finds a certificate.
        // What lives looks again when the workers put it in force.
        let (_, lacks) = self.update_tls(&snapshot, secrets, &config, Reason::Changed);
        // What clients may hold is bounded from the first one on: whoever floods a proxy comes back as soon as it does.
        self.look_at_memory_within(&config.limits);
        if let Some(meter) = &self.state.meter {
            self.plane.leave_room(meter, Thresholds::of(&config.limits));
        }
        if let Err(error) = self.workers.apply(&snapshot, handed).await {
            // Nobody can say how much of it is in force on that worker. At start that is the end; later, a proxy that
            // serves most is better than none, and the operator is told.
            if first {
                return Err(Failure(error.to_string()));
            }
            tracing::error!(%error, "a worker could not put the configuration in force");
        }
        self.watcher.watch(&files, began);
        self.seek_proof(&config);
        self.state.config.replace(Some(config));
        let addresses = self.sockets.addresses();
        if let Some(config) = self.state.config.borrow().as_deref() {
            self.edge.apply(config, &addresses);
            self.loopback.apply(config, addresses.iter().map(|(_, address)| address.port()).collect());
        }
        self.state.listeners.replace(self.sockets.listening());
        self.plane.in_force(&snapshot);
        self.in_force.replace(Some(snapshot));
        // What started has taken its memory: what starts next has less.
        self.look_at_memory();
        if let Some(ports) = ports {
            self.ports.commit(ports, &self.state);
        }
        self.tidy_at = Some(Instant::now() + TIDY_AFTER);
        self.say_so(changes, &lacks, waiting);
        Ok(())
    }

    /// Takes secrets into use, and says what is missing: in the log, and in words for whoever waits for it.
    fn update_tls(
        &mut self,
        snapshot: &P::Snapshot,
        read: secrets::Read,
        config: &Config,
        reason: Reason,
    ) -> (TlsState, Vec<String>) {
        let mut lacks: Vec<_> = read.problems.iter().map(Problem::words).collect();
        let news = self.keeper.keep(read, config, reason);
        let state = self.plane.update_tls(snapshot, self.keeper.secrets());
        for (name, error) in &state.refused {
            tracing::error!(%name, %error, "its certificates cannot be used");
            lacks.push(format!("{name}: its certificates cannot be used: {error}"));
        }
        if state.missing.is_empty() {
            self.state.certificates.set(Certificates::There);
        } else {
            // After a reload too, as after a start with the same configuration: who is sent here meanwhile would be turned away.
            self.state.certificates.set(Certificates::Awaited);
            self.state.said_ready.set(false);
            let names = state.missing.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
            if news == News::Some {
                tracing::warn!(names, "certificates, keys or roots are not there yet");
            }
            lacks.push(format!("not ready: certificates, keys or roots are not there yet: {names}"));
        }
        self.note_identity(config);
        self.state.note_ready();
        (state, lacks)
    }

    /// Notes what is amiss with the identity for who asks whether this is ready. One that has ended is as good as none where
    /// nobody is served without it.
    pub(super) fn note_identity(&self, config: &Config) {
        let secrets = self.keeper.secrets();
        self.state.amiss.replace(secrets::amiss(secrets).map(|words| words + "\n").collect());
        let there = self.state.certificates.get() == Certificates::There;
        if there && secrets::has_ended(secrets) && secrets::serves_by_identity_alone(config) {
            self.state.certificates.set(Certificates::Ended);
            self.state.said_ready.set(false);
        }
    }

    /// Reads certificates, keys and roots again: a file changed. What cannot be used is told.
    pub(super) async fn renew(&mut self, reason: Reason) -> Vec<String> {
        let config = self.state.config.borrow().clone();
        let snapshot = self.in_force.borrow().clone();
        let (Some(config), Some(snapshot)) = (config, snapshot) else { return Vec::new() };
        let read = self.keeper.read(&config);
        let (state, lacks) = self.update_tls(&snapshot, read, &config, reason);
        if state.retrusted {
            tracing::info!("others are trusted than before: connections that live are looked at again");
            self.workers.order(Order::LookAgain).await;
        }
        lacks
    }

    fn count_reload(&self, outcome: ReloadOutcome) {
        self.metrics.config.reload(outcome, SystemTime::now());
    }

    fn say_so(&mut self, changes: Option<Changes>, lacks: &[String], waiting: Waiting) {
        if let Some(changes) = &changes {
            self.count_reload(ReloadOutcome::Applied);
            tracing::info!(%changes, "configuration reloaded");
            if changes.sections.contains(&"workers") {
                tracing::warn!("the number of workers changes with the next start only");
            }
        } else {
            self.state.stage.set(Stage::Live);
            for (name, address) in &*self.state.listeners.borrow() {
                tracing::info!(%name, %address, "listening");
            }
            let version = env!("CARGO_PKG_VERSION");
            let since = self.state.started.elapsed();
            tracing::info!(version, workers = self.count.get(), after = ?since, "started");
            if let Some(on_live) = self.hooks.on_live.take() {
                on_live(&self.state);
            }
        }
        self.state.note_ready();
        let done = changes.as_ref().map_or_else(String::new, |changes| format!("reloaded: {changes}"));
        tell(waiting, &Ok(answer(done, lacks)));
        self.state.history.borrow_mut().enter(Outcome::Applied(changes.unwrap_or_default()));
    }

    pub(super) fn reject(&mut self, waiting: Waiting, words: String) {
        self.count_reload(ReloadOutcome::Rejected);
        for line in words.lines() {
            tracing::error!("configuration refused, the one before stays in force: {line}");
        }
        // Services of the configuration before, as it wants them.
        if let Some(config) = self.state.config.borrow().as_deref() {
            self.services.want(&config.kubernetes, &discovery::services(config)).ok();
        }
        tell(waiting, &Err(words.clone()));
        self.state.history.borrow_mut().enter(Outcome::Rejected(words));
    }
}

/// The names among a configuration's endpoints, each once.
fn hosts(config: &Config) -> impl Iterator<Item = Arc<str>> {
    let endpoints = config.clusters.iter().flat_map(|cluster| &cluster.endpoints);
    let names = endpoints.filter_map(|endpoint| match &endpoint.address {
        EndpointAddress::Name(name, _) => Some(Arc::clone(name)),
        EndpointAddress::Ip(_) | EndpointAddress::Service(_) => None,
    });
    names.collect::<std::collections::BTreeSet<_>>().into_iter()
}

/// What was done, and on lines of their own what it lacks.
fn answer(done: String, lacks: &[String]) -> String {
    lacks.iter().fold(done, |words, lack| words + "\n" + lack)
}

fn tell(waiting: Waiting, words: &Result<String, String>) {
    for one in waiting {
        // Whoever asked may have gone.
        one.send(words.clone()).ok();
    }
}
