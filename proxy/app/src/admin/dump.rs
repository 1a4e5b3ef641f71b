//! The configuration in force as JSON, with what could be a secret redacted. Pure.
//!
//! Structs are taken apart by name, so that a field added to the model does not compile until it is shown here.

mod authorization;
mod filters;
mod http;
mod proxy;
mod route;
mod template;
mod tls;

use super::pages::seconds;
use crate::{
    log::time,
    reload::{History, Outcome},
};
use pillion_config::model::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use template::template;

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
        metrics,
        dns,
        kubernetes,
        identity,
        redirect,
        source_filter,
        capture,
        listeners: _,
        clusters: _,
        filters,
    } = config;
    let CaptureSettings { prove, probe_port, inbound_probe_port, exclude_inbound_ports, mark } = capture;
    let Admin { address, probes } = admin;
    let ProcessLimits { connections, tls_handshakes, memory_shrink_percent, memory_refuse_percent } = limits;
    let Drain { delay, deadline } = drain;
    let Metrics { tags } = metrics;
    let tag = |MetricTag { name, regex }: &MetricTag| json!({ "name": name, "regex": regex.as_str() });
    let Kubernetes { zone, node, prefer, server, service_account, timeout: first_answer } = kubernetes;
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
        "metrics": { "tags": tags.iter().map(tag).collect::<Vec<_>>() },
        "dns": {
            "servers": servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "min_refresh": time(*min_refresh),
            "max_refresh": time(*max_refresh),
            "timeout": time(*timeout),
        },
        "kubernetes": {
            "zone": zone.as_ref().map(ToString::to_string),
            "node": node.as_ref().map(ToString::to_string),
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
        "source_filter": source_filter.as_deref().map(source_filter_of),
        "capture": {
            "prove": *prove == Prove::Required,
            "probe_port": probe_port,
            "inbound_probe_port": inbound_probe_port,
            "exclude_inbound_ports": exclude_inbound_ports,
            "mark": mark,
        },
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
    let LoopbackRedirect { by_agent, instance, cgroup, large_messages, sockets, waived, outbound } = redirect;
    json!({
        "by": if *by_agent { "agent" } else { "proxy" },
        "instance": instance.as_str(),
        "cgroup": cgroup,
        "large_messages": large_messages,
        "sockets": sockets,
        "waive": waived,
        "outbound": outbound.as_ref().map(|RedirectOutbound { port, exclude, exclude_ports }| json!({
            "port": port,
            "exclude": exclude.iter().map(|Cidr { address, prefix }| format!("{address}/{prefix}")).collect::<Vec<_>>(),
            "exclude_ports": exclude_ports,
        })),
    })
}

fn source_filter_of(filter: &SourceFilter) -> Value {
    let SourceFilter { interfaces, mode, covers, malformed, otherwise, rules } = filter;
    let action = |action: &RuleAction| match action {
        RuleAction::Allow => "allow",
        RuleAction::Deny => "deny",
    };
    json!({
        "interfaces": interfaces.iter().map(Name::as_str).collect::<Vec<_>>(),
        "mode": match mode {
            FilterMode::Auto => "auto",
            FilterMode::Native => "native",
            FilterMode::Generic => "generic",
        },
        "covers": match covers {
            FilterCovers::Listeners => "listeners",
            FilterCovers::Interface => "interface",
        },
        "malformed": match malformed {
            FilterMalformed::Pass => "pass",
            FilterMalformed::Drop => "drop",
        },
        "otherwise": action(otherwise),
        "rules": rules.iter().map(|SourceRule { name, action: of, sources }| json!({
            "name": name.as_str(),
            "action": action(of),
            "sources": sources.iter().map(|Cidr { address, prefix }| format!("{address}/{prefix}")).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
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
        admin_port,
        closed_probe_ports,
        port_sharing,
        backlog,
        connections,
        max_connection_age,
        proxy_protocol,
        tls,
        authorization,
        protocol,
        http,
        // Each route has them.
        filters: _,
        routes,
        metadata,
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
            Capture::Agent => "agent",
        },
        "probe_port": probe_port,
        "admin_port": admin_port,
        "closed_probe_ports": closed_probe_ports,
        "share_port": *port_sharing == PortSharing::Shared,
        "backlog": backlog,
        "connections": connections,
        "max_connection_age": max_connection_age.map(time),
        "proxy_protocol": proxy_protocol.as_ref().map(proxy::listener),
        "tls": tls.as_ref().map(tls::listener),
        "authorization": authorization.as_ref().map(authorization::of),
        "tcp": protocol.tcp().map(|tcp| tcp_of(tcp, clusters)),
        "http": (!matches!(protocol, ListenerProtocol::Opaque(_))).then(|| http::of(http)),
        "routes": routes.iter().map(|route| route::of(route, clusters)).collect::<Vec<_>>(),
        "metadata": namespaces(metadata.as_deref()),
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
        metadata,
    } = cluster;
    let Circuit { connections, pending, requests } = circuit;
    let endpoint = |Endpoint { address, weight, identity, metadata }: &Endpoint| json!({ "address": address.to_string(), "weight": weight, "identity": identity.as_ref().map(ToString::to_string), "metadata": namespaces(metadata.as_deref()) });
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
        "metadata": namespaces(metadata.as_deref()),
    })
}

/// Of what filters are told the namespaces: it may be a secret as what they are configured with.
fn namespaces(metadata: Option<&Metadata>) -> Value {
    let redacted = |name: &String| (name.clone(), json!(REDACTED));
    metadata.map(|all| all.keys().map(redacted).collect::<Map<_, _>>()).into()
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
    let Tcp {
        clusters: targets,
        destinations,
        server_names,
        idle_timeout,
        detect_timeout,
        server_first,
        not_http,
        filters,
    } = tcp;
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
        "not_http": match not_http {
            NotHttp::Refuse => "refuse",
            NotHttp::Pass | NotHttp::PassUnfinished => "pass",
        },
        "filters": chain(filters.as_deref()),
    })
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
        HostPattern::Prefix(prefix) => format!("{prefix}*"),
    }
}

fn targets_of(targets: &[WeightedCluster], clusters: &[Arc<Cluster>]) -> Value {
    let target = |WeightedCluster { cluster, weight }: &WeightedCluster| json!({ "cluster": clusters.get(cluster.0).map(|cluster| cluster.name.as_str()), "weight": weight });
    targets.iter().map(target).collect()
}

fn cidr(Cidr { address, prefix }: &Cidr) -> String {
    format!("{address}/{prefix}")
}

/// By their places in the list of filters.
fn chain(filters: Option<&[FilterIndex]>) -> Vec<usize> {
    filters.unwrap_or_default().iter().map(|FilterIndex(at)| *at).collect()
}

/// Whether a header or parameter of this name usually carries a credential. Rather too many: `sig` is what signed links of
/// clouds have.
fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 13] = [
        "auth",
        "cookie",
        "token",
        "secret",
        "passw",
        "pwd",
        "credential",
        "key",
        "sig",
        "session",
        "jwt",
        "bearer",
        "assertion",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn names_that_carry_credentials_are_known() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "set-cookie",
            "x-api-key",
            "access_token",
            "client_secret",
            "password",
            "pwd",
            "sig",
            "X-Amz-Signature",
            "x-amz-security-token",
            "jwt",
            "client_assertion",
            "sessionid",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["x-request-id", "accept", "page", "user-agent", "host", "q"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
