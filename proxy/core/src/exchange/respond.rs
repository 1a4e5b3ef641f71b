//! respond: the only place that invents a response, and the only door through which responses leave.
//!
//! [`invent`] turns an error into an answer by one exhaustive match; [`redirect`] and [`direct`] answer as a route
//! says; [`pass`] hands an upstream's answer on. Each gives the exchange's record to the body that ends it.

mod invention;

use super::{
    Exchange,
    account::Account,
    head::Survey,
    prepare::Watched,
    receive::Target,
    route::{Found, RouteError, rewrite},
    stream::{Ending, ResponseBody},
};
use crate::{
    body::Incoming,
    downstream::admit::Denied,
    error::ProxyError,
    exchange::{
        filter::{LocalReply, MOST_NAMES},
        head::grpc::{self, GrpcStatus},
        prepare::render,
    },
    telemetry::{Blame, ResponseFlag},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request, response};
use invention::Invention;
use pillion_config::model::{DirectResponse, Redirect};
use std::{borrow::Cow, time::Duration};

/// What the client understands.
#[derive(Debug, Clone, Copy)]
pub struct Grammar {
    /// HEAD: no answer has a body.
    head: bool,
    /// gRPC: an error is a status in the trailers, on HTTP 200.
    pub(super) grpc: bool,
    /// The version the request came in.
    pub(super) version: Version,
}

/// An answer on its way out.
pub struct Answer {
    pub(super) head: response::Parts,
    pub(super) body: AnswerBody,
    /// Silence allowed while the body comes.
    pub(super) idle: Option<Duration>,
    /// What of the request goes on.
    pub(super) watched: Watched,
}

/// What follows an answer's head.
pub(super) enum AnswerBody {
    /// A body.
    Stream(Incoming),
    /// Nothing that is HTTP: the record has gone with the tunnel.
    Tunnel(Box<dyn FnOnce(Account)>),
    /// Nothing at all, not even the head: the stream is reset, for this reason.
    Reset(&'static str),
    /// Nothing: the client has reset the stream.
    Nobody,
}

/// In a response's extensions: it is none, and the codec resets the stream, or closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The request was cut.
    Cut,
    /// The client has reset it.
    Gone,
    /// Nothing was done with it: its client may send it again on another connection.
    Unserved,
}

impl Grammar {
    /// What the sender of this request understands.
    #[must_use]
    pub fn of(head: &request::Parts) -> Self {
        Self { head: head.method == Method::HEAD, grpc: grpc::is_grpc(&head.headers), version: head.version }
    }

    /// Whether an answer with this status has no content, whatever came with it (RFC 9110 §6.4.1).
    pub(super) fn bodiless(self, status: StatusCode) -> bool {
        self.head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

/// The error as an answer; none to a client that is not believed any more.
pub fn invent(mut exchange: Exchange, error: &ProxyError) -> Response<ResponseBody> {
    if let Some(denied) = turned_away(&exchange, error) {
        return turn_away(exchange, denied.details.clone());
    }
    if nobody_waits(error) {
        return pass(exchange, nobody());
    }
    let Answer { head, body, .. } = self::error(&mut exchange, error);
    let AnswerBody::Stream(body) = body else { unreachable!("invariant: an error is answered") };
    leave(exchange, Response::from_parts(head, body), None, Watched::nothing())
}

/// Whether nobody is left to be answered: the client reset its stream in the middle of the request's body, or its connection ended
/// there. One that has closed its half alone may still read, but is taken for gone, as Envoy does: it says itself that there is no whole
/// request to answer.
fn nobody_waits(error: &ProxyError) -> bool {
    matches!(error, ProxyError::ClientGone)
}

/// Whether a request is denied whose connection is led to its end: it is not answered ([`turn_away`]).
pub(super) fn turned_away<'e>(exchange: &Exchange, error: &'e ProxyError) -> Option<&'e Denied> {
    match error {
        ProxyError::Denied(denied) if exchange.connection.distrusted().is_some() => Some(denied),
        _ => None,
    }
}

/// A request that came while its connection was led to its end, because its client is not believed as it introduced itself.
/// It may have a newer certificate by now, and another connection to show it on: it is told that this request was not
/// served (HTTP/2: REFUSED_STREAM, RFC 9113 §8.7; HTTP/1.1: the connection closes without a byte, RFC 9112 §9.3.1), where
/// 403 would end the matter.
#[cold]
fn turn_away(mut exchange: Exchange, details: Cow<'static, str>) -> Response<ResponseBody> {
    exchange.record.flag(ResponseFlag::Unauthorized);
    exchange.record.details(details);
    exchange.record.terminated_by(Blame::Proxy);
    exchange.record.finish();
    reset(Reset::Unserved)
}

