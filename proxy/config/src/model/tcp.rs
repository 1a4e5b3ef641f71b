//! What a listener does with connections that are not HTTP.

use super::{DestinationRoute, FilterIndex, HostPattern, WeightedCluster};
use std::{sync::Arc, time::Duration};

/// Where opaque connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// The clusters that share them; empty: only TLS connections that ask for one of `server_names` go anywhere.
    pub clusters: Vec<WeightedCluster>,
    /// Connections by where they were going; before anything else.
    pub destinations: Vec<DestinationRoute>,
    /// TLS connections by the name they ask for.
    pub server_names: Vec<ServerNameRoute>,
    /// Silence in both directions after which a connection is closed; `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// How long the first bytes are waited for where they decide.
    pub detect_timeout: Duration,
    /// Ports whose server speaks first.
    pub server_first: Vec<u16>,
    /// Whether those to other ports are served at all.
    pub not_http: NotHttp,
    /// The filters their bytes pass, in order. `None` costs nothing.
    pub filters: Option<Arc<[FilterIndex]>>,
}

impl Tcp {
    /// Whether connections go by the server name they ask for or nowhere.
    #[must_use]
    pub fn names_alone(&self) -> bool {
        !self.server_names.is_empty() && self.clusters.is_empty() && self.destinations.is_empty()
    }

    /// What becomes of connections to this port that are not HTTP, on a listener that serves HTTP too.
    #[must_use]
    pub fn not_http_at(&self, port: u16) -> NotHttp {
        if self.server_first.contains(&port) { NotHttp::Pass } else { self.not_http }
    }
}

/// Ports whose server speaks first where a listener names none: FTP, SMTP, POP3, IMAP, submission, MySQL.
pub const SERVER_FIRST: [u16; 6] = [21, 25, 110, 143, 587, 3306];

/// What becomes of connections that are not HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotHttp {
    /// They are closed: filters or rules of routes judge requests, and must not be got round.
    Refuse,
    /// They are passed on: nothing judges requests, or the operator wants it so.
    Pass,
    /// Nothing judges requests and the operator wants it so: what may still become a request and is none of a usual method is
    /// passed on, too, once its time is over.
    PassUnfinished,
}

/// TLS connections that ask for one of some names (SNI, RFC 6066 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNameRoute {
    /// Any of these, without port.
    pub names: Vec<HostPattern>,
    /// The clusters that share the connections.
    pub clusters: Vec<WeightedCluster>,
}
