//! What can go wrong between a chosen cluster and the head of its response.
//!
//! Every variant says what failed; [`Cause::blame`] whose fault it is; [`SendError::delivery`] whether the upstream can
//! have seen the request, which is all a retry needs to know. Nothing here decides to retry or invents a response.

use crate::{downstream::admit::Distrust, framing::Violation, identity::Failure, telemetry::Blame};
use h2::Reason;
use http::{Request, request::Parts};
use std::{fmt, io, net::SocketAddr, time::Duration};

/// A request that got no response.
pub struct SendError<B> {
    /// What failed.
    pub cause: Cause,
    /// The address it was sent to, if one was chosen.
    pub address: Option<SocketAddr>,
    /// What carried it.
    pub carrier: Carrier,
    /// What the upstream can have seen of it.
    pub delivery: Delivery,
    /// The request as it was given, when no byte of its head or body was taken: always before a connection was used,
    /// often when `delivery` is [`Delivery::Unsent`], never otherwise.
    pub request: Option<Box<Request<B>>>,
    /// The head alone, where the request is not handed back whole, for who may begin its body again: when it is
    /// [`Delivery::Unsent`], and on HTTP/1.1 also when it is [`Delivery::Unanswered`].
    pub head: Option<Box<Parts>>,
}

/// What carried a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// No connection was reached.
    None,
    /// A connection made for it.
    Fresh,
    /// A connection that had served before: it may have been closing already.
    Reused,
}

/// What an upstream can have seen of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing, provably: any method may be sent again.
    Unsent,
    /// Maybe all of it, and not a byte came back: idempotent methods may be sent again (RFC 9110 §9.2.2).
    Unanswered,
    /// It began to answer.
    Answered,
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The cluster has no endpoint with a known address (UH).
    #[error("no endpoint is available")]
    NoEndpoint,
    /// A circuit limit is reached (UO).
    #[error("the cluster's limit of {0} is reached")]
    Overflow(Limit),
    /// No connection could be made (UF).
    #[error("connect: {0}")]
    Connect(ConnectError),
    /// The connection failed under the request.
    #[error("request: {0}")]
    Request(#[from] RequestError),
    /// The upstream speaks HTTP/2 and does not offer extended CONNECT (RFC 8441 §3).
    #[error("the upstream does not take upgrades over HTTP/2")]
    UpgradeUnsupported,
}

/// A circuit limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Connections open at once.
    Connections,
    /// Requests waiting for a connection at once.
    Pending,
    /// Requests in flight at once.
    Requests,
    /// Connections on which neither side has said anything, among those open at once.
    Silent,
}

/// Why no connection could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("refused")]
    Refused,
    /// It took longer than the cluster's connect timeout.
    #[error("not established within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// No way there.
    #[error("unreachable")]
    Unreachable,
    /// The peer answered with a reset, or closed before the handshake was done.
    #[error("reset")]
    Reset,
    /// It answered the preface of HTTP/2 by something else.
    #[error("the server does not speak HTTP/2")]
    NotHttp2,
    /// This process or machine has no file descriptor left.
    #[error("out of file descriptors")]
    Descriptors,
    /// This machine has no local port or memory left for a connection.
    #[error("out of local ports or memory")]
    LocalResources,
    /// TLS: the server is not the right one, or no hands could be shaken.
    #[error("TLS: {0}")]
    Tls(Failure),
    /// What else the kernel says.
    #[error("{0}")]
    Io(io::ErrorKind),
}

