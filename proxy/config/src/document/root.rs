//! What concerns the whole process.

use super::{
    Cluster, Either, Field, Filter, FromText, Identity, Int, Kubernetes, List, Listener, LoopbackRedirect, Mapping,
    Metrics, Percent, Period, Scalar, SourceFilter, Table, Text, fields,
};
use crate::{
    model::{AdminAddress, LogDestination, Workers},
    template::Template,
};
#[cfg(test)]
use schemars::JsonSchema;
use std::{borrow::Cow, net::SocketAddr, time::Duration};

/// The configuration of one Pillion process. Unknown fields are errors; a field left out, or left empty, has its default.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(title = "Pillion configuration", extend("required" = ["listeners"])))]
pub(crate) struct Document {
    /// The ports that are not traffic. Absent: none, since a port nobody asked for is a port nobody guards.
    pub admin: Field<Admin>,
    /// How many threads carry traffic: `auto`, or a number. `auto` follows the cgroup's CPU quota, rounded up, because threads beyond the quota only get throttled; a sidecar with one CPU has one.
    pub workers: Text<Workers>,
    /// Bounds of the whole process.
    pub limits: Field<ProcessLimits>,
    /// How the proxy goes away after SIGTERM, SIGINT or `/quitquitquit`.
    pub drain: Field<Drain>,
    /// One record for each request. Absent: none is written, and it costs nothing.
    pub access_log: Field<AccessLog>,
    /// How metrics are told. Absent: as they are named.
    pub metrics: Field<Metrics>,
    /// How host names of endpoints become addresses.
    pub dns: Field<Dns>,
    /// How services of Kubernetes become addresses. Only looked at where a cluster has `service`.
    pub kubernetes: Field<Kubernetes>,
    /// Who this workload is to its peers, and whom it believes. Absent: TLS with certificates of its own only.
    pub identity: Field<Identity>,
    /// Loopback traffic past the kernel's TCP path. Absent: everything goes through TCP, and it costs nothing.
    pub redirect: Field<LoopbackRedirect>,
    /// Whose packets come in at all, by source address. Absent: everybody's, and it costs nothing.
    pub source_filter: Field<SourceFilter>,
    /// What wasm filters are told of the workload they serve (`xds.node`). Absent: the machine's name alone.
    pub node: Field<Node>,
    /// What holds for all that is captured. Absent: as its fields' defaults say, where a listener captures.
    pub capture: Field<CaptureSettings>,
    /// Where connections are accepted. At least one.
    pub listeners: List<Listener>,
    /// Where requests go. May be left out when every route answers by itself.
    pub clusters: List<Cluster>,
    /// Filters that several listeners and routes use by their names.
    pub filters: List<Filter>,
}

fields! { Document { admin, workers, limits, drain, access_log, metrics, dns, kubernetes, identity, redirect, source_filter, node, capture, listeners, clusters, filters } }

impl Default for Document {
    fn default() -> Self {
        Self {
            admin: Field::ABSENT,
            workers: Text::scalar(Workers::Auto),
            limits: Field::ABSENT,
            drain: Field::ABSENT,
            access_log: Field::ABSENT,
            metrics: Field::ABSENT,
            dns: Field::ABSENT,
            kubernetes: Field::ABSENT,
            identity: Field::ABSENT,
            redirect: Field::ABSENT,
            source_filter: Field::ABSENT,
            node: Field::ABSENT,
            capture: Field::ABSENT,
            listeners: Field::ABSENT,
            clusters: Field::ABSENT,
            filters: Field::ABSENT,
        }
    }
}

/// What wasm filters are told of the workload they serve.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Node {
    /// Its name: `xds.node.id`. Absent: the machine's name.
    pub id: Text<String>,
    /// What it is one of: `xds.node.cluster`.
    pub cluster: Text<String>,
    /// What else there is to know, a mapping: `xds.node.metadata`. Filters of Istio look for NAME, NAMESPACE, WORKLOAD_NAME, LABELS and others.
    pub metadata: Field<Mapping>,
}

fields! { Node { id, cluster, metadata } }

impl Default for Node {
    fn default() -> Self {
        Self { id: Field::ABSENT, cluster: Text::scalar(String::new()), metadata: Field::ABSENT }
    }
}

/// What holds for all that is captured.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct CaptureSettings {
    /// Whether the proxy connects to a reserved address at start, to see that an outbound listener with `capture: redirect`, and one with `capture: agent`, gets the connection, and is not ready before it does. `true`: traffic that silently bypasses the proxy is worse than none.
    pub prove: Field<bool>,
    /// The reserved port on loopback, as given to `pillion redirect rules install --probe-port`. 15099.
    pub probe_port: Text<Int<1, 65_535>>,
    /// The same for what comes in: the reserved port on loopback at which a listener with `capture: agent` gets the connection. 15098.
    pub inbound_probe_port: Text<Int<1, 65_535>>,
    /// Ports that a listener with `capture: agent` does not get, such as `[22, 9100]`: what comes in for them goes to whoever listens there, past the proxy. Those of `admin.probes` and of listeners that are reached from outside are left out in any case; together at most 64.
    pub exclude_inbound_ports: List<Scalar<Int<1, 65_535>>>,
    /// Mark of the proxy's upstream connections (SO_MARK), by which rules leave them alone. Needs CAP_NET_ADMIN. Absent: none, and rules tell them by user.
    pub mark: Text<Int<1, { u32::MAX as u64 }>>,
}

fields! { CaptureSettings { prove, probe_port, inbound_probe_port, exclude_inbound_ports, mark } }

impl Default for CaptureSettings {
    fn default() -> Self {
        Self {
            prove: Field::of(true),
            probe_port: Text::scalar(Int(15_099)),
            inbound_probe_port: Text::scalar(Int(15_098)),
            exclude_inbound_ports: Field::ABSENT,
            mark: Field::ABSENT,
        }
    }
}

