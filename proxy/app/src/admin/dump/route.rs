//! Routes as JSON: what they match, what they do, what they change.

use super::{REDACTED, authorization, chain, host, is_secret, namespaces, targets_of, template::template, time};
use pillion_config::{model::*, template::Template};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn match_of(RouteMatch { hosts, destinations, path, methods, headers, query }: &RouteMatch) -> Value {
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
        "methods": methods.iter().map(::http::Method::as_str).collect::<Vec<_>>(),
        "headers": headers.iter().map(header).collect::<Vec<_>>(),
        "query": query.iter().map(parameter).collect::<Vec<_>>(),
    })
}

pub(super) fn of(route: &Route, clusters: &[Arc<Cluster>]) -> Value {
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
        metadata,
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
        "metadata": namespaces(metadata.as_deref()),
    })
}

pub(super) fn value_of(name: &str, value: &ValueMatch) -> Value {
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

pub(super) fn change_of(change: &HeaderChange) -> Value {
    let shown = |name: &str, value: &Template| if is_secret(name) { REDACTED.to_owned() } else { template(value) };
    match change {
        HeaderChange::Set(name, value) => json!({ "set": name.as_str(), "value": shown(name.as_str(), value) }),
        HeaderChange::Append(name, value) => json!({ "append": name.as_str(), "value": shown(name.as_str(), value) }),
        HeaderChange::Remove(name) => json!({ "remove": name.as_str() }),
    }
}
