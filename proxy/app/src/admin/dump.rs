//! The configuration in force as JSON, with what could be a secret redacted. Pure.
//!
//! Structs are taken apart by name, so that a field added to the model does not compile until it is shown here.

mod authorization;
mod filters;
mod proxy;
mod tls;

use super::pages::seconds;
use crate::reload::{History, Outcome};
use pillion_config::{
    model::*,
    template::{Part, RequestField, Template, Variable},
};
use serde_json::{Map, Value, json};
use std::{fmt::Write as _, sync::Arc, time::Duration};

/// What stands where a secret could.
const REDACTED: &str = "[redacted]";

/// What is neither listener nor cluster.
pub(super) fn settings(config: &Config) -> Value {
    let Config {
        admin,
        workers,
        limits,
        drain,
        access_log,
        dns,
        kubernetes,
        identity,
        redirect,
        capture,
        listeners: _,
        clusters: _,
        filters,
    } = config;
    let CaptureSettings { prove, probe_port, mark } = capture;
    let Admin { address, probes } = admin;
    let ProcessLimits { connections, tls_handshakes, memory_shrink_percent, memory_refuse_percent } = limits;
    let Drain { delay, deadline } = drain;
    let Kubernetes { zone, prefer, server, service_account, timeout: first_answer } = kubernetes;
    let Dns { servers, min_refresh, max_refresh, timeout } = dns;
    let address = address.as_ref().map(|address| match address {
        AdminAddress::Tcp(address) => address.to_string(),
        AdminAddress::Unix(path) => format!("unix:{}", path.display()),
    });
    json!({
        "admin": { "address": address, "probes": probes.map(|probes| probes.to_string()) },
        "workers": match workers {
            Workers::Auto => json!("auto"),
            Workers::Count(count) => json!(count.get()),
        },
        "limits": {
            "connections": connections,
            "tls_handshakes": tls_handshakes,
            "memory_shrink_percent": memory_shrink_percent,
            "memory_refuse_percent": memory_refuse_percent,
        },
        "drain": { "delay": time(*delay), "deadline": time(*deadline) },
        "access_log": access_log.as_ref().map(access_log_of),
        "dns": {
            "servers": servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "min_refresh": time(*min_refresh),
            "max_refresh": time(*max_refresh),
            "timeout": time(*timeout),
        },
        "kubernetes": {
            "zone": zone.as_ref().map(ToString::to_string),
            "prefer": match prefer {
                Family::Ipv4 => "ipv4",
                Family::Ipv6 => "ipv6",
            },
            "server": server.as_ref().map(ToString::to_string),
            "service_account": service_account,
            "timeout": time(*first_answer),
        },
        "identity": identity.as_ref().map(tls::identity),
        "redirect": redirect.as_ref().map(redirect_of),
        "capture": { "prove": *prove == Prove::Required, "probe_port": probe_port, "mark": mark },
        "filters": filters.iter().map(|filter| filters::filter(filter)).collect::<Vec<_>>(),
    })
}

/// How reloads went.
pub(super) fn history(history: &History) -> Value {
    let last = history.last.as_ref().map(|attempt| {
        let (outcome, detail) = match &attempt.outcome {
            Outcome::Applied(changes) => ("applied", changes.to_string()),
            Outcome::Unchanged => ("unchanged", String::new()),
            Outcome::Rejected(reasons) => ("rejected", reasons.clone()),
        };
        json!({ "at": seconds(attempt.at), "outcome": outcome, "detail": detail })
    });
    json!({ "applied": history.applied, "rejected": history.rejected, "last": last })
}

fn redirect_of(redirect: &LoopbackRedirect) -> Value {
    let LoopbackRedirect { instance, cgroup, large_messages, waived, outbound } = redirect;
    json!({
        "instance": instance.as_str(),
        "cgroup": cgroup,
        "large_messages": large_messages,
        "waive": waived,
        "outbound": outbound.as_ref().map(|RedirectOutbound { port, exclude, exclude_ports }| json!({
            "port": port,
            "exclude": exclude.iter().map(|Cidr { address, prefix }| format!("{address}/{prefix}")).collect::<Vec<_>>(),
            "exclude_ports": exclude_ports,
        })),
    })
}

