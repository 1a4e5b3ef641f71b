//! Clusters: where requests go.

use super::{Bytes, ClusterTls, Either, Field, Int, List, Namespaces, Off, Period, Service, Text, fields, words};
use crate::model::{EndpointAddress, Name, ServiceRef, SpiffeId};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;
use std::time::Duration;

/// A group of endpoints that serve the same thing. It has one of `endpoints`, `service` and `original_destination`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["name"])))]
pub(crate) struct Cluster {
    /// Its name, in routes, logs and metrics; unique among clusters.
    pub name: Text<Name>,
    /// Where it lives: `host:port`, or a mapping with a weight. A host name stands for all of its addresses. At least one, unless there is `service` or `original_destination`.
    pub endpoints: List<Either<EndpointAddress, Endpoint>>,
    /// Instead of endpoints: a service of Kubernetes, whose ready pods are found by its EndpointSlices: `api.shop:http`, or a mapping with who is there.
    pub service: Field<Either<ServiceRef, Service>>,
    /// Instead of endpoints: it lives wherever a captured connection was going. For listeners with `capture`.
    pub original_destination: Field<OriginalDestination>,
    /// How an endpoint is picked. `least-request`: slow endpoints get less without being told.
    pub balance: Field<Balance>,
    /// What is spoken to it. `http1`: every server understands it.
    pub protocol: Field<Protocols>,
    /// TLS. Absent: it is spoken to in the clear.
    pub tls: Field<ClusterTls>,
    /// The PROXY protocol, by which its servers learn who the client is. Absent: they are told by HTTP's headers, or not at all. A connection then serves the requests of one client connection only.
    pub proxy_protocol: Field<Announcement>,
    /// Time a connection may take to be established. 5s bears two lost SYNs, which are sent again after 1 and 3 s.
    pub connect_timeout: Text<Period>,
    /// TCP keepalive on its connections; `off` for none. Absent: as its fields' defaults say.
    pub tcp_keepalive: Field<Either<Off, Keepalive>>,
    /// Time a pooled connection may rest before it is closed. 4s, below the 5 s after which Node.js closes: the side that closes first must be the proxy, or requests are lost in the race. Raise it where the server keeps connections longer.
    pub idle_timeout: Text<Period>,
    /// Resting HTTP/1.1 connections kept by each worker. 64: a burst's connections are not kept for ever.
    pub idle_connections: Text<Int<0, 65_535>>,
    /// Bounds over all workers.
    pub limits: Field<ClusterLimits>,
    /// What wasm filters are told of it, as a route's `metadata`: `xds.cluster_metadata`.
    pub metadata: Field<Box<Namespaces>>,
}

fields! { Cluster { name, endpoints, service, original_destination, balance, protocol, tls, proxy_protocol, connect_timeout, tcp_keepalive, idle_timeout, idle_connections, limits, metadata } }

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: Field::ABSENT,
            endpoints: Field::ABSENT,
            service: Field::ABSENT,
            original_destination: Field::ABSENT,
            balance: Field::of(Balance::LeastRequest),
            protocol: Field::of(Protocols::Http1),
            tls: Field::ABSENT,
            proxy_protocol: Field::ABSENT,
            connect_timeout: Text::scalar(Period(Duration::from_secs(5))),
            tcp_keepalive: Field::ABSENT,
            idle_timeout: Text::scalar(Period(Duration::from_secs(4))),
            idle_connections: Text::scalar(Int(64)),
            limits: Field::ABSENT,
            metadata: Field::ABSENT,
        }
    }
}

/// Where a captured connection is passed on to.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct OriginalDestination {
    /// Which address; the port is the original one. `original`: what passes through goes where it was going.
    pub address: Field<OriginalAddress>,
    /// Whose address the server sees. `proxy`: `client` needs CAP_NET_ADMIN, `address: original`, `capture.mark`, and the return route that `pillion redirect rules install --inbound-mode tproxy` makes.
    pub source: Field<Source>,
}

fields! { OriginalDestination { address, source } }

impl Default for OriginalDestination {
    fn default() -> Self {
        Self { address: Field::of(OriginalAddress::Original), source: Field::of(Source::Proxy) }
    }
}

/// Which address of a captured connection's destination is connected to.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum OriginalAddress {
    /// The original one.
    Original,
    /// 127.0.0.1 or ::1, by its family: the application beside the proxy, and whatever else there means to be reached by nobody but its neighbours, the admin address and `capture.probe_port` excepted.
    Loopback,
}

words! { OriginalAddress { "original" => Original, "loopback" => Loopback } }

/// Whose address a server sees.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Source {
    /// The proxy's.
    Proxy,
    /// The client's (IP_TRANSPARENT); the port is the kernel's choice. Not between link-local addresses of IPv6: where either end has one, requests are answered 503.
    Client,
}

words! { Source { "proxy" => Proxy, "client" => Client } }

