//! A request made ready for its cluster: hop-by-hop fields gone, this hop told, the route's changes made.
//!
//! The head keeps the form in which it came (origin-form with `Host`, or HTTP/2's pseudo-headers in the URI); the
//! upstream side turns it into what it speaks.

use super::{
    Exchange, Means,
    head::{Field, HeadRefusal, Survey, forwarding, grpc, hop_by_hop, hop_by_hop::UpgradeField},
    receive::set_path,
    route::{Found, RouteError, rewrite},
    stream::{Gate, Opened, RequestStream},
};
use crate::{
    body::Incoming,
    downstream::codec::Interim,
    error::ProxyError,
    telemetry::{ByteMeter, Source},
    tunnel::{upgrade::Offer, websocket},
    upstream::{HostField, OnInformational, set_host},
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request};
use http_body::Body;
use pillion_config::{
    model::{Connect, HostRewrite, Route, Scheme},
    template::Variable,
};
use std::{net::SocketAddr, rc::Rc, time::Duration};
use tokio::time::Instant;

/// A request ready to be sent, perhaps more than once.
pub(super) struct Prepared {
    /// The head of every attempt.
    pub(super) head: request::Parts,
    /// The body of every attempt; `None`: there is none.
    pub(super) stream: Option<Rc<RequestStream>>,
    /// From the body's end to the response's head.
    pub(super) timeout: Option<Duration>,
    /// The client's own deadline.
    pub(super) deadline: Option<Instant>,
    /// Holds the body until upstream wants it.
    pub(super) gate: Option<Gate>,
    /// Sends interim responses, where the client's protocol has them.
    pub(super) interim: Option<Interim>,
    /// Who hears of interim responses.
    pub(super) on_informational: Option<OnInformational>,
    /// Silence allowed on both sides.
    pub(super) idle: Option<Duration>,
    /// Which host the upstream is told.
    pub(super) host: HostField,
    /// The wish to leave HTTP, if upstream grants it.
    pub(super) leaving: Option<Leaving>,
}

/// What of a request is watched until its response has ended.
pub(super) struct Watched {
    /// Its body, which may come on.
    pub(super) stream: Option<Rc<RequestStream>>,
    /// The client's own deadline.
    pub(super) deadline: Option<Instant>,
}

impl Watched {
    /// The response is not passed on: what is left of the body is wanted by nobody, and not waited for.
    pub(super) fn give_up(&self) {
        if let Some(stream) = &self.stream {
            stream.give_up();
        }
    }

    pub(super) fn nothing() -> Self {
        Self { stream: None, deadline: None }
    }
}

impl Prepared {
    pub(super) fn watched(&self) -> Watched {
        Watched { stream: self.stream.clone(), deadline: self.deadline }
    }
}

/// A wish to leave HTTP.
pub(super) struct Leaving {
    /// Hands the downstream end over.
    pub(super) offer: Offer,
    /// How the client asked.
    pub(super) asked: Asked,
}

/// How a client asks to leave HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// HTTP/1 `Upgrade` to this protocol; with the key, if it is WebSocket.
    Upgrade(HeaderValue, Option<HeaderValue>),
    /// HTTP/2 extended CONNECT for this protocol; with a key made here, if it is WebSocket and the upstream asks for one.
    ExtendedConnect(HeaderValue, Option<HeaderValue>),
    /// CONNECT.
    Connect,
}

impl Asked {
    /// The protocol the upstream is asked for; `None`: plain CONNECT.
    pub(super) fn protocol(&self) -> Option<&HeaderValue> {
        match self {
            Self::Upgrade(protocol, _) | Self::ExtendedConnect(protocol, _) => Some(protocol),
            Self::Connect => None,
        }
    }

    /// The key for an upstream that wants one, where the client gave none.
    pub(super) fn made_key(&self) -> Option<&HeaderValue> {
        match self {
            Self::ExtendedConnect(_, key) => key.as_ref(),
            Self::Upgrade(..) | Self::Connect => None,
        }
    }
}

/// Makes a request ready for the cluster of this route.
pub(super) fn prepare(
    exchange: &mut Exchange,
    found: &Found<'_>,
    mut head: request::Parts,
    survey: Survey,
    body: Incoming,
    means: Means,
) -> Result<Prepared, ProxyError> {
    let (leaving, _) = arrive(exchange, Some(found.route), &mut head, survey, means.upgrade)?;
    depart(exchange, found, head, survey, body, means.interim, leaving)
}