/// A listener, routes included.
pub(super) fn listener(listener: &Listener, clusters: &[Arc<Cluster>]) -> Value {
    let Listener {
        name,
        address,
        direction,
        capture,
        probe_port,
        port_sharing,
        backlog,
        connections,
        max_connection_age,
        proxy_protocol,
        tls,
        authorization,
        protocol,
        http,
        routes,
    } = listener;
    json!({
        "name": name.as_str(),
        "address": address.to_string(),
        "direction": match direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        },
        "capture": match capture {
            Capture::Off => "off",
            Capture::Redirect => "redirect",
            Capture::Tproxy => "tproxy",
        },
        "probe_port": probe_port,
        "share_port": *port_sharing == PortSharing::Shared,
        "backlog": backlog,
        "connections": connections,
        "max_connection_age": max_connection_age.map(time),
        "proxy_protocol": proxy_protocol.as_ref().map(proxy::listener),
        "tls": tls.as_ref().map(tls::listener),
        "authorization": authorization.as_ref().map(authorization::of),
        "tcp": protocol.tcp().map(|tcp| tcp_of(tcp, clusters)),
        "http": (!matches!(protocol, ListenerProtocol::Opaque(_))).then(|| http_of(http)),
        "routes": routes.iter().map(|route| route_of(route, clusters)).collect::<Vec<_>>(),
    })
}

/// A cluster.
pub(super) fn cluster(cluster: &Cluster) -> Value {
    let Cluster {
        name,
        endpoints,
        original_destination,
        mark,
        balance,
        protocol,
        tls,
        proxy_protocol,
        connect_timeout,
        tcp_keepalive,
        idle_timeout,
        idle_connections,
        circuit,
        header_bytes,
        headers,
    } = cluster;
    let Circuit { connections, pending, requests } = circuit;
    let endpoint = |Endpoint { address, weight, identity }: &Endpoint| json!({ "address": address.to_string(), "weight": weight, "identity": identity.as_ref().map(ToString::to_string) });
    json!({
        "name": name.as_str(),
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "original_destination": original_destination.map(|OriginalDestination { address, source }| {
            json!({
                "address": match address {
                    OriginalAddress::Original => "original",
                    OriginalAddress::Loopback => "loopback",
                },
                "source": match source {
                    Source::Proxy => "proxy",
                    Source::Client => "client",
                },
            })
        }),
        "mark": mark,
        "balance": match balance {
            Balance::RoundRobin => "round-robin",
            Balance::Random => "random",
            Balance::LeastRequest => "least-request",
        },
        "protocol": match protocol {
            UpstreamProtocol::Http1 => "http1",
            UpstreamProtocol::Http2 => "http2",
            UpstreamProtocol::SameAsDownstream => "same-as-downstream",
        },
        "tls": tls.as_ref().map(tls::cluster),
        "proxy_protocol": proxy_protocol.as_ref().map(proxy::cluster),
        "connect_timeout": time(*connect_timeout),
        "tcp_keepalive": tcp_keepalive.map(|TcpKeepalive { time: silence, interval, probes }| {
            json!({ "time": time(silence), "interval": time(interval), "probes": probes })
        }),
        "idle_timeout": time(*idle_timeout),
        "idle_connections": idle_connections,
        "circuit": { "connections": connections, "pending": pending, "requests": requests },
        "limits": { "header_bytes": header_bytes, "headers": headers },
    })
}

fn access_log_of(AccessLog { destination, format, queue }: &AccessLog) -> Value {
    json!({
        "destination": match destination {
            LogDestination::Stdout => "stdout".to_owned(),
            LogDestination::File(path) => path.display().to_string(),
        },
        "format": match format {
            LogFormat::Text(line) => json!({ "text": template(line) }),
            LogFormat::Json(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), template(value).into()));
                json!({ "json": fields.collect::<Map<_, _>>() })
            }
        },
        "queue": queue,
    })
}

