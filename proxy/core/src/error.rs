//! What can go wrong with a request, one variant for each stage.
//!
//! Beside the path. Stages return their own small errors; the exchange gathers them here, and
//! [`respond`](crate::exchange::respond) turns each into an answer. Nothing is decided here but whose fault it is.

use crate::{
    downstream::codec::http2,
    exchange::{head, retry::TimedOut, route},
    framing,
    telemetry::{Blame, ResponseFlag},
    tunnel::UpgradeError,
    upstream,
};

/// Why a request was not answered by its upstream.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// guard: the bytes of an HTTP/1 request, head or body, were refused.
    #[error("guard: {0}")]
    Guard(#[from] framing::Refusal),
    /// codec: an HTTP/2 request was decoded and refused.
    #[error("codec: {0}")]
    Codec(#[from] http2::Refusal),
    /// head: the request's target or headers contradict each other or the policy.
    #[error("head: {0}")]
    Head(#[from] head::Refusal),
    /// route: no route, or none that may serve the request.
    #[error("route: {0}")]
    Route(#[from] route::RouteError),
    /// upstream: no endpoint, no connection, or no response.
    #[error("upstream: {0}")]
    Upstream(#[from] upstream::Failure),
    /// retry: time is up.
    #[error("retry: {0}")]
    Timeout(#[from] TimedOut),
    /// tunnel: the upgrade cannot be carried over.
    #[error("tunnel: {0}")]
    Tunnel(#[from] UpgradeError),
}

/// A stage of the path, by the name of its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// downstream/guard
    Guard,
    /// downstream/codec
    Codec,
    /// exchange/head
    Head,
    /// exchange/route
    Route,
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
            Self::Guard(_) => Stage::Guard,
            Self::Codec(_) => Stage::Codec,
            Self::Head(_) => Stage::Head,
            Self::Route(_) => Stage::Route,
            Self::Upstream(_) => Stage::Upstream,
            Self::Timeout(_) => Stage::Retry,
            Self::Tunnel(_) => Stage::Tunnel,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Guard(_) | Self::Codec(_) | Self::Head(_) => Blame::Downstream,
            Self::Route(_) | Self::Timeout(_) | Self::Tunnel(_) => Blame::Proxy,
            Self::Upstream(failure) => failure.blame(),
        }
    }

    /// Envoy's flag for it.
    #[must_use]
    pub fn flag(&self) -> ResponseFlag {
        match self {
            Self::Guard(_) | Self::Codec(_) | Self::Head(_) => ResponseFlag::DownstreamProtocolError,
            Self::Route(_) => ResponseFlag::NoRoute,
            Self::Upstream(failure) => failure.flag(),
            Self::Timeout(_) => ResponseFlag::UpstreamTimeout,
            Self::Tunnel(_) => ResponseFlag::UpstreamProtocolError,
        }
    }
}
