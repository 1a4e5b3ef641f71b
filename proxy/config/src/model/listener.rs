//! Listeners: where connections are accepted and what is demanded of them.

use super::{Authorization, Capture, Direction, FilterIndex, ListenerTls, Metadata, Name, NotHttp, Route, Tcp};
use std::{net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

/// A socket that accepts connections, and what happens to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its name, in logs and metrics.
    pub name: Name,
    /// The address it binds.
    pub address: SocketAddr,
    /// Which way its connections go.
    pub direction: Direction,
    /// How they came to it.
    pub capture: Capture,
    /// The port of the proxy's own probe, answered here; `None`: there is none.
    pub probe_port: Option<u16>,
    /// The port of the admin address, which what comes in must not reach as what is beside the proxy does; `None`: it cannot.
    pub admin_port: Option<u16>,
    /// The ports of the proxy's own probes, which other listeners answer: what comes in must not reach them either.
    pub closed_probe_ports: Vec<u16>,
    /// Whether another process may listen on the same port at the same time.
    pub port_sharing: PortSharing,
    /// Length of the kernel's queue of connections not yet accepted.
    pub backlog: u32,
    /// Connections open at once; one more waits in the backlog.
    pub connections: usize,
    /// The age at which a connection is asked to leave; `None`: it may stay.
    pub max_connection_age: Option<Duration>,
    /// Who says first who the client is; `None`: nobody, whoever connects is the client.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TLS; `None`: in the clear.
    pub tls: Option<ListenerTls>,
    /// Who may connect and ask; `None`: everybody.
    pub authorization: Option<Authorization>,
    /// What its connections carry.
    pub protocol: ListenerProtocol,
    /// How HTTP is spoken.
    pub http: Http,
    /// The filters that its routes begin with, and that requests pass which no route takes. `None` costs nothing.
    pub filters: Option<Arc<[FilterIndex]>>,
    /// Routes in the order written; none where HTTP is not spoken. Of the most specific host that has a matching route, the first one that matches.
    pub routes: Vec<Arc<Route>>,
    /// What filters are told of it; `None`: nothing.
    pub metadata: Option<Arc<Metadata>>,
}

/// What the connections of a listener carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// HTTP, and nothing else is accepted.
    Http,
    /// Bytes that are not looked at, except for the name that a TLS client asks for where names are told apart.
    Opaque(Tcp),
    /// HTTP where the first bytes look like it; anything else is opaque.
    Detect(Tcp),
}

impl ListenerProtocol {
    /// Where opaque connections go, if anywhere.
    #[must_use]
    pub fn tcp(&self) -> Option<&Tcp> {
        match self {
            Self::Http => None,
            Self::Opaque(tcp) | Self::Detect(tcp) => Some(tcp),
        }
    }

    /// Whether a word of which nobody knows whether it becomes a request goes where opaque connections go, once its time is over.
    #[must_use]
    pub fn passes_unfinished(&self) -> bool {
        matches!(self, Self::Detect(tcp) if tcp.not_http == NotHttp::PassUnfinished)
    }
}

/// The PROXY protocol as a listener takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Whether there must be a header.
    pub headers: ProxyHeaders,
    /// Networks of senders who are believed; not empty.
    pub trusted: Vec<Cidr>,
    /// Time from the accept to the header's last byte.
    pub timeout: Duration,
    /// Bytes of a version 2 header behind its fixed part.
    pub header_bytes: usize,
}

/// Whether a connection must begin with a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeaders {
    /// It must, and come from a trusted sender.
    Required,
    /// A trusted sender may write one; from anybody else none is looked for.
    Optional,
}

/// Whether a second process may bind a listener's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortSharing {
    /// A second instance is detected at start and refused.
    Exclusive,
    /// Both accept; the kernel spreads connections over them (`SO_REUSEPORT`).
    Shared,
}

/// How a listener speaks HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Sizes and counts.
    pub limits: HttpLimits,
    /// Deadlines.
    pub timeouts: HttpTimeouts,
    /// HTTP/2 settings and flood windows.
    pub http2: Http2,
    /// How a path is cleaned before it is matched and forwarded.
    pub path: PathPolicy,
    /// What is told to upstreams about the client.
    pub forwarding: Forwarding,
    /// What happens to header names with an underscore, which CGI-like servers confuse with a hyphen.
    pub underscores: Underscores,
    /// Whether CONNECT is served (RFC 9110 §9.3.6).
    pub connect: Connect,
}

