//! The route of a request that is in its chain: the one it came by, and the one that filters have led it to since.
//!
//! Who changed a head and lets it go on may have led it elsewhere. As in Envoy, whose wasm filters forget the route then, it is chosen anew as
//! soon as one of the proxy's own filters comes, each of which has settings by route: that and all behind it are told of the route that the
//! head has now. So is whoever tells of an answer given in place of the upstream's. A wasm filter right behind is told of the one before.
//! The chain stays the first route's; where the request really goes is [`again`](super::again)'s to say, when it has left.

use super::{Headers, shared::Shared};
use crate::exchange::{
    Exchange, receive,
    route::{Found, weighted},
};
use http::request;
use pillion_config::model::{Action, Route};
use std::{rc::Rc, sync::Arc};

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
        let head = self.changed_head();
        self.takes(head.as_ref().and_then(|head| self.found(head)).map(|found| found.route));
    }

    /// The head in the chain, where a filter changed it and it can be said.
    fn changed_head(&self) -> Option<request::Parts> {
        let head = self.request.borrow().head.as_ref().filter(|head| head.is_changed()).cloned()?;
        let mut head = head.into_request().ok()?;
        receive::clean(&self.listener.model.http, &mut head).ok()?;
        Some(head)
    }

    fn found(&self, head: &request::Parts) -> Option<Found<'_>> {
        let target = receive::Target::left(head);
        self.listener.routes.find(&target.view(head, self.connection.local))
    }
}

/// The request is answered while it is in the chain: by the route that filters led it to, where there is one.
pub(super) fn settle(exchange: &mut Exchange, chain: &Shared) {
    let Some(head) = chain.changed_head() else { return };
    if let Some(found) = chain.found(&head) {
        chain.takes(Some(found.route));
        exchange.choose(&found, &head);
    }
}
