//! Errors that keep a request from its filters: it cannot be read, it may not pass, no route takes it.
//!
//! Filters that change answers to requests they never saw ([`Interest::ANSWERED_BEFORE`]) change these as well, as every
//! filter of Envoy's own does. Where there is none, nothing is done.

use super::{
    Headers, Interest, Side,
    run::{self, begin_back, end_back},
    shared::Phase,
    stage::Slot,
};
use crate::{
    error::ProxyError,
    exchange::{Exchange, respond, respond::Answer},
};
use http::request;
use std::rc::Rc;

/// Answers a request that an error kept from its filters. `head`: what there is of its head. `None`: no filter changes the answer,
/// or there is to be none.
pub(in crate::exchange) fn refuse(
    exchange: &mut Exchange,
    head: impl FnOnce() -> request::Parts,
    error: &ProxyError,
) -> Option<Answer> {
    let slots: Box<[Slot]> = slots(exchange).collect();
    if slots.is_empty() || respond::turned_away(exchange, error).is_some() {
        return None;
    }
    let answer = respond::error(exchange, error);
    let chain = run::chain(exchange, slots);
    exchange.record.attach(Rc::clone(&chain));
    let route = exchange.route.and_then(|index| exchange.listener.model.routes.get(index));
    chain.route.replace(route.cloned());
    chain.request.borrow_mut().head = Some(Headers::request(head(), run::word(exchange.connection.facts.scheme())));
    chain.forget_request();
    chain.phase.set(Phase::Response);
    let rest = begin_back(exchange, &chain, answer, None);
    // Nobody held it back: they were told, and not asked.
    let left = chain.left(Side::Response).unwrap_or(Ok(()));
    Some(end_back(exchange, &chain, rest, left, None))
}

/// The filters of the route, or the listener's where no route was chosen, that change the answer.
fn slots(exchange: &Exchange) -> impl Iterator<Item = Slot> {
    let model = &exchange.listener.model;
    let filters = match exchange.route.and_then(|index| model.routes.get(index)) {
        Some(route) => &route.filters,
        None => &model.filters,
    };
    let filters = filters.iter().flat_map(|filters| filters.iter()).map(|index| exchange.view.filter(*index));
    filters.filter(|filter| filter.interest.has(Interest::ANSWERED_BEFORE)).map(Slot::new)
}
