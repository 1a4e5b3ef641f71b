//! [`Facts`]: what is known of a stream beside its heads and bodies.

use super::shared::{Phase, Shared};
use crate::telemetry::{Blame, ConnectionFacts, ResponseFlags, metrics::ClusterMetrics};
use http::{StatusCode, Version};
use pillion_config::model::{Name, Route};
use std::{borrow::Cow, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::time::Instant;

/// What is known of a stream at one moment. What names it has, its [`Route`] and connection say.
#[derive(Clone)]
pub struct Facts {
    /// The connection it came by: addresses, TLS, the peer's certificate.
    pub connection: Rc<ConnectionFacts>,
    /// The listener's name.
    pub listener: Name,
    /// The route, once it is chosen; the one chosen last.
    pub route: Option<Arc<Route>>,
    /// The cluster, once it is chosen; before, the one that the route would choose.
    pub cluster: Option<Name>,
    /// The version the request came in; `None`: no HTTP.
    pub version: Option<Version>,
    /// When it began.
    pub started: Instant,
    /// How long it took; `None`: it is not over.
    pub duration: Option<Duration>,
    /// From the request's head to the upstream to its response's head.
    pub upstream_latency: Option<Duration>,
    /// Whether the answer has come to its end; not where it broke off.
    pub answered: bool,
    /// The upstream's answer, or the one made here.
    pub status: Option<StatusCode>,
    /// Why the answer is what it is.
    pub details: Option<Cow<'static, str>>,
    /// Why it does not simply end well.
    pub flags: ResponseFlags,
    /// The client: the peer, or whom a trusted peer says it forwards for (with port 0 then).
    pub client: SocketAddr,
    /// Who ended it, where it did not end well.
    pub blame: Option<Blame>,
    /// Requests sent upstream.
    pub attempts: u32,
    /// The endpoint chosen.
    pub upstream: Option<SocketAddr>,
    /// Bytes of the request's body that came.
    pub received: u64,
    /// Bytes of the response's body that were handed on.
    pub sent: u64,
    /// The number in `grpc-status`, of trailers or head.
    pub grpc_status: Option<u32>,
}

/// What a record knows, as told to the stream's filters when it last passed by.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) started: Instant,
    pub(crate) version: Option<Version>,
    pub(crate) cluster: Option<Arc<ClusterMetrics>>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) details: Option<Cow<'static, str>>,
    pub(crate) flags: ResponseFlags,
    pub(crate) blame: Option<Blame>,
    pub(crate) client: SocketAddr,
    pub(crate) attempts: u32,
    /// When the request's head left the chain, and when a response's head came.
    pub(crate) sent_at: Option<Instant>,
    pub(crate) answered_at: Option<Instant>,
    pub(crate) duration: Option<Duration>,
}

impl Facts {
    pub(super) fn of(shared: &Shared) -> Self {
        if shared.phase.get() == Phase::Logging {
            // Not before somebody asks: few do, and the filters' last callbacks all run at the same moment.
            let mut told = shared.told.borrow_mut();
            let started = told.started;
            told.duration.get_or_insert_with(|| started.elapsed());
        }
        let told = shared.told.borrow();
        let aim = shared.aim.borrow();
        let cluster = told.cluster.as_ref().or_else(|| aim.as_ref().map(|aim| aim.state().metrics()));
        let response = shared.response.borrow();
        let grpc = response
            .trailers
            .as_ref()
            .and_then(|trailers| trailers.get(b"grpc-status"))
            .or_else(|| response.head.as_ref().and_then(|head| head.get(b"grpc-status")))
            .or_else(|| response.kept.as_ref().and_then(|kept| kept.get(b"grpc-status")));
        let grpc_status = grpc.and_then(|value| std::str::from_utf8(value).ok()).and_then(|value| value.parse().ok());
        let answered = match shared.phase.get() {
            Phase::Logging | Phase::Over => told.blame.is_none(),
            _ => response.source_ended && !response.opens,
        };
        Self {
            connection: Rc::clone(&shared.connection),
            listener: shared.listener.model.name.clone(),
            route: shared.route.borrow().clone(),
            cluster: cluster.map(|cluster| cluster.name().clone()),
            version: told.version,
            started: told.started,
            duration: told.duration,
            upstream_latency: told.sent_at.zip(told.answered_at).map(|(from, to)| to - from),
            answered,
            status: told.status,
            details: told.details.clone(),
            flags: told.flags,
            client: told.client,
            blame: told.blame,
            attempts: told.attempts,
            upstream: shared.meter.upstream().get(),
            received: shared.meter.received_bytes(),
            sent: shared.meter.sent_bytes(),
            grpc_status,
        }
    }
}
