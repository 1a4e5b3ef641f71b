//! An exchange with filters: the request through the chain, [routed again,] to its upstream, and the response back.
//!
//! ```text
//!  arrive ─► open ─► request's head ─► [route again] ─► depart ─► retry ⟲ ─► deliver ─► response's head ─► respond
//!                        │ │                                         │                     ▲
//!                        │ └── reply, error of a filter ─────────────┴── any ProxyError ───┤
//!                        └──── close ──► no answer
//! ```
//!
//! Everything here is behind one box: an exchange without filters pays a look at its route.

use super::{
    End, HeadFault, Headers, Side,
    body::Filtered,
    kept::Kept,
    stream::{At, Interrupt, Phase, Shared, Slot, Stage, StreamKind},
};
use crate::{
    body::{BodyError, Incoming},
    downstream::{admit, codec::Interim},
    error::{FilterError, ProxyError},
    exchange::{
        Exchange, Means, deliver,
        head::{Field, Survey, hop_by_hop, hop_by_hop::UpgradeField},
        prepare::{self, Leaving},
        receive,
        respond::{self, Answer, AnswerBody},
        retry::{self, TimedOut},
        route::{RouteError, weighted},
        stream::BodyFailure,
    },
    http1::write::content_length,
    worker::Cluster,
};
use http::{HeaderValue, Response, StatusCode, header, request, response};
use http_body::Body;
use pillion_config::model::{Action, FailPolicy, FilterIndex, Route, Scheme};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Why a head does not leave the chain.
enum Stuck {
    /// The stream's course has ended; [`Shared::interrupt`] says how.
    Interrupted,
    /// Its body broke off.
    Body(BodyError),
    /// It stayed longer than the route allows silence.
    Idle,
}

/// Serves a request that passes filters.
pub(in crate::exchange) async fn run(
    exchange: &mut Exchange,
    filters: &[FilterIndex],
    route: &Arc<Route>,
    mut head: request::Parts,
    survey: Survey,
    body: Incoming,
    means: Means,
) -> Result<Answer, ProxyError> {
    let Means { upgrade, interim } = means;
    exchange.judged = upgrade.is_some().then(|| Box::new(head.clone()));
    let leaving = prepare::arrive(exchange, route, &mut head, survey, upgrade)?;
    let chain = open(exchange, filters, route);
    exchange.record.attach(Rc::clone(&chain));
    let outcome = tokio::select! {
        biased;
        outcome = forward(exchange, &chain, route, head, survey, body, interim, leaving) => outcome,
        () = chain.interruption() => Err(Stuck::Interrupted),
    };
    let interrupt = chain.interrupt.take();
    let answered_here = interrupt.is_some() || !matches!(outcome, Ok(Ok(_)));
    if answered_here || !chain.request.borrow().handed_out {
        chain.request_over.set(true);
        let source = std::mem::replace(&mut chain.request.borrow_mut().source, Incoming::Empty);
        drop(source);
    }
    let (answer, place) = match (interrupt, outcome) {
        (None, Ok(Ok(answer))) => (answer, 0),
        (None, Ok(Err(error))) => (respond::error(exchange, &error), 0),
        (None, Err(stuck)) => (respond::error(exchange, &stuck.into()), 0),
        (Some(interrupt), _) => match answer(exchange, interrupt) {
            (answer, Some(slot)) => (answer, chain.place_of_reply(Some(slot))),
            (answer, None) => (answer, 0),
        },
    };
    Ok(back(exchange, &chain, answer, place, route.idle_timeout).await)
}

/// What an interruption answers, and the filter it came from on the request's side.
fn answer(exchange: &mut Exchange, interrupt: Interrupt) -> (Answer, Option<usize>) {
    match interrupt {
        Interrupt::Reply(reply, by) => {
            let (reply, flag) = *reply;
            (respond::local(exchange, reply, flag), by)
        }
        Interrupt::Error(error, by) => (respond::error(exchange, &error.into()), by),
        Interrupt::Close(details) => (respond::nothing(details), None),
    }
}

