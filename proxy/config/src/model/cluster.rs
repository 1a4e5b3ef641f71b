//! Clusters: where requests go.

use super::{ClusterTls, Metadata, Name, OriginalDestination, ServiceRef, SpiffeId};
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

/// A group of endpoints that serve the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name, in routes, logs and metrics.
    pub name: Name,
    /// Where it lives; not empty, unless it has `original_destination`.
    pub endpoints: Vec<Endpoint>,
    /// It lives wherever a captured connection was going; `None`: at its endpoints.
    pub original_destination: Option<OriginalDestination>,
    /// `SO_MARK` of its connections; `None`: none.
    pub mark: Option<u32>,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// What is spoken to it.
    pub protocol: UpstreamProtocol,
    /// TLS; `None`: in the clear.
    pub tls: Option<ClusterTls>,
    /// Who the client is, told first on each connection; `None`: it is not told.
    pub proxy_protocol: Option<Announcement>,
    /// Time a connection may take to be established.
    pub connect_timeout: Duration,
    /// TCP keepalive on its connections; `None`: off.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Time a pooled connection may rest before it is closed. Below the server's own, or requests are lost.
    pub idle_timeout: Duration,
    /// Resting HTTP/1.1 connections kept by each worker.
    pub idle_connections: usize,
    /// Bounds over all workers.
    pub circuit: Circuit,
    /// Bytes of a response's head.
    pub header_bytes: u32,
    /// Header fields in a response.
    pub headers: u16,
    /// What filters are told of it; `None`: nothing.
    pub metadata: Option<Arc<Metadata>>,
}

/// The PROXY protocol header that begins each connection to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Its version.
    pub version: AnnouncementVersion,
    /// What it says beside the addresses, in this order; empty in version 1.
    pub fields: Vec<AnnouncedField>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnouncementVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// A field of a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnouncedField {
    /// The server name that the client asked for.
    Authority,
    /// The application protocol agreed upon with the client.
    Alpn,
    /// What the client spoke TLS by, if it did.
    Tls,
    /// What the connection is called.
    UniqueId,
    /// A checksum over the header.
    Checksum,
}

/// One place where a cluster lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address or name.
    pub address: EndpointAddress,
    /// Its share relative to its siblings; at least 1.
    pub weight: u32,
    /// Who must be there, where the cluster's TLS depends on it; `None`: nobody in particular.
    pub identity: Option<SpiffeId>,
    /// What filters are told of it; `None`: nothing.
    pub metadata: Option<Arc<Metadata>>,
}

/// The address of an endpoint as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An address.
    Ip(SocketAddr),
    /// A host name, resolved to any number of addresses, and a port. One that ends in a dot is absolute.
    Name(Arc<str>, u16),
    /// A service of Kubernetes, with any number of addresses; the only endpoint of its cluster.
    Service(ServiceRef),
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Service(service) => service.fmt(f),
        }
    }
}

/// A host's name as others are told it: the final dot of an absolute name is a matter of whoever looks it up
/// (RFC 6066 §3; RFC 9110 §7.2 names hosts as URIs do).
#[must_use]
pub fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// How an endpoint is picked for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// By chance, by weight.
    Random,
    /// Two by chance, by weight; the one with fewer requests in flight for its weight.
    LeastRequest,
}

/// What is spoken to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// HTTP/2 for requests that came by HTTP/2 where the server speaks it, HTTP/1.1 for the others.
    SameAsDownstream,
}

/// TCP keepalive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Silence before the first probe.
    pub time: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes after which the connection is dead.
    pub probes: u32,
}

/// Bounds of a cluster over all workers; a request beyond one is answered with 503 and the flag UO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circuit {
    /// Connections open at once.
    pub connections: usize,
    /// Requests waiting for a connection at once.
    pub pending: usize,
    /// Requests in flight at once.
    pub requests: usize,
}
