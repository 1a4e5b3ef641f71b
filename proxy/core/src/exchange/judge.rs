//! A request as routes and rules look at it, where that is not the head that came.
//!
//! Two things of a head are not what they seem: fields in which a client can claim to be another, which this listener
//! writes anew before anybody is told of them; and an extended CONNECT, which is the HTTP/1.1 request that it stands for.
//! Envoy's routes and rules look at what is left, and so do these: who may, and where to, does not follow from a forgery.

use super::{Exchange, head::forwarding::is_ruled, prepare};
use crate::tunnel::upgrade::Offer;
use http::{HeaderValue, Method, header, request};
use pillion_config::model::{Authorization, Listener, RouteMatch};

/// Whether a condition of these routes or rules names a field that a listener's forwarding rules have a say in. Where
/// none does, a head that came is looked at itself.
pub(crate) fn looks_at_claims(listener: &Listener) -> bool {
    let names_one = |matcher: &RouteMatch| matcher.headers.iter().any(|condition| is_ruled(&condition.name));
    let asks_for_one = |rules: &Authorization| rules.rules.iter().flat_map(|rule| &rule.requests).any(names_one);
    listener.authorization.as_ref().is_some_and(asks_for_one)
        || listener
            .routes
            .iter()
            .any(|route| names_one(&route.matcher) || route.authorization.as_deref().is_some_and(asks_for_one))
}

/// The request as it is judged; `None`: as it came. One that may become a tunnel is judged by later rules too, which may
/// look at any of it.
pub(super) fn seen(
    exchange: &mut Exchange,
    head: &request::Parts,
    offer: Option<&Offer>,
) -> Option<Box<request::Parts>> {
    if offer.is_none() && !exchange.listener.looks_at_claims {
        return None;
    }
    let mut head = Box::new(head.clone());
    prepare::tell_of_this_hop_or_of_none(exchange, &mut head);
    let protocol = offer.and_then(|offer| offer.protocol.as_deref());
    if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        stand_for(protocol, &mut head);
    }
    Some(head)
}

/// Makes an extended CONNECT (RFC 8441) the HTTP/1.1 request that it stands for. A head that is full lacks its fields.
pub(super) fn stand_for(protocol: HeaderValue, head: &mut request::Parts) {
    head.method = Method::GET;
    head.headers.try_insert(header::CONNECTION, HeaderValue::from_static("upgrade")).ok();
    head.headers.try_insert(header::UPGRADE, protocol).ok();
}
