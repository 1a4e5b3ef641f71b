//! The series of one listener. Shared by all workers: only atomics, and locks on the cold path.

use super::{
    Active,
    handles::{ByClass, ByDomain, ByFilter, ByReason, Owner},
    name,
};
use crate::telemetry::flags::ResponseFlag;
use http::StatusCode;
use metrics::{Counter, Gauge, Histogram};
use pillion_config::model::Name;
use std::{sync::OnceLock, time::Duration};

/// Handles to a listener's series.
#[derive(Debug)]
pub struct ListenerMetrics {
    owner: Owner,
    connections: Counter,
    connections_active: Gauge,
    refused: ByReason,
    accept_errors: ByReason,
    proxy_headers: ByReason,
    revoked: ByReason,
    tls_handshakes: ByReason,
    tls_peers: ByDomain,
    tls_failures: ByReason,
    detected: ByReason,
    refusals: ByReason,
    answers: ByReason,
    filter_failures: ByFilter,
    requests: ByClass,
    requests_active: Gauge,
    duration: Histogram,
    request_bytes: Counter,
    response_bytes: Counter,
    /// Made when the first opaque connection comes.
    tunnels: OnceLock<Box<Tunnels>>,
}

#[derive(Debug)]
struct Tunnels {
    connections: Counter,
    active: Gauge,
    failures: ByReason,
    duration: Histogram,
    received_bytes: Counter,
    sent_bytes: Counter,
}

impl ListenerMetrics {
    /// Registers the series that every listener has. Registering a name again yields the same series.
    #[must_use]
    pub fn register(listener: &Name) -> Self {
        let owner = Owner::Listener(listener.0.clone());
        Self {
            connections: owner.counter(name::ACCEPT_CONNECTIONS),
            connections_active: owner.gauge(name::ACCEPT_ACTIVE),
            refused: ByReason::new(name::ACCEPT_REFUSED, "reason"),
            accept_errors: ByReason::new(name::ACCEPT_ERRORS, "error"),
            revoked: ByReason::new(name::ADMIT_REVOKED, "reason"),
            proxy_headers: ByReason::new(name::PROXY_HEADERS, "outcome"),
            tls_handshakes: ByReason::new(name::TLS_HANDSHAKES, "version"),
            tls_peers: ByDomain::new(name::TLS_PEERS, name::PEER_REQUESTS),
            tls_failures: ByReason::new(name::TLS_FAILURES, "reason"),
            detected: ByReason::new(name::DETECT_OUTCOMES, "outcome"),
            refusals: ByReason::new(name::GUARD_REFUSALS, "reason"),
            answers: ByReason::new(name::ANSWERS, "flag"),
            filter_failures: ByFilter::new(name::FILTER_FAILURES),
            requests: ByClass::default(),
            requests_active: owner.gauge(name::REQUESTS_ACTIVE),
            duration: owner.histogram(name::DURATION),
            request_bytes: owner.counter(name::REQUEST_BYTES),
            response_bytes: owner.counter(name::RESPONSE_BYTES),
            tunnels: OnceLock::new(),
            owner,
        }
    }

    /// Counts an accepted connection; it is open until the guard is dropped.
    pub fn connection(&self) -> Active {
        self.connections.increment(1);
        Active::new(&self.connections_active)
    }

    /// Counts a connection closed as soon as it was accepted: `limit`, `memory`, `draining`, …
    pub fn refused(&self, reason: &'static str) {
        self.refused.increment(&self.owner, reason);
    }

    /// Counts a failure of accept(2): `emfile`, …
    pub fn accept_error(&self, error: &'static str) {
        self.accept_errors.increment(&self.owner, error);
    }

    /// Counts a live connection or tunnel that a change ended: of `rules`, of `trust`, of `source`.
    pub fn revoked(&self, reason: &'static str) {
        self.revoked.increment(&self.owner, reason);
    }

