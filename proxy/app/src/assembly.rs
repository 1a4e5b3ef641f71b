//! Where the control thread meets what it controls: the configuration's source and the data path.
//!
//! [`Plane`] is the seam. The control thread knows nothing of requests; whoever implements it knows nothing of
//! signals, reloads or draining.

use crate::worker::Run;
use bytes::Bytes;
use pillion_config::model::{self, ClusterIndex, Config, EndpointAddress, Name};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// What the control thread needs of a data path. Everything here is called on the control thread and must not block.
pub trait Plane: 'static {
    /// The configuration, compiled.
    type Snapshot: Send + Sync + 'static;
    /// What runs on each worker's thread.
    type Run: Run<Snapshot = Self::Snapshot>;

    /// Builds a worker's part, on its own thread; the number counts from 0.
    fn maker(&self) -> impl FnOnce(usize) -> Self::Run + Send + 'static;

    /// Compiles a configuration; what did not change by content is taken over from the snapshot in force.
    ///
    /// # Errors
    ///
    /// What the operator must change, as text with line ends.
    fn compile(
        &self,
        config: &Arc<Config>,
        in_force: Option<&Arc<Self::Snapshot>>,
    ) -> Result<Arc<Self::Snapshot>, Rejected>;

    /// The addresses of an endpoint that is a name, at first and whenever they change.
    fn resolved(
        &self,
        snapshot: &Self::Snapshot,
        cluster: ClusterIndex,
        endpoint: &EndpointAddress,
        addresses: &[IpAddr],
    );

    /// The state of each cluster, in the order of the configuration.
    fn clusters(&self, snapshot: &Self::Snapshot) -> Vec<ClusterStatus>;

    /// The metrics in Prometheus' text format, in pieces of some ten KiB: the control thread does other work between
    /// two of them.
    fn metrics(&self) -> Box<dyn Iterator<Item = Bytes>>;

    /// Opens log files anew (SIGUSR1).
    fn reopen_logs(&self);
}

/// A configuration that was read and is valid.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed and probably not meant, one line each.
    pub warnings: Vec<String>,
    /// The files it was read from; empty when there are none to watch.
    pub files: Vec<PathBuf>,
}

/// Why a configuration is refused: every reason at once, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(pub String);

/// Reads the configuration, at start and for each reload.
pub type Source = Box<dyn Fn() -> Result<Loaded, Rejected>>;

/// A cluster as `/clusters` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Its name.
    pub name: Name,
    /// Its bounds.
    pub circuit: model::Circuit,
    /// Its endpoints, one for each address.
    pub endpoints: Vec<EndpointStatus>,
}

/// An address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The address.
    pub address: SocketAddr,
    /// As written, where that is a name.
    pub hostname: Option<Arc<str>>,
    /// Its weight.
    pub weight: u32,
    /// Connections open.
    pub connections: u64,
    /// Requests in flight.
    pub requests: u64,
    /// Requests sent.
    pub requests_total: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        write!(f, "{} listeners, {} clusters", config.listeners.len(), config.clusters.len())
    }
}

/// A configuration without a file: one listener, everything to one server.
#[must_use]
pub fn simple(listen: SocketAddr, upstream: SocketAddr) -> Config {
    use model::*;
    let second = Duration::from_secs;
    let cluster = Cluster {
        name: Name("upstream".into()),
        endpoints: vec![Endpoint { address: EndpointAddress::Ip(upstream), weight: 1 }],
        balance: Balance::LeastRequest,
        protocol: UpstreamProtocol::Http1,
        connect_timeout: second(5),
        tcp_keepalive: None,
        idle_timeout: second(4),
        idle_connections: 128,
        circuit: Circuit { connections: 1024, pending: 1024, requests: 1024 },
        header_bytes: 64 * 1024,
        headers: 128,
    };
    let route = Route {
        name: Name("all".into()),
        matcher: RouteMatch {
            hosts: Vec::new(),
            path: PathMatch::Prefix("/".into()),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        },
        action: Action::Forward(vec![WeightedCluster { cluster: ClusterIndex(0), weight: 1 }]),
        rewrite: Rewrite { path: PathRewrite::Keep, host: HostRewrite::Keep },
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        timeout: None,
        idle_timeout: None,
        upgrades: vec!["websocket".into()],
    };
    let http = Http {
        limits: HttpLimits { headers: 128, header_bytes: 64 * 1024, target_bytes: 8 * 1024 },
        timeouts: HttpTimeouts { idle: second(300), header: second(10), body: second(30), write: second(30) },
        http2: Http2 {
            streams: 100,
            stream_window: 65_535,
            connection_window: 1 << 20,
            flood_window: second(10),
            resets: 100,
            reset_by_us: 500,
            pings: 100,
            settings: 50,
            empty_data: 100,
            window_updates: 100,
            priorities: 100,
            continuations: 20,
        },
        path: PathPolicy { resolve_dots: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Keep },
        forwarding: Forwarding {
            x_forwarded: ForwardingMode::Append,
            forwarded: ForwardingMode::Off,
            via: None,
            request_id: RequestId::Generate,
            trusted: Vec::new(),
            trusted_hops: 0,
            strip_identity: true,
        },
        underscores: Underscores::Accept,
        connect: Connect::Refuse,
    };
    Config {
        admin: Admin { address: Some(AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 15_000)))), probes: None },
        workers: Workers::Auto,
        limits: ProcessLimits { connections: 10_000, memory_shrink_percent: 90, memory_refuse_percent: 95 },
        drain: Drain { delay: Duration::ZERO, deadline: second(30) },
        access_log: None,
        dns: Dns { servers: Vec::new(), min_refresh: second(5), max_refresh: second(300), timeout: second(5) },
        listeners: vec![Arc::new(Listener {
            name: Name("http".into()),
            address: listen,
            port_sharing: PortSharing::Exclusive,
            backlog: 1024,
            connections: 10_000,
            max_connection_age: None,
            http,
            routes: vec![Arc::new(route)],
        })],
        clusters: vec![Arc::new(cluster)],
    }
}
