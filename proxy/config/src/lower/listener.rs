//! Listeners.

use super::{
    Lowering,
    authorization::{self, Knows},
    capture, filter,
    judge::judge,
    matching,
    metadata::metadata,
    process::{Names, or_default},
    route, tcp, tls,
};
use crate::{
    document::{
        self, Connect, EscapedSlashes, Field, ForwardingMode, Int, Period, RequestId, Scalar, Text, Underscores,
    },
    model::{
        self, Admin, AdminAddress, Capture, Forwarding, Http, Http2, HttpLimits, HttpTimeouts, Listener,
        ListenerProtocol, PathPolicy, PortSharing, ProxyHeaders, ProxyProtocol,
    },
    tree::Place,
};
use std::{net::SocketAddr, sync::Arc};

pub(super) fn listeners(
    cx: &mut Lowering<'_, '_>,
    list: Vec<Field<document::Listener>>,
    at: Place,
    names: &mut Names,
    identity: &tls::Known,
) -> Option<Vec<(Listener, Place)>> {
    let count = list.len();
    let mut read = Vec::with_capacity(count);
    let mut named = Vec::with_capacity(count);
    for (listener, place) in cx.elements(at, list) {
        if let Some(Scalar(name)) = listener.name.get() {
            named.push((name.clone(), listener.name.place().unwrap_or(place)));
        }
        let address_at = listener.address.place().unwrap_or(place);
        read.extend(self::listener(cx, listener, place, names, identity).map(|listener| (listener, address_at)));
    }
    cx.unique("listener", named.iter().map(|(name, place)| (name, *place)));
    (read.len() == count).then_some(read)
}

/// Two sockets of one process cannot be bound to one port.
pub(super) fn same_addresses(cx: &mut Lowering<'_, '_>, listeners: &[(Listener, Place)], admin: Option<&Admin>) {
    let mut taken: Vec<(SocketAddr, bool, String)> = Vec::new();
    if let Some(admin) = admin {
        if let Some(AdminAddress::Tcp(address)) = admin.address {
            taken.push((address, false, "`admin.address`".to_owned()));
        }
        if let Some(probes) = admin.probes {
            taken.push((probes, false, "`admin.probes`".to_owned()));
        }
    }
    for (listener, place) in listeners {
        let shared = listener.port_sharing == PortSharing::Shared;
        let own = &listener.address;
        let collides =
            |address: &SocketAddr, both: bool| overlap(address, own) || (!both && by_both_families(address, own));
        if let Some((address, _, by)) = taken.iter().find(|(address, other, _)| collides(address, shared && *other)) {
            let both = if address == own { String::new() } else { format!(", {address}") };
            cx.error(*place, format!("{own} is taken by {by}{both}; give each a port of its own"));
        }
        taken.push((*own, shared, format!("the listener {:?}", listener.name)));
    }
}

/// Whether one of two sockets is on every address of both families, as `[::]` is, and the other on one of IPv4's: the kernel
/// refuses the second, unless both share their port.
pub(super) fn by_both_families(a: &SocketAddr, b: &SocketAddr) -> bool {
    let both = |one: &SocketAddr, other: &SocketAddr| one.is_ipv6() && one.ip().is_unspecified() && other.is_ipv4();
    a.port() != 0 && a.port() == b.port() && (both(a, b) || both(b, a))
}

