//! The record of one request, or of one opaque connection: begun when its head is decoded or its bytes are known to be
//! opaque, filled in by the stages, and accounted for exactly once.
//!
//! The accounting happens when the record is dropped, so it cannot be forgotten, and cannot happen twice.
//! [`Record::finish`] says that the response was delivered to its end; a record dropped without it belongs to a
//! request whose client went away. With the access log off a record copies no header, path or name: it costs two clock
//! reads, one allocation (the meter that bodies share) and the counters.

use super::{
    ConnectionFacts, ListenerTelemetry,
    access_log::Captured,
    facts::protocol,
    flags::{Blame, ResponseFlag, ResponseFlags},
    meter::ByteMeter,
    metrics::ClusterMetrics,
    variable::{Value, hostname},
};
use crate::exchange::filter::{self, Told};
use http::{HeaderMap, StatusCode, Version, request};
use pillion_config::{model::Route, template::Variable};
use std::{borrow::Cow, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// What is known of a request so far. Dropped unfinished, it counts as ended by downstream (flag DC) unless a stage
/// had already said who ended it.
#[must_use = "a record dropped at once counts as a request whose client went away"]
pub struct Record {
    pub(super) listener: Arc<ListenerTelemetry>,
    pub(super) connection: Rc<ConnectionFacts>,
    pub(super) captured: Option<Box<Captured>>,
    meter: ByteMeter,
    started: Instant,
    client: Option<SocketAddr>,
    cluster: Option<Arc<ClusterMetrics>>,
    goes: Goes,
    details: Option<Cow<'static, str>>,
    flags: ResponseFlags,
    attempts: u32,
    status: Option<StatusCode>,
    upstream_status: Option<StatusCode>,
    subject: Subject,
    blame: Option<Blame>,
    ending: Ending,
}

/// What a record is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Request(Version),
    Connection,
}

/// Whether it is in flight at its cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    No,
    There,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Open,
    Finished,
    Withdrawn,
}

impl Record {
    /// Begins a record: the request is in flight from here on. Reads the clock.
    pub fn begin(listener: &Arc<ListenerTelemetry>, connection: &Rc<ConnectionFacts>, head: &request::Parts) -> Self {
        listener.metrics.request_begun();
        if let Some(tls) = connection.tls.get() {
            tls.requests.increment(1);
        }
        let captured = listener.log.as_ref().map(|log| log.capture(head, connection.scheme()));
        Self::new(Subject::Request(head.version), captured, listener, connection)
    }

    /// Begins the record of a connection whose bytes are opaque: it is open from here on. Reads the clock.
    pub fn begin_connection(listener: &Arc<ListenerTelemetry>, connection: &Rc<ConnectionFacts>) -> Self {
        listener.metrics.tunnel_begun();
        let captured = listener.log.as_ref().map(|log| log.capture_nothing());
        Self::new(Subject::Connection, captured, listener, connection)
    }

    /// What it tells of began then.
    pub(crate) fn begun(mut self, began: Instant) -> Self {
        self.started = began;
        self
    }

    fn new(
        subject: Subject,
        captured: Option<Box<Captured>>,
        listener: &Arc<ListenerTelemetry>,
        connection: &Rc<ConnectionFacts>,
    ) -> Self {
        Self {
            listener: listener.clone(),
            connection: connection.clone(),
            captured,
            meter: ByteMeter::detached(),
            started: Instant::now(),
            client: None,
            cluster: None,
            goes: Goes::No,
            details: None,
            flags: ResponseFlags::default(),
            attempts: 0,
            status: None,
            upstream_status: None,
            subject,
            blame: None,
            ending: Ending::Open,
        }
    }

    /// When the record was begun.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// A handle to count the bytes of the bodies with.
    #[must_use]
    pub fn meter(&self) -> ByteMeter {
        self.meter.clone()
    }

    /// The client's address, where a trusted peer says that it is not the peer's own.
    pub fn set_client(&mut self, client: SocketAddr) {
        self.client = Some(client);
    }

    /// The route that matched.
    pub fn set_route(&mut self, route: &Arc<Route>) {
        if let (Some(captured), Some(log)) = (&mut self.captured, &self.listener.log) {
            captured.route(log.format(), &route.name);
        }
    }

    /// There is no route any more.
    pub fn forget_route(&mut self) {
        if let Some(captured) = &mut self.captured {
            captured.forget_route();
        }
    }

    /// The request's head as it goes upstream: later text shows it in place of what the client sent.
    pub fn forwarded(&mut self, head: &request::Parts) {
        if let (Some(captured), Some(log)) = (&mut self.captured, &self.listener.log) {
            captured.forwarded(log.format(), head, self.connection.scheme());
        }
    }

