//! An upstream's response made ready for the client: hop-by-hop fields gone, this hop told, or a tunnel begun.

use super::{
    Exchange,
    head::{Survey, hop_by_hop, hop_by_hop::UpgradeField},
    prepare::{Asked, Leaving, Watched},
    respond::{Answer, AnswerBody},
};
use crate::{
    body::Incoming,
    downstream::admit::Carried,
    error::ProxyError,
    tunnel::{
        self,
        upgrade::{TunnelEnd, UpgradeError},
        websocket,
    },
    upstream::{Cause, RequestError},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, response};
use pillion_config::model::Route;

/// Makes a response ready.
pub(super) fn deliver(
    exchange: &mut Exchange,
    route: &Route,
    response: Response<Incoming>,
    leaving: Option<Leaving>,
    watched: Watched,
) -> Result<Answer, ProxyError> {
    let (mut head, body) = response.into_parts();
    exchange.record.upstream_head_received(head.status);
    let survey = Survey::of(&head.headers);
    let switched = switched(&head, leaving.as_ref())?;
    hop_by_hop::response(&mut head.headers, survey, UpgradeField::Strip)
        .map_err(|_| Cause::from(RequestError::Malformed))?;
    exchange.listener.forwarding.response(&mut head.headers, head.version)?;
    exchange.record.details("via_upstream");
    match switched {
        Switched::Yes => tunnel(exchange, route, head, body, leaving.ok_or(UpgradeError::Unasked)?),
        Switched::No => Ok(Answer { head, body: AnswerBody::Stream(body), idle: route.idle_timeout, watched }),
    }
}

/// Whether a response ends HTTP on its connection or stream.
enum Switched {
    No,
    Yes,
}

/// HTTP/1 says so by 101, HTTP/2 by any 2xx to an extended CONNECT (RFC 8441 §5).
fn switched(head: &response::Parts, leaving: Option<&Leaving>) -> Result<Switched, UpgradeError> {
    let by_http2 = head.version == Version::HTTP_2;
    let success = head.status.is_success();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let asked = leaving.and_then(|leaving| leaving.asked.protocol()).ok_or(UpgradeError::Unasked)?;
        // RFC 9110 §7.8: a server switches to a protocol that was asked for.
        let same =
            head.headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(asked.as_bytes()));
        return if same { Ok(Switched::Yes) } else { Err(UpgradeError::Unasked) };
    }
    match leaving.map(|leaving| &leaving.asked) {
        Some(Asked::Connect) if success => Ok(Switched::Yes),
        Some(Asked::Upgrade(..) | Asked::ExtendedConnect(..)) if success && by_http2 => Ok(Switched::Yes),
        // To an HTTP/2 client a 2xx would say that the tunnel stands.
        Some(Asked::ExtendedConnect(..)) if success => Err(UpgradeError::Declined),
        Some(_) | None => Ok(Switched::No),
    }
}

fn tunnel(
    exchange: &mut Exchange,
    route: &Route,
    mut head: response::Parts,
    body: Incoming,
    leaving: Leaving,
) -> Result<Answer, ProxyError> {
    let Incoming::Upgraded(upstream) = body else { return Err(UpgradeError::Unasked.into()) };
    if let Some(key) = leaving.asked.made_key().filter(|_| head.version == Version::HTTP_11) {
        websocket::verify(key.as_bytes(), &head.headers)?;
    }
    let asked = exchange.judged.take().ok_or(UpgradeError::Unasked)?;
    let carried = Carried::upgraded(&exchange.connection, asked);
    carried.goes_to(upstream.server());
    let upstream = TunnelEnd::upstream(upstream);
    grant(&mut head, &leaving.asked);
    let idle = route.idle_timeout;
    let start = Box::new(move |record| {
        tokio::task::spawn_local(async move {
            let Ok(downstream) = leaving.offer.end().await else { return };
            tunnel::forward(carried, downstream, upstream, idle, record).await;
        });
    });
    Ok(Answer { head, body: AnswerBody::Tunnel(start), idle: None, watched: Watched::nothing() })
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
        Asked::ExtendedConnect(..) => {
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