fn tcp_of(tcp: &Tcp, clusters: &[Arc<Cluster>]) -> Value {
    let Tcp { clusters: targets, destinations, server_names, idle_timeout, detect_timeout, server_first, filters } =
        tcp;
    let by_name = |ServerNameRoute { names, clusters: targets }: &ServerNameRoute| {
        json!({
            "names": names.iter().map(host).collect::<Vec<_>>(),
            "forward": targets_of(targets, clusters),
        })
    };
    let by_address = |DestinationRoute { destinations, clusters: targets }: &DestinationRoute| {
        json!({
            "destinations": destinations.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "forward": targets_of(targets, clusters),
        })
    };
    json!({
        "forward": targets_of(targets, clusters),
        "destinations": destinations.iter().map(by_address).collect::<Vec<_>>(),
        "server_names": server_names.iter().map(by_name).collect::<Vec<_>>(),
        "idle_timeout": idle_timeout.map(time),
        "detect_timeout": time(*detect_timeout),
        "server_first": server_first,
        "filters": chain(filters.as_deref()),
    })
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn targets_of(targets: &[WeightedCluster], clusters: &[Arc<Cluster>]) -> Value {
    let target = |WeightedCluster { cluster, weight }: &WeightedCluster| json!({ "cluster": clusters.get(cluster.0).map(|cluster| cluster.name.as_str()), "weight": weight });
    targets.iter().map(target).collect()
}

fn cidr(Cidr { address, prefix }: &Cidr) -> String {
    format!("{address}/{prefix}")
}

fn http_of(http: &Http) -> Value {
    let Http { limits, timeouts, http2, path, forwarding, underscores, connect } = http;
    let HttpLimits { headers, header_bytes, target_bytes } = limits;
    let HttpTimeouts { idle, header, body, write } = timeouts;
    let PathPolicy { resolve_dots, merge_slashes, escaped_slashes } = path;
    let Forwarding { x_forwarded, forwarded, via, request_id, trusted, trusted_hops, strip_identity } = forwarding;
    let mode = |mode: &ForwardingMode| match mode {
        ForwardingMode::Off => "off",
        ForwardingMode::Append => "append",
    };
    json!({
        "limits": { "headers": headers, "header_bytes": header_bytes, "target_bytes": target_bytes },
        "timeouts": { "idle": time(*idle), "header": time(*header), "body": time(*body), "write": time(*write) },
        "http2": http2_of(http2),
        "path": {
            "resolve_dots": resolve_dots,
            "merge_slashes": merge_slashes,
            "escaped_slashes": match escaped_slashes {
                EscapedSlashes::Keep => "keep",
                EscapedSlashes::Reject => "reject",
                EscapedSlashes::Decode => "decode",
            },
        },
        "forwarding": {
            "x_forwarded": mode(x_forwarded),
            "forwarded": mode(forwarded),
            "via": via,
            "request_id": match request_id {
                RequestId::Pass => "pass",
                RequestId::Generate => "generate",
            },
            "trusted": trusted.iter().map(cidr).collect::<Vec<_>>(),
            "trusted_hops": trusted_hops,
            "strip_identity": strip_identity,
        },
        "underscores": match underscores {
            Underscores::Accept => "accept",
            Underscores::Reject => "reject",
        },
        "connect": match connect {
            Connect::Refuse => "refuse",
            Connect::Allow => "allow",
        },
    })
}

fn http2_of(http2: &Http2) -> Value {
    let Http2 {
        streams,
        stream_window,
        connection_window,
        flood_window,
        resets,
        reset_by_us,
        pings,
        settings,
        empty_data,
        window_updates,
        priorities,
        continuations,
    } = http2;
    json!({
        "streams": streams,
        "stream_window": stream_window,
        "connection_window": connection_window,
        "flood_window": time(*flood_window),
        "resets": resets,
        "reset_by_us": reset_by_us,
        "pings": pings,
        "settings": settings,
        "empty_data": empty_data,
        "window_updates": window_updates,
        "priorities": priorities,
        "continuations": continuations,
    })
}

fn match_of(RouteMatch { hosts, destinations, path, methods, headers, query }: &RouteMatch) -> Value {
    let header = |HeaderMatch { name, value, invert }: &HeaderMatch| json!({ "name": name.as_str(), "value": value_of(name.as_str(), value), "invert": invert });
    let parameter = |QueryMatch { name, value }: &QueryMatch| json!({ "name": name, "value": value_of(name, value) });
    json!({
        "hosts": hosts.iter().map(host).collect::<Vec<_>>(),
        "destinations": destinations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "path": match path {
            PathMatch::Exact(path) => json!({ "exact": path }),
            PathMatch::Prefix(path) => json!({ "prefix": path }),
            PathMatch::Regex(regex) => json!({ "regex": regex.as_str() }),
        },
        "methods": methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "headers": headers.iter().map(header).collect::<Vec<_>>(),
        "query": query.iter().map(parameter).collect::<Vec<_>>(),
    })
}

fn route_of(route: &Route, clusters: &[Arc<Cluster>]) -> Value {
    let Route {
        name,
        matcher,
        authorization,
        action,
        rewrite,
        request_headers,
        response_headers,
        timeout,
        idle_timeout,
        upgrades,
        filters,
    } = route;
    json!({
        "name": name.as_str(),
        "match": match_of(matcher),
        "authorization": authorization.as_deref().map(authorization::of),
        "action": action_of(action, clusters),
        "rewrite": rewrite_of(rewrite),
        "request_headers": request_headers.iter().map(change_of).collect::<Vec<_>>(),
        "response_headers": response_headers.iter().map(change_of).collect::<Vec<_>>(),
        "timeout": timeout.map(time),
        "idle_timeout": idle_timeout.map(time),
        "upgrades": upgrades,
        "filters": chain(filters.as_deref()),
    })
}

/// By their places in the list of filters.
fn chain(filters: Option<&[FilterIndex]>) -> Vec<usize> {
    filters.unwrap_or_default().iter().map(|FilterIndex(at)| *at).collect()
}

fn value_of(name: &str, value: &ValueMatch) -> Value {
    match value {
        ValueMatch::Present => json!("present"),
        ValueMatch::Exact(_) | ValueMatch::Prefix(_) | ValueMatch::Regex(_) if is_secret(name) => json!(REDACTED),
        ValueMatch::Exact(value) => json!({ "exact": value }),
        ValueMatch::Prefix(value) => json!({ "prefix": value }),
        ValueMatch::Regex(regex) => json!({ "regex": regex.as_str() }),
    }
}

fn action_of(action: &Action, clusters: &[Arc<Cluster>]) -> Value {
    match action {
        Action::Forward(targets) => {
            json!({ "forward": targets_of(targets, clusters) })
        }
        Action::Redirect(Redirect { status, scheme, host, port, path, strip_query }) => json!({ "redirect": {
            "status": status.as_u16(),
            "scheme": scheme.map(|scheme| match scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            }),
            "host": host,
            "port": port,
            "path": path.as_ref().map(|path| match path {
                RedirectPath::Full(path) => json!({ "full": path }),
                RedirectPath::Prefix(path) => json!({ "prefix": path }),
            }),
            "strip_query": strip_query,
        }}),
        Action::Respond(DirectResponse { status, body, content_type }) => json!({ "respond": {
            "status": status.as_u16(),
            "body_bytes": body.len(),
            "content_type": String::from_utf8_lossy(content_type.as_bytes()),
        }}),
    }
}