    /// The request's head as filters see it: of the fields that a listener's rules have a say in, later text shows it.
    pub fn told_of_hop(&mut self, head: &request::Parts) {
        if let (Some(captured), Some(log)) = (&mut self.captured, &self.listener.log) {
            captured.told_of_hop(log.format(), head, self.connection.scheme());
        }
    }

    /// Whether anything of heads is kept.
    #[must_use]
    pub fn keeps_heads(&self) -> bool {
        self.captured.is_some()
    }

    /// The cluster chosen; the request is in flight there until its end, or until another is chosen.
    pub fn set_cluster(&mut self, cluster: &Arc<ClusterMetrics>) {
        if let Some(before) = self.cluster.as_ref().filter(|_| self.goes == Goes::There) {
            if Arc::ptr_eq(before, cluster) {
                return;
            }
            before.request_left();
        }
        if matches!(self.subject, Subject::Request(_)) {
            cluster.request_begun();
            self.goes = Goes::There;
        }
        self.cluster = Some(cluster.clone());
    }

    /// The cluster that the request would have gone to; it is answered before, and counts nowhere there.
    pub(crate) fn would_go_to(&mut self, cluster: &Arc<ClusterMetrics>) {
        if self.goes == Goes::No {
            self.cluster = Some(cluster.clone());
        }
    }

    /// The endpoint chosen.
    pub fn set_upstream(&mut self, endpoint: SocketAddr) {
        self.meter.upstream().set(Some(endpoint));
    }

    /// The request is being sent upstream, perhaps again.
    pub fn attempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// A final response's head came from upstream. Reads the clock only when the access log shows it.
    pub fn upstream_head_received(&mut self, status: StatusCode) {
        self.upstream_status = Some(status);
        if let (Some(captured), Some(log)) = (&mut self.captured, &self.listener.log) {
            captured.response_head(log.format(), || self.started.elapsed());
        }
    }

    /// The response's head as it goes downstream: upstream's or one of our own. Not for 1xx.
    pub fn response(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        if let (Some(captured), Some(log)) = (&mut self.captured, &self.listener.log) {
            captured.response(log.format(), headers);
        }
    }

    /// The response's trailers.
    pub fn trailers(&mut self, trailers: &HeaderMap) {
        if let (Some(captured), Some(log)) = (&mut self.captured, &self.listener.log) {
            captured.trailers(log.format(), trailers);
        }
    }

    /// What filters left behind, once they are gone.
    pub(crate) fn left_by_filters(&mut self, chain: &filter::Shared) {
        if let (Some(captured), Some(log)) = (&mut self.captured, &self.listener.log) {
            captured.left_by_filters(log.format(), chain);
        }
    }

    /// A reason why the request does not simply end well.
    pub fn flag(&mut self, flag: ResponseFlag) {
        self.flags.insert(flag);
    }

    /// The reasons so far.
    #[must_use]
    pub fn flags(&self) -> ResponseFlags {
        self.flags
    }

    /// Why the response is what it is, in a word; the last one stands.
    pub fn details(&mut self, details: impl Into<Cow<'static, str>>) {
        self.details = Some(details.into());
    }

    /// What filters are told of it.
    pub(crate) fn told(&self) -> Told {
        let mut told = Told {
            started: self.started,
            version: match self.subject {
                Subject::Request(version) => Some(version),
                Subject::Connection => None,
            },
            cluster: None,
            status: None,
            details: None,
            flags: self.flags,
            blame: None,
            client: self.client(),
            attempts: 0,
            sent_at: None,
            answered_at: None,
            duration: None,
        };
        self.tell(&mut told);
        told
    }

    /// What is known by now, where something was told before. What did not change is not copied: a request passes here
    /// four times. Who the client is was told at the beginning and stays.
    pub(crate) fn tell(&self, told: &mut Told) {
        if told.cluster.as_ref().map(Arc::as_ptr) != self.cluster.as_ref().map(Arc::as_ptr) {
            told.cluster.clone_from(&self.cluster);
        }
        told.status = self.status.or(self.upstream_status);
        told.details.clone_from(&self.details);
        told.flags = self.flags;
        told.blame = self.blame;
        told.attempts = self.attempts;
    }

    /// Who ended a request that does not end well; the first one stands, what follows is its consequence.
    pub fn terminated_by(&mut self, blame: Blame) {
        self.blame.get_or_insert(blame);
    }

    /// The response was delivered to its end, whatever it was.
    pub fn finish(mut self) {
        self.ending = Ending::Finished;
    }

    /// The connection turned out to be no opaque one: it counts no more and is not written.
    pub fn withdraw(mut self) {
        self.ending = Ending::Withdrawn;
    }