/// What does not depend on where a request goes: hop-by-hop fields gone, this hop told. Before filters. With it, the scheme
/// that the client used.
pub(super) fn arrive(
    exchange: &mut Exchange,
    route: Option<&Route>,
    head: &mut request::Parts,
    survey: Survey,
    offer: Option<Offer>,
) -> Result<(Option<Leaving>, Scheme), ProxyError> {
    let arrived = leaving(exchange, route, head, survey, offer).and_then(|leaving| {
        hop_by_hop::request(&mut head.headers, survey, UpgradeField::Strip)?;
        let scheme = tell_of_this_hop(exchange, head, survey)?;
        Ok((leaving, scheme))
    });
    if arrived.is_err() {
        exchange.stays(|| head.clone());
    }
    arrived
}

/// What does: the route's changes. After filters.
pub(super) fn depart(
    exchange: &mut Exchange,
    found: &Found<'_>,
    mut head: request::Parts,
    survey: Survey,
    body: Incoming,
    interim: Option<Interim>,
    leaving: Option<Leaving>,
) -> Result<Prepared, ProxyError> {
    let changed = rewrite_target(exchange, found, &mut head).and_then(|()| Ok(change_headers(exchange, &mut head)?));
    if let Err(error) = changed {
        exchange.goes_on_as(&head);
        return Err(error);
    }

    let gate = gate(&mut head, survey, &body);
    let idempotent = head.method.is_idempotent();
    // A body behind filters is counted where it comes in.
    let meter = if matches!(body, Incoming::Filtered(_)) { ByteMeter::detached() } else { exchange.record.meter() };
    let stream = RequestStream::new(body, meter, idempotent, gate.clone(), Some(&exchange.connection.worker));
    let on_informational = interim.clone().map(|interim| informational(gate.clone(), interim));
    exchange.goes_on_as(&head);
    Ok(Prepared {
        timeout: found.route.timeout,
        deadline: grpc_deadline(exchange, &head.headers, survey),
        head,
        stream,
        gate,
        interim,
        on_informational,
        idle: found.route.idle_timeout,
        host: match found.route.rewrite.host {
            HostRewrite::Endpoint => HostField::Endpoint,
            HostRewrite::Keep | HostRewrite::Literal(_) => HostField::Request,
        },
        leaving,
    })
}

/// Whether the body waits until it is asked for. HTTP/1.0 knows no such wait, and nothing to send needs none
/// (RFC 9110 §10.1.1): the expectation ends here then.
fn gate(head: &mut request::Parts, survey: Survey, body: &Incoming) -> Option<Gate> {
    if !survey.has(Field::Expect) {
        return None;
    }
    if head.version < Version::HTTP_11 || body.is_end_stream() {
        head.headers.remove(header::EXPECT);
        return None;
    }
    Some(Gate::default())
}

/// Whether the client asks to leave HTTP, and may.
fn leaving(
    exchange: &Exchange,
    route: Option<&Route>,
    head: &request::Parts,
    survey: Survey,
    offer: Option<Offer>,
) -> Result<Option<Leaving>, ProxyError> {
    // Which routes let through is asked again where filters led the request to one.
    let allowed = |protocol: &str| route.is_none_or(|route| lets_through(route, protocol));
    if head.method == Method::CONNECT {
        let Some(offer) = offer else { return Err(RouteError::ConnectRefused.into()) };
        let asked = match &offer.protocol {
            Some(protocol) if allowed(protocol) => {
                let name = HeaderValue::from_str(protocol).map_err(|_| RouteError::UpgradeRefused)?;
                let websocket = protocol.eq_ignore_ascii_case("websocket");
                Asked::ExtendedConnect(name, websocket.then(|| websocket::key(chance(exchange))))
            }
            Some(_) => return Err(RouteError::UpgradeRefused.into()),
            None if exchange.listener.model.http.connect == Connect::Allow => Asked::Connect,
            None => return Err(RouteError::ConnectRefused.into()),
        };
        return Ok(Some(Leaving { offer, asked }));
    }
    let protocol = hop_by_hop::upgrade(&head.headers, survey).filter(|protocol| allowed(protocol));
    let protocol = protocol.and_then(|protocol| HeaderValue::from_str(&protocol.to_ascii_lowercase()).ok());
    Ok(offer.zip(protocol).map(|(offer, protocol)| {
        let key = head.headers.get(header::SEC_WEBSOCKET_KEY).cloned();
        Leaving { offer, asked: Asked::Upgrade(protocol, key) }
    }))
}