/// Begins a stream at each filter.
fn open(exchange: &Exchange, filters: &[FilterIndex], route: &Arc<Route>) -> Rc<Shared> {
    let slots = slots(exchange, filters);
    let told = exchange.record.told();
    let connection = Rc::clone(&exchange.connection.facts);
    let listener = Arc::clone(&exchange.listener);
    let chain = Shared::new(StreamKind::Http, connection, listener, slots, told, exchange.record.meter());
    chain.route.replace(Some(Arc::clone(route)));
    chain.aim.replace(aim(exchange, route));
    chain.open(|index| &exchange.view.filter(index).instance, filters);
    chain
}

/// The cluster that a route sends a request to; the same all along, so that filters can be told.
fn aim(exchange: &Exchange, route: &Route) -> Option<Rc<Cluster>> {
    let Action::Forward(clusters) = &route.action else { return None };
    let worker = &exchange.connection.worker;
    let cluster = weighted::choose(clusters, worker.random.next())?;
    Some(Rc::clone(exchange.view.cluster(cluster, worker)))
}

fn slots(exchange: &Exchange, filters: &[FilterIndex]) -> Box<[Slot]> {
    let loaded = exchange.view.snapshot.filters.loaded();
    filters
        .iter()
        .map(|index| Slot::new(Arc::clone(&loaded[index.0].model), exchange.view.filter(*index).interest))
        .collect()
}

/// To the upstream, and its response's head.
#[expect(clippy::too_many_arguments, reason = "what a request consists of; a struct of them would be made once")]
async fn forward(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    route: &Arc<Route>,
    head: request::Parts,
    survey: Survey,
    body: Incoming,
    interim: Option<Interim>,
    leaving: Option<Leaving>,
) -> Result<Result<Answer, ProxyError>, Stuck> {
    let scheme = match exchange.connection.facts.scheme() {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    if chain.interrupted() {
        return Err(Stuck::Interrupted);
    }
    let end = End::when(body.is_end_stream());
    chain.request.borrow_mut().source = body;
    chain.begin_head(Side::Request, 0, Headers::request(head, scheme), end);
    let expects = if survey.has(Field::Expect) { Expects::Continue } else { Expects::Nothing };
    leave(exchange, chain, Side::Request, route.idle_timeout, expects, interim.as_ref()).await?;
    Ok(onward(exchange, chain, survey, interim, leaving).await)
}

/// Whether a body comes only when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Nothing,
    Continue,
}

/// From the chain to the upstream.
async fn onward(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    survey: Survey,
    interim: Option<Interim>,
    leaving: Option<Leaving>,
) -> Result<Answer, ProxyError> {
    let mut survey = survey;
    let (mut parts, changed) = chain.take_request()?;
    let listener = Arc::clone(&exchange.listener);
    // A filter that wanted the body first has had it asked for.
    let asked = survey.has(Field::Expect) && !parts.headers.contains_key(header::EXPECT);
    if changed || asked {
        survey = Survey::of(&parts.headers);
        hop_by_hop::request(&mut parts.headers, survey, UpgradeField::Strip)?;
    }
    let target = receive::Target::of(&parts)?;
    let view = target.view(&parts, exchange.connection.facts.local);
    let choose_again = changed || chain.clear_route.get();
    let first = exchange.route.filter(|_| !choose_again).and_then(|index| listener.routes.again(index, &view));
    let found = match first {
        Some(first) => first,
        None => {
            let found = listener.routes.find(&view).ok_or(RouteError::NotFound)?;
            if exchange.route != Some(found.index) {
                exchange.choose(&found, &parts);
                // Who may take the first route need not be one who may take this one.
                if let Some(rules) = exchange.compiled_route().and_then(|route| route.admit.as_deref()) {
                    admit::request(&exchange.connection, &listener, Some(rules), &view)?;
                }
                chain.route.replace(Some(Arc::clone(found.route)));
                chain.aim.replace(aim(exchange, found.route));
            }
            found
        }
    };
    match &found.route.action {
        Action::Forward(_) => {
            let cluster = chain.aim.take().ok_or(RouteError::NoWeight)?;
            exchange.record.set_cluster(cluster.state().metrics());
            let body = chain.body(Side::Request);
            let mut prepared = prepare::depart(exchange, &found, parts, survey, body, interim, leaving)?;
            let (leaving, watched) = (prepared.leaving.take(), prepared.watched());
            chain.tell(&exchange.record);
            chain.told.borrow_mut().sent_at = Some(Instant::now());
            let response = retry::send(exchange, &cluster, prepared, leaving.as_ref()).await?;
            chain.told.borrow_mut().answered_at = Some(Instant::now());
            deliver::deliver(exchange, found.route, response, leaving, watched)
        }
        Action::Redirect(redirect) => respond::redirect(exchange, redirect, &found, &target, &parts, survey),
        Action::Respond(direct) => Ok(respond::direct(exchange, direct)),
    }
}