    /// A variable's value as far as the record itself knows it; `elapsed` tells how old the request is.
    pub(super) fn value(&self, variable: &Variable, elapsed: impl Fn() -> Duration) -> Option<Value<'_>> {
        match variable {
            Variable::StartTime => Some(Value::Time(self.meter.began(elapsed))),
            Variable::Protocol => match self.subject {
                Subject::Request(version) => protocol(version).map(Value::Bytes),
                Subject::Connection => None,
            },
            Variable::ResponseCode => Some(Value::Number(self.status.map_or(0, |status| status.as_u16().into()))),
            Variable::ResponseCodeDetails => self.details.as_ref().map(|text| Value::Bytes(text.as_bytes())),
            Variable::ResponseFlags => Some(Value::Flags(self.flags)),
            Variable::BytesReceived => Some(Value::Number(self.meter.received_bytes())),
            Variable::BytesSent => Some(Value::Number(self.meter.sent_bytes())),
            Variable::Duration => Some(Value::Number(milliseconds(elapsed()))),
            Variable::ResponseDuration => {
                let captured = self.captured.as_ref().and_then(|captured| captured.response_duration());
                // What no log shows is not captured; a header that shows it is made when the response's head is there.
                let duration = captured.or_else(|| self.upstream_status.map(|_| elapsed()))?;
                Some(Value::Number(milliseconds(duration)))
            }
            Variable::UpstreamHost => self.meter.upstream().get().map(Value::Address),
            Variable::UpstreamCluster => {
                self.cluster.as_ref().map(|cluster| Value::Bytes(cluster.name().as_str().as_bytes()))
            }
            Variable::UpstreamRequestAttemptCount => Some(Value::Number(self.attempts.into())),
            Variable::RouteName => {
                let name = self.captured.as_ref()?.route_name()?;
                Some(Value::Bytes(name.as_str().as_bytes()))
            }
            Variable::DownstreamRemoteAddress => Some(Value::Address(self.client())),
            Variable::DownstreamRemoteAddressWithoutPort => Some(Value::Ip(self.client().ip())),
            Variable::DownstreamDirectRemoteAddress => Some(Value::Address(self.connection.direct)),
            Variable::DownstreamLocalAddress => Some(Value::Address(self.connection.destination())),
            Variable::TerminatedBy => Some(Value::Bytes(self.blame.map_or("-", Blame::as_str).as_bytes())),
            Variable::Hostname => Some(Value::Bytes(hostname())),
            Variable::ListenerName => Some(Value::Bytes(self.listener.name.as_str().as_bytes())),
            Variable::DownstreamTlsVersion => self.connection.tls.get().map(|tls| Value::Bytes(tls.version.as_bytes())),
            Variable::DownstreamTlsCipher => self.connection.tls.get().map(|tls| Value::Bytes(tls.cipher.as_bytes())),
            Variable::RequestedServerName => self.connection.server_name().map(|name| Value::Bytes(name.as_bytes())),
            Variable::DownstreamPeerUriSan => {
                self.connection.peer()?.id.as_ref().map(|id| Value::Bytes(id.as_str().as_bytes()))
            }
            // Of heads a record keeps only what the log's format captured; whoever holds the head answers for it.
            Variable::RequestHeader(..)
            | Variable::ResponseHeader(_)
            | Variable::ResponseTrailer(_)
            | Variable::FilterState(_)
            | Variable::DynamicMetadata(..)
            | Variable::GrpcStatus => None,
        }
    }

    /// Decides who ended the request, where no stage said so.
    fn settle_ending(&mut self) {
        if self.ending == Ending::Open && self.blame.is_none() {
            self.flags.insert(ResponseFlag::DownstreamConnectionTermination);
            self.blame = Some(Blame::Downstream);
        }
    }

    fn client(&self) -> SocketAddr {
        self.client.unwrap_or_else(|| self.connection.client())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.ending == Ending::Withdrawn {
            return self.listener.metrics.tunnel_withdrawn();
        }
        self.settle_ending();
        let duration = self.started.elapsed();
        let (received, sent) = (self.meter.received_bytes(), self.meter.sent_bytes());
        match (self.subject, &self.cluster) {
            (Subject::Connection, _) => {
                self.listener.metrics.tunnel_ended(self.flags.iter().next(), duration, received, sent);
            }
            (Subject::Request(_), cluster) => {
                self.listener.metrics.request_ended(self.status, duration, received, sent);
                if let Some(cluster) = cluster.as_ref().filter(|_| self.goes == Goes::There) {
                    cluster.request_left();
                    if self.attempts > 0 {
                        cluster.request_answered(self.upstream_status, duration);
                    }
                }
            }
        }
        if let (Some(log), Some(captured)) = (&self.listener.log, &self.captured) {
            log.write(self, captured, duration);
        }
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("listener", &self.listener.name)
            .field("status", &self.status)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