    /// Counts how the look for a PROXY protocol header ended: `proxied`, `local`, `absent`, … or the fault's name.
    pub fn proxy_header(&self, outcome: &'static str) {
        self.proxy_headers.increment(&self.owner, outcome);
    }

    /// Counts a TLS handshake that is done: `TLSv1.2`, `TLSv1.3`.
    pub fn tls_handshake(&self, version: &'static str) {
        self.tls_handshakes.increment(&self.owner, version);
    }

    /// Counts a client that shook hands, by its trust domain; gives what its requests are counted with. The domains are to
    /// be bounded by the configuration.
    pub fn tls_peer(&self, domain: &str) -> Counter {
        self.tls_peers.increment(&self.owner, domain)
    }

    /// Counts a TLS handshake that failed, by its cause's name.
    pub fn tls_failure(&self, reason: &'static str) {
        self.tls_failures.increment(&self.owner, reason);
    }

    /// Counts what a connection's first bytes were: `http1`, `http2`, `closed`, `timeout`, `unknown`.
    pub fn detected(&self, outcome: &'static str) {
        self.detected.increment(&self.owner, outcome);
    }

    /// Counts a request or connection refused by the guard, by its reason's name.
    pub fn refusal(&self, reason: &'static str) {
        self.refusals.increment(&self.owner, reason);
    }

    /// Counts an answer that the proxy made itself; `None` for one that was asked for (a redirect, a direct response).
    pub fn answer(&self, flag: Option<ResponseFlag>) {
        self.answers.increment(&self.owner, flag.map_or("none", ResponseFlag::code));
    }

    /// Counts a stream for which this filter failed, by its reason.
    pub fn filter_failure(&self, filter: &Name, reason: &'static str) {
        self.filter_failures.increment(&self.owner, filter, reason);
    }

    pub(in crate::telemetry) fn tunnel_begun(&self) {
        let tunnels = self.tunnels();
        tunnels.connections.increment(1);
        tunnels.active.increment(1.0);
    }

    /// `failure`: the first reason why it did not simply end.
    pub(in crate::telemetry) fn tunnel_ended(
        &self,
        failure: Option<ResponseFlag>,
        duration: Duration,
        received: u64,
        sent: u64,
    ) {
        let tunnels = self.tunnels();
        tunnels.active.decrement(1.0);
        tunnels.duration.record(duration.as_secs_f64());
        tunnels.received_bytes.increment(received);
        tunnels.sent_bytes.increment(sent);
        if let Some(flag) = failure {
            tunnels.failures.increment(&self.owner, flag.code());
        }
    }

    /// One that was begun is something else. It stays in the count of those begun.
    pub(in crate::telemetry) fn tunnel_withdrawn(&self) {
        self.tunnels().active.decrement(1.0);
    }

    fn tunnels(&self) -> &Tunnels {
        self.tunnels.get_or_init(|| {
            Box::new(Tunnels {
                connections: self.owner.counter(name::TUNNELS),
                active: self.owner.gauge(name::TUNNELS_ACTIVE),
                failures: ByReason::new(name::TUNNEL_FAILURES, "flag"),
                duration: self.owner.histogram(name::TUNNEL_DURATION),
                received_bytes: self.owner.counter(name::TUNNEL_RECEIVED_BYTES),
                sent_bytes: self.owner.counter(name::TUNNEL_SENT_BYTES),
            })
        })
    }

    pub(in crate::telemetry) fn request_begun(&self) {
        self.requests_active.increment(1.0);
    }

    pub(in crate::telemetry) fn request_ended(
        &self,
        status: Option<StatusCode>,
        duration: Duration,
        received: u64,
        sent: u64,
    ) {
        self.requests_active.decrement(1.0);
        self.requests.increment(&self.owner, name::REQUESTS, status);
        self.duration.record(duration.as_secs_f64());
        if received > 0 {
            self.request_bytes.increment(received);
        }
        if sent > 0 {
            self.response_bytes.increment(sent);
        }
    }
}
