//! 2. One request, one response.
//!
//! ```text
//!  request ─► receive ─► route ─► [filter, both ways] ──► prepare ─► retry ⟲ upstream ─► deliver ─► response
//!                │          │                               │          │                   ▲
//!                └──────────┴──────────── ProxyError ───────┴──────────┴────► respond ─────┘
//! ```
//!
//! [`proxy`] is the spine. Every response the proxy invents is made in [`respond`], and every request ends with
//! exactly one [`Record`], whichever way it ends: the record rides on the response's body.

pub mod account;
mod deliver;
pub mod filter;
pub mod head;
pub(crate) mod judge;
mod prepare;
mod receive;
pub mod respond;
pub mod retry;
pub mod route;
pub mod stream;

use crate::{
    body::Incoming,
    downstream::{
        Connection,
        admit::{self, Judged},
        codec::{Inbound, Interim, boxed},
        held::Held,
        limit::Pressure,
        unfinished::Room,
    },
    error::ProxyError,
    snapshot::{CompiledRoute, ListenerSnapshot},
    telemetry::{Blame, Facts, Record, ResponseFlag},
    tunnel::upgrade::Offer,
    worker::View,
};
use account::Account;
use head::Survey;
use http::{Response, request, response, uri::PathAndQuery};
use pillion_config::model::Action;
use respond::{Answer, Grammar};
use route::{Found, RouteError, weighted};
use std::{rc::Rc, sync::Arc};
use stream::ResponseBody;

/// A request from its first stage to its last.
pub struct Exchange {
    /// The downstream connection.
    pub connection: Rc<Connection>,
    /// The configuration, read once.
    pub view: Rc<View>,
    /// The listener within it.
    pub listener: Arc<ListenerSnapshot>,
    /// What the client understands.
    pub grammar: Grammar,
    /// What is told of the request when it has ended.
    pub record: Account,
    /// The route's place in the listener, once it is chosen.
    pub route: Option<usize>,
    /// The route's changes to the response are made: before filters, where there are any.
    changed: bool,
    /// The request as it was forwarded, or would have been; kept only where the route's changes to responses speak of it.
    sent: Option<Box<request::Parts>>,
    /// The request as rules judged it, kept only where it may become a tunnel.
    judged: Option<Box<Judged>>,
    /// The target as it came, kept only where cleaning changed it or the route changes headers.
    original: Option<PathAndQuery>,
}

/// One request, one response. Never fails: what goes wrong becomes a response.
///
/// Dropping the future gives the request up: the upstream is told, the record says that the client left.
pub async fn proxy(connection: Rc<Connection>, inbound: Inbound) -> Response<ResponseBody> {
    let Inbound { request, upgrade, interim } = inbound;
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::begin(connection, &parts);
    match exchange.answer(parts, body, Means { upgrade, interim }).await {
        Ok(answer) => respond::pass(exchange, answer),
        Err(error) => respond::invent(exchange, &error),
    }
}

/// A request that the guard or the codec refused: one answer, one record. `head` is what there is of its head.
pub fn refuse(connection: Rc<Connection>, head: &request::Parts, error: &ProxyError) -> Response<ResponseBody> {
    let mut exchange = Exchange::begin(connection, head);
    exchange.stays(|| head.clone());
    match filter::refuse(&mut exchange, || head.clone(), error) {
        Some(answer) => respond::pass(exchange, answer),
        None => respond::invent(exchange, error),
    }
}

/// A request that the codec reset as `why`: a record and no answer. `head` is what there is of its head.
pub fn reset(connection: Rc<Connection>, head: &request::Parts, why: &'static str) -> Response<ResponseBody> {
    let mut exchange = Exchange::begin(connection, head);
    exchange.stays(|| head.clone());
    exchange.listener.telemetry.metrics.refusal(why);
    exchange.record.flag(ResponseFlag::DownstreamProtocolError);
    exchange.record.details(why);
    exchange.record.terminated_by(Blame::Downstream);
    exchange.record.finish();
    Response::new(ResponseBody::detached())
}

