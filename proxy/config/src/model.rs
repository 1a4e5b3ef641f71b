//! The validated model: what the document means once every name resolves and every default is filled in.
//!
//! Nothing here can be invalid: clusters are referred to by index, durations and sizes are parsed, an `Option`
//! says that a thing is absent and never that a default applies. Two models can be compared by value, which is
//! how a reload finds out what did not change.

mod authorization;
mod capture;
mod cluster;
mod filter;
mod jwt;
mod kubernetes;
mod listener;
mod metadata;
mod metrics;
mod route;
mod sockmap;
mod source_filter;
mod tcp;
mod tls;

pub use authorization::*;
pub use capture::*;
pub use cluster::*;
pub use filter::*;
pub use jwt::*;
pub use kubernetes::*;
pub use listener::*;
pub use metadata::*;
pub use metrics::*;
pub use route::*;
pub use sockmap::*;
pub use source_filter::*;
pub use tcp::*;
pub use tls::*;

use crate::template::Template;
use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

/// Everything an instance of the proxy is told to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the proxy answers operators and probes.
    pub admin: Admin,
    /// How many worker threads carry traffic.
    pub workers: Workers,
    /// Bounds that hold for the whole process.
    pub limits: ProcessLimits,
    /// How the proxy goes away.
    pub drain: Drain,
    /// Where a record of each request goes; `None` writes none and costs nothing.
    pub access_log: Option<AccessLog>,
    /// How metrics are told.
    pub metrics: Metrics,
    /// How host names become addresses.
    pub dns: Dns,
    /// How services of Kubernetes become addresses.
    pub kubernetes: Kubernetes,
    /// Who this workload is to its peers; `None`: nobody, and nothing is looked at.
    pub identity: Option<Identity>,
    /// Loopback traffic past the kernel's TCP path; `None`: not at all.
    pub redirect: Option<LoopbackRedirect>,
    /// Whose packets come in at all; `None`: everybody's, and nothing is asked.
    pub source_filter: Option<Arc<SourceFilter>>,
    /// What holds for all that is captured.
    pub capture: CaptureSettings,
    /// Where connections are accepted, in the order written; names are unique.
    pub listeners: Vec<Arc<Listener>>,
    /// Where requests go, in the order written; names are unique. [`ClusterIndex`] points in here.
    pub clusters: Vec<Arc<Cluster>>,
    /// The filters that listeners and routes name. [`FilterIndex`] points in here.
    pub filters: Vec<Arc<Filter>>,
}

/// The name of a listener, cluster or route: not empty, at most 255 bytes, printable ASCII without spaces.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub Arc<str>);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A cluster's place in [`Config::clusters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterIndex(pub usize);

/// The two ports that are not traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Reads and changes, for an operator on the same machine. `None`: no admin port.
    pub address: Option<AdminAddress>,
    /// Read-only health and metrics, for kubelets and scrapers. `None`: no probe port.
    pub probes: Option<SocketAddr>,
}

/// Where the admin endpoint listens: loopback TCP or a Unix socket, never the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// A loopback address.
    Tcp(SocketAddr),
    /// The path of a Unix socket, created with mode 0600.
    Unix(PathBuf),
}

/// How many threads carry traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// As many as the cgroup's CPU quota allows (rounded up), at most the CPUs this process may run on, at least 1.
    Auto,
    /// Exactly so many.
    Count(NonZeroUsize),
}

/// Bounds of the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Downstream connections over all listeners; one more waits in the kernel's backlog.
    pub connections: usize,
    /// TLS handshakes of a worker that may wait for its CPU; one more is refused.
    pub tls_handshakes: usize,
    /// Percent of the cgroup's memory limit above which idle connections are closed.
    pub memory_shrink_percent: u8,
    /// Percent of the cgroup's memory limit above which new connections are refused.
    pub memory_refuse_percent: u8,
}

/// How the proxy goes away after SIGTERM, SIGINT or `/quitquitquit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Time between failing readiness and closing the listeners, so that load balancers look away first.
    pub delay: Duration,
    /// Time after which what is still in flight is cut.
    pub deadline: Duration,
}

/// One record for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where records go.
    pub destination: LogDestination,
    /// What a record looks like.
    pub format: LogFormat,
    /// Records that may wait for the writer; one more is dropped and counted.
    pub queue: usize,
}

/// Where access-log records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogDestination {
    /// Standard output.
    Stdout,
    /// A file, appended to and opened anew on SIGUSR1.
    File(PathBuf),
}

/// What an access-log record looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line: name and value, in order. A variable alone keeps its type (numbers stay numbers).
    Json(Vec<(String, Template)>),
    /// One line of text.
    Text(Template),
}

/// How host names become addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Servers to ask; empty: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// Least time between two look-ups of a name, whatever its TTL says.
    pub min_refresh: Duration,
    /// Most time between two look-ups of a name, whatever its TTL says.
    pub max_refresh: Duration,
    /// Time one look-up may take.
    pub timeout: Duration,
}
