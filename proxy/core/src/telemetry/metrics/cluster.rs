//! The series of one cluster. Shared by all workers: only atomics, and locks on the cold path.

use super::{
    Active,
    handles::{ByClass, ByReason, Owner},
    name,
};
use http::StatusCode;
use metrics::{Counter, Gauge, Histogram};
use pillion_config::model::Name;
use std::{sync::OnceLock, time::Duration};

/// Handles to a cluster's series, made when the cluster is first used.
#[derive(Debug)]
pub struct ClusterMetrics {
    name: Name,
    /// Boxed, so that thousands of clusters that nobody asks for cost little.
    handles: OnceLock<Box<Handles>>,
}

#[derive(Debug)]
struct Handles {
    owner: Owner,
    requests: ByClass,
    requests_active: Gauge,
    duration: Histogram,
    resets: ByReason,
    revoked: ByReason,
    connect_attempts: Counter,
    connect_failures: ByReason,
    connect_duration: Histogram,
    pool_active: Gauge,
    pool_idle: Gauge,
    replays: ByReason,
    overflow: ByReason,
}

impl ClusterMetrics {
    /// Prepares the handles of a cluster; nothing is registered yet.
    #[must_use]
    pub fn register(cluster: &Name) -> Self {
        Self { name: cluster.clone(), handles: OnceLock::new() }
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Counts a request cut off before its response ended: `remote`, `local`, `closed`, …
    pub fn reset(&self, reason: &'static str) {
        let handles = self.handles();
        handles.resets.increment(&handles.owner, reason);
    }

    /// Counts a connection that was cut under its requests because of who is at its ends: `trust` or `identity`.
    pub fn revoked(&self, reason: &'static str) {
        let handles = self.handles();
        handles.revoked.increment(&handles.owner, reason);
    }

    /// Counts the beginning of a connection.
    pub fn connect_attempt(&self) {
        self.handles().connect_attempts.increment(1);
    }

    /// Records how long a connection took to be established.
    pub fn connected(&self, duration: Duration) {
        self.handles().connect_duration.record(duration.as_secs_f64());
    }

    /// Counts a connection that failed: `refused`, `timeout`, `dns`, …
    pub fn connect_failure(&self, reason: &'static str) {
        let handles = self.handles();
        handles.connect_failures.increment(&handles.owner, reason);
    }

    /// Counts a connection in the pool, resting or not, as long as the guard lives.
    pub fn pool_connection(&self) -> Active {
        Active::new(&self.handles().pool_active)
    }

    /// Counts a resting connection as long as the guard lives.
    pub fn pool_idle(&self) -> Active {
        Active::new(&self.handles().pool_idle)
    }

    /// Counts a request sent again: `unsent` or `idempotent`.
    pub fn replay(&self, reason: &'static str) {
        let handles = self.handles();
        handles.replays.increment(&handles.owner, reason);
    }

    /// Counts a request refused at a limit: `connections`, `pending` or `requests`; or a connection at that of `silent` ones.
    pub fn overflow(&self, limit: &'static str) {
        let handles = self.handles();
        handles.overflow.increment(&handles.owner, limit);
    }

    pub(crate) fn request_begun(&self) {
        self.handles().requests_active.increment(1.0);
    }

    /// The request is over, or another cluster was chosen for it.
    pub(crate) fn request_left(&self) {
        self.handles().requests_active.decrement(1.0);
    }

    pub(crate) fn request_answered(&self, status: Option<StatusCode>, duration: Duration) {
        let handles = self.handles();
        handles.requests.increment(&handles.owner, name::UPSTREAM_REQUESTS, status);
        handles.duration.record(duration.as_secs_f64());
    }

    fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| {
            let owner = Owner::Cluster(self.name.0.clone());
            Box::new(Handles {
                requests: ByClass::default(),
                requests_active: owner.gauge(name::UPSTREAM_ACTIVE),
                duration: owner.histogram(name::UPSTREAM_DURATION),
                resets: ByReason::new(name::UPSTREAM_RESETS, "reason"),
                revoked: ByReason::new(name::UPSTREAM_REVOKED, "reason"),
                connect_attempts: owner.counter(name::CONNECT_ATTEMPTS),
                connect_failures: ByReason::new(name::CONNECT_FAILURES, "reason"),
                connect_duration: owner.histogram(name::CONNECT_DURATION),
                pool_active: owner.gauge(name::POOL_ACTIVE),
                pool_idle: owner.gauge(name::POOL_IDLE),
                replays: ByReason::new(name::REPLAYS, "reason"),
                overflow: ByReason::new(name::OVERFLOW, "limit"),
                owner,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Recorded;

    #[test]
    fn an_idle_cluster_registers_nothing_and_stays_small() {
        let recorded = Recorded::default();
        metrics::with_local_recorder(&recorded, || {
            let cluster = ClusterMetrics::register(&Name("api".into()));
            assert_eq!(recorded.series(), 0);
            cluster.replay("unsent");
            assert!(recorded.series() > 0);
        });
        assert_eq!(recorded.get("pillion_retry_replays_total{cluster=api,reason=unsent}"), 1.0);
        assert!(size_of::<ClusterMetrics>() <= 32);
    }

    #[test]
    fn guards_count_back_and_reasons_keep_apart() {
        let recorded = Recorded::default();
        metrics::with_local_recorder(&recorded, || {
            let cluster = ClusterMetrics::register(&Name("api".into()));
            let again = ClusterMetrics::register(&Name("api".into()));
            let (one, two) = (cluster.pool_connection(), again.pool_connection());
            assert_eq!(recorded.get("pillion_pool_connections_active{cluster=api}"), 2.0);
            drop(one);
            assert_eq!(recorded.get("pillion_pool_connections_active{cluster=api}"), 1.0);
            drop(two);
            cluster.connect_failure("refused");
            cluster.connect_failure("timeout");
            again.connect_failure("timeout");
        });
        assert_eq!(recorded.get("pillion_pool_connections_active{cluster=api}"), 0.0);
        assert_eq!(recorded.get("pillion_connect_failures_total{cluster=api,reason=refused}"), 1.0);
        assert_eq!(recorded.get("pillion_connect_failures_total{cluster=api,reason=timeout}"), 2.0);
    }
}