fn reset(how: Reset) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::detached());
    response.extensions_mut().insert(how);
    response
}

/// The error as an answer, before it leaves.
pub(super) fn error(exchange: &mut Exchange, error: &ProxyError) -> Answer {
    let invention = Invention::of(error);
    let flag = error.flag();
    let metrics = &exchange.listener.telemetry.metrics;
    metrics.answer(Some(flag));
    if let Some(reason) = error.refusal() {
        metrics.refusal(reason);
    }
    if let ProxyError::Guard(_) = error {
        exchange.connection.refusal_counted();
    }
    tracing::debug!(target: "pillion::respond", stage = ?error.stage(), status = invention.status.as_u16(), %error);
    exchange.record.flag(flag);
    if let Some(flag) = error.second_flag() {
        exchange.record.flag(flag);
    }
    exchange.record.terminated_by(error.blame());
    exchange.record.details(invention.details.clone());
    let response = if exchange.grammar.grpc {
        grpc_response(&invention)
    } else {
        let text = match invention.text {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => text.into(),
        };
        plain_response(invention.status, text, &TEXT)
    };
    let (head, body) = response.map(Incoming::Full).into_parts();
    Answer { head, body: AnswerBody::Stream(body), idle: None, watched: Watched::nothing() }
}

/// An error's details in the access log.
pub(super) fn details(error: &ProxyError) -> Cow<'static, str> {
    Invention::of(error).details
}

/// No answer: the stream is reset.
pub(super) fn nothing(details: &'static str) -> Answer {
    let (head, ()) = Response::new(()).into_parts();
    Answer { head, body: AnswerBody::Reset(details), idle: None, watched: Watched::nothing() }
}

/// No answer: there is nobody to take it.
pub(super) fn nobody() -> Answer {
    let (head, ()) = Response::new(()).into_parts();
    Answer { head, body: AnswerBody::Nobody, idle: None, watched: Watched::nothing() }
}

/// An answer as a filter gives it.
pub(super) fn local(exchange: &mut Exchange, reply: LocalReply, flag: Option<ResponseFlag>) -> Answer {
    exchange.listener.telemetry.metrics.answer(flag);
    if let Some(flag) = flag {
        exchange.record.flag(flag);
        // One of our own, which refuses. An answer that somebody else's filter gives is an answer.
        exchange.record.terminated_by(Blame::Proxy);
    }
    exchange.record.details(match reply.details {
        Cow::Borrowed(details) => Cow::Borrowed(details),
        // One word in the access log.
        Cow::Owned(details) => Cow::Owned(details.replace(char::is_whitespace, "_")),
    });
    let status = StatusCode::from_u16(reply.status).ok().filter(|status| (200..=599).contains(&status.as_u16()));
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let own = |name: &HeaderName| {
        matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::UPGRADE)
    };
    let given = reply.headers.into_iter().filter(|(name, _)| !own(name));
    let worded = !reply.body.is_empty();
    let mut response = if exchange.grammar.grpc {
        let grpc = reply.grpc_status.unwrap_or_else(|| GrpcStatus::from_http(status).code().into());
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from(grpc));
        if worded {
            headers.insert(GRPC_MESSAGE, grpc::message(&String::from_utf8_lossy(&reply.body)));
        }
        response
    } else {
        plain_response(status, reply.body, &TEXT)
    };
    let grpc = exchange.grammar.grpc;
    let mut typed = false;
    for (name, value) in given {
        match name {
            header::CONTENT_TYPE if grpc => {}
            // The SDK for Rust has no other way to give a status. Envoy takes it for the reply's own, and a message where there is no body:
            // of two it makes one. Two statuses would be none, so the last one counts.
            name if grpc && name == GRPC_STATUS && !value.is_empty() => {
                drop(response.headers_mut().insert(name, value))
            }
            name if grpc && name == GRPC_MESSAGE && !worded => {
                let both = response.headers().get(&name).map(|first| [first.as_bytes(), value.as_bytes()].join(&b','));
                // Of two values it is one.
                let both = both.and_then(|both| HeaderValue::from_maybe_shared(Bytes::from(both)).ok());
                response.headers_mut().insert(name, both.unwrap_or(value));
            }
            name if grpc && (name == GRPC_STATUS || name == GRPC_MESSAGE) => {}
            header::CONTENT_TYPE if !std::mem::replace(&mut typed, true) => {
                response.headers_mut().insert(name, value);
            }
            // A head that is full stays as it is.
            name if response.headers().keys_len() < MOST_NAMES => {
                response.headers_mut().try_append(name, value).ok();
            }
            _ => {}
        }
    }
    let (head, body) = response.map(Incoming::Full).into_parts();
    Answer { head, body: AnswerBody::Stream(body), idle: None, watched: Watched::nothing() }
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A redirect as the route says.
pub(super) fn redirect(
    exchange: &mut Exchange,
    redirect: &Redirect,
    found: &Found<'_>,
    parts: &request::Parts,
    survey: Survey,
) -> Result<Answer, ProxyError> {
    let target = Target::left(parts);
    let peer = exchange.connection.peer(&exchange.listener);
    // Not the request's own scheme: a client may write what it likes there.
    let scheme = exchange.listener.forwarding.client(&parts.headers, survey, &peer).scheme;
    let from = rewrite::RedirectFrom {
        scheme,
        authority: target.authority,
        target: target.path_and_query,
        matched: found.matched,
    };
    let policy = &exchange.listener.model.http.path;
    let location = rewrite::location(redirect, from, policy).map_err(RouteError::Rewrite)?;
    let mut response = Response::new(Incoming::Empty);
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(Answer::asked_for(exchange, response))
}

