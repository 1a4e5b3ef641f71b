//! A worker with one listener and one cluster, whose sockets are pipes; and what it told of its requests.

use crate::{scripted::Scripts, server::Step};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use pillion_config::{
    SourceName,
    model::{BodyBuffer, Config, FailPolicy, Filter, FilterIndex, FilterKind, ListenerProtocol, Name, Stands},
    parse,
};
use pillion_core::{
    downstream::limit::{Limit, PressureGauge},
    exchange::filter::FilterSet,
    io::{Accept, Dial, DialOptions, Socket},
    snapshot::Snapshot,
    telemetry::access_log::AccessLogHandle,
    worker::{Process, Source, Worker},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{DuplexStream, duplex},
    task::{LocalSet, spawn_local},
    time::sleep,
};

/// What a test says of its configuration; the parts are YAML, indented as where they go.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) listener: &'static str,
    pub(crate) routes: &'static str,
    pub(crate) cluster: &'static str,
    pub(crate) endpoints: &'static str,
    /// Names of scripted filters, on listener, every route and opaque connections. One with `open` in its name fails open; one
    /// with `small` holds back 16 bytes at most; one with `first` is on first routes alone.
    pub(crate) filters: &'static [&'static str],
}

pub(crate) const PLAIN: Setup = Setup {
    listener: "",
    routes: "      - match: { prefix: / }\n        cluster: up",
    cluster: "",
    endpoints: "[\"10.0.0.1:80\"]",
    filters: &[],
};

const FORMAT: &str = "%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %TERMINATED_BY% \
                      %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %GRPC_STATUS% \
                      %ROUTE_NAME% %UPSTREAM_CLUSTER% %DOWNSTREAM_REMOTE_ADDRESS%|%REQ(X-FORWARDED-FOR)%|%REQ(X-REQUEST-ID)%|%REQ(X-ENVOY-ID)%|%REQ(:PATH)%";

/// The only file there is, `secret`.
pub(crate) const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) method: String,
    pub(crate) status: u16,
    pub(crate) flags: String,
    pub(crate) details: String,
    pub(crate) by: String,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) host: String,
    pub(crate) attempts: u32,
    pub(crate) grpc: String,
    pub(crate) route: String,
    pub(crate) cluster: String,
    /// Who its client is, what forwarding fields say, and its path, between bars.
    pub(crate) told: String,
}

impl Line {
    /// Status, flags, details and who ended it: what a test usually asks for.
    pub(crate) fn end(&self) -> (u16, &str, &str, &str) {
        (self.status, &self.flags, &self.details, &self.by)
    }
}

pub(crate) struct World {
    pub(crate) worker: Rc<Worker>,
    pub(crate) dialed: Rc<RefCell<Vec<SocketAddr>>>,
    pub(crate) recorded: Arc<Recorded>,
    pub(crate) queue: Queue,
    pub(crate) process: Arc<Process>,
    log: AccessLogHandle,
    path: PathBuf,
    log_yaml: String,
}