fn rewrite_of(Rewrite { path, host }: &Rewrite) -> Value {
    json!({
        "path": match path {
            PathRewrite::Keep => json!("keep"),
            PathRewrite::Prefix(path) => json!({ "prefix": path }),
            PathRewrite::Full(path) => json!({ "full": path }),
            PathRewrite::Regex(regex, to) => json!({ "regex": regex.as_str(), "to": to }),
        },
        "host": match host {
            HostRewrite::Keep => json!("keep"),
            HostRewrite::Literal(host) => json!(String::from_utf8_lossy(host.as_bytes())),
            HostRewrite::Endpoint => json!("endpoint"),
        },
    })
}

fn change_of(change: &HeaderChange) -> Value {
    let shown = |name: &str, value: &Template| if is_secret(name) { REDACTED.to_owned() } else { template(value) };
    match change {
        HeaderChange::Set(name, value) => json!({ "set": name.as_str(), "value": shown(name.as_str(), value) }),
        HeaderChange::Append(name, value) => json!({ "append": name.as_str(), "value": shown(name.as_str(), value) }),
        HeaderChange::Remove(name) => json!({ "remove": name.as_str() }),
    }
}

/// Whether a header or parameter of this name usually carries a credential.
fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 9] =
        ["auth", "cookie", "token", "secret", "passw", "credential", "key", "signature", "session"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

fn time(time: Duration) -> String {
    if time.is_zero() { "0s".to_owned() } else { format!("{time:?}") }
}

/// A template in the notation it is written in.
fn template(Template(parts): &Template) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Literal(text) => out.push_str(&text.replace('%', "%%")),
            Part::Variable(variable, limit) => {
                out.push('%');
                out.push_str(&variable_name(variable));
                if let Some(limit) = limit {
                    write!(out, ":{limit}").ok();
                }
                out.push('%');
            }
        }
    }
    out
}