/// The response through the chain, from this place on.
async fn back(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    answer: Answer,
    place: usize,
    idle: Option<Duration>,
) -> Answer {
    chain.phase.set(Phase::Response);
    let Answer { mut head, body, idle: silence, watched } = answer;
    if let AnswerBody::Reset(details) = body {
        return respond::nothing(details);
    }
    respond::change_head(exchange, &mut head);
    exchange.changed = true;
    chain.tell(&exchange.record);
    chain.told.borrow_mut().status = Some(head.status);
    let (source, tunnel) = match body {
        AnswerBody::Stream(body) => (body, None),
        AnswerBody::Tunnel(start) => (Incoming::Empty, Some(start)),
        AnswerBody::Reset(_) => (Incoming::Empty, None),
    };
    let bodiless = exchange.grammar.bodiless(head.status);
    let end = End::when(tunnel.is_none() && (bodiless || source.is_end_stream()));
    let status = head.status;
    {
        let mut half = chain.response.borrow_mut();
        half.source = if bodiless { Incoming::Empty } else { source };
        half.source_ended = end == End::Yes || tunnel.is_some();
    }
    chain.begin_head(Side::Response, place, Headers::response(head), end);
    let left = leave(exchange, chain, Side::Response, idle, Expects::Nothing, None).await;
    let error = match left {
        Ok(()) => match chain.take_response(bodiless) {
            // Who asked to leave HTTP is told so, or is not.
            Ok(head) if tunnel.is_some() && head.status != status => FilterError::Response(HeadFault::NoStatus).into(),
            Ok(head) => {
                chain.phase.set(Phase::Sent);
                let body = match tunnel {
                    Some(start) => AnswerBody::Tunnel(start),
                    None => AnswerBody::Stream(chain.body(Side::Response)),
                };
                return Answer { head, body, idle: silence, watched };
            }
            Err(fault) => FilterError::Response(fault).into(),
        },
        Err(Stuck::Interrupted) => {
            let interrupt = chain.interrupt.take();
            chain.phase.set(Phase::Sent);
            return match interrupt {
                Some(interrupt) => self::answer(exchange, interrupt).0,
                None => respond::nothing("filter_interrupted"),
            };
        }
        Err(stuck) => stuck.of_response(),
    };
    chain.phase.set(Phase::Sent);
    respond::error(exchange, &error)
}

/// Waits until a head has left the chain.
async fn leave(
    exchange: &Exchange,
    chain: &Rc<Shared>,
    side: Side,
    idle: Option<Duration>,
    expects: Expects,
    interim: Option<&Interim>,
) -> Result<(), Stuck> {
    // Nearly always it has at once.
    if chain.head_is_out(side) {
        return Ok(());
    }
    if chain.interrupted() {
        return Err(Stuck::Interrupted);
    }
    let mut alarm = exchange.connection.worker.alarms.alarm();
    let until = idle.map(|idle| Instant::now() + idle);
    let mut asked = expects == Expects::Nothing;
    poll_fn(|cx| {
        if !asked && chain.wants_body_first(side) {
            asked = true;
            chain.ask_for_body(interim);
        }
        match chain.poll_head(side, cx, asked) {
            Poll::Ready(left) => Poll::Ready(left),
            Poll::Pending => match until {
                Some(until) => alarm.poll_at(cx, until).map(|()| Err(Stuck::Idle)),
                None => Poll::Pending,
            },
        }
    })
    .await
}