/// What the codec can do for a request beyond taking a response.
struct Means {
    /// Hand the connection over.
    upgrade: Option<Offer>,
    /// Send an interim (1xx) response.
    interim: Option<Interim>,
}

impl Exchange {
    fn begin(connection: Rc<Connection>, head: &request::Parts) -> Self {
        let (view, listener) = connection.slot.serving();
        let record = Record::begin(&listener.telemetry, &connection.facts, head);
        Self {
            view,
            grammar: Grammar::of(head),
            record: Account::new(record, Rc::clone(&connection)),
            route: None,
            changed: false,
            sent: None,
            judged: None,
            original: None,
            listener,
            connection,
        }
    }

    async fn answer(&mut self, mut parts: request::Parts, body: Incoming, means: Means) -> Result<Answer, ProxyError> {
        // Whoever is let in already takes what memory there is: it is told so before anything of its body is read.
        let worker = &self.connection.worker;
        if worker.process.pressure.get() == Pressure::Refuse || worker.register.held().room_for_one_more() == Room::None
        {
            return Err(ProxyError::ShortMemory);
        }
        // Until it is answered.
        let _head = Held::head(&self.connection.worker, &parts.headers).map_err(|_| ProxyError::ShortMemory)?;
        let listener = Arc::clone(&self.listener);
        let found = self.find(&listener, &mut parts, &body, means.upgrade.as_ref());
        if let Some(course) = filter::Course::of(&found, &listener.model, &parts) {
            let arrived = match filter::arrive(self, course, &mut parts, means) {
                Ok(arrived) => arrived,
                Err(error) => return filter::refuse(self, || parts, &error).ok_or(error),
            };
            let begun = filter::begin(self, course, parts, body, arrived);
            return Ok(boxed(|| filter::run(self, course, begun)).await);
        }
        let (survey, found) = match found {
            Ok(found) => found,
            Err(error) => {
                self.stays(|| parts.clone());
                return filter::refuse(self, || parts, &error).ok_or(error);
            }
        };
        match &found.route.action {
            Action::Forward(clusters) => {
                let worker = Rc::clone(&self.connection.worker);
                let Some(cluster) = weighted::choose(clusters, worker.random.next()) else {
                    self.stays(|| parts);
                    return Err(RouteError::NoWeight.into());
                };
                let cluster = Rc::clone(self.view.cluster(cluster, &worker));
                self.record.set_cluster(cluster.state().metrics());
                let mut prepared = prepare::prepare(self, &found, parts, survey, body, means)?;
                let (leaving, watched) = (prepared.leaving.take(), prepared.watched());
                let begun = self.record.started();
                let response = retry::send(self, &cluster, prepared, leaving.as_ref(), begun).await?;
                deliver::deliver(self, found.route, response, leaving, watched)
            }
            Action::Redirect(redirect) => {
                let answer = respond::redirect(self, redirect, &found, &parts, survey);
                self.stays(|| parts);
                answer
            }
            Action::Respond(direct) => {
                self.stays(|| parts);
                Ok(respond::direct(self, direct))
            }
        }
    }

