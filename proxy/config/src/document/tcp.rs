//! What a listener does with connections that are not HTTP.

use super::{Either, Field, FilterUse, Int, Limit, List, Period, Scalar, Text, WeightedCluster, fields, words};
use crate::model::{Destination, HostPattern, Name, SERVER_FIRST};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;
use std::time::Duration;

/// Where opaque connections go: bytes both ways, untouched. It has one of `cluster` and `clusters`, or only `destinations` or `server_names`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Tcp {
    /// The cluster that gets the connections.
    pub cluster: Text<Name>,
    /// Clusters that share the connections by weight.
    pub clusters: List<WeightedCluster>,
    /// Connections by where they were going, before anything else is looked at; for listeners that capture, and for those on every address. The first that matches wins.
    pub destinations: List<DestinationRoute>,
    /// TLS connections by the server name they ask for (SNI, RFC 6066 §3), passed on still encrypted. The most specific name wins; a name that none matches goes to `cluster`, or is closed where there is none. A client that says nothing for `detect_timeout` is connected to `cluster` then, and goes by the name all the same if it asks for one before that server says anything; not where `filters` of here have heard of it.
    pub server_names: List<ServerNameRoute>,
    /// Silence in both directions after which a connection is closed, and at most a twelfth of it more; `none` or `0s`: no limit. 1h, as Envoy: databases keep quiet connections for long.
    pub idle_timeout: Text<Limit>,
    /// How long the first bytes are waited for where they decide. A client that says nothing is connected to its server then, and is HTTP or TLS all the same if it says so before the server says anything, or whatever it says where that server greets as those of HTTP do (SETTINGS of HTTP/2, `HTTP/`): that is held until the client has spoken (until one of both speaks it counts among the silent, who have half of the cluster's `limits.connections`); one that has begun a ClientHello, or a word that may be a method (`JDWP-Handshake`, `ruok`), or whose name alone decides where it goes, is waited for longer (10s), and closed where nothing comes of it: ports of protocols that begin so belong into `server_first`, or `not_http: pass` is written. 200ms: what speaks first has spoken, and what waits for its server hardly notices.
    pub detect_timeout: Text<Period>,
    /// Ports of protocols whose server speaks first: a connection to one is opaque at once. SMTP, FTP, POP3, IMAP, MySQL and the like.
    pub server_first: List<Scalar<Int<1, 65_535>>>,
    /// What becomes of connections that are not HTTP, or that say nothing in time, where they would get round something: filters, `authorization`, `respond` or `redirect`, `request_headers` of a route, or the 404 where no route takes all requests; with `direction: outbound` around `wasm`, `jwt`, `rate_limit` and `authorization` alone. Where there is nothing of that they pass, unless `refuse` is written: write it where the application believes `X-Forwarded-Client-Cert`, which is taken from HTTP alone (what other protocols say, too, is not HTTP here, and some servers answer it: `GET admin` without version and slash, as Redis has such commands; `get /admin` in small letters without version, as memcached's; RTSP's and ICAP's requests for URLs of their own, and `OPTIONS *`; a method with bytes that no method has; a header of the PROXY protocol before a request, where `proxy_protocol` expects none). Those to a port in `server_first` pass. What has begun like HTTP in time (`GE`) is no such connection: it goes on as HTTP, and has the time that HTTP has. Where `pass` is written and nothing is got round, a first word that no usual method begins with (`JDWP-Handshake`, `ruok`, an empty line) is waited for no longer than `detect_timeout`, and goes to `cluster` then: a client that is slow on purpose brings a request, and the `X-Forwarded-Client-Cert` that it wrote, past HTTP so.
    pub not_http: Field<NotHttp>,
    /// What their bytes pass, in order: wasm filters, or the names of such. Beside `routes`, a client that says nothing is connected, and told to them, once it has spoken: what filters have seen is given to no route. Ports of protocols whose server speaks first belong into `server_first` there.
    pub filters: List<FilterUse>,
}

fields! { Tcp { cluster, clusters, destinations, server_names, idle_timeout, detect_timeout, server_first, not_http, filters } }

/// What becomes of a connection that the judges of requests cannot judge.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum NotHttp {
    /// Closed.
    Refuse,
    /// Passed on unjudged.
    Pass,
}

words! { NotHttp { "refuse" => Refuse, "pass" => Pass } }

impl Default for Tcp {
    fn default() -> Self {
        let ports = SERVER_FIRST.map(|port| Field::of(Scalar(Int(port.into()))));
        Self {
            cluster: Field::ABSENT,
            clusters: Field::ABSENT,
            destinations: Field::ABSENT,
            server_names: Field::ABSENT,
            idle_timeout: Text::scalar(Limit(Some(Duration::from_secs(3600)))),
            detect_timeout: Text::scalar(Period(Duration::from_millis(200))),
            server_first: Field::of(ports.into()),
            not_http: Field::of(NotHttp::Refuse),
            filters: Field::ABSENT,
        }
    }
}

/// Connections to some addresses, and where they go. It has exactly one of `cluster` and `clusters`.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["address"])))]
pub(crate) struct DestinationRoute {
    /// A destination, or a list of which any: `10.0.0.7:5432`, `10.96.0.0/16:6379`, `[2001:db8::/32]:443`, `10.0.0.0/8` (any port), `:9000` (any address).
    pub address: Field<Either<Destination, Vec<Field<Scalar<Destination>>>>>,
    /// The cluster that gets the connections.
    pub cluster: Text<Name>,
    /// Clusters that share the connections by weight.
    pub clusters: List<WeightedCluster>,
}

fields! { DestinationRoute { address, cluster, clusters } }

/// TLS connections that ask for a name, and where they go. It has exactly one of `cluster` and `clusters`.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["name"])))]
pub(crate) struct ServerNameRoute {
    /// A name, or a list of which any: `api.example.com`, `*.example.com` (one label or more before the rest), `*-x.example.com`, `api-*`.
    pub name: Field<Either<HostPattern, Vec<Field<Scalar<HostPattern>>>>>,
    /// The cluster that gets the connections.
    pub cluster: Text<Name>,
    /// Clusters that share the connections by weight.
    pub clusters: List<WeightedCluster>,
}

fields! { ServerNameRoute { name, cluster, clusters } }
