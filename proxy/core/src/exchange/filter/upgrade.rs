//! Requests that ask to leave HTTP, as filters see them, and whether they still ask behind them.
//!
//! Filters see what Envoy shows: `Upgrade` and `Connection` as the client sent them, and of an extended CONNECT (RFC 8441)
//! the HTTP/1.1 request it stands for, and a 101 that grants it. Without `Upgrade` the request is an ordinary one.

use crate::exchange::{
    head::{Survey, hop_by_hop},
    judge,
    prepare::{Asked, Leaving, lets_through},
    route::RouteError,
};
use http::{HeaderValue, Method, StatusCode, header, request, response};
use pillion_config::model::Route;

/// Whether filters took a wish to leave HTTP away, or led it to a route that does not let it through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withdrawn {
    No,
    /// That of an `Upgrade`, whose client takes any answer.
    Upgrade,
    /// That of a CONNECT, whose client takes a success for the tunnel.
    Connect,
}

/// Shows filters that a request asks to leave HTTP. `came`: as it was judged, where it was kept.
pub(super) fn show(asked: &Asked, came: Option<&request::Parts>, head: &mut request::Parts) {
    match asked {
        Asked::Connect => {}
        Asked::Upgrade(protocol, _) => {
            let field = |name| came.and_then(|came| came.headers.get(name)).cloned();
            let connection = field(header::CONNECTION).unwrap_or(HeaderValue::from_static("upgrade"));
            // A head that is full stays as it is; it is asked for all the same.
            head.headers.try_insert(header::CONNECTION, connection).ok();
            head.headers.try_insert(header::UPGRADE, field(header::UPGRADE).unwrap_or_else(|| protocol.clone())).ok();
        }
        Asked::ExtendedConnect(protocol, _) => judge::stand_for(protocol.clone(), head),
    }
}

/// What is left of the wish behind the filters, on the route that it goes by. The fields that say so are still in the head.
pub(super) fn settle(
    leaving: Leaving,
    route: &Route,
    head: &mut request::Parts,
) -> Result<(Option<Leaving>, Withdrawn), RouteError> {
    let (protocol, withdrawn) = match &leaving.asked {
        Asked::Connect => return Ok((Some(leaving), Withdrawn::No)),
        Asked::Upgrade(protocol, _) => (protocol, Withdrawn::Upgrade),
        Asked::ExtendedConnect(protocol, _) => (protocol, Withdrawn::Connect),
    };
    let asks = hop_by_hop::upgrade(&head.headers, Survey::of(&head.headers))
        .is_some_and(|asked| protocol.as_bytes().eq_ignore_ascii_case(asked.as_bytes()));
    let refused = asks && !protocol.to_str().is_ok_and(|protocol| lets_through(route, protocol));
    Ok(match (asks, withdrawn) {
        (true, Withdrawn::Connect) if refused => return Err(RouteError::UpgradeRefused),
        (true, _) if refused => (None, withdrawn),
        (false, _) => (None, withdrawn),
        (true, Withdrawn::Connect) if head.method != Method::GET => (None, withdrawn),
        (true, Withdrawn::Connect) => {
            head.method = Method::CONNECT;
            (Some(leaving), Withdrawn::No)
        }
        (true, Withdrawn::No | Withdrawn::Upgrade) => (Some(leaving), Withdrawn::No),
    })
}

/// What a success grants that says so by its status alone.
pub(super) fn granted(asked: &Asked) -> Option<HeaderValue> {
    match asked {
        Asked::ExtendedConnect(protocol, _) => Some(protocol.clone()),
        Asked::Upgrade(..) | Asked::Connect => None,
    }
}

/// Shows filters such a success as the 101 that it stands for.
pub(super) fn show_granted(protocol: HeaderValue, head: &mut response::Parts) {
    head.status = StatusCode::SWITCHING_PROTOCOLS;
    head.headers.try_insert(header::UPGRADE, protocol).ok();
    head.headers.try_insert(header::CONNECTION, HeaderValue::from_static("upgrade")).ok();
}

/// Makes it one again, for an HTTP/2 client.
pub(super) fn grant(head: &mut response::Parts) {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        head.status = StatusCode::OK;
        head.headers.remove(header::UPGRADE);
        head.headers.remove(header::CONNECTION);
    }
}