/// Why a request on an established connection got no response.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The connection was closed before the response's head was whole (UC).
    #[error("connection closed before the response")]
    Closed,
    /// The connection was reset (UC).
    #[error("connection reset before the response")]
    ConnectionReset,
    /// TLS failed after the handshake (UC), other than by a server's refusal before it said anything.
    #[error("TLS failed after the handshake")]
    TlsFailed,
    /// The upstream reset the stream (UR).
    #[error("stream reset: {0}")]
    StreamReset(Reason),
    /// The upstream is leaving and did not process it (UC).
    #[error("the upstream is going away: {0}")]
    GoAway(Reason),
    /// The response broke a framing rule (UPE).
    #[error("response: {0}")]
    Violation(Violation),
    /// The response is not HTTP (UPE).
    #[error("the response is malformed")]
    Malformed,
    /// This response, or another one on its connection, is not HTTP/2, and all of the connection ended by it (UPE).
    #[error("the upstream broke HTTP/2, by this response or another one on the connection")]
    Http2Protocol,
    /// The response has more header fields than the cluster allows (UPE).
    #[error("the response has too many header fields")]
    TooManyHeaders,
    /// The request's body failed before the response: the downstream's doing, or an end the proxy decided.
    #[error("the request's body failed")]
    RequestBody,
    /// The upstream opened no window for the request's body in time.
    #[error("the upstream takes no more of the request's body")]
    Stalled,
    /// The server is not believed any more, or we are not who we were to it, and its time is over (UAEX).
    #[error("{}", .0.details())]
    Distrusted(Distrust),
    /// The request cannot be written in the upstream's protocol.
    #[error("the request does not fit the upstream's protocol")]
    Unwritable,
}

impl Cause {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoEndpoint | Self::UpgradeUnsupported => Blame::Upstream,
            Self::Overflow(_) => Blame::Proxy,
            Self::Connect(error) => error.blame(),
            Self::Request(error) => error.blame(),
        }
    }
}

impl ConnectError {
    /// Reads what `connect(2)` and its kin say.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MFILE | Errno::NFILE) => return Self::Descriptors,
            Some(Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN) => {
                return Self::LocalResources;
            }
            _ => {}
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                Self::Unreachable
            }
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Reset,
            kind => Self::Io(kind),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused
            | Self::Timeout(_)
            | Self::Unreachable
            | Self::Reset
            | Self::NotHttp2
            | Self::Tls(_)
            | Self::Io(_) => Blame::Upstream,
            Self::Descriptors | Self::LocalResources => Blame::Proxy,
        }
    }

    /// The reason as metrics name it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout(_) => "timeout",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::NotHttp2 => "not_http2",
            Self::Descriptors => "descriptors",
            Self::LocalResources => "local_resources",
            Self::Tls(failure) => failure.upstream_name(),
            Self::Io(_) => "io",
        }
    }
}

impl RequestError {
    /// The reason as metrics name it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ConnectionReset => "connection_reset",
            Self::TlsFailed => "tls_error",
            Self::StreamReset(_) => "stream_reset",
            Self::GoAway(_) => "go_away",
            Self::Violation(violation) => violation.name(),
            Self::Malformed => "malformed",
            Self::Http2Protocol => "http2_protocol",
            Self::TooManyHeaders => "too_many_headers",
            Self::RequestBody => "request_body",
            Self::Stalled => "stalled",
            Self::Distrusted(_) => "distrusted",
            Self::Unwritable => "unwritable",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::RequestBody => Blame::Downstream,
            Self::Unwritable | Self::Distrusted(_) => Blame::Proxy,
            Self::Closed
            | Self::ConnectionReset
            | Self::TlsFailed
            | Self::StreamReset(_)
            | Self::GoAway(_)
            | Self::Violation(_)
            | Self::Malformed
            | Self::Http2Protocol
            | Self::TooManyHeaders
            | Self::Stalled => Blame::Upstream,
        }
    }
}

impl Limit {
    /// The limit as metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Requests => "requests",
            Self::Silent => "silent",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<B> SendError<B> {
    /// An end before any connection was used.
    pub(super) fn unsent(cause: Cause, address: Option<SocketAddr>, request: Request<B>) -> Self {
        Self {
            cause,
            address,
            carrier: Carrier::None,
            delivery: Delivery::Unsent,
            request: Some(Box::new(request)),
            head: None,
        }
    }
}

impl<B> fmt::Debug for SendError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("cause", &self.cause)
            .field("address", &self.address)
            .field("carrier", &self.carrier)
            .field("delivery", &self.delivery)
            .field("request", &self.request.is_some())
            .finish()
    }
}

impl<B> fmt::Display for SendError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}: {}", self.cause),
            None => self.cause.fmt(f),
        }
    }
}

impl<B> std::error::Error for SendError<B> {}
