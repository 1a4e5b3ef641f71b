//! Metric handles: registered once through the `metrics` facade and kept, never looked up for a request.
//!
//! Names are `pillion_<stage>_…`. Labels are bounded by the configuration (`listener`, `cluster`) and by the enums of
//! the stages (`reason`, `class`, …); nothing that a client sends becomes a label. Of a client's identity the trust domain
//! is one, where roots of it are configured; the whole of it, of which a mesh has thousands, is for the access log. Series appear when they are first
//! used: a cluster that never sees a request costs two words.

mod admit;
mod cluster;
mod handles;
mod listener;
mod process;

pub use admit::AdmitMetrics;
pub use cluster::ClusterMetrics;
pub use handles::Active;
pub use listener::ListenerMetrics;
pub(crate) use process::AccessLogMetrics;
pub use process::{ConfigMetrics, DiscoveryMetrics, DnsMetrics, IdentityMetrics, IdentityOrigin, ReloadOutcome};

use metrics::{KeyName, with_recorder};

pub(in crate::telemetry) mod name {
    pub(in crate::telemetry) const ACCEPT_CONNECTIONS: &str = "pillion_accept_connections_total";
    pub(in crate::telemetry) const ACCEPT_ACTIVE: &str = "pillion_accept_connections_active";
    pub(in crate::telemetry) const ACCEPT_REFUSED: &str = "pillion_accept_refused_total";
    pub(in crate::telemetry) const ACCEPT_ERRORS: &str = "pillion_accept_errors_total";
    pub(in crate::telemetry) const PROXY_HEADERS: &str = "pillion_proxy_protocol_headers_total";
    pub(in crate::telemetry) const ADMIT_DECISIONS: &str = "pillion_admit_decisions_total";
    pub(in crate::telemetry) const ADMIT_REVOKED: &str = "pillion_admit_revoked_total";
    pub(in crate::telemetry) const TLS_HANDSHAKES: &str = "pillion_tls_handshakes_total";
    pub(in crate::telemetry) const TLS_PEERS: &str = "pillion_tls_peers_total";
    pub(in crate::telemetry) const TLS_FAILURES: &str = "pillion_tls_failures_total";
    pub(in crate::telemetry) const DETECT_OUTCOMES: &str = "pillion_detect_outcomes_total";
    pub(in crate::telemetry) const GUARD_REFUSALS: &str = "pillion_guard_refusals_total";
    pub(in crate::telemetry) const REQUESTS: &str = "pillion_exchange_requests_total";
    pub(in crate::telemetry) const PEER_REQUESTS: &str = "pillion_exchange_peer_requests_total";
    pub(in crate::telemetry) const REQUESTS_ACTIVE: &str = "pillion_exchange_requests_active";
    pub(in crate::telemetry) const DURATION: &str = "pillion_exchange_duration_seconds";
    pub(in crate::telemetry) const REQUEST_BYTES: &str = "pillion_exchange_request_bytes_total";
    pub(in crate::telemetry) const RESPONSE_BYTES: &str = "pillion_exchange_response_bytes_total";
    pub(in crate::telemetry) const ANSWERS: &str = "pillion_respond_answers_total";
    pub(in crate::telemetry) const FILTER_FAILURES: &str = "pillion_filter_failures_total";
    pub(in crate::telemetry) const TUNNELS: &str = "pillion_tunnel_connections_total";
    pub(in crate::telemetry) const TUNNELS_ACTIVE: &str = "pillion_tunnel_connections_active";
    pub(in crate::telemetry) const TUNNEL_FAILURES: &str = "pillion_tunnel_failures_total";
    pub(in crate::telemetry) const TUNNEL_DURATION: &str = "pillion_tunnel_duration_seconds";
    pub(in crate::telemetry) const TUNNEL_RECEIVED_BYTES: &str = "pillion_tunnel_received_bytes_total";
    pub(in crate::telemetry) const TUNNEL_SENT_BYTES: &str = "pillion_tunnel_sent_bytes_total";
    pub(in crate::telemetry) const UPSTREAM_REQUESTS: &str = "pillion_upstream_requests_total";
    pub(in crate::telemetry) const UPSTREAM_ACTIVE: &str = "pillion_upstream_requests_active";
    pub(in crate::telemetry) const UPSTREAM_DURATION: &str = "pillion_upstream_duration_seconds";
    pub(in crate::telemetry) const UPSTREAM_RESETS: &str = "pillion_upstream_resets_total";
    pub(in crate::telemetry) const UPSTREAM_REVOKED: &str = "pillion_upstream_revoked_total";
    pub(in crate::telemetry) const CONNECT_ATTEMPTS: &str = "pillion_connect_attempts_total";
    pub(in crate::telemetry) const CONNECT_FAILURES: &str = "pillion_connect_failures_total";
    pub(in crate::telemetry) const CONNECT_DURATION: &str = "pillion_connect_duration_seconds";
    pub(in crate::telemetry) const POOL_ACTIVE: &str = "pillion_pool_connections_active";
    pub(in crate::telemetry) const POOL_IDLE: &str = "pillion_pool_connections_idle";
    pub(in crate::telemetry) const REPLAYS: &str = "pillion_retry_replays_total";
    pub(in crate::telemetry) const OVERFLOW: &str = "pillion_balance_overflow_total";
    pub(in crate::telemetry) const DNS_LOOKUPS: &str = "pillion_dns_lookups_total";
    pub(in crate::telemetry) const DNS_FAILURES: &str = "pillion_dns_failures_total";
    pub(in crate::telemetry) const DISCOVERY_REQUESTS: &str = "pillion_discovery_requests_total";
    pub(in crate::telemetry) const DISCOVERY_EVENTS: &str = "pillion_discovery_events_total";
    pub(in crate::telemetry) const DISCOVERY_FAILURES: &str = "pillion_discovery_failures_total";
    pub(in crate::telemetry) const DISCOVERY_ENDPOINTS: &str = "pillion_discovery_endpoints";
    pub(in crate::telemetry) const DISCOVERY_HEARD: &str = "pillion_discovery_last_heard_timestamp_seconds";
    pub(in crate::telemetry) const IDENTITY_EXPIRATION: &str = "pillion_identity_cert_expiration_timestamp_seconds";
    pub(in crate::telemetry) const IDENTITY_REFRESHES: &str = "pillion_identity_refreshes_total";
    pub(in crate::telemetry) const IDENTITY_FAILURES: &str = "pillion_identity_refresh_failures_total";
    pub(in crate::telemetry) const IDENTITY_TAKEN_BACK: &str = "pillion_identity_taken_back";
    pub(in crate::telemetry) const RELOADS: &str = "pillion_config_reloads_total";
    pub(in crate::telemetry) const RELOAD_SUCCESS: &str = "pillion_config_last_reload_success";
    pub(in crate::telemetry) const RELOAD_TIME: &str = "pillion_config_last_reload_timestamp_seconds";
    pub(in crate::telemetry) const LOG_WRITTEN: &str = "pillion_access_log_written_total";
    pub(in crate::telemetry) const LOG_DROPPED: &str = "pillion_access_log_dropped_total";
}

