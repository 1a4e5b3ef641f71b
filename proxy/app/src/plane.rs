//! The data path as the control thread drives it: `pillion-core` behind the seam of [`assembly`](crate::assembly).

use crate::{
    assembly::{ClusterStatus, EndpointStatus, LoadingFilters, Patience, Plane, Rejected},
    cgroup, descriptors,
    filters::{self, Filters},
    memory,
    metrics::{Build, Recorder},
    proof::Token,
    sockets::Handed,
    worker::{Order, Run},
};
use bytes::Bytes;
use pillion_config::model::{Capture, ClusterIndex, Config, EndpointAddress};
use pillion_core::{
    downstream::limit::{Limit, Pressure, PressureGauge},
    drain::Signal,
    exchange::filter::FilterSet,
    identity::Secrets,
    io::{Listening, Tcp},
    snapshot::{Snapshot, TlsState},
    telemetry::access_log::{AccessLogHandle, Flushed},
    upstream::{ClusterState, MemberDescription},
    worker::{Capturing, Process, Source, Worker},
};
use pillion_wasm::{
    artefact,
    census::{self, Before, Number, Room},
    shared::{Renamed, Shared},
};
use std::{
    cell::{OnceCell, RefCell},
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// How long a log that does not take its records may hold the process up at its end.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// The data path of this process.
pub struct DataPlane {
    process: Arc<Process>,
    recorder: Option<Recorder>,
    /// The log of the newest configuration, for SIGUSR1.
    access_log: RefCell<Option<Arc<AccessLogHandle>>>,
    filters: Rc<Filters>,
}

/// The data path of one worker's thread.
pub struct DataPath {
    process: Arc<Process>,
    worker: OnceCell<Rc<Worker>>,
}

impl Default for DataPlane {
    fn default() -> Self {
        Self {
            process: Arc::new(Process {
                connections: Limit::new(0),
                pressure: PressureGauge::default(),
                unfinished: Arc::default(),
                lost: Arc::default(),
                capture: Capturing::default(),
                redirect: Arc::default(),
            }),
            // A second plane in one process, as tests make, counts into the first one's series.
            recorder: Recorder::install(Build::THIS).ok(),
            access_log: RefCell::default(),
            filters: Rc::default(),
        }
    }
}

impl DataPlane {
    /// Metrics of wasm filters are told by these tags, those that there are with them.
    fn tag_metrics(&self, config: &Config) {
        let renamed = |renamed: &[Renamed]| self.recorder.iter().for_each(|recorder| recorder.rename(renamed));
        Shared::process().metrics.tag(&config.metrics.tags, renamed);
    }
}

impl Plane for DataPlane {
    type Snapshot = Snapshot;
    type Run = DataPath;
    type Filters = FilterSet;

    fn maker(&self) -> impl FnOnce(usize) -> DataPath + Send + 'static {
        let process = Arc::clone(&self.process);
        move |_| DataPath { process, worker: OnceCell::new() }
    }

    fn pressure(&self, pressure: cgroup::Pressure) {
        self.process.pressure.set(match pressure {
            cgroup::Pressure::Normal => Pressure::Normal,
            cgroup::Pressure::Shrink => Pressure::Shrink,
            cgroup::Pressure::Refuse => Pressure::Refuse,
        });
    }

    fn allow_unfinished(&self, each: &dyn Fn(u64) -> u64) {
        let unfinished = &self.process.unfinished;
        let each = each(unfinished.held() as u64);
        unfinished.allow(usize::try_from(each).unwrap_or(usize::MAX));
    }

    fn allow_requests(&self, most: &dyn Fn(u64) -> u64) {
        let unfinished = &self.process.unfinished;
        let most = most(unfinished.requests() as u64);
        unfinished.allow_requests(usize::try_from(most).unwrap_or(usize::MAX));
    }

    fn before_look(&self) -> Before {
        census::before_look()
    }

    fn allow_growth(&self, room: Room, stored: u64, before: Before) {
        census::allow(room, stored, before);
    }

    fn end_trials(&self) -> bool {
        census::starts::end_trials()
    }

    fn leave_room(&self, meter: &cgroup::Meter, thresholds: cgroup::Thresholds) {
        let meter = meter.clone();
        artefact::leave_room(Box::new(move || meter.read().map(|usage| thresholds.spare(usage))));
    }

    fn most_grown(&self, worth: u64) -> Option<Number> {
        census::most_grown(worth)
    }

    fn load_filters(
        &self,
        config: &Arc<Config>,
        in_force: Option<&Arc<Snapshot>>,
        patience: Patience,
    ) -> Option<LoadingFilters<FilterSet>> {
        if config.filters.is_empty() {
            return None;
        }
        if in_force.is_none() {
            // A trial defines metrics; those of a reload's are renamed when it is in force.
            self.tag_metrics(config);
        }
        let (config, in_force) = (Arc::clone(config), in_force.cloned());
        Some(Box::pin(filters::load(config, in_force, Rc::clone(&self.filters), patience)))
    }

    fn filters_await(&self) -> Vec<String> {
        self.filters.awaited()
    }

    fn compile(
        &self,
        config: &Arc<Config>,
        in_force: Option<&Arc<Snapshot>>,
        filters: Option<FilterSet>,
    ) -> Result<Arc<Snapshot>, Rejected> {
        let before = in_force.filter(|snapshot| snapshot.config.access_log == config.access_log);
        let access_log = match (before, &config.access_log) {
            (Some(snapshot), _) => snapshot.access_log.clone(),
            (None, None) => None,
            (None, Some(log)) => {
                Some(Arc::new(AccessLogHandle::open(log).map_err(|error| Rejected(format!("{error}\n")))?))
            }
        };
        Ok(Arc::new(Snapshot::compile(
            Arc::clone(config),
            in_force.map(|snapshot| &**snapshot),
            access_log,
            filters.unwrap_or_default(),
        )))
    }

    fn update_tls(&self, snapshot: &Snapshot, secrets: &Secrets) -> TlsState {
        snapshot.update_tls(secrets)
    }

    fn probe_token(&self) -> Token {
        self.process.capture.token
    }

    fn in_force(&self, snapshot: &Snapshot) {
        self.access_log.borrow_mut().clone_from(&snapshot.access_log);
        let captures = snapshot.config.listeners.iter().any(|listener| listener.capture != Capture::Off);
        self.process.capture.own.watch(captures);
        self.process.connections.resize(descriptors::connections(&snapshot.config));
        self.tag_metrics(&snapshot.config);
        if let Some(recorder) = &self.recorder {
            let listeners: HashSet<_> =
                snapshot.listeners.iter().map(|listener| listener.model.name.as_str()).collect();
            let clusters: HashSet<_> = snapshot.clusters.iter().map(|state| state.model().name.as_str()).collect();
            recorder.retain("listener", |name| listeners.contains(name));
            recorder.retain("cluster", |name| clusters.contains(name));
            let filters: HashSet<_> = snapshot.config.filters.iter().map(|filter| filter.name.as_str()).collect();
            recorder.retain("filter", |name| filters.contains(name));
        }
    }

    fn resolved(&self, snapshot: &Snapshot, cluster: ClusterIndex, endpoint: &EndpointAddress, addresses: &[IpAddr]) {
        if let Some(state) = snapshot.clusters.get(cluster.0) {
            state.set_resolved(endpoint, addresses.to_vec());
        }
    }

    fn discovered(&self, snapshot: &Snapshot, cluster: ClusterIndex, addresses: Vec<SocketAddr>) {
        if let Some(state) = snapshot.clusters.get(cluster.0)
            && let [endpoint] = &state.model().endpoints[..]
        {
            state.set_discovered(&endpoint.address, addresses);
        }
    }

    fn clusters(&self, snapshot: &Snapshot) -> Vec<ClusterStatus> {
        snapshot.clusters.iter().map(|state| status(state)).collect()
    }

    fn filters_lack(&self, snapshot: &Snapshot) -> Vec<String> {
        snapshot.filters.lacks().collect()
    }

    fn connections(&self) -> usize {
        self.process.connections.taken()
    }

    fn lost(&self) -> usize {
        self.process.lost.count()
    }

    fn metrics(&self) -> Box<dyn Iterator<Item = Bytes>> {
        match &self.recorder {
            Some(recorder) => {
                // Who stores goes with its last stream, which may end long after the configuration that had it.
                if let Some(owners) = pillion_wasm::shared::tell() {
                    recorder.retain("vm_id", |vm_id| owners.contains(vm_id));
                }
                Box::new(recorder.scrape().map(Bytes::from))
            }
            None => Box::new(std::iter::empty()),
        }
    }

    fn reopen_logs(&self) {
        if let Some(log) = &*self.access_log.borrow() {
            log.reopen();
        }
    }

    fn flush_logs(&self) {
        if let Some(log) = &*self.access_log.borrow()
            && log.flush(LAST_RECORDS) == Flushed::TimedOut
        {
            tracing::warn!("the access log takes no more: records are lost");
        }
    }
}

