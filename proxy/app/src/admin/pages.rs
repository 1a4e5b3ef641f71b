//! What each page says.

use super::{
    body::{Body, Pieces},
    dump, explain,
    route::{Change, Page, Port, Verdict, help},
};
use crate::{
    app_probes::Finding,
    application::Caller,
    assembly::{ClusterStatus, EndpointStatus},
    cgroup::Pressure,
    control::state::{Action, Readiness, Stage, State},
    log, loopback,
};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, net::SocketAddr, rc::Rc, time::SystemTime};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Prometheus' text format.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Carries a verdict out.
pub(super) async fn answer(verdict: Verdict, port: Port, query: Option<&str>, state: &Rc<State>) -> Response<Body> {
    match verdict {
        // Reading changes nothing, and whoever means a change is told so.
        Verdict::Show(Page::Logging) if parameter(query, "level").is_some() => not_allowed("POST"),
        Verdict::Show(Page::Redirect) if parameter(query, "switch").is_some() => not_allowed("POST"),
        Verdict::Show(page) => show(page, port, query, state),
        Verdict::Do(change) => carry_out(change, query, state).await,
        Verdict::NotAllowed(methods) => not_allowed(methods),
        Verdict::AdminOnly => text(StatusCode::NOT_FOUND, "this path is served by the admin address only\n".into()),
        Verdict::Unknown => text(StatusCode::NOT_FOUND, "no such path; these are known:\n".to_owned() + &help(port)),
    }
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("this path answers to {methods} only\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

/// A short answer in text.
pub(super) fn text(status: StatusCode, words: String) -> Response<Body> {
    typed(status, TEXT, Body::full(words))
}

/// What an application's probe found.
pub(super) fn probed(finding: Finding) -> Response<Body> {
    typed(finding.status, TEXT, Body::full(finding.words))
}

fn typed(status: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn json(value: &Value) -> Response<Body> {
    typed(StatusCode::OK, JSON, Body::full(format!("{value:#}\n")))
}

fn show(page: Page, port: Port, query: Option<&str>, state: &Rc<State>) -> Response<Body> {
    let wants_json = parameter(query, "format") == Some("json");
    match page {
        Page::Alive => text(StatusCode::OK, "OK\n".into()),
        Page::Ready => {
            let readiness = state.readiness();
            if (port, readiness) == (Port::Admin, Readiness::Ready) {
                state.application.let_go();
            }
            let status = match readiness {
                Readiness::Ready => StatusCode::OK,
                Readiness::Starting
                | Readiness::NoIdentity
                | Readiness::IdentityEnded
                | Readiness::Unclaimed(_)
                | Readiness::NotCaptured(_)
                | Readiness::Draining
                | Readiness::Failed => StatusCode::SERVICE_UNAVAILABLE,
            };
            text(status, format!("{}{}", readiness.words(), state.amiss()))
        }
        Page::Metrics => typed(StatusCode::OK, EXPOSITION, Body::pieces((state.metrics)())),
        Page::ConfigDump => typed(StatusCode::OK, JSON, Body::pieces(config_dump(state))),
        Page::Clusters if wants_json => json(&clusters_json(&(state.clusters)())),
        Page::Clusters => text(StatusCode::OK, clusters_text(&(state.clusters)())),
        Page::Listeners if wants_json => json(&listeners_json(state)),
        Page::Listeners => {
            let listeners = state.listeners.borrow();
            text(StatusCode::OK, listeners.iter().map(|(name, address)| format!("{name}::{address}\n")).collect())
        }
        Page::Explain => {
            let config = state.config.borrow().clone();
            match config.map(|config| explain::explain(&config, query)) {
                Some(Ok(answer)) => json(&answer),
                Some(Err(words)) => text(StatusCode::BAD_REQUEST, words + "\n"),
                None => text(StatusCode::SERVICE_UNAVAILABLE, "no configuration is in force yet\n".into()),
            }
        }
        Page::ServerInfo => json(&server_info(state)),
        Page::Memory => json(&memory(state)),
        Page::Logging => text(StatusCode::OK, format!("active loggers:\n  pillion: {}\n", log::level().name())),
        Page::Redirect => redirected(wants_json, state),
        Page::Help => text(StatusCode::OK, help(port)),
    }
}

async fn carry_out(change: Change, query: Option<&str>, state: &State) -> Response<Body> {
    let action = match change {
        Change::Fail => {
            state.failed.set(true);
            tracing::warn!("readiness fails by an operator's order");
            return text(StatusCode::OK, "OK\n".into());
        }
        Change::Pass => {
            state.failed.set(false);
            state.note_ready();
            let words = match state.readiness() {
                Readiness::Ready => "OK\n".into(),
                other => format!("OK, but it is not ready for another reason: {}", other.words()),
            };
            tracing::info!("readiness fails no more by an operator's order: {}", words.trim_end());
            return text(StatusCode::OK, words);
        }
        Change::Logging => return set_level(query),
        Change::DrainListeners if query.is_some_and(|query| query.split('&').any(|word| word == "inboundonly")) => {
            Action::DrainInbound
        }
        Change::Redirect => match parameter(query, "switch") {
            Some("on") => Action::Redirect(true),
            Some("off") => Action::Redirect(false),
            _ => return text(StatusCode::BAD_REQUEST, "write ?switch=on or ?switch=off\n".into()),
        },
        Change::DrainListeners => Action::DrainListeners,
        Change::Quit => Action::Quit(Caller::read(|name| parameter(query, name))),
        Change::Reload => Action::Reload,
    };
    match state.ask(action).await {
        Ok(words) => text(StatusCode::OK, words + "\n"),
        Err(words) => text(StatusCode::CONFLICT, words + "\n"),
    }
}

/// The redirect as its maps have it.
fn redirected(wants_json: bool, state: &State) -> Response<Body> {
    let config = state.config.borrow();
    let Some(wanted) = config.as_ref().and_then(|config| config.redirect.as_ref()) else {
        return text(StatusCode::OK, "not configured\n".into());
    };
    if wanted.by_agent {
        let loopback::Page { text: words, json: value } = loopback::beside_agent(wanted.instance.as_str());
        return if wants_json { json(&value) } else { text(StatusCode::OK, words) };
    }
    match redirect::status(wanted.instance.as_str()) {
        Ok(Some(status)) if wants_json => json(&loopback::status_json(&status)),
        Ok(Some(status)) => text(StatusCode::OK, loopback::status_text(&status)),
        Ok(None) => text(StatusCode::OK, "not attached: plain TCP is used; the log says why\n".into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn set_level(query: Option<&str>) -> Response<Body> {
    let Some(name) = parameter(query, "level") else {
        return text(StatusCode::BAD_REQUEST, "say which: POST /logging?level=debug\n".into());
    };
    match name.parse::<log::Level>() {
        Ok(level) => {
            log::set_level(level);
            text(StatusCode::OK, format!("active loggers:\n  pillion: {}\n", level.name()))
        }
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// The value of a query parameter. None of ours needs percent-decoding.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// One listener or cluster at a time, so that ten thousand routes never stand in memory as text at once.
fn config_dump(state: &Rc<State>) -> Pieces {
    let head = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "reload": dump::history(&state.history.borrow()),
        "settings": state.config.borrow().as_deref().map(dump::settings),
    });
    let head = head.to_string();
    let head = head.strip_suffix('}').unwrap_or(&head).to_owned();
    let Some(config) = state.config.borrow().clone() else {
        return Box::new(std::iter::once((head + "}\n").into()));
    };
    let (listeners, clusters) = (config.listeners.len(), config.clusters.len());
    let of_clusters = config.clone();
    let comma = |at: usize| if at == 0 { "" } else { "," };
    Box::new(
        std::iter::once(head + ",\"listeners\":[")
            .chain(
                (0..listeners)
                    .map(move |at| format!("{}{}", comma(at), dump::listener(&config.listeners[at], &config.clusters))),
            )
            .chain(std::iter::once("],\"clusters\":[".to_owned()))
            .chain((0..clusters).map(move |at| format!("{}{}", comma(at), dump::cluster(&of_clusters.clusters[at]))))
            .chain(std::iter::once("]}\n".to_owned()))
            .map(Into::into),
    )
}

fn server_info(state: &State) -> Value {
    let stage = match state.stage.get() {
        Stage::Starting => "INITIALIZING",
        Stage::Live => "LIVE",
        Stage::Draining => "DRAINING",
    };
    let uptime = format!("{}s", state.started.elapsed().as_secs());
    json!({
        "version": concat!("pillion/", env!("CARGO_PKG_VERSION")),
        "state": stage,
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "concurrency": state.workers,
        "pid": std::process::id(),
    })
}

fn memory(state: &State) -> Value {
    // proc_pid_status(5): sizes in KiB.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let pressure = match state.pressure.get() {
        Pressure::Normal => "normal",
        Pressure::Shrink => "shrink",
        Pressure::Refuse => "refuse",
    };
    let group = state.meter.as_ref().and_then(crate::cgroup::Meter::read);
    json!({
        "resident": bytes("VmRSS"),
        "resident_peak": bytes("VmHWM"),
        "resident_anonymous": bytes("RssAnon"),
        "virtual": bytes("VmSize"),
        "threads": status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse::<u64>().ok()),
        "cgroup": group.map(|usage| json!({ "used": usage.used, "limit": usage.limit })),
        "pressure": pressure,
    })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn listeners_json(state: &State) -> Value {
    let listeners = state.listeners.borrow();
    let status = |(name, address): &(pillion_config::model::Name, SocketAddr)| json!({ "name": name.as_str(), "local_address": socket_address(*address) });
    json!({ "listener_statuses": listeners.iter().map(status).collect::<Vec<_>>() })
}

/// Envoy's lines, for the scripts that read them.
fn clusters_text(clusters: &[ClusterStatus]) -> String {
    let mut out = String::new();
    for ClusterStatus { name, circuit, connections, pending, requests, endpoints } in clusters {
        // Writing to a String cannot fail.
        writeln!(out, "{name}::default_priority::max_connections::{}", circuit.connections).ok();
        writeln!(out, "{name}::default_priority::max_pending_requests::{}", circuit.pending).ok();
        writeln!(out, "{name}::default_priority::max_requests::{}", circuit.requests).ok();
        writeln!(out, "{name}::cx_active::{connections}").ok();
        writeln!(out, "{name}::rq_pending_active::{pending}").ok();
        writeln!(out, "{name}::rq_active::{requests}").ok();
        for endpoint in endpoints {
            let address = endpoint.address;
            writeln!(out, "{name}::{address}::rq_active::{}", endpoint.requests).ok();
            let hostname = endpoint.hostname.as_deref().unwrap_or("");
            writeln!(out, "{name}::{address}::hostname::{hostname}").ok();
            writeln!(out, "{name}::{address}::health_flags::healthy").ok();
            writeln!(out, "{name}::{address}::weight::{}", endpoint.weight).ok();
        }
    }
    out
}

fn clusters_json(clusters: &[ClusterStatus]) -> Value {
    let host = |endpoint: &EndpointStatus| {
        json!({
            "address": socket_address(endpoint.address),
            "hostname": endpoint.hostname.as_deref(),
            "weight": endpoint.weight,
            "health_status": { "eds_health_status": "HEALTHY" },
            "stats": [{ "name": "rq_active", "type": "GAUGE", "value": endpoint.requests }],
        })
    };
    let cluster = |cluster: &ClusterStatus| {
        let circuit = cluster.circuit;
        json!({
            "name": cluster.name.as_str(),
            "circuit_breakers": { "thresholds": [{
                "priority": "DEFAULT",
                "max_connections": circuit.connections,
                "max_pending_requests": circuit.pending,
                "max_requests": circuit.requests,
            }]},
            "cx_active": cluster.connections,
            "rq_pending_active": cluster.pending,
            "rq_active": cluster.requests,
            "host_statuses": cluster.endpoints.iter().map(host).collect::<Vec<_>>(),
        })
    };
    json!({ "cluster_statuses": clusters.iter().map(cluster).collect::<Vec<_>>() })
}

/// Seconds since 1970 with a fraction, as JSON people expect times to be comparable.
pub(super) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