impl Slot {
    pub(crate) fn new(model: Arc<pillion_config::model::Filter>, interest: super::Interest) -> Self {
        Self {
            filter: RefCell::default(),
            model,
            interest,
            gone: Cell::new(false),
            upstream_closed: Cell::new(false),
            request: RefCell::new(Stage::default()),
            response: RefCell::new(Stage::default()),
        }
    }
}

impl Shared {
    /// Begins the stream at each filter. One that cannot serve is passed by, or ends the stream, as its policy says.
    pub(crate) fn open<'a>(
        self: &Rc<Self>,
        instance: impl Fn(FilterIndex) -> &'a Rc<dyn super::Instance>,
        filters: &[FilterIndex],
    ) {
        for (slot, index) in filters.iter().enumerate() {
            let stream = super::Stream { shared: Rc::clone(self), slot };
            match instance(*index).open(&stream) {
                Ok(filter) => {
                    self.slots[slot].filter.replace(Some(filter));
                }
                Err(failed) => {
                    self.fail(slot, failed);
                    if self.slots[slot].model.fail == FailPolicy::Closed {
                        return;
                    }
                }
            }
        }
    }

    /// What the record knows by now.
    pub(in crate::exchange) fn tell(&self, record: &crate::telemetry::Record) {
        let mut told = self.told.borrow_mut();
        let before = (told.sent_at, told.answered_at);
        *told = record.told();
        (told.sent_at, told.answered_at) = before;
    }

    /// The stream is over: its filters are told, and let go.
    pub(in crate::exchange) fn over(self: &Rc<Self>, record: &crate::telemetry::Record) {
        if self.phase.get() >= Phase::Logging {
            return;
        }
        self.tell(record);
        {
            let mut told = self.told.borrow_mut();
            told.duration = Some(told.started.elapsed());
        }
        self.end();
    }

    /// How the stream was cut once its response's head was gone.
    pub(in crate::exchange) fn cut(&self) -> (crate::telemetry::ResponseFlag, Cow<'static, str>) {
        use crate::telemetry::ResponseFlag::LocalReset;
        match &*self.interrupt.borrow() {
            Some(Interrupt::Error(error, _)) => {
                let error = ProxyError::from(error.clone());
                (error.flag(), respond::details(&error))
            }
            Some(Interrupt::Close(details)) => (LocalReset, Cow::Borrowed(details)),
            Some(Interrupt::Reply(reply, _)) => (LocalReset, reply.0.details.clone()),
            None => (LocalReset, Cow::Borrowed("filter_interrupted")),
        }
    }

    /// Ready when something ended the stream's course.
    pub(crate) async fn interruption(&self) {
        poll_fn(|cx| {
            if self.interrupted() {
                return Poll::Ready(());
            }
            self.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Whether some filter reads heads and trailers when the stream is logged.
    pub(super) fn keeps_heads(&self) -> bool {
        self.slots.iter().any(|slot| slot.interest.has(super::Interest::LOG))
    }

    fn head_is_out(&self, side: Side) -> bool {
        self.half(side).borrow().head_at == At::Out
    }

    fn poll_head(self: &Rc<Self>, side: Side, cx: &mut Context<'_>, read: bool) -> Poll<Result<(), Stuck>> {
        loop {
            self.half(side).borrow_mut().waker = Some(cx.waker().clone());
            self.advance(side);
            if self.interrupted() {
                return Poll::Ready(Err(Stuck::Interrupted));
            }
            if self.head_is_out(side) {
                return Poll::Ready(Ok(()));
            }
            if !read || !self.has_room(side) {
                return Poll::Pending;
            }
            match self.poll_feed(side, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Stuck::Body(error))),
            }
        }
    }

    /// A filter wants a body that the client holds back until it is told to go on (RFC 9110 §10.1.1).
    fn ask_for_body(&self, interim: Option<&Interim>) {
        if let Some(head) = &mut self.request.borrow_mut().head {
            head.forget(&header::EXPECT);
        }
        if let Some(interim) = interim {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            interim.send(response);
        }
    }

    /// The request's head, which has left the chain, and whether a filter changed it.
    fn take_request(&self) -> Result<(request::Parts, bool), FilterError> {
        let mut half = self.request.borrow_mut();
        half.head_at = At::Gone;
        let head = half.head.take().ok_or(FilterError::Request(HeadFault::NoPath))?;
        half.kept = self.keeps_heads().then(|| Kept::of(&head));
        let changed = head.is_changed();
        let mut parts = head.into_request().map_err(FilterError::Request)?;
        if let Some(whole) = half.whole()
            && parts.headers.contains_key(header::CONTENT_LENGTH)
        {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
        }
        half.length = content_length(&parts.headers);
        Ok((parts, changed))
    }

    /// The response's head, which has left the chain.
    fn take_response(&self, bodiless: bool) -> Result<response::Parts, HeadFault> {
        let mut half = self.response.borrow_mut();
        half.head_at = At::Gone;
        let head = half.head.take().ok_or(HeadFault::NoStatus)?;
        half.kept = self.keeps_heads().then(|| Kept::of(&head));
        let mut parts = head.into_response()?;
        if !bodiless {
            if let Some(whole) = half.whole()
                && parts.headers.contains_key(header::CONTENT_LENGTH)
            {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
            }
            half.length = content_length(&parts.headers);
        }
        Ok(parts)
    }

    /// A direction's body, behind its filters; as it is where none of them looks at it.
    fn body(self: &Rc<Self>, side: Side) -> Incoming {
        let (data, trailers) = match side {
            Side::Request => (super::Interest::REQUEST_BODY, super::Interest::REQUEST_TRAILERS),
            Side::Response => (super::Interest::RESPONSE_BODY, super::Interest::RESPONSE_TRAILERS),
        };
        let looked_at = self.slots.iter().any(|slot| slot.interest.has(data) || slot.interest.has(trailers));
        {
            let mut half = self.half(side).borrow_mut();
            let clear = half.out.is_empty() && half.trailers_at == At::Nowhere;
            if clear && half.head_ends {
                return Incoming::Empty;
            }
            let untouched = clear && !half.ended && !half.source_ended;
            if untouched && !looked_at && side == Side::Response {
                return std::mem::replace(&mut half.source, Incoming::Empty);
            }
            if half.head_ends || (clear && half.ended && half.length.is_none_or(|left| left == 0)) {
                return Incoming::Empty;
            }
        }
        Filtered::body(self, side)
    }

    /// The response's head as it went out, for the log, where the chain has not seen it.
    pub(in crate::exchange) fn keep_response(&self, head: &response::Parts) {
        let mut half = self.response.borrow_mut();
        if self.keeps_heads() && (half.kept.is_none() || half.head_at != At::Gone) {
            half.head = None;
            half.kept = Some(Kept::response(head));
        }
    }
}

impl super::stream::Half {
    /// The length of a body that is known whole.
    fn whole(&self) -> Option<u64> {
        (self.ended && !self.head_ends && self.trailers_at == At::Nowhere).then_some(self.out.len() as u64)
    }
}

impl Stuck {
    fn of_response(self) -> ProxyError {
        match self {
            Self::Interrupted => FilterError::Failed("filter_interrupted").into(),
            Self::Body(_) => crate::upstream::Cause::from(crate::upstream::RequestError::Closed).into(),
            Self::Idle => TimedOut::Idle.into(),
        }
    }
}

impl From<Stuck> for ProxyError {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Interrupted => FilterError::Failed("filter_interrupted").into(),
            Stuck::Body(error) => match BodyFailure::of(&error) {
                BodyFailure::Refused(refusal) => refusal.into(),
                BodyFailure::Gone => Self::ClientGone,
                BodyFailure::Filter => FilterError::BodyTooShort.into(),
            },
            Stuck::Idle => TimedOut::Idle.into(),
        }
    }
}