/// Sizes and counts of one request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// Header fields in a request, HTTP/2 cookie crumbs counted one by one.
    pub headers: u16,
    /// Bytes of a request's head; on HTTP/2 with 32 bytes more for each field (RFC 9113 §6.5.2).
    pub header_bytes: u32,
    /// Bytes of the request target.
    pub target_bytes: u32,
}

/// Deadlines of a downstream connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTimeouts {
    /// Silence allowed between requests.
    pub idle: Duration,
    /// Time from the first byte of a request's head to its last.
    pub header: Duration,
    /// Silence allowed within a request's body while the proxy wants more of it and its response has not begun; `None`: no
    /// limit.
    pub body: Option<Duration>,
    /// Time a client may leave ready bytes of a response unread.
    pub write: Duration,
}

/// HTTP/2 settings announced, and how many control frames are borne in `window`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// Streams open at once (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub streams: u32,
    /// Bytes a stream may send ahead (SETTINGS_INITIAL_WINDOW_SIZE).
    pub stream_window: u32,
    /// Bytes a connection may send ahead; at least as many as a stream.
    pub connection_window: u32,
    /// The same with what its streams hold, beyond what they began with, since nobody takes it.
    pub connection_most: u32,
    /// The period over which the floods below are counted.
    pub flood_window: Duration,
    /// RST_STREAM received in a window.
    pub resets: u32,
    /// Streams reset by us for the peer's errors in a window.
    pub reset_by_us: u32,
    /// PING received in a window.
    pub pings: u32,
    /// SETTINGS received in a window.
    pub settings: u32,
    /// DATA frames without data and without END_STREAM in a window.
    pub empty_data: u32,
    /// WINDOW_UPDATE received in a window, beyond twice the DATA frames sent.
    pub window_updates: u32,
    /// PRIORITY and unknown frames received in a window.
    pub priorities: u32,
    /// CONTINUATION frames in one header block.
    pub continuations: u32,
}

/// How a path is cleaned before it is matched and forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPolicy {
    /// Resolve `.` and `..` segments (RFC 3986 §5.2.4), percent-encoded ones too. A path above the root is refused.
    pub resolve_dots: bool,
    /// Make one slash of several.
    pub merge_slashes: bool,
    /// What happens to `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
}

/// What happens to an escaped slash or backslash in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// Left as it is: not a segment boundary.
    Keep,
    /// Answered with 400.
    Reject,
    /// Made a slash before the path is cleaned and matched.
    Decode,
}

/// What upstreams are told about the client, and whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    pub x_forwarded: ForwardingMode,
    /// `Forwarded` (RFC 7239).
    pub forwarded: ForwardingMode,
    /// `Via` (RFC 9110 §7.6.3) with this pseudonym, on requests and responses; `None`: not added.
    pub via: Option<String>,
    /// Whether a request without `X-Request-Id` gets one.
    pub request_id: RequestId,
    /// Networks whose word about the client is believed.
    pub trusted: Vec<Cidr>,
    /// Proxies before this one to believe by count when the peer is in no trusted network: 0 believes none.
    pub trusted_hops: u8,
    /// Remove `X-Forwarded-Client-Cert` and `x-envoy-*` sent by the client.
    pub strip_identity: bool,
}

/// What happens to a forwarding header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardingMode {
    /// Passed as it came from a trusted peer, removed from any other.
    Off,
    /// This hop is appended to what a trusted peer sent; from any other peer the header is replaced.
    Append,
}

/// Whether requests get an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestId {
    /// Passed through when there is one, never made.
    Pass,
    /// Made (UUID version 4) where there is none, and from a peer that is not trusted always.
    Generate,
}

/// A network: address and prefix length, host bits zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The network's address.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

impl Cidr {
    /// Whether an address lies in it. A v4-mapped one is the IPv4 address it stands for, on either side.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                // A network written as v4-mapped counts its 96 leading bits.
                let prefix = match self.address {
                    IpAddr::V4(_) => self.prefix,
                    IpAddr::V6(_) => self.prefix.saturating_sub(96),
                };
                let differs = network.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= u32::from(prefix.min(32))
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differs = network.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= u32::from(self.prefix.min(128))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// What happens to a header name with an underscore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underscores {
    /// Passed on.
    Accept,
    /// Answered with 400.
    Reject,
}

/// Whether a CONNECT request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// Answered with 405.
    Refuse,
    /// Routed like any request; the cluster's endpoint is the far end of the tunnel.
    Allow,
}
