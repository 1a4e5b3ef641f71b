//! What can go wrong with a request, one variant for each stage.
//!
//! Beside the path. Stages return their own small errors; the exchange gathers them here, and
//! [`respond`](crate::exchange::respond) turns each into an answer. Nothing is decided here but whose fault it is.

use crate::{
    downstream::admit::Denied,
    exchange::{
        filter::HeadFault,
        head::HeadRefusal,
        retry::TimedOut,
        route::{RouteError, path::PathRefusal},
    },
    framing,
    telemetry::{Blame, ResponseFlag},
    tunnel::upgrade::UpgradeError,
    upstream::{self, Cause, RequestError},
};
use pillion_config::model::Name;

/// Why a request was not answered by its upstream.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// guard: the request, its head or its body, was refused before or while it was decoded.
    #[error("guard: {0}")]
    Guard(#[from] framing::Refusal),
    /// guard: the request is whole, and there is no memory to serve it.
    #[error("guard: memory is short")]
    ShortMemory,
    /// head: the request's target or headers contradict each other or the policy.
    #[error("head: {0}")]
    Head(#[from] HeadRefusal),
    /// route: the path cannot be cleaned.
    #[error("path: {0}")]
    Path(#[from] PathRefusal),
    /// admit: rules deny it.
    #[error("admit: {0}")]
    Denied(#[from] Denied),
    /// route: no route, or none that may serve the request.
    #[error("route: {0}")]
    Route(#[from] RouteError),
    /// upstream: no endpoint, no connection, or no response.
    #[error("upstream: {0}")]
    Upstream(#[from] upstream::Cause),
    /// retry: time is up.
    #[error("retry: {0}")]
    Timeout(#[from] TimedOut),
    /// codec: the client left within its request's body.
    #[error("codec: the client left within its request")]
    ClientGone,
    /// filter: a filter failed, or made something that cannot be sent.
    #[error("filter: {0}")]
    Filter(#[from] FilterError),
    /// tunnel: the upgrade cannot be carried over.
    #[error("tunnel: {0}")]
    Tunnel(#[from] UpgradeError),
}

/// Why filters kept a request from being answered by its upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A filter failed, whose policy is `fail: closed`.
    #[error("{filter} failed: {details}")]
    Failed {
        /// Which.
        filter: Name,
        /// How, in a word.
        details: &'static str,
    },
    /// A filter ended the stream's course.
    #[error("interrupted")]
    Interrupted,
    /// Filters moved the request to a route that wants another filter, of this name, which it has not passed.
    #[error("the request was moved to a route whose filter {0} it has not passed")]
    NotPassed(Name),
    /// A filter holds back more of the request's body than it may.
    #[error("the request's body is too large for a filter to hold")]
    RequestTooLarge,
    /// A filter holds back more of the response's body than it may.
    #[error("the response's body is too large for a filter to hold")]
    ResponseTooLarge,
    /// A filter holds back much of the request's body, and there is no memory for more.
    #[error("memory is too short to hold more of the request's body for a filter")]
    RequestShortMemory,
    /// A filter holds back much of the response's body, and there is no memory for more.
    #[error("memory is too short to hold more of the response's body for a filter")]
    ResponseShortMemory,
    /// Filters left of a body less than its `Content-Length` says.
    #[error("the body is shorter than its Content-Length")]
    BodyTooShort,
    /// Filters made a request of it that cannot be sent.
    #[error("request: {0}")]
    Request(HeadFault),
    /// Filters made a response of it that cannot be sent.
    #[error("response: {0}")]
    Response(HeadFault),
}

/// A stage of the path, by the name of its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// downstream/guard
    Guard,
    /// downstream/admit
    Admit,
    /// downstream/codec
    Codec,
    /// exchange/head
    Head,
    /// exchange/route
    Route,
    /// exchange/filter
    Filter,
    /// upstream
    Upstream,
    /// exchange/retry
    Retry,
    /// tunnel
    Tunnel,
}

impl ProxyError {
    /// Where it went wrong.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Guard(_) | Self::ShortMemory => Stage::Guard,
            Self::Head(_) => Stage::Head,
            Self::Denied(_) => Stage::Admit,
            Self::ClientGone => Stage::Codec,
            Self::Path(_) | Self::Route(_) => Stage::Route,
            Self::Filter(_) => Stage::Filter,
            Self::Upstream(_) => Stage::Upstream,
            Self::Timeout(_) => Stage::Retry,
            Self::Tunnel(_) => Stage::Tunnel,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Guard(framing::Refusal::ShortMemory) | Self::ShortMemory => Blame::Proxy,
            Self::Guard(_) | Self::Head(_) | Self::Path(_) | Self::ClientGone => Blame::Downstream,
            Self::Filter(FilterError::RequestTooLarge) => Blame::Downstream,
            Self::Route(_) | Self::Timeout(_) | Self::Filter(_) | Self::Denied(_) => Blame::Proxy,
            Self::Tunnel(error) => error.blame(),
            Self::Upstream(cause) => cause.blame(),
        }
    }

    /// Envoy's flag for it.
    #[must_use]
    pub fn flag(&self) -> ResponseFlag {
        match self {
            Self::Guard(framing::Refusal::ShortMemory) | Self::ShortMemory => ResponseFlag::OverloadManager,
            Self::Guard(_) | Self::Head(_) | Self::Path(_) => ResponseFlag::DownstreamProtocolError,
            Self::Route(RouteError::NoWeight) => ResponseFlag::NoCluster,
            Self::Route(
                RouteError::NotFound | RouteError::ConnectRefused | RouteError::UpgradeRefused | RouteError::Rewrite(_),
            ) => ResponseFlag::NoRoute,
            Self::Denied(_) => ResponseFlag::Unauthorized,
            Self::ClientGone => ResponseFlag::DownstreamConnectionTermination,
            Self::Filter(FilterError::RequestTooLarge) => ResponseFlag::DownstreamProtocolError,
            Self::Filter(FilterError::ResponseTooLarge) => ResponseFlag::LocalReset,
            Self::Filter(FilterError::RequestShortMemory | FilterError::ResponseShortMemory) => {
                ResponseFlag::OverloadManager
            }
            Self::Filter(
                FilterError::Failed { .. }
                | FilterError::Interrupted
                | FilterError::NotPassed(_)
                | FilterError::BodyTooShort
                | FilterError::Request(_)
                | FilterError::Response(_),
            ) => ResponseFlag::FilterFailed,
            Self::Upstream(cause) => upstream_flag(cause),
            Self::Timeout(TimedOut::Response | TimedOut::Grpc) => ResponseFlag::UpstreamTimeout,
            Self::Timeout(TimedOut::Idle) => ResponseFlag::StreamIdleTimeout,
            Self::Tunnel(_) => ResponseFlag::UpstreamProtocolError,
        }
    }

    /// What Envoy's flag for it leaves open: a cluster has no address only where none of its names was ever resolved.
    #[must_use]
    pub fn second_flag(&self) -> Option<ResponseFlag> {
        matches!(self, Self::Upstream(Cause::NoEndpoint)).then_some(ResponseFlag::DnsFailure)
    }

    /// The name under which a refusal of the client's own making is counted.
    #[must_use]
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Guard(refusal) => Some(refusal.name()),
            Self::ShortMemory | Self::Filter(FilterError::RequestShortMemory) => {
                Some(framing::Refusal::ShortMemory.name())
            }
            Self::Head(refusal) => Some(refusal.name()),
            Self::Path(refusal) => Some(refusal.name()),
            Self::Filter(FilterError::RequestTooLarge) => Some("request_payload_too_large"),
            Self::Route(_)
            | Self::Filter(_)
            | Self::Upstream(_)
            | Self::Timeout(_)
            | Self::Tunnel(_)
            | Self::ClientGone
            | Self::Denied(_) => None,
        }
    }
}

/// Envoy's flag for what kept an upstream from serving.
#[must_use]
pub fn upstream_flag(cause: &Cause) -> ResponseFlag {
    match cause {
        Cause::NoEndpoint => ResponseFlag::NoHealthyUpstream,
        Cause::Overflow(_) => ResponseFlag::UpstreamOverflow,
        Cause::Connect(_) => ResponseFlag::UpstreamConnectionFailure,
        Cause::UpgradeUnsupported => ResponseFlag::UpstreamProtocolError,
        Cause::Request(error) => match error {
            RequestError::Closed
            | RequestError::ConnectionReset
            | RequestError::TlsFailed
            | RequestError::GoAway(_) => ResponseFlag::UpstreamConnectionTermination,
            RequestError::StreamReset(_) => ResponseFlag::UpstreamRemoteReset,
            RequestError::Violation(_)
            | RequestError::Malformed
            | RequestError::Http2Protocol
            | RequestError::TooManyHeaders => ResponseFlag::UpstreamProtocolError,
            RequestError::RequestBody => ResponseFlag::DownstreamProtocolError,
            RequestError::Stalled => ResponseFlag::UpstreamTimeout,
            RequestError::Distrusted(_) => ResponseFlag::Unauthorized,
            RequestError::Unwritable => ResponseFlag::LocalReset,
        },
    }
}
