//! An upstream's response made ready for the client: hop-by-hop fields gone, this hop told, or a tunnel begun.

use super::{
    Exchange,
    head::{Survey, hop_by_hop, hop_by_hop::UpgradeField},
    prepare::{Asked, Leaving},
    respond::{Answer, AnswerBody},
};
use crate::{
    body::Incoming,
    error::ProxyError,
    tunnel::{
        self,
        upgrade::{TunnelEnd, UpgradeError},
        websocket,
    },
    upstream::{Cause, RequestError},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response};
use pillion_config::model::Route;
use std::rc::Rc;
use tokio::time::Instant;

/// Makes a response ready.
pub(super) fn deliver(
    exchange: &mut Exchange,
    route: &Route,
    response: Response<Incoming>,
    leaving: Option<Leaving>,
    deadline: Option<Instant>,
) -> Result<Answer, ProxyError> {
    let (mut head, body) = response.into_parts();
    exchange.record.upstream_head_received(head.status);
    let survey = Survey::of(&head.headers);
    hop_by_hop::response(&mut head.headers, survey, UpgradeField::Strip)
        .map_err(|_| Cause::from(RequestError::Malformed))?;
    exchange.listener.forwarding.response(&mut head.headers, head.version)?;
    if switched(&head, leaving.as_ref()) {
        let leaving = leaving.ok_or(UpgradeError::Unasked)?;
        return tunnel(exchange, route, head, body, leaving);
    }
    Ok(Answer { head, body: AnswerBody::Stream(body), idle: route.idle_timeout, deadline })
}

/// Whether this response ends HTTP on its connection or stream.
fn switched(head: &response::Parts, leaving: Option<&Leaving>) -> bool {
    head.status == StatusCode::SWITCHING_PROTOCOLS
        || leaving.is_some_and(|leaving| match &leaving.asked {
            // An HTTP/2 upstream grants an upgrade with 200.
            Asked::Upgrade(..) => head.version == http::Version::HTTP_2 && head.status.is_success(),
            Asked::ExtendedConnect(_) | Asked::Connect => head.status.is_success(),
        })
}

fn tunnel(
    exchange: &mut Exchange,
    route: &Route,
    mut head: response::Parts,
    body: Incoming,
    leaving: Leaving,
) -> Result<Answer, ProxyError> {
    let Incoming::Upgraded(upstream) = body else { return Err(UpgradeError::Unasked.into()) };
    let upstream = TunnelEnd::new(upstream, Bytes::new());
    grant(&mut head, &leaving.asked);
    let connection = Rc::clone(&exchange.connection);
    let idle = route.idle_timeout;
    let start = Box::new(move |record| {
        tokio::task::spawn_local(async move {
            let Ok(downstream) = leaving.offer.end().await else { return };
            tunnel::forward(connection, downstream, upstream, idle, record).await;
        });
    });
    Ok(Answer { head, body: AnswerBody::Tunnel(start), idle: None, deadline: None })
}

/// Says yes in the client's protocol.
fn grant(head: &mut response::Parts, asked: &Asked) {
    head.headers.remove(header::CONTENT_LENGTH);
    match asked {
        Asked::Upgrade(protocol, key) => {
            head.status = StatusCode::SWITCHING_PROTOCOLS;
            head.headers.insert(header::UPGRADE, protocol.clone());
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(key) = key
                && !head.headers.contains_key(header::SEC_WEBSOCKET_ACCEPT)
            {
                head.headers.insert(header::SEC_WEBSOCKET_ACCEPT, websocket::accept(key.as_bytes()));
            }
        }
        Asked::ExtendedConnect(_) => {
            head.status = StatusCode::OK;
            forget_handshake(&mut head.headers);
        }
        Asked::Connect => head.status = StatusCode::OK,
    }
}

fn forget_handshake(headers: &mut HeaderMap) {
    headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    headers.remove(header::UPGRADE);
}