/// Runs a test in a world.
pub(crate) fn run<F, Fut>(setup: Setup, plan: impl Fn(usize, SocketAddr) -> Step + 'static, test: F)
where
    F: FnOnce(Rc<World>) -> Fut,
    Fut: Future<Output = ()>,
{
    let recorded = Arc::new(Recorded::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let local = LocalSet::new();
    with_local_recorder(&*recorded, || {
        local.block_on(&runtime, async {
            let world = Rc::new(World::new(setup, plan, Arc::clone(&recorded)));
            test(Rc::clone(&world)).await;
        });
        drop(local);
    });
}

impl World {
    fn new(setup: Setup, plan: impl Fn(usize, SocketAddr) -> Step + 'static, recorded: Arc<Recorded>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("pillion-exchange-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        let log_yaml = format!("access_log:\n  path: {}\n  format: {{ text: \"{FORMAT}\" }}\n", path.display());
        let config = config(&log_yaml, setup);
        let log = AccessLogHandle::open(config.access_log.as_ref().unwrap()).unwrap();
        crate::scripted::events();
        let filters = load(&config, None);
        let snapshot = Arc::new(Snapshot::compile(Arc::new(config), None, Some(Arc::new(log.clone())), filters));
        let process = Arc::new(Process {
            connections: Limit::new(100),
            pressure: PressureGauge::default(),
            unfinished: Arc::default(),
            lost: Arc::default(),
            capture: Default::default(),
            redirect: Arc::default(),
        });
        let dialed = Rc::<RefCell<Vec<SocketAddr>>>::default();
        let dial = Rc::new(Script { plan: Box::new(plan), dialed: Rc::clone(&dialed) });
        let worker = Worker::new(Arc::clone(&process), dial, Arc::clone(&snapshot));
        let queue = Queue::default();
        worker.apply(snapshot, vec![queue.source("web")]);
        Self { worker, dialed, recorded, queue, process, log, path, log_yaml }
    }

    /// Puts another configuration in force.
    pub(crate) fn apply(&self, setup: Setup, sources: Vec<Source>) {
        let config = Arc::new(config(&self.log_yaml, setup));
        let before = Arc::clone(&self.worker.view().snapshot);
        let log = before.access_log.clone();
        let filters = load(&config, Some(&before));
        self.worker.apply(Arc::new(Snapshot::compile(config, Some(&before), log, filters)), sources);
    }

    /// A client's end of a new connection.
    pub(crate) fn connect(&self) -> DuplexStream {
        self.queue.connect("192.0.2.7:5000".parse().unwrap())
    }

    /// What was told of the requests that ended, in the order in which they did.
    pub(crate) async fn records(&self) -> Vec<Line> {
        settle().await;
        self.log.flush(Duration::from_secs(60));
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().map(line).collect()
    }

    /// The one record there is.
    pub(crate) async fn record(&self) -> Line {
        let records = self.records().await;
        assert_eq!(records.len(), 1, "{records:#?}");
        records.into_iter().next().unwrap()
    }

    /// How often something was refused for this reason.
    pub(crate) fn refusals(&self, reason: &str) -> f64 {
        self.recorded.get(&format!("pillion_guard_refusals_total{{listener=web,reason={reason}}}"))
    }

    /// Nothing is open or in flight any more.
    pub(crate) async fn assert_quiet(&self) {
        settle().await;
        assert_eq!(self.recorded.get("pillion_requests_active{listener=web}"), 0.0);
        for state in &self.worker.view().snapshot.clusters {
            let now = state.describe();
            assert_eq!((now.pending, now.requests), (0, 0), "{now:?}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

fn line(text: &str) -> Line {
    let parts: Vec<_> = text.splitn(13, ' ').collect();
    assert_eq!(parts.len(), 13, "{text}");
    Line {
        method: parts[0].into(),
        status: parts[1].parse().unwrap(),
        flags: parts[2].into(),
        details: parts[3].into(),
        by: parts[4].into(),
        received: parts[5].parse().unwrap(),
        sent: parts[6].parse().unwrap(),
        host: parts[7].into(),
        attempts: parts[8].parse().unwrap(),
        grpc: parts[9].into(),
        route: parts[10].into(),
        cluster: parts[11].into(),
        told: parts[12].into(),
    }
}

fn config(log: &str, setup: Setup) -> pillion_config::model::Config {
    let Setup { listener, routes, cluster, endpoints, filters } = setup;
    let routes = if routes.is_empty() { String::new() } else { format!("    routes:\n{routes}") };
    let text = format!(
        "{log}listeners:\n  - name: web\n    address: 127.0.0.1:8080\n{listener}\n{routes}\nclusters:\n  \
         - name: up\n    endpoints: {endpoints}\n{cluster}\n"
    );
    let read = |file: &Path| match file.ends_with("secret") {
        true => Ok(SECRET.to_vec()),
        false => Err(io::ErrorKind::NotFound.into()),
    };
    match parse(&SourceName::new(Path::new("test.yaml")), &text, &read) {
        Ok(loaded) => with_filters(loaded.config, filters),
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

/// Puts scripted filters on everything.
fn with_filters(mut config: Config, names: &[&str]) -> Config {
    if names.is_empty() {
        return config;
    }
    let filter = |name: &&str| Filter {
        name: Name((*name).into()),
        route: None,
        kind: FilterKind::Headers(Vec::new()),
        fail: if name.contains("open") { FailPolicy::Open } else { FailPolicy::Closed },
        body_buffer: if name.contains("small") { BodyBuffer::both(16) } else { BodyBuffer::default() },
        stands: Stands::default(),
    };
    config.filters = names.iter().map(|name| Arc::new(filter(name))).collect();
    let chain: Arc<[FilterIndex]> = (0..names.len()).map(FilterIndex).collect();
    for listener in &mut config.listeners {
        let listener = Arc::make_mut(listener);
        for (at, route) in listener.routes.iter_mut().enumerate() {
            let has = |index: &&FilterIndex| at == 0 || !names[index.0].contains("first");
            Arc::make_mut(route).filters = Some(chain.iter().filter(has).copied().collect());
        }
        // "first" is the first route's own.
        let has = |index: &&FilterIndex| !names[index.0].contains("first");
        listener.filters = Some(chain.iter().filter(has).copied().collect());
        match &mut listener.protocol {
            ListenerProtocol::Http => {}
            ListenerProtocol::Opaque(tcp) | ListenerProtocol::Detect(tcp) => tcp.filters = Some(Arc::clone(&chain)),
        }
    }
    config
}

fn load(config: &Config, before: Option<&Snapshot>) -> FilterSet {
    let scripts = Scripts;
    FilterSet::load(config, before, &scripts).now_or_never().unwrap().unwrap()
}

/// Lets every task that can run do so.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Dials as the test says.
struct Script {
    plan: Box<dyn Fn(usize, SocketAddr) -> Step>,
    dialed: Rc<RefCell<Vec<SocketAddr>>>,
}

impl Dial for Script {
    fn dial<'a>(&'a self, to: SocketAddr, _: &'a DialOptions) -> LocalBoxFuture<'a, io::Result<Socket>> {
        Box::pin(async move {
            let nth = self.dialed.borrow().len();
            self.dialed.borrow_mut().push(to);
            match (self.plan)(nth, to) {
                Step::Serve(server, ours) => {
                    sleep(Duration::from_millis(1)).await;
                    spawn_local(server);
                    Ok(Socket::Memory(ours))
                }
                Step::Fail(kind) => Err(kind.into()),
                Step::Hang => std::future::pending().await,
            }
        })
    }
}

/// A listener in memory.
#[derive(Clone, Default)]
pub(crate) struct Queue(Rc<RefCell<Waiting>>);

#[derive(Default)]
struct Waiting {
    events: VecDeque<io::Result<(Socket, SocketAddr)>>,
    waker: Option<Waker>,
}

impl Queue {
    pub(crate) fn source(&self, listener: &str) -> Source {
        Source { listener: Name(listener.into()), accept: Box::new(self.clone()) }
    }

    pub(crate) fn connect(&self, peer: SocketAddr) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        self.push(Ok((Socket::Memory(theirs), peer)));
        ours
    }

    pub(crate) fn push(&self, event: io::Result<(Socket, SocketAddr)>) {
        let mut waiting = self.0.borrow_mut();
        waiting.events.push_back(event);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    /// Connections that nobody accepted.
    pub(crate) fn waiting(&self) -> usize {
        self.0.borrow().events.len()
    }
}

impl Accept for Queue {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        let mut waiting = self.0.borrow_mut();
        match waiting.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        "127.0.0.1:8080".parse().unwrap()
    }
}

/// Series by `name{label=value,…}`, labels in the order of their names.
#[derive(Default)]
pub(crate) struct Recorded(Mutex<BTreeMap<String, Arc<Cell>>>);

#[derive(Default)]
struct Cell(Mutex<f64>);

impl Recorded {
    /// The value of a series; 0 where there is none.
    pub(crate) fn get(&self, key: &str) -> f64 {
        self.0.lock().unwrap().get(key).map_or(0.0, |cell| *cell.0.lock().unwrap())
    }

    fn cell(&self, key: &Key) -> Arc<Cell> {
        let mut labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        let key = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().unwrap().entry(key).or_default().clone()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        *self.0.lock().unwrap() += value as f64;
    }
    fn absolute(&self, value: u64) {
        *self.0.lock().unwrap() = value as f64;
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        *self.0.lock().unwrap() += value;
    }
    fn decrement(&self, value: f64) {
        *self.0.lock().unwrap() -= value;
    }
    fn set(&self, value: f64) {
        *self.0.lock().unwrap() = value;
    }
}