fn status(state: &ClusterState) -> ClusterStatus {
    let description = state.describe();
    let model = &description.model;
    let endpoint = |member: &MemberDescription| {
        let written = model.endpoints.get(member.endpoint);
        EndpointStatus {
            address: member.address,
            hostname: written.and_then(|endpoint| match &endpoint.address {
                EndpointAddress::Name(name, _) => Some(Arc::clone(name)),
                EndpointAddress::Service(service) => Some(service.host().into()),
                EndpointAddress::Ip(_) => None,
            }),
            weight: written.map_or(0, |endpoint| endpoint.weight),
            requests: member.active as u64,
        }
    };
    ClusterStatus {
        name: model.name.clone(),
        circuit: model.circuit,
        connections: description.connections as u64,
        pending: description.pending as u64,
        requests: description.requests as u64,
        endpoints: description.members.iter().map(endpoint).collect(),
    }
}

impl Run for DataPath {
    type Snapshot = Snapshot;

    fn apply(&self, snapshot: Arc<Snapshot>, sockets: Vec<Handed>) -> io::Result<()> {
        self.process.redirect.set(snapshot.config.redirect.is_some());
        let sources = sockets
            .into_iter()
            .map(|Handed { name, socket }| {
                let socket = tokio::net::TcpListener::from_std(socket)?;
                let listening = Listening::new(socket, Arc::clone(&self.process.redirect))?;
                Ok(Source { listener: name, accept: Box::new(listening) })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let worker = self.worker.get_or_init(|| {
            let dial = Tcp::new(Arc::clone(&self.process.capture.own), Arc::clone(&self.process.redirect));
            Worker::new(Arc::clone(&self.process), Rc::new(dial), Arc::clone(&snapshot))
        });
        worker.apply(snapshot, sources);
        Ok(())
    }

    fn order(&self, order: Order) {
        let Some(worker) = self.worker.get() else { return };
        match order {
            Order::Drain => worker.drain(),
            Order::DrainInbound => worker.drain_inbound(),
            Order::CloseIdle => {
                worker.close_idle();
                worker.register.shed();
                worker.close_idle_upstreams();
                // What those left who went before is the kernel's again, which counts it.
                memory::give_back_heap();
            }
            Order::Relieve => worker.register.relieve(),
            Order::GiveBack(machine) => pillion_wasm::worker::give_back(machine),
            Order::GiveBackHeap => memory::give_back_heap(),
            Order::LookAgain => worker.look_again(),
            Order::Abort => worker.tell(Signal::Abort),
        }
    }

    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.worker.get().map_or(Poll::Ready(()), |worker| worker.register.poll_empty(cx))
    }
}
