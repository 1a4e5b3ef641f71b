//! Series that belong to the whole process: names, configuration, access log.

use super::{
    handles::{ByReason, Owner},
    name,
};
use metrics::{Counter, Gauge};
use std::time::{SystemTime, UNIX_EPOCH};

/// Handles to the series of name resolution.
#[derive(Debug)]
pub struct DnsMetrics {
    lookups: Counter,
    failures: ByReason,
}

impl DnsMetrics {
    /// Registers the series.
    #[must_use]
    pub fn register() -> Self {
        Self {
            lookups: Owner::Process.counter(name::DNS_LOOKUPS),
            failures: ByReason::new(name::DNS_FAILURES, "reason"),
        }
    }

    /// Counts a look-up begun.
    pub fn lookup(&self) {
        self.lookups.increment(1);
    }

    /// Counts a look-up without an answer: `timeout`, `no_records`, …
    pub fn failure(&self, reason: &'static str) {
        self.failures.increment(&Owner::Process, reason);
    }
}

/// Handles to the series of services of Kubernetes.
#[derive(Debug)]
pub struct DiscoveryMetrics {
    requests: ByReason,
    events: ByReason,
    failures: ByReason,
}

impl Default for DiscoveryMetrics {
    fn default() -> Self {
        Self {
            requests: ByReason::new(name::DISCOVERY_REQUESTS, "verb"),
            events: ByReason::new(name::DISCOVERY_EVENTS, "type"),
            failures: ByReason::new(name::DISCOVERY_FAILURES, "reason"),
        }
    }
}

impl DiscoveryMetrics {
    /// Counts a `list` or a `watch` that is being answered.
    pub fn request(&self, verb: &'static str) {
        self.requests.increment(&Owner::Process, verb);
    }

    /// Counts an event of a watch: `set`, `gone`, `bookmark` or `error`.
    pub fn event(&self, kind: &'static str) {
        self.events.increment(&Owner::Process, kind);
    }

    /// Counts a list or watch that failed.
    pub fn failure(&self, reason: &'static str) {
        self.failures.increment(&Owner::Process, reason);
    }

    /// Tells how many endpoints of a cluster are in use.
    pub fn endpoints(&self, cluster: &str, count: usize) {
        #[expect(clippy::cast_precision_loss, reason = "there are some thousands at most")]
        Owner::Cluster(cluster.into()).gauge(name::DISCOVERY_ENDPOINTS).set(count as f64);
    }

    /// Tells when a cluster's service was last told of.
    pub fn heard(&self, cluster: &str, at: SystemTime) {
        Owner::Cluster(cluster.into()).gauge(name::DISCOVERY_HEARD).set(unix(at));
    }
}

/// Where an identity comes from, as a label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityOrigin {
    /// Files.
    Files,
    /// The SPIFFE Workload API.
    WorkloadApi,
}

impl IdentityOrigin {
    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::WorkloadApi => "workload_api",
        }
    }
}

/// Handles to the series of certificates.
#[derive(Debug)]
pub struct IdentityMetrics {
    refreshes: ByReason,
    failures: ByReason,
}

impl Default for IdentityMetrics {
    fn default() -> Self {
        Self {
            refreshes: ByReason::new(name::IDENTITY_REFRESHES, "source"),
            failures: ByReason::new(name::IDENTITY_FAILURES, "source"),
        }
    }
}

impl IdentityMetrics {
    /// Counts an identity taken into use.
    pub fn refresh(&self, origin: IdentityOrigin) {
        self.refreshes.increment(&Owner::Process, origin.name());
    }

    /// Counts something that cannot be used: a certificate, a key, roots.
    pub fn failure(&self, origin: IdentityOrigin) {
        self.failures.increment(&Owner::Process, origin.name());
    }

    /// Tells whether an agent has taken back the identity that is in use.
    pub fn taken_back(&self, is: bool) {
        Owner::Process.gauge(name::IDENTITY_TAKEN_BACK).set(f64::from(u8::from(is)));
    }