/// The ports that are not traffic.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Admin {
    /// Reads and changes, for an operator on this machine: a loopback address such as `127.0.0.1:15000`, or a Unix socket such as `unix:/run/pillion.sock` (created with mode 0600). Never an address of the network.
    pub address: Text<AdminAddress>,
    /// Health and metrics, read-only, for kubelets and scrapers, such as `0.0.0.0:15020`.
    pub probes: Text<SocketAddr>,
}

fields! { Admin { address, probes } }

/// Bounds of the whole process.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct ProcessLimits {
    /// Downstream connections over all listeners; more wait in the kernel's queue, and so do those for which the process has too few file descriptors: each needs a second one for its server. 8000 leaves half of the common descriptor limit of 16384 and more for upstream connections, and at some 30 KiB each stays within 256 MiB.
    pub connections: Text<Int<1, 10_000_000>>,
    /// TLS handshakes of each worker that may wait for its CPU; one more is refused. 500: at a third of a millisecond each the last waits less than a fifth of a second.
    pub tls_handshakes: Text<Int<1, 1_000_000>>,
    /// Share of the cgroup's memory limit above which idle connections are closed. 85% leaves time before the next step.
    pub memory_shrink: Text<Percent>,
    /// Share of the cgroup's memory limit above which new connections are refused, and new requests of those that live answered 503. The wasm filter whose machine has grown most since its start is started again 3% before that, one a second, but not before `memory_shrink`; and machines may grow no further than to here. 95%: the rest is for requests in flight, so that the kernel need not kill.
    pub memory_refuse: Text<Percent>,
}

fields! { ProcessLimits { connections, tls_handshakes, memory_shrink, memory_refuse } }

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            connections: Text::scalar(Int(8000)),
            tls_handshakes: Text::scalar(Int(500)),
            memory_shrink: Text::scalar(Percent(85)),
            memory_refuse: Text::scalar(Percent(95)),
        }
    }
}

/// How the proxy goes away.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Drain {
    /// Time between failing readiness and closing the listeners. 0s, because only a load balancer that polls readiness needs longer: then a few of its polling intervals.
    pub delay: Text<Duration>,
    /// Time after which what is still in flight is cut; the proxy exits earlier when it is idle. 25s, so that the end comes before the kill that Kubernetes sends after 30 s.
    pub deadline: Text<Duration>,
}

fields! { Drain { delay, deadline } }

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Text::scalar(Duration::ZERO), deadline: Text::scalar(Duration::from_secs(25)) }
    }
}

/// One record for each request.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct AccessLog {
    /// `stdout`, or the path of a file, which is appended to and opened anew on SIGUSR1. What a named pipe is given while nobody reads it is lost, and counted.
    pub path: Text<LogDestination>,
    /// `json` (one object a line: the fields of `text` by name, and the client's SPIFFE ID), `text` (one line, much as Envoy's), or a format of your own. The columns of `text`: `[time]` "method path protocol" status flags bytes_received bytes_sent duration_ms response_ms "forwarded_for" "user_agent" "request_id" "authority" "upstream_host" cluster route client details terminated_by; a `-` stands for what is not there.
    pub format: Field<Either<FormatWord, Format>>,
    /// Records that may wait for the writer; one more is dropped and counted. 8192 is a second of heavy traffic in some 4 MiB.
    pub queue: Text<Int<1, 1_000_000>>,
}

fields! { AccessLog { path, format, queue } }

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            path: Text::scalar(LogDestination::Stdout),
            format: Field::of(Either::Short(FormatWord::Json)),
            queue: Text::scalar(Int(8192)),
        }
    }
}

/// A format that needs no writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormatWord {
    Json,
    Text,
}

impl FromText for FormatWord {
    fn words() -> Cow<'static, str> {
        "json, text, or a mapping with one of them".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other if other.contains('%') => Err(Self::expected(other, "write a format of your own as {text: \"…\"}")),
            other => Err(Self::expected(other, "")),
        }
    }
}

/// A format of your own: exactly one of the two.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Format {
    /// One line of text with variables, such as `%REQ(:METHOD)% %RESPONSE_CODE%`.
    pub text: Text<Template>,
    /// Names and values with variables. A variable alone keeps its type, so that numbers stay numbers.
    pub json: Field<Table<String, crate::document::Scalar<Template>>>,
}

fields! { Format { text, json } }

/// How host names of endpoints become addresses.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Dns {
    /// Servers to ask, such as `10.96.0.10:53`. None: those of /etc/resolv.conf. That file is read for the first question, and again when it is another than it was: looked at whenever a question fails, at each reload and at SIGHUP. /etc/hosts, which is asked first, is read each time a name is due, `max_refresh` apart at most, and where it changed at each reload and SIGHUP.
    pub servers: List<crate::document::Scalar<SocketAddr>>,
    /// Least time between two look-ups of a name, whatever its TTL says. 1s: a TTL of 0 shall not make a flood.
    pub min_refresh: Text<Period>,
    /// Most time between two look-ups of a name, whatever its TTL says. 5m: a moved service is found within minutes.
    pub max_refresh: Text<Period>,
    /// Time one look-up may take. 5s, as resolv.conf(5); the last good answer serves meanwhile.
    pub timeout: Text<Period>,
}

fields! { Dns { servers, min_refresh, max_refresh, timeout } }

impl Default for Dns {
    fn default() -> Self {
        let seconds = |seconds| Text::scalar(Period(Duration::from_secs(seconds)));
        Self { servers: Field::ABSENT, min_refresh: seconds(1), max_refresh: seconds(300), timeout: seconds(5) }
    }
}