    /// The route of a request that may take it.
    fn find<'l>(
        &mut self,
        listener: &'l Arc<ListenerSnapshot>,
        parts: &mut request::Parts,
        body: &Incoming,
        offer: Option<&Offer>,
    ) -> Result<(Survey, Found<'l>), ProxyError> {
        let survey = receive::receive(&listener.model.http, parts, body, &mut self.original)?;
        let seen = judge::seen(self, parts, offer);
        let head = seen.as_deref().unwrap_or(parts);
        let target = receive::Target::of(head)?;
        let view = target.view(head, self.connection.facts.local);
        // Before it is known whether there is such a route: a stranger learns nothing of what there is.
        admit::request(&self.connection, listener, listener.admit.as_deref(), &view)?;
        let found = listener.routes.find(&view);
        if let Some(found) = &found {
            self.choose(found, parts);
            if let Some(rules) = self.compiled_route().and_then(|route| route.admit.as_deref()) {
                admit::request(&self.connection, listener, Some(rules), &view)?;
            }
        }
        self.judged = seen.filter(|_| offer.is_some()).map(|came| Box::new(Judged::new(*came)));
        Ok((survey, found.ok_or(RouteError::NotFound)?))
    }

    fn choose(&mut self, found: &Found<'_>, parts: &request::Parts) {
        self.route = Some(found.index);
        self.record.set_route(found.route);
        let Some(route) = self.compiled_route() else { return };
        if self.original.is_none() && (route.response_speaks_of_request || !route.request_changes.is_empty()) {
            self.original = parts.uri.path_and_query().cloned();
        }
    }

    /// No route takes it any more: filters led it away from the one that did.
    fn is_on_no_route(&mut self) {
        self.route = None;
        self.record.forget_route();
    }

    /// Whether anything will be told of the request's head.
    fn tells_of_requests(&self) -> bool {
        self.record.keeps_heads() || self.speaks_of_request()
    }

    fn speaks_of_request(&self) -> bool {
        self.compiled_route().is_some_and(|route| route.response_speaks_of_request)
    }

    /// This is the request as it goes on, or would: what is told of it from here on tells of this.
    fn goes_on_as(&mut self, head: &request::Parts) {
        self.record.forwarded(head);
        if self.speaks_of_request() {
            self.sent = Some(Box::new(head.clone()));
        }
    }

    /// This is the request that filters are shown: who it is from is told as it would go on, everything else as it came.
    fn goes_to_filters_as(&mut self, head: &request::Parts) {
        self.record.told_of_hop(head);
        if self.speaks_of_request() {
            self.sent = Some(Box::new(head.clone()));
        }
    }

    /// Nothing of the request goes on. Whoever tells of it tells all the same what this listener's rules make of the
    /// fields in which a client can claim to be another: as a request is that goes on. Where nobody tells of it, nothing
    /// is done.
    fn stays(&mut self, head: impl FnOnce() -> request::Parts) {
        self.tell_of_aim();
        let spoken_of = self.speaks_of_request();
        let of_client = self.compiled_route().is_some_and(|route| route.response_speaks_of_client);
        if !(self.record.keeps_heads() || spoken_of || of_client) {
            return;
        }
        let mut head = head();
        prepare::tell_of_this_hop_or_of_none(self, &mut head);
        self.record.forwarded(&head);
        if spoken_of {
            self.sent = Some(Box::new(head));
        }
    }

    /// The cluster that a request which goes nowhere would have gone to, as in Envoy.
    fn tell_of_aim(&mut self) {
        let route = self.route.and_then(|index| self.listener.model.routes.get(index));
        if let Some(Action::Forward(clusters)) = route.map(|route| &route.action)
            && let Some(cluster) = weighted::choose(clusters, self.connection.worker.random.next())
        {
            let cluster = self.view.cluster(cluster, &self.connection.worker);
            self.record.would_go_to(cluster.state().metrics());
        }
    }

    /// The route chosen, compiled.
    #[must_use]
    pub fn compiled_route(&self) -> Option<&CompiledRoute> {
        self.route.and_then(|index| self.listener.compiled.get(index))
    }

    /// What templates can say of the exchange now.
    #[must_use]
    pub fn facts<'a>(
        &'a self,
        request: Option<&'a request::Parts>,
        response: Option<&'a response::Parts>,
    ) -> Facts<'a> {
        let route = self.route.and_then(|index| self.listener.model.routes.get(index));
        let original_path = self.original.as_ref().map(PathAndQuery::as_str);
        let request = request.or(self.sent.as_deref());
        Facts { record: &self.record, route: route.map(|route| &**route), request, original_path, response }
    }
}