/// Whether two sockets would want the same port of the same address.
pub(super) fn overlap(a: &SocketAddr, b: &SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let covers = a.ip() == b.ip() || (same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && covers
}

fn listener(
    cx: &mut Lowering<'_, '_>,
    listener: document::Listener,
    at: Place,
    names: &mut Names,
    identity: &tls::Known,
) -> Option<Listener> {
    let name = cx.required_scalar(at, "name", listener.name);
    let address = cx.required_scalar(at, "address", listener.address);
    let direction = capture::direction(listener.direction);
    let captured = capture::capture(cx, listener.capture, direction, address.as_ref().map(|(address, _)| *address), at);
    let names_written = listener.tls.get().is_some_and(|tls| tls.alpn.is_written());
    let exceptions = tls::written(&listener.tls);
    let mut tls = tls::listener(cx, listener.tls, at, identity);
    let knows = match &tls {
        Some(tls) => Knows::of(tls.as_ref(), listener.routes.is_written()),
        // What is wrong with it was told already.
        None => Knows { peers: true, requests: listener.routes.is_written() },
    };
    let authorization = authorization::authorization(cx, listener.authorization, at, knows);
    let metadata = metadata(cx, listener.metadata, at);
    let proxy_protocol = proxy_protocol(cx, listener.proxy_protocol, at);
    let http_fields = [
        ("limits", listener.limits.place()),
        ("timeouts", listener.timeouts.place()),
        ("http2", listener.http2.place()),
        ("path", listener.path.place()),
        ("forwarding", listener.forwarding.place()),
        ("underscores", listener.underscores.place()),
        ("connect", listener.connect.place()),
    ];
    let limits = limits(cx, listener.limits, at);
    let timeouts = timeouts(listener.timeouts, at);
    let http2 = http2(cx, listener.http2, at);
    let path = path(listener.path, at);
    let forwarding = forwarding(cx, listener.forwarding, at);
    let label = name.as_ref().map_or_else(|| "listener".to_owned(), |(name, _)| name.to_string());
    let speaks_http = listener.routes.is_written();
    let tcp_written = listener.tcp.is_written();
    if !speaks_http && !tcp_written {
        cx.error(at, "nothing is done with these connections; write routes (HTTP), tcp, or both");
    }
    let chain_at = listener.filters.place();
    let mut known = std::mem::take(&mut names.filters);
    let chain = known.chain(cx, listener.filters, at, names);
    names.filters = known;
    if let (Some(at), false) = (chain_at, speaks_http) {
        cx.error(at, "these are for HTTP, which this listener does not speak; write them under `tcp`");
    }
    let chain = chain.unwrap_or_default();
    let routes = if speaks_http {
        listener.routes.at(at).and_then(|(list, place)| {
            if list.is_empty() {
                cx.warn(place, "no route: every request to this listener is answered with 404");
            }
            route::routes(cx, list, place, (&label, knows), &chain, names)
        })
    } else {
        only_http(cx, &http_fields);
        Some(Vec::new())
    };
    let judge = match (&routes, direction) {
        (Some(routes), Some(direction)) if speaks_http => {
            judge(routes.iter().map(|(route, _)| route), &names.filters, direction)
        }
        _ => None,
    };
    let tcp = listener.tcp.at(at).and_then(|(tcp, place)| tcp::tcp(cx, tcp, place, judge.as_deref(), names));
    let protocol = match (speaks_http, tcp_written) {
        (true, false) => Some(ListenerProtocol::Http),
        (true, true) => tcp.map(ListenerProtocol::Detect),
        (false, _) => tcp.map(ListenerProtocol::Opaque),
    };
    // The names of what is carried are between the client and its server.
    if let (Some(Some(tls)), Some(ListenerProtocol::Opaque(_)), false) = (&mut tls, &protocol, names_written) {
        tls.alpn.clear();
    }
    if let Some(routes) = &routes {
        matching::shadowed(cx, routes);
    }
    if let (Some((address, _)), Some(capture), Some(header), Some(rules)) =
        (&address, captured, &proxy_protocol, &authorization)
    {
        // What rules sent here, or a header tells of, was going elsewhere. A port of 0 is known to the kernel alone.
        let only = (capture == Capture::Off && header.is_none() && address.port() != 0).then_some(address.port());
        tls::judge_exceptions(cx, &exceptions, only, rules.as_ref());
    }
    Some(Listener {
        name: name?.0,
        address: address?.0,
        direction: direction?,
        capture: captured?,
        probe_port: None,
        admin_port: None,
        closed_probe_ports: Vec::new(),
        port_sharing: if listener.share_port.take()? { PortSharing::Shared } else { PortSharing::Exclusive },
        backlog: listener.backlog.value()?.to(),
        connections: listener.connections.value()?.to(),
        max_connection_age: match listener.max_connection_age {
            absent if !absent.is_written() => None,
            written => written.value()?.0,
        },
        proxy_protocol: proxy_protocol?,
        tls: tls?,
        authorization: authorization?,
        protocol: protocol?,
        http: Http {
            limits: limits?,
            timeouts: timeouts?,
            http2: http2?,
            path: path?,
            forwarding: forwarding?,
            underscores: match listener.underscores.take()? {
                Underscores::Accept => model::Underscores::Accept,
                Underscores::Reject => model::Underscores::Reject,
            },
            connect: match listener.connect.take()? {
                Connect::Refuse => model::Connect::Refuse,
                Connect::Allow => model::Connect::Allow,
            },
        },
        filters: filter::shared(chain),
        routes: routes?.into_iter().map(|(route, _)| Arc::new(route)).collect(),
        metadata: metadata?,
    })
}

fn proxy_protocol(
    cx: &mut Lowering<'_, '_>,
    field: Field<document::ProxyProtocol>,
    at: Place,
) -> Option<Option<ProxyProtocol>> {
    if !field.is_written() {
        return Some(None);
    }
    let (proxy, at) = field.at(at)?;
    let trusted = match cx.required(at, "trusted", proxy.trusted) {
        Some((list, place)) if list.is_empty() => {
            cx.error(
                place,
                "no network: nobody's header would be believed; write those of the senders, or remove `proxy_protocol`",
            );
            None
        }
        Some((list, place)) => {
            let networks = cx.elements(place, list);
            if let Some((_, place)) = networks.iter().find(|(Scalar(network), _)| network.prefix == 0) {
                cx.warn(*place, "everybody's header is believed: whoever reaches this listener can pose as any client");
            }
            Some(networks.into_iter().map(|(Scalar(network), _)| network).collect())
        }
        None => None,
    };
    Some(Some(ProxyProtocol {
        headers: match proxy.headers.take()? {
            document::ProxyHeaders::Required => ProxyHeaders::Required,
            document::ProxyHeaders::Optional => ProxyHeaders::Optional,
        },
        trusted: trusted?,
        timeout: proxy.timeout.value()?.0,
        header_bytes: proxy.header_bytes.value()?.0 as usize,
    }))
}

/// Says of each field that it is of no use where no HTTP is spoken.
fn only_http(cx: &mut Lowering<'_, '_>, fields: &[(&str, Option<Place>)]) {
    for (name, place) in fields.iter().filter_map(|(name, place)| place.map(|place| (name, place))) {
        cx.error(place, format!("{name:?} is about HTTP, which a listener without routes does not speak; remove it"));
    }
}

fn limits(cx: &mut Lowering<'_, '_>, field: Field<document::HttpLimits>, at: Place) -> Option<HttpLimits> {
    let (limits, at) = or_default(field, at)?;
    let target_at = limits.target_bytes.place().unwrap_or(at);
    let target_written = limits.target_bytes.is_written();
    let (header_bytes, mut target_bytes) = (limits.header_bytes.value()?.0, limits.target_bytes.value()?.0);
    if !target_written {
        // Nobody asked for more than there is.
        target_bytes = target_bytes.min(header_bytes);
    }
    if target_bytes > header_bytes {
        cx.error(
            target_at,
            format!("target_bytes ({target_bytes}) is more than header_bytes ({header_bytes}), which the target is part of; write at most that"),
        );
    }
    Some(HttpLimits { headers: limits.headers.value()?.to(), header_bytes, target_bytes })
}

fn timeouts(field: Field<document::HttpTimeouts>, at: Place) -> Option<HttpTimeouts> {
    let (timeouts, _) = or_default(field, at)?;
    let period = |field: Text<Period>| field.value().map(|Period(duration)| duration);
    Some(HttpTimeouts {
        idle: period(timeouts.idle)?,
        header: period(timeouts.header)?,
        body: timeouts.body.value()?.0,
        write: period(timeouts.write)?,
    })
}

fn http2(cx: &mut Lowering<'_, '_>, field: Field<document::Http2>, at: Place) -> Option<Http2> {
    let (http2, at) = or_default(field, at)?;
    let stream_at = http2.stream_window.place().unwrap_or(at);
    let streams: u32 = http2.streams.value()?.to();
    let (stream_window, connection_window) = (http2.stream_window.value()?.0, http2.connection_window.value()?);
    let (connection_window, connection_most) = connection_window.within(streams, stream_window);
    if stream_window > connection_window {
        cx.error(
            stream_at,
            format!("stream_window ({stream_window}) is more than connection_window ({connection_window}), so it can never be used; write at most that"),
        );
    }
    let (flood, _) = or_default(http2.flood, at)?;
    Some(Http2 {
        streams,
        stream_window,
        connection_window,
        connection_most,
        flood_window: flood.window.value()?.0,
        resets: flood.resets.value().map(Int::to)?,
        reset_by_us: flood.reset_by_us.value().map(Int::to)?,
        pings: flood.pings.value().map(Int::to)?,
        settings: flood.settings.value().map(Int::to)?,
        empty_data: flood.empty_data.value().map(Int::to)?,
        window_updates: flood.window_updates.value().map(Int::to)?,
        priorities: flood.priorities.value().map(Int::to)?,
        continuations: flood.continuations.value().map(Int::to)?,
    })
}

fn path(field: Field<document::PathPolicy>, at: Place) -> Option<PathPolicy> {
    let (path, _) = or_default(field, at)?;
    Some(PathPolicy {
        resolve_dots: path.resolve_dots.take()?,
        merge_slashes: path.merge_slashes.take()?,
        escaped_slashes: match path.escaped_slashes.take()? {
            EscapedSlashes::Keep => model::EscapedSlashes::Keep,
            EscapedSlashes::Reject => model::EscapedSlashes::Reject,
            EscapedSlashes::Decode => model::EscapedSlashes::Decode,
        },
    })
}

fn forwarding(cx: &mut Lowering<'_, '_>, field: Field<document::Forwarding>, at: Place) -> Option<Forwarding> {
    let (forwarding, at) = or_default(field, at)?;
    let via = forwarding.via.at(at).map(|(Scalar(via), place)| {
        // RFC 9110 §7.6.3: received-by is a pseudonym (token) or a host with an optional port.
        let token = via.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(&b));
        if via.is_empty() || !token {
            cx.error(
                place,
                format!("expected a pseudonym such as pillion, found {via:?}; letters, digits and .-_ only"),
            );
        }
        via
    });
    let trusted_at = forwarding.trusted.place().unwrap_or(at);
    let trusted = forwarding.trusted.elements();
    let trusted = cx.elements(trusted_at, trusted).into_iter().map(|(Scalar(network), _)| network).collect();
    let mode = |mode: ForwardingMode| match mode {
        ForwardingMode::Off => model::ForwardingMode::Off,
        ForwardingMode::Append => model::ForwardingMode::Append,
    };
    Some(Forwarding {
        x_forwarded: mode(forwarding.x_forwarded.take()?),
        forwarded: mode(forwarding.forwarded.take()?),
        via,
        request_id: match forwarding.request_id.take()? {
            RequestId::Pass => model::RequestId::Pass,
            RequestId::Generate => model::RequestId::Generate,
        },
        trusted,
        trusted_hops: forwarding.trusted_hops.value()?.to(),
        strip_identity: forwarding.strip_identity.take()?,
    })
}