/// An answer as the route says.
pub(super) fn direct(exchange: &mut Exchange, direct: &DirectResponse) -> Answer {
    let body = exchange.compiled_route().and_then(|route| route.direct.clone()).unwrap_or_default();
    let response = plain_response(direct.status, body, &direct.content_type);
    Answer::asked_for(exchange, response.map(Incoming::Full))
}

fn plain_response(status: StatusCode, body: Bytes, content_type: &HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if !response.body().is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    }
    // RFC 9110 §8.6: no Content-Length on 204, nor on a 304 whose length nobody knows.
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    response
}

/// Trailers-Only: the status where a gRPC client looks for it (gRPC over HTTP/2, "Responses").
fn grpc_response(invention: &Invention) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", invention.grpc.to_value());
    headers.insert("grpc-message", grpc::message(invention.text.trim_end()));
    response
}

impl Answer {
    fn asked_for(exchange: &mut Exchange, response: Response<Incoming>) -> Self {
        exchange.listener.telemetry.metrics.answer(None);
        exchange.record.details("direct_response");
        let (head, body) = response.into_parts();
        Self { head, body: AnswerBody::Stream(body), idle: None, watched: Watched::nothing() }
    }
}

/// Hands an answer on.
pub(super) fn pass(exchange: Exchange, answer: Answer) -> Response<ResponseBody> {
    match answer.body {
        AnswerBody::Stream(body) => {
            leave(exchange, Response::from_parts(answer.head, body), answer.idle, answer.watched)
        }
        AnswerBody::Reset(details) => {
            let mut exchange = exchange;
            exchange.record.flag(ResponseFlag::LocalReset);
            exchange.record.details(details);
            exchange.record.terminated_by(Blame::Proxy);
            exchange.record.finish();
            reset(Reset::Cut)
        }
        AnswerBody::Nobody => {
            // Its account says so.
            drop(exchange);
            reset(Reset::Gone)
        }
        AnswerBody::Tunnel(start) => {
            let mut exchange = exchange;
            let mut head = answer.head;
            finish_head(&mut exchange, &mut head);
            start(exchange.record);
            Response::from_parts(head, ResponseBody::detached())
        }
    }
}

fn leave(
    mut exchange: Exchange,
    response: Response<Incoming>,
    idle: Option<Duration>,
    watched: Watched,
) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    finish_head(&mut exchange, &mut head);
    let body = if exchange.grammar.bodiless(head.status) { Incoming::Empty } else { body };
    let mut ending = Ending::new(exchange.record, exchange.grammar.version);
    ending.idle = idle;
    ending.deadline = watched.deadline;
    ending.request = watched.stream;
    Response::from_parts(head, ResponseBody::new(body, ending))
}

/// What every response gets, whoever made it: the route's changes and its line in the record. `Via` is not among it:
/// an answer made here was forwarded by nobody.
fn finish_head(exchange: &mut Exchange, head: &mut response::Parts) {
    // The version is the codec's business; an HTTP/2 upstream's must not reach an HTTP/1 encoder.
    head.version = Version::HTTP_11;
    if !exchange.changed {
        change_head(exchange, head);
    }
    exchange.record.response(head.status, &head.headers);
    if let Some(chain) = exchange.record.chain() {
        chain.keep_response(head);
    }
}

/// The route's changes to a response.
pub(super) fn change_head(exchange: &Exchange, head: &mut response::Parts) {
    if let Some(route) = exchange.compiled_route()
        && !route.response_changes.is_empty()
    {
        let mut headers = std::mem::take(&mut head.headers);
        if route.response_changes.speaks_of_fields() {
            head.headers.clone_from(&headers);
        }
        let facts = exchange.facts(None, Some(head));
        // A head that is full stays as it is.
        route.response_changes.apply(&mut headers, |variable, out| render(&facts, variable, out)).ok();
        head.headers = headers;
    }
}
