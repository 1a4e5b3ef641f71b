//! A request made ready for its cluster: hop-by-hop fields gone, this hop told, the route's changes made.
//!
//! The head keeps the form in which it came (origin-form with `Host`, or HTTP/2's pseudo-headers in the URI); the
//! upstream side turns it into what it speaks.

use super::{
    Exchange, Interim, Means,
    head::{Field, Survey, forwarding, grpc, hop_by_hop, hop_by_hop::UpgradeField, target},
    receive::{set_authority, set_path},
    route::{Found, RouteError, rewrite},
    stream::{Gate, RequestStream},
};
use crate::{body::Incoming, error::ProxyError, tunnel::upgrade::Offer, upstream::SendOptions};
use http::{HeaderMap, Method, StatusCode, header, request};
use pillion_config::model::{Connect, HostRewrite};
use std::{rc::Rc, time::Duration};
use tokio::time::Instant;

/// A request ready to be sent, perhaps more than once.
pub(super) struct Prepared {
    /// The head of every attempt.
    pub(super) head: request::Parts,
    /// The body of every attempt; `None`: there is none.
    pub(super) stream: Option<Rc<RequestStream>>,
    /// From the body's end to the response's head.
    pub(super) timeout: Option<Duration>,
    /// The client's own deadline.
    pub(super) deadline: Option<Instant>,
    /// Holds the body until upstream wants it.
    pub(super) gate: Option<Gate>,
    /// How to send it.
    pub(super) options: SendOptions,
    /// What becomes of the downstream connection if upstream switches protocols.
    pub(super) leaving: Option<Leaving>,
}

/// A request to leave HTTP.
pub(super) struct Leaving {
    /// Hands the downstream end over.
    pub(super) offer: Offer,
    /// How the client asked.
    pub(super) asked: Asked,
}

/// How a client asks to leave HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// HTTP/1 `Upgrade`; the WebSocket key, if that is what it is.
    Upgrade(Option<Vec<u8>>),
    /// HTTP/2 extended CONNECT.
    ExtendedConnect,
    /// CONNECT.
    Connect,
}