/// What a family of series measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Every family of the data path, with its help text.
const FAMILIES: &[(&str, Kind, &str)] = &[
    (name::ACCEPT_CONNECTIONS, Kind::Counter, "Downstream connections accepted."),
    (name::ACCEPT_ACTIVE, Kind::Gauge, "Downstream connections open."),
    (
        name::ACCEPT_REFUSED,
        Kind::Counter,
        "Downstream connections that had to wait for a permit (process_limit, listener_limit) or were closed at once, by reason.",
    ),
    (name::ACCEPT_ERRORS, Kind::Counter, "Failures of accept(2), by error."),
    (name::PROXY_HEADERS, Kind::Counter, "Connections of listeners with the PROXY protocol, by what stood first."),
    (name::ADMIT_DECISIONS, Kind::Counter, "Connections and requests let through or denied, by the rule that decided."),
    (
        name::ADMIT_REVOKED,
        Kind::Counter,
        "Live connections and tunnels that a change of rules or of trust ended, by which.",
    ),
    (name::TLS_HANDSHAKES, Kind::Counter, "Downstream TLS handshakes done, by version."),
    (name::TLS_PEERS, Kind::Counter, "Downstream TLS handshakes done, by the client's trust domain."),
    (name::PEER_REQUESTS, Kind::Counter, "Requests over TLS, by the client's trust domain."),
    (name::TLS_FAILURES, Kind::Counter, "Downstream TLS handshakes that failed, by cause."),
    (name::DETECT_OUTCOMES, Kind::Counter, "What the first bytes of a connection turned out to be."),
    (name::GUARD_REFUSALS, Kind::Counter, "Requests and connections refused for what they sent, by reason."),
    (name::REQUESTS, Kind::Counter, "Requests ended, by class of the status sent; none: no status was sent."),
    (name::REQUESTS_ACTIVE, Kind::Gauge, "Requests in flight."),
    (name::DURATION, Kind::Histogram, "Seconds from a request's head to its response's end."),
    (name::REQUEST_BYTES, Kind::Counter, "Bytes of request bodies, counted when the request ends."),
    (name::RESPONSE_BYTES, Kind::Counter, "Bytes of response bodies, counted when the request ends."),
    (name::ANSWERS, Kind::Counter, "Responses made by the proxy itself, by response flag."),
    (name::FILTER_FAILURES, Kind::Counter, "Streams for which a filter failed, by reason."),
    (name::TUNNELS, Kind::Counter, "Opaque connections begun."),
    (name::TUNNELS_ACTIVE, Kind::Gauge, "Opaque connections open."),
    (
        name::TUNNEL_FAILURES,
        Kind::Counter,
        "Opaque connections that did not end by both sides' will, by response flag.",
    ),
    (name::TUNNEL_DURATION, Kind::Histogram, "Seconds from the beginning of an opaque connection to its end."),
    (name::TUNNEL_RECEIVED_BYTES, Kind::Counter, "Bytes from clients of opaque connections, counted at their end."),
    (name::TUNNEL_SENT_BYTES, Kind::Counter, "Bytes to clients of opaque connections, counted at their end."),
    (
        name::UPSTREAM_REQUESTS,
        Kind::Counter,
        "Requests sent to the cluster and ended, by class of its answer; none: no answer.",
    ),
    (name::UPSTREAM_ACTIVE, Kind::Gauge, "Requests in flight that the cluster was chosen for."),
    (
        name::UPSTREAM_DURATION,
        Kind::Histogram,
        "Seconds from a request's head to its response's end, for requests sent to the cluster.",
    ),
    (
        name::UPSTREAM_RESETS,
        Kind::Counter,
        "Requests to the cluster cut off before the head of their response, by reason.",
    ),
    (name::CONNECT_ATTEMPTS, Kind::Counter, "Connections to the cluster begun."),
    (name::CONNECT_FAILURES, Kind::Counter, "Connections to the cluster that failed, by reason."),
    (name::CONNECT_DURATION, Kind::Histogram, "Seconds to establish a connection to the cluster."),
    (name::POOL_ACTIVE, Kind::Gauge, "Connections to the cluster that are open, resting ones included."),
    (name::POOL_IDLE, Kind::Gauge, "Connections to the cluster that rest."),
    (name::REPLAYS, Kind::Counter, "Requests sent again on another connection, by why that was allowed."),
    (name::OVERFLOW, Kind::Counter, "Requests refused at a limit of the cluster, by limit."),
    (name::DNS_LOOKUPS, Kind::Counter, "Names looked up."),
    (name::DNS_FAILURES, Kind::Counter, "Look-ups without an answer, by reason."),
    (name::DISCOVERY_REQUESTS, Kind::Counter, "Lists and watches that the API server began to answer, by verb."),
    (name::DISCOVERY_EVENTS, Kind::Counter, "Events of watches, by type."),
    (name::DISCOVERY_FAILURES, Kind::Counter, "Lists and watches that failed, by reason; what was known stays in use."),
    (name::DISCOVERY_ENDPOINTS, Kind::Gauge, "Endpoints in use of a cluster that is a service of Kubernetes."),
    (name::DISCOVERY_HEARD, Kind::Gauge, "Unix time at which the API server last told of the cluster's service."),
    (name::IDENTITY_EXPIRATION, Kind::Gauge, "Unix time at which a certificate ends."),
    (name::IDENTITY_REFRESHES, Kind::Counter, "Identities taken into use, the first included."),
    (
        name::IDENTITY_FAILURES,
        Kind::Counter,
        "Certificates, keys or roots that could not be used; the last good ones stay.",
    ),
    (
        name::IDENTITY_TAKEN_BACK,
        Kind::Gauge,
        "1 while the agent says that the identity in use is none of ours any more; it is used until it ends.",
    ),
    (name::RELOADS, Kind::Counter, "Configurations read after the first, by outcome."),
    (name::RELOAD_SUCCESS, Kind::Gauge, "Whether the last configuration read is in force (1) or was rejected (0)."),
    (name::RELOAD_TIME, Kind::Gauge, "Unix time at which a configuration last came into force."),
    (name::LOG_WRITTEN, Kind::Counter, "Access-log records written."),
    (name::LOG_DROPPED, Kind::Counter, "Access-log records lost, by reason."),
];