/// An endpoint and its share.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["address"])))]
pub(crate) struct Endpoint {
    /// Its address or name, and port: `10.0.0.7:8080`, `[2001:db8::7]:8080`, `api.local:8080`.
    pub address: Text<EndpointAddress>,
    /// Its share relative to its siblings. 1: all alike.
    pub weight: Text<Int<1, 1_000_000>>,
    /// The SPIFFE ID of the workload there, for clusters whose `tls` is `mutual-if-identity`. Absent: it is spoken to in the clear, also where another endpoint at the same address has one.
    pub identity: Text<SpiffeId>,
    /// What wasm filters are told of it once it is chosen, as a route's `metadata`: `xds.upstream_host_metadata`. A host name's addresses have it all. Of two endpoints with one address it is the first one's that has some.
    pub metadata: Field<Box<Namespaces>>,
}

fields! { Endpoint { address, weight, identity, metadata } }

impl Default for Endpoint {
    fn default() -> Self {
        Self { address: Field::ABSENT, weight: Text::scalar(Int(1)), identity: Field::ABSENT, metadata: Field::ABSENT }
    }
}

/// How an endpoint is picked.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Balance {
    /// Two by chance, by weight; the one with fewer requests in flight for its weight.
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
    /// By chance, by weight.
    Random,
}

words! { Balance { "least-request" => LeastRequest, "round-robin" => RoundRobin, "random" => Random } }

/// What is spoken to a cluster.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Protocols {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge, as gRPC servers want it.
    Http2,
    /// HTTP/2 for requests that came by HTTP/2, HTTP/1.1 for the others; in the clear also for those where the server answers HTTP/2's preface by something else, gRPC excepted.
    SameAsDownstream,
}

words! { Protocols { "http1" => Http1, "http2" => Http2, "same-as-downstream" => SameAsDownstream } }

/// The PROXY protocol header that begins each connection to a cluster, before TLS.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Announcement {
    /// The version written. `v2`: binary, and it has fields.
    pub version: Field<AnnouncementVersion>,
    /// What version 2 says beside the addresses, where it is known. Nothing by default.
    pub fields: List<AnnouncedField>,
}

fields! { Announcement { version, fields } }

impl Default for Announcement {
    fn default() -> Self {
        Self { version: Field::of(AnnouncementVersion::V2), fields: Field::ABSENT }
    }
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum AnnouncementVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

words! { AnnouncementVersion { "v1" => V1, "v2" => V2 } }

/// A field (TLV) of a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum AnnouncedField {
    /// The server name that the client asked for (PP2_TYPE_AUTHORITY).
    Authority,
    /// The application protocol agreed upon with the client (PP2_TYPE_ALPN).
    Alpn,
    /// Whether the client spoke TLS and showed a certificate, version and cipher (PP2_TYPE_SSL); what a proxy before this one says of it, where TLS ends there.
    Tls,
    /// The name a proxy before this one gave the connection, or one made here (PP2_TYPE_UNIQUE_ID).
    UniqueId,
    /// A checksum over the header (PP2_TYPE_CRC32C).
    Checksum,
}

words! { AnnouncedField { "authority" => Authority, "alpn" => Alpn, "tls" => Tls, "unique-id" => UniqueId, "checksum" => Checksum } }

/// TCP keepalive.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Keepalive {
    /// Silence before the first probe, in whole seconds. 60s: shorter than the idle limits of cloud load balancers and NAT (from 120 s).
    pub time: Text<Period>,
    /// Time between probes, in whole seconds. 10s, so that with six probes a dead peer is known after two minutes.
    pub interval: Text<Period>,
    /// Unanswered probes after which the connection is dead. 6, as above.
    pub probes: Text<Int<1, 127>>,
}

fields! { Keepalive { time, interval, probes } }

impl Default for Keepalive {
    fn default() -> Self {
        let seconds = |seconds| Text::scalar(Period(Duration::from_secs(seconds)));
        Self { time: seconds(60), interval: seconds(10), probes: Text::scalar(Int(6)) }
    }
}

/// Bounds of a cluster over all workers. A request beyond one is answered with 503 and the flag UO.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct ClusterLimits {
    /// Connections open at once. 1024, as Envoy: a cluster in trouble takes no more descriptors than that. Half of them at most, and of `requests`, rounded up, may be such of `tcp` on which neither client nor server has said anything, where HTTP or TLS is still listened for: more have no server, are heard for 10s all the same and closed with UO then, and whoever is silent keeps nobody out who is not.
    pub connections: Text<Int<1, 1_000_000>>,
    /// Requests waiting for a connection at once. 1024, as Envoy.
    pub pending: Text<Int<0, 1_000_000>>,
    /// Requests in flight at once. 1024, as Envoy.
    pub requests: Text<Int<1, 1_000_000>>,
    /// Header fields in a response. 100, as for requests.
    pub headers: Text<Int<1, 1000>>,
    /// Bytes of a response's head. 64KiB: servers are trusted with more than clients, and some set many cookies.
    pub header_bytes: Text<Bytes<1024, { 1 << 20 }>>,
}

fields! { ClusterLimits { connections, pending, requests, headers, header_bytes } }

impl Default for ClusterLimits {
    fn default() -> Self {
        Self {
            connections: Text::scalar(Int(1024)),
            pending: Text::scalar(Int(1024)),
            requests: Text::scalar(Int(1024)),
            headers: Text::scalar(Int(100)),
            header_bytes: Text::scalar(Bytes(64 << 10)),
        }
    }
}
