//! The route of a request that has left the chain: chosen again where filters changed the head or asked for it.
//!
//! The chain is the first route's, as in Envoy. What another route has more comes behind it, and the request passes that too:
//! there each of the proxy's own filters judges by the route that the request has when it comes to it, and one that is
//! written for a route alone must not be got round.

use super::{
    Course, HeadFault, Headers, Side,
    leave::{Expects, leave},
    routed,
    run::{slots, word},
    shared::Shared,
};
use crate::{
    downstream::{
        admit,
        codec::{Interim, boxed},
    },
    error::{FilterError, ProxyError},
    exchange::{Exchange, receive, route::RouteError},
};
use http::{header, request};
use pillion_config::model::{FilterIndex, Scheme};
use std::rc::Rc;

/// A request that has left the chain.
pub(super) struct Onward {
    pub(super) parts: request::Parts,
    /// A filter changed its head.
    pub(super) changed: bool,
    /// The place of its route, which may take it.
    pub(super) route: usize,
}

/// Fetches the head and chooses its route. It passes what that has of filters beyond those of the `first`.
pub(super) async fn choose(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    first: Course<'_>,
    scheme: Scheme,
    interim: Option<&Interim>,
) -> Result<Onward, ProxyError> {
    let (onward, missed) = look(exchange, chain, first.filters)?;
    if missed.is_empty() {
        return Ok(onward);
    }
    // Few are moved so: the rest should not carry the room for it.
    boxed(|| pass(exchange, chain, onward, missed, first, scheme, interim)).await
}

/// The head and its route, and which filters of that it has not `passed`: one that is configured anew is another.
fn look(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    passed: &[FilterIndex],
) -> Result<(Onward, Vec<FilterIndex>), ProxyError> {
    let listener = &chain.listener;
    let taken = chain.take_request().and_then(|(mut parts, changed)| {
        if changed {
            // By the client's rules: routes and rules are written for what they leave.
            receive::clean(&listener.model.http, &mut parts)
                .map_err(|_| FilterError::Request(HeadFault::Value(":path".into())))?;
        }
        Ok((parts, changed))
    });
    let (parts, changed) = taken.inspect_err(|fault| routed::stuck(exchange, chain, fault))?;
    let again = changed || chain.clear_route.take();
    if let Some(route) = exchange.route.filter(|_| !again) {
        return Ok((Onward { parts, changed, route }, Vec::new()));
    }
    // By the head as filters left it: a route may ask for the fields that go later.
    let target = receive::Target::left(&parts);
    let view = target.view(&parts, exchange.connection.facts.local);
    let Some(found) = listener.routes.find(&view) else {
        routed::nowhere(exchange, chain);
        exchange.goes_on_as(&parts);
        return Err(RouteError::NotFound.into());
    };
    let route = found.index;
    if let Some(judged) = exchange.judged.as_mut().filter(|_| changed) {
        // Where rules change, a tunnel is asked again as this, too: they may have another route for it.
        judged.became(parts.clone());
    }
    chain.takes(Some(found.route));
    if exchange.route == Some(route) {
        return Ok((Onward { parts, changed, route }, Vec::new()));
    }
    exchange.choose(&found, &parts);
    // Who may take the first route need not be one who may take this one.
    if let Some(rules) = exchange.compiled_route().and_then(|route| route.admit.as_deref())
        && let Err(denied) = admit::request(&exchange.connection, listener, Some(rules), &view)
    {
        exchange.goes_on_as(&parts);
        return Err(denied.into());
    }
    let has = found.route.filters.as_deref().unwrap_or_default();
    let missed = has.iter().filter(|filter| !passed.contains(filter)).copied().collect();
    Ok((Onward { parts, changed, route }, missed))
}

/// Leads the request through what it missed, which may change it in turn.
async fn pass(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    onward: Onward,
    missed: Vec<FilterIndex>,
    first: Course<'_>,
    scheme: Scheme,
    interim: Option<&Interim>,
) -> Result<Onward, ProxyError> {
    let Onward { parts, changed, .. } = onward;
    let expects = match parts.headers.contains_key(header::EXPECT) {
        true => Expects::Continue,
        false => Expects::Nothing,
    };
    let more = slots(exchange, &missed);
    chain.extend(more, Headers::request(parts, word(scheme)));
    let left = match chain.left(Side::Request) {
        Some(left) => left,
        None => leave(exchange, chain, Side::Request, first.idle, expects, interim).await,
    };
    left?;
    let passed: Vec<_> = first.filters.iter().copied().chain(missed).collect();
    let (again, missed) = look(exchange, chain, &passed)?;
    if let Some(missed) = missed.first() {
        exchange.goes_on_as(&again.parts);
        return Err(FilterError::NotPassed(exchange.view.filter(*missed).model.name.clone()).into());
    }
    Ok(Onward { changed: changed || again.changed, ..again })
}