/// Gives the recorder in force the kind and help text of every family. Called once, after it is installed.
pub fn describe() {
    with_recorder(|recorder| {
        for &(name, kind, help) in FAMILIES {
            let name = KeyName::from_const_str(name);
            match kind {
                Kind::Counter => recorder.describe_counter(name, None, help.into()),
                Kind::Gauge => recorder.describe_gauge(name, None, help.into()),
                Kind::Histogram => recorder.describe_histogram(name, None, help.into()),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct_and_follow_the_conventions() {
        let mut seen = HashSet::new();
        for (name, kind, help) in FAMILIES {
            assert!(seen.insert(name));
            assert!(name.starts_with("pillion_"));
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}");
        }
    }

    /// A panel that asks for a family that is not there is empty, and nobody is told.
    #[test]
    fn the_dashboard_asks_for_what_there_is() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/dashboards/pillion.json");
        let text = std::fs::read_to_string(file).unwrap();
        let mut asked = 0;
        for (at, _) in text.match_indices("pillion_") {
            let word = |c: char| c.is_ascii_lowercase() || c == '_';
            let name = text[at..].split(|c| !word(c)).next().unwrap();
            // The process's own, by which it knows its pods.
            if name == "pillion_build_info" {
                continue;
            }
            let of = |kind| FAMILIES.iter().any(|(family, known, _)| *known == kind && *family == name);
            let bucket = name.strip_suffix("_bucket").is_some_and(|name| {
                FAMILIES.iter().any(|(family, kind, _)| *kind == Kind::Histogram && *family == name)
            });
            // What only grows is asked for by its rate, and nothing else is.
            let rate = text[..at].ends_with("rate(");
            assert!(if rate { of(Kind::Counter) || bucket } else { of(Kind::Gauge) }, "{name}, rate: {rate}");
            asked += 1;
        }
        assert!(asked >= 10, "{asked}");
    }
}