fn variable_name(variable: &Variable) -> String {
    let plain = match variable {
        Variable::RequestHeader(field, None) => return format!("REQ({})", field_name(field)),
        Variable::RequestHeader(field, Some(other)) => {
            return format!("REQ({}?{})", field_name(field), field_name(other));
        }
        Variable::ResponseHeader(name) => return format!("RESP({name})"),
        Variable::ResponseTrailer(name) => return format!("TRAILER({name})"),
        Variable::StartTime => "START_TIME",
        Variable::Protocol => "PROTOCOL",
        Variable::ResponseCode => "RESPONSE_CODE",
        Variable::ResponseCodeDetails => "RESPONSE_CODE_DETAILS",
        Variable::ResponseFlags => "RESPONSE_FLAGS",
        Variable::BytesReceived => "BYTES_RECEIVED",
        Variable::BytesSent => "BYTES_SENT",
        Variable::Duration => "DURATION",
        Variable::ResponseDuration => "RESPONSE_DURATION",
        Variable::UpstreamHost => "UPSTREAM_HOST",
        Variable::UpstreamCluster => "UPSTREAM_CLUSTER",
        Variable::UpstreamRequestAttemptCount => "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        Variable::RouteName => "ROUTE_NAME",
        Variable::DownstreamRemoteAddress => "DOWNSTREAM_REMOTE_ADDRESS",
        Variable::DownstreamRemoteAddressWithoutPort => "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Variable::DownstreamDirectRemoteAddress => "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        Variable::DownstreamLocalAddress => "DOWNSTREAM_LOCAL_ADDRESS",
        Variable::GrpcStatus => "GRPC_STATUS",
        Variable::TerminatedBy => "TERMINATED_BY",
        Variable::Hostname => "HOSTNAME",
        Variable::DownstreamTlsVersion => "DOWNSTREAM_TLS_VERSION",
        Variable::DownstreamTlsCipher => "DOWNSTREAM_TLS_CIPHER",
        Variable::RequestedServerName => "REQUESTED_SERVER_NAME",
        Variable::DownstreamPeerUriSan => "DOWNSTREAM_PEER_URI_SAN",
        Variable::ListenerName => "LISTENER_NAME",
    };
    plain.to_owned()
}

fn field_name(field: &RequestField) -> &str {
    match field {
        RequestField::Method => ":METHOD",
        RequestField::Path => ":PATH",
        RequestField::OriginalPath => "X-ENVOY-ORIGINAL-PATH",
        RequestField::Authority => ":AUTHORITY",
        RequestField::Scheme => ":SCHEME",
        RequestField::Header(name) => name.as_str(),
    }
}