    /// Tells when a certificate ends, in seconds since 1970.
    pub fn expires(&self, certificate: &str, not_after: u64) {
        // A date fits.
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit 53 bits for 285 million years")]
        Owner::Certificate(certificate.into()).gauge(name::IDENTITY_EXPIRATION).set(not_after as f64);
    }
}

/// What became of a configuration that was read while running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It differs and is in force.
    Applied,
    /// It says what is in force already.
    Unchanged,
    /// It is wrong; the last good one stays in force.
    Rejected,
}

/// Handles to the series of the configuration.
#[derive(Debug)]
pub struct ConfigMetrics {
    reloads: ByReason,
    success: Gauge,
    time: Gauge,
}

impl ConfigMetrics {
    /// Registers the series; `loaded` is when the first configuration came into force.
    #[must_use]
    pub fn register(loaded: SystemTime) -> Self {
        let metrics = Self {
            reloads: ByReason::new(name::RELOADS, "outcome"),
            success: Owner::Process.gauge(name::RELOAD_SUCCESS),
            time: Owner::Process.gauge(name::RELOAD_TIME),
        };
        metrics.success.set(1.0);
        metrics.time.set(unix(loaded));
        metrics
    }

    /// Counts a configuration that was read, and when.
    pub fn reload(&self, outcome: ReloadOutcome, at: SystemTime) {
        let (word, success) = match outcome {
            ReloadOutcome::Applied => ("applied", 1.0),
            ReloadOutcome::Unchanged => ("unchanged", 1.0),
            ReloadOutcome::Rejected => ("rejected", 0.0),
        };
        self.reloads.increment(&Owner::Process, word);
        self.success.set(success);
        if outcome == ReloadOutcome::Applied {
            self.time.set(unix(at));
        }
    }
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Handles to the series of the access log.
#[derive(Debug)]
pub(crate) struct AccessLogMetrics {
    written: Counter,
    dropped_queue: Counter,
    dropped_write: Counter,
}

impl AccessLogMetrics {
    pub(crate) fn register() -> Self {
        let owner = Owner::Process;
        Self {
            written: owner.counter(name::LOG_WRITTEN),
            dropped_queue: owner.counter_by(name::LOG_DROPPED, "reason", "queue"),
            dropped_write: owner.counter_by(name::LOG_DROPPED, "reason", "write"),
        }
    }

    /// Records handed to the kernel.
    pub(crate) fn written(&self, records: u64) {
        self.written.increment(records);
    }

    /// A record for which the queue had no room.
    pub(crate) fn queue_full(&self) {
        self.dropped_queue.increment(1);
    }

    /// Records that the kernel did not take.
    pub(crate) fn write_failed(&self, records: u64) {
        self.dropped_write.increment(records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Recorded;
    use std::time::Duration;

    #[test]
    fn a_rejected_reload_shows_and_leaves_the_time_alone() {
        let recorded = Recorded::default();
        metrics::with_local_recorder(&recorded, || {
            let config = ConfigMetrics::register(UNIX_EPOCH + Duration::from_secs(10));
            config.reload(ReloadOutcome::Rejected, UNIX_EPOCH + Duration::from_secs(20));
            assert_eq!(recorded.get("pillion_config_last_reload_success{}"), 0.0);
            assert_eq!(recorded.get("pillion_config_last_reload_timestamp_seconds{}"), 10.0);
            config.reload(ReloadOutcome::Applied, UNIX_EPOCH + Duration::from_secs(30));
            assert_eq!(recorded.get("pillion_config_last_reload_success{}"), 1.0);
            assert_eq!(recorded.get("pillion_config_last_reload_timestamp_seconds{}"), 30.0);
        });
        assert_eq!(recorded.get("pillion_config_reloads_total{outcome=rejected}"), 1.0);
        assert_eq!(recorded.get("pillion_config_reloads_total{outcome=applied}"), 1.0);
    }
}
