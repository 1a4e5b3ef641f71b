//! The route of a request that is in its chain: the one it came by, and the one that filters have led it to since.
//!
//! Who changed a head and lets it go on may have led it elsewhere. As in Envoy, whose wasm filters forget the route then, it is chosen anew as
//! soon as one of the proxy's own filters comes, each of which has settings by route: that and all behind it are told of the route that the
//! head has now. So is whoever tells of an answer given in place of the upstream's; where no route takes that head, it is no route's. A wasm
//! filter right behind is told of the one before.
//! The chain stays the first route's; where the request really goes is [`again`](super::again)'s to say, when it has left.

use super::{Headers, shared::Shared};
use crate::{
    error::FilterError,
    exchange::{
        Exchange, receive,
        route::{Found, weighted},
    },
    telemetry::Record,
};
use http::request;
use pillion_config::model::{Action, Route};
use std::{rc::Rc, sync::Arc};

/// Where the head that filters left leads.
enum Leads<'a> {
    /// Where it led before: nobody changed it, or it cannot be said for another reason than its path.
    AsBefore,
    To(Found<'a>, Box<request::Parts>),
    Nowhere,
}

impl Shared {
    /// This is its route. The cluster it sends this request to is chosen with it and stays the same as long as it does, so that filters
    /// can be told.
    pub(super) fn takes(&self, route: Option<&Arc<Route>>) {
        let known = self.route.borrow().as_ref().map(Arc::as_ptr);
        if known == route.map(Arc::as_ptr) {
            return;
        }
        self.aim.replace(route.and_then(|route| {
            let Action::Forward(clusters) = &route.action else { return None };
            let worker = self.held.worker();
            let cluster = weighted::choose(clusters, worker.random.next())?;
            Some(Rc::clone(self.view.cluster(cluster, worker)))
        }));
        self.route.replace(route.cloned());
    }

    /// Its route by the head that the filters so far have left; none where no route takes that.
    #[inline]
    pub(super) fn route_as_left(&self) {
        if self.request.borrow_mut().head.as_mut().is_some_and(Headers::is_to_be_routed) {
            self.choose_again();
        }
    }

    #[cold]
    fn choose_again(&self) {
        match self.leads() {
            Leads::AsBefore => {}
            Leads::To(found, _) => self.takes(Some(found.route)),
            Leads::Nowhere => self.takes(None),
        }
    }

    fn leads(&self) -> Leads<'_> {
        let head = self.request.borrow().head.as_ref().filter(|head| head.is_changed()).cloned();
        let Some(head) = head else { return Leads::AsBefore };
        match head.into_request() {
            Ok(mut head) => self.found(&mut head).map_or(Leads::Nowhere, |found| Leads::To(found, Box::new(head))),
            Err(fault) if fault.is_of_path() => Leads::Nowhere,
            Err(_) => Leads::AsBefore,
        }
    }

    fn found(&self, head: &mut request::Parts) -> Option<Found<'_>> {
        receive::clean(&self.listener.model.http, head).ok()?;
        let target = receive::Target::left(head);
        self.listener.routes.find(&target.view(head, self.connection.local))
    }

    /// The record tells of the cluster that the request would have gone to, where it is on its way to none.
    pub(in crate::exchange) fn tell_of_aim(&self, record: &mut Record) {
        if let Some(aim) = &*self.aim.borrow() {
            record.would_go_to(aim.state().metrics());
        }
    }
}

/// The request is answered while it is in the chain: by the route that filters led it to, where there is one.
pub(super) fn settle(exchange: &mut Exchange, chain: &Shared) {
    match chain.leads() {
        Leads::AsBefore => {}
        Leads::To(found, head) => {
            chain.takes(Some(found.route));
            exchange.choose(&found, &head);
        }
        Leads::Nowhere => nowhere(exchange, chain),
    }
    chain.tell_of_aim(&mut exchange.record);
}

/// Filters led the request to no route.
pub(super) fn nowhere(exchange: &mut Exchange, chain: &Shared) {
    chain.takes(None);
    exchange.is_on_no_route();
}

/// As [`nowhere`], where a head that cannot be sent on has no path to look for a route by, or one that is none.
pub(super) fn stuck(exchange: &mut Exchange, chain: &Shared, fault: &FilterError) {
    if let FilterError::Request(fault) = fault
        && fault.is_of_path()
    {
        nowhere(exchange, chain);
    }
}
