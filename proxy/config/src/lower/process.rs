//! The root, and what concerns the whole process.

use super::{Lowering, capture, cluster, filter::Filters, listener, metrics, sockmap, source_filter, tls};
use crate::{
    document::{self, Document, Either, Field, FormatWord, Int, Mapping, Percent, Period, Scalar, Text},
    model::{
        self, AccessLog, Admin, Cluster, Config, Dns, Drain, Family, Kubernetes, LogFormat, Metadata, Name, Node,
        ProcessLimits, Workers,
    },
    template::Template,
    tree::Place,
};
use std::{collections::HashMap, sync::Arc};

/// The line `format: text` writes: Envoy's, with the time to the response's head, and who ended the request.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
    %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESPONSE_DURATION% \"%REQ(X-FORWARDED-FOR)%\" \
    \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% \
    %ROUTE_NAME% %DOWNSTREAM_REMOTE_ADDRESS% %RESPONSE_CODE_DETAILS% %TERMINATED_BY%";
/// The same facts by name, and who the client is, for `format: json`.
const JSON: [(&str, &str); 21] = [
    ("time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("status", "%RESPONSE_CODE%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration_ms", "%DURATION%"),
    ("response_ms", "%RESPONSE_DURATION%"),
    ("forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("route", "%ROUTE_NAME%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("peer", "%DOWNSTREAM_PEER_URI_SAN%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("terminated_by", "%TERMINATED_BY%"),
];

const ROOT: Place = Place(0);

/// The names of clusters, and which are used.
pub(super) struct Names {
    pub(super) index: HashMap<Name, usize>,
    pub(super) used: Vec<bool>,
    pub(super) filters: Filters,
    /// What wasm filters are told of the workload.
    pub(super) node: Arc<Node>,
}

pub(super) fn config(cx: &mut Lowering<'_, '_>, document: Document) -> Option<Config> {
    let identity_written = document.identity.is_written();
    let identity = match document.identity.at(ROOT) {
        Some((identity, at)) => tls::identity(cx, identity, at),
        None => None,
    };
    let known = tls::Known::of(identity_written, identity.as_ref());
    let settings = capture::settings(cx, document.capture);
    let mark = settings.as_ref().and_then(|(settings, _)| settings.mark);
    let listeners_written = document.listeners.place();
    let clusters_at = document.clusters.place().unwrap_or(ROOT);
    let clusters = document.clusters.elements();
    let clusters = cx.elements(clusters_at, clusters);
    let mut names = Names {
        index: HashMap::with_capacity(clusters.len()),
        used: vec![false; clusters.len()],
        filters: Filters::default(),
        node: Arc::default(),
    };
    for (index, (cluster, _)) in clusters.iter().enumerate() {
        if let Some(Scalar(name)) = cluster.name.get() {
            names.index.entry(name.clone()).or_insert(index);
        }
    }
    let named: Vec<(Name, Place)> = clusters
        .iter()
        .filter_map(|(cluster, at)| Some((cluster.name.get()?.0.clone(), cluster.name.place().unwrap_or(*at))))
        .collect();
    cx.unique("cluster", named.iter().map(|(name, place)| (name, *place)));
    let places: Vec<Place> = clusters.iter().map(|(_, place)| *place).collect();
    let clusters: Vec<Option<Arc<Cluster>>> = clusters
        .into_iter()
        .map(|(cluster, at)| cluster::cluster(cx, cluster, at, &known, mark).map(Arc::new))
        .collect();

    names.node = Arc::new(node(document.node).unwrap_or_default());
    let defined = Filters::define(cx, document.filters, &mut names);
    names.filters = defined;
    let listeners = match cx.required(ROOT, "listeners", document.listeners) {
        Some((list, at)) if list.is_empty() => {
            cx.error(at, "no listener: a proxy listens somewhere; write at least one");
            None
        }
        Some((list, at)) => listener::listeners(cx, list, at, &mut names, &known),
        None => None,
    };
    if listeners_written.is_some() {
        for ((used, place), cluster) in names.used.iter().zip(&places).zip(&clusters) {
            if let (false, Some(cluster)) = (used, cluster) {
                cx.warn(*place, format!("no route uses the cluster {:?}", cluster.name));
            }
        }
    }
    let admin = admin(cx, document.admin);
    let limits = limits(cx, document.limits);
    let drain = drain(document.drain);
    let access_log = match document.access_log.at(ROOT) {
        Some((log, at)) => access_log(cx, log, at).map(Some),
        None => Some(None),
    };
    let metrics = metrics::metrics(cx, document.metrics, ROOT);
    let dns = dns(cx, document.dns);
    let kubernetes = kubernetes(cx, document.kubernetes);
    let redirect = match document.redirect.at(ROOT) {
        Some((redirect, at)) => sockmap::redirect(cx, redirect, at).map(Some),
        None => Some(None),
    };
    let sources = match document.source_filter.at(ROOT) {
        Some((filter, at)) => source_filter::source_filter(cx, filter, at).map(|filter| Some(Arc::new(filter))),
        None => Some(None),
    };
    let mut listeners = listeners;
    if let (Some(listeners), Some((settings, written))) = (&mut listeners, &settings) {
        listener::same_addresses(cx, listeners, admin.as_ref());
        capture::agree(cx, listeners, &clusters, settings, admin.as_ref());
        capture::by_agent(cx, listeners, settings, *written, admin.as_ref());
    }
    let filters = std::mem::take(&mut names.filters).finish(cx);
    if identity.is_none() && identity_written {
        return None;
    }
    Some(Config {
        admin: admin?,
        workers: document.workers.value().unwrap_or(Workers::Auto),
        limits: limits?,
        drain: drain?,
        access_log: access_log?,
        metrics: metrics?,
        dns: dns?,
        kubernetes: kubernetes?,
        identity,
        redirect: redirect?,
        source_filter: sources?,
        capture: settings?.0,
        listeners: listeners?.into_iter().map(|(listener, _)| Arc::new(listener)).collect(),
        clusters: clusters.into_iter().collect::<Option<_>>()?,
        filters,
    })
}

/// A structure that may be absent: its defaults then. `None` where it is written and bad.
pub(super) fn or_default<T: Default>(field: Field<T>, parent: Place) -> Option<(T, Place)> {
    if field.is_written() { field.at(parent) } else { Some((T::default(), parent)) }
}

fn admin(cx: &mut Lowering<'_, '_>, field: Field<document::Admin>) -> Option<Admin> {
    let (admin, at) = or_default(field, ROOT)?;
    let probes_at = admin.probes.place().unwrap_or(at);
    let (address, probes) = (admin.address.value(), admin.probes.value());
    if let (Some(model::AdminAddress::Tcp(address)), Some(probes)) = (&address, &probes)
        && (listener::overlap(address, probes) || listener::by_both_families(address, probes))
    {
        cx.error(probes_at, format!("{probes} is taken by `admin.address`; give the probes a port of their own"));
    }
    Some(Admin { address, probes })
}

fn limits(cx: &mut Lowering<'_, '_>, field: Field<document::ProcessLimits>) -> Option<ProcessLimits> {
    let (limits, at) = or_default(field, ROOT)?;
    let shrink_at = limits.memory_shrink.place().unwrap_or(at);
    let connections = limits.connections.value().map(Int::to);
    let shrink = limits.memory_shrink.value();
    let refuse = limits.memory_refuse.value();
    if let (Some(Percent(shrink)), Some(Percent(refuse))) = (shrink, refuse)
        && shrink > refuse
    {
        cx.error(
                shrink_at,
                format!("memory_shrink ({shrink}%) is above memory_refuse ({refuse}%); idle connections go first, so write at most {refuse}%"),
            );
    }
    Some(ProcessLimits {
        connections: connections?,
        tls_handshakes: limits.tls_handshakes.value()?.to(),
        memory_shrink_percent: shrink?.0,
        memory_refuse_percent: refuse?.0,
    })
}

/// What wasm filters are told of the workload. `None`: nothing, or something is wrong and has been told.
fn node(field: Field<document::Node>) -> Option<Node> {
    let (node, _) = field.at(ROOT)?;
    let metadata = node.metadata.take().map_or_else(Metadata::new, |Mapping(names)| names);
    Some(Node { id: node.id.value(), cluster: node.cluster.value()?, metadata })
}

fn drain(field: Field<document::Drain>) -> Option<Drain> {
    let (drain, _) = or_default(field, ROOT)?;
    Some(Drain { delay: drain.delay.value()?, deadline: drain.deadline.value()? })
}

fn dns(cx: &mut Lowering<'_, '_>, field: Field<document::Dns>) -> Option<Dns> {
    let (dns, at) = or_default(field, ROOT)?;
    let min_at = dns.min_refresh.place().unwrap_or(at);
    let period = |field: Text<Period>| field.value().map(|Period(duration)| duration);
    let (min, max, timeout) = (period(dns.min_refresh), period(dns.max_refresh), period(dns.timeout));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        cx.error(min_at, "min_refresh is longer than max_refresh; write the shorter one here".to_owned());
    }
    let servers_at = dns.servers.place().unwrap_or(at);
    let servers = dns.servers.elements();
    let mut addresses = Vec::with_capacity(servers.len());
    for (Scalar(server), place) in cx.elements(servers_at, servers) {
        if server.port() == 0 {
            cx.error(place, format!("a server cannot be asked at port 0; write {}:53", server.ip()));
        }
        addresses.push(server);
    }
    Some(Dns { servers: addresses, min_refresh: min?, max_refresh: max?, timeout: timeout? })
}

fn kubernetes(cx: &mut Lowering<'_, '_>, field: Field<document::Kubernetes>) -> Option<Kubernetes> {
    let (kubernetes, at) = or_default(field, ROOT)?;
    let account_at = kubernetes.service_account.place().unwrap_or(at);
    let prefer = match kubernetes.prefer.take()? {
        document::Preferred::Ipv4 => Family::Ipv4,
        document::Preferred::Ipv6 => Family::Ipv6,
    };
    let zone = if kubernetes.zone.is_written() { Some(kubernetes.zone.value()?) } else { None };
    let node = if kubernetes.node.is_written() { Some(kubernetes.node.value()?) } else { None };
    let server = if kubernetes.server.is_written() { Some(kubernetes.server.value()?) } else { None };
    let document::FilePath(service_account) = kubernetes.service_account.value()?;
    if !service_account.is_absolute() {
        cx.error(account_at, "write a path that begins with /: the folder is the kubelet's, not the configuration's");
    }
    Some(Kubernetes { zone, node, prefer, server, service_account, timeout: kubernetes.timeout.value()?.0 })
}

fn access_log(cx: &mut Lowering<'_, '_>, log: document::AccessLog, at: Place) -> Option<AccessLog> {
    let format = match log.format.at(at) {
        Some((Either::Short(FormatWord::Json), _)) => {
            let parts: Result<Vec<_>, _> = JSON
                .iter()
                .map(|(name, text)| Template::parse(text).map(|template| ((*name).to_owned(), template)))
                .collect();
            parts.ok().map(LogFormat::Json)
        }
        Some((Either::Short(FormatWord::Text), _)) => Template::parse(TEXT).ok().map(LogFormat::Text),
        Some((Either::Long(format), at)) => own_format(cx, format, at),
        None => None,
    };
    let queue = log.queue.value().map(Int::to);
    Some(AccessLog { destination: log.path.value()?, format: format?, queue: queue? })
}

fn own_format(cx: &mut Lowering<'_, '_>, format: document::Format, at: Place) -> Option<LogFormat> {
    if cx.at_most_one(&[("text", format.text.place()), ("json", format.json.place())]) == 0 {
        cx.error(at, "a format of your own is {text: \"…\"} or {json: {name: \"…\"}}; write one of them");
    }
    if let Some((Scalar(Template(mut parts)), at)) = format.text.at(at) {
        strip_line_end(&mut parts);
        let template = Template(parts);
        if has_line_break(&template) {
            cx.error(at, "a record is one line; leave the line break out (the last one is written for you)");
        }
        if template.0.is_empty() {
            cx.error(at, "an empty record says nothing; remove `access_log` to write none");
        }
        return Some(LogFormat::Text(template));
    }
    let (document::Table(entries), at) = format.json.at(at)?;
    if entries.is_empty() {
        cx.error(at, "a record without fields says nothing; remove `access_log` to write none");
    }
    let mut fields = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let place = name.place().unwrap_or(at);
        let name = name.value();
        let value = cx.entry(place, value);
        if let (Some(name), Some((value, _))) = (name, value) {
            fields.push((name, value));
        }
    }
    Some(LogFormat::Json(fields))
}

/// The writer ends each record; a format that ends its line itself, as Envoy's do, means the same.
fn strip_line_end(parts: &mut Vec<crate::template::Part>) {
    if let Some(crate::template::Part::Literal(text)) = parts.last_mut() {
        let kept = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(kept);
        if text.is_empty() {
            parts.pop();
        }
    }
}

fn has_line_break(template: &Template) -> bool {
    template.0.iter().any(|part| matches!(part, crate::template::Part::Literal(text) if text.contains(['\r', '\n'])))
}