/// Whether requests of this route may switch to this protocol.
pub(super) fn lets_through(route: &Route, protocol: &str) -> bool {
    route.upgrades.iter().any(|known| known.eq_ignore_ascii_case(protocol))
}

fn chance(exchange: &Exchange) -> u128 {
    let random = &exchange.connection.worker.random;
    u128::from(random.next()) << 64 | u128::from(random.next())
}

fn tell_of_this_hop(exchange: &mut Exchange, head: &mut request::Parts, survey: Survey) -> Result<Scheme, HeadRefusal> {
    let peer = exchange.connection.peer(&exchange.listener);
    let from_uri = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let host = head.headers.get(header::HOST).cloned().or(from_uri);
    let client = exchange.listener.forwarding.request(
        &mut head.headers,
        survey,
        &peer,
        exchange.grammar.version,
        host.as_ref(),
        || chance(exchange),
    )?;
    if client.address != exchange.connection.facts.client().ip().to_canonical() {
        // A forwarding header names an address and no port.
        exchange.record.set_client(SocketAddr::new(client.address, 0));
    }
    Ok(client.scheme)
}

/// As [`tell_of_this_hop`], of a request that does not go on. Where it cannot be told, nothing is claimed either.
pub(super) fn tell_of_this_hop_or_of_none(exchange: &mut Exchange, head: &mut request::Parts) {
    let survey = Survey::of(&head.headers);
    if tell_of_this_hop(exchange, head, survey).is_err() {
        forwarding::forget(&mut head.headers);
    }
}

fn rewrite_target(exchange: &mut Exchange, found: &Found<'_>, head: &mut request::Parts) -> Result<(), ProxyError> {
    let rewrite = &found.route.rewrite;
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let policy = &exchange.listener.model.http.path;
    if let Some(path) = rewrite::target(&rewrite.path, target, found.matched, policy).map_err(RouteError::Rewrite)? {
        set_path(&mut head.uri, path)?;
    }
    if let HostRewrite::Literal(host) = &rewrite.host {
        set_host(&mut head.uri, &mut head.headers, host).map_err(|_| HeadRefusal::HostMalformed)?;
    }
    Ok(())
}

fn change_headers(exchange: &Exchange, head: &mut request::Parts) -> Result<(), HeadRefusal> {
    let Some(route) = exchange.compiled_route().filter(|route| !route.request_changes.is_empty()) else {
        return Ok(());
    };
    let mut headers = std::mem::take(&mut head.headers);
    if route.request_changes.speaks_of_fields() {
        head.headers.clone_from(&headers);
    }
    let facts = exchange.facts(Some(head), None);
    let changed = route.request_changes.apply(&mut headers, |variable, out| render(&facts, variable, out));
    head.headers = headers;
    changed
}

/// Appends what a variable stands for.
pub(super) fn render(facts: &impl Source, variable: &Variable, out: &mut Vec<u8>) {
    if let Some(value) = facts.value(variable) {
        value.append(out);
    }
}

/// What to do with interim responses from upstream: 100 lets the body go, and is nobody's who does not wait for it;
/// others are passed on (RFC 9110 §15.2).
fn informational(gate: Option<Gate>, interim: Interim) -> OnInformational {
    Rc::new(move |status, headers| {
        if status == StatusCode::CONTINUE {
            gate.iter().for_each(|gate| go_on(gate, Some(&interim)));
        } else {
            let mut response = Response::new(());
            *response.status_mut() = status;
            let mut headers = headers.clone();
            // Not even that of nothing (RFC 9110 §8.6).
            headers.remove(header::CONTENT_LENGTH);
            let survey = Survey::of(&headers);
            if hop_by_hop::response(&mut headers, survey, UpgradeField::Strip).is_ok() {
                *response.headers_mut() = headers;
                interim.send(response);
            }
        }
    })
}

/// Lets the body through; the client is told, once.
pub(super) fn go_on(gate: &Gate, interim: Option<&Interim>) {
    if gate.open() == Opened::Now
        && let Some(interim) = interim
    {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        interim.send(response);
    }
}

fn grpc_deadline(exchange: &Exchange, headers: &HeaderMap, survey: Survey) -> Option<Instant> {
    let asked = (exchange.grammar.grpc && survey.has(Field::GrpcTimeout)).then(|| headers.get("grpc-timeout"));
    let timeout = grpc::parse_timeout(asked??.as_bytes())?;
    Some(Instant::now() + timeout)
}
