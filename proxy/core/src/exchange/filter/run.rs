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
    Course, End, HeadFault, Headers, Side, StreamKind,
    again::{self, Onward},
    leave::{Expects, Stuck, Then, leave},
    routed,
    shared::{Interrupt, Phase, Shared},
    stage::Slot,
    upgrade::{self, Withdrawn},
};
use crate::{
    body::Incoming,
    downstream::{admit::Judged, codec::Interim, held::LARGE, unfinished::Room},
    error::{FilterError, ProxyError},
    exchange::{
        Exchange, Means,
        account::Account,
        deliver,
        head::{Field, Survey, hop_by_hop},
        prepare::{self, Leaving, Watched},
        receive,
        respond::{self, Answer, AnswerBody},
        retry,
        route::RouteError,
    },
    tunnel::upgrade::UpgradeError,
};
use http::{HeaderValue, StatusCode, Version, header, request};
use http_body::Body;
use pillion_config::model::{Action, FilterIndex, Scheme};
use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::time::Instant;

/// A request at its filters, as far as it comes without waiting.
pub(in crate::exchange) struct Begun {
    chain: Rc<Shared>,
    scheme: Scheme,
    interim: Option<Interim>,
    leaving: Option<Box<Leaving>>,
}

/// What a request that may come to its filters brings beside itself.
pub(in crate::exchange) struct Arrived {
    interim: Option<Interim>,
    /// Few ask to leave HTTP: the rest should not carry the room for it.
    leaving: Option<Box<Leaving>>,
    /// The client's, as a trusted proxy says that ended its TLS: Envoy tells filters so, who lead clients to https by it.
    scheme: Scheme,
}

/// Readies a request for its filters.
pub(in crate::exchange) fn arrive(
    exchange: &mut Exchange,
    course: Course<'_>,
    head: &mut request::Parts,
    means: Means,
) -> Result<Arrived, ProxyError> {
    let Means { upgrade, interim } = means;
    let (leaving, scheme) =
        prepare::arrive(exchange, course.route.map(|route| &**route), head, course.survey, upgrade)?;
    Ok(Arrived { interim, leaving: leaving.map(Box::new), scheme })
}

/// Filters are told of a host in any case, as Envoy's are: guests rely on it. A client of HTTP/1.0 need not name one; it reached
/// this one.
fn name_host(head: &mut request::Parts, local: SocketAddr) {
    if head.version == Version::HTTP_10 && head.uri.authority().is_none() && !head.headers.contains_key(header::HOST) {
        let host = HeaderValue::try_from(local.to_string());
        host.map(|host| head.headers.try_insert(header::HOST, host).ok()).ok();
    }
}

/// Begins a request that passes filters: its head has been shown to them, or to those before the one that holds it.
///
/// No future yet: whatever a future is begun with is moved several times on its way to where it is polled.
pub(in crate::exchange) fn begin(
    exchange: &mut Exchange,
    course: Course<'_>,
    mut head: request::Parts,
    body: Incoming,
    arrived: Arrived,
) -> Begun {
    let Arrived { interim, leaving, scheme } = arrived;
    name_host(&mut head, exchange.connection.facts.local);
    // A filter may answer it, or keep it until its client is gone.
    exchange.goes_to_filters_as(&head);
    let chain = open(exchange, course);
    exchange.record.attach(Rc::clone(&chain));
    let end = End::when(body.is_end_stream());
    if let Some(leaving) = &leaving {
        upgrade::show(&leaving.asked, exchange.judged.as_deref().map(Judged::came), &mut head);
    }
    {
        let mut half = chain.request.borrow_mut();
        half.source = body;
        half.opens = leaving.is_some();
        // Its end has been told with the head: nothing is read, and no filter shown a body.
        half.source_ended = end == End::Yes;
    }
    chain.begin_head(Side::Request, Headers::request(head, word(scheme)), end);
    Begun { chain, scheme, interim, leaving }
}

/// A scheme, as filters are told it.
pub(super) fn word(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

/// Serves a request that was begun.
pub(in crate::exchange) async fn run(exchange: &mut Exchange, course: Course<'_>, begun: Begun) -> Answer {
    let Begun { chain, scheme, interim, leaving } = begun;
    let outcome = {
        let mut course = pin!(forward(exchange, &chain, course, scheme, interim, leaving));
        poll_fn(|cx| match course.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.unwrap_or_else(|stuck| Err(stuck.into()))),
            Poll::Pending => chain.poll_interruption(cx).map(|()| Err(Stuck::Interrupted.into())),
        })
        .await
    };
    let back = match outcome {
        Ok(Outcome::Back(rest)) => Ok(rest),
        // Filters are shown no answer that nobody receives.
        Err(ProxyError::ClientGone) if !chain.interrupted() => {
            chain.forget_request();
            chain.phase.set(Phase::Sent);
            return respond::nobody();
        }
        Ok(Outcome::Late(answer)) => end_early(exchange, &chain, Ok(*answer)),
        Err(error) => end_early(exchange, &chain, Err(error)),
    };
    let rest = match back {
        Ok(rest) => rest,
        Err(details) => return respond::nothing(details),
    };
    let left = match chain.left(Side::Response) {
        Some(left) => left,
        None => leave(exchange, &chain, Side::Response, course.idle, Expects::Nothing, None).await,
    };
    end_back(exchange, &chain, rest, left, course.idle)
}

/// How a request's course ended.
enum Outcome {
    /// The response's head is in the chain.
    Back(Rest),
    /// There is an answer, but something ended the stream's course before it came.
    Late(Box<Answer>),
}

/// An answer into the chain as soon as there is one: handed up through every future above first, it would be copied
/// at each.
fn back(exchange: &mut Exchange, chain: &Rc<Shared>, answer: Answer, granted: Option<HeaderValue>) -> Outcome {
    if chain.interrupted() || matches!(answer.body, AnswerBody::Reset(_)) {
        return Outcome::Late(Box::new(answer));
    }
    if !chain.request.borrow().handed_out {
        chain.forget_request();
    }
    chain.phase.set(Phase::Response);
    Outcome::Back(begin_back(exchange, chain, answer, granted))
}

/// What did not come into the chain with the course comes into it now; before anything else, what an interruption answers.
/// `Err`: nothing is answered, and why.
fn end_early(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    ended: Result<Answer, ProxyError>,
) -> Result<Rest, &'static str> {
    let interrupt = chain.interrupt.take();
    chain.forget_request();
    routed::settle(exchange, chain);
    tell_as_filters_left_it(exchange, chain);
    let answer = match (interrupt, ended) {
        (Some(interrupt), ended) => {
            if let Ok(unsent) = ended {
                unsent.watched.give_up();
            }
            answer(exchange, interrupt)
        }
        (None, Ok(answer)) => answer,
        (None, Err(error)) => respond::error(exchange, &error),
    };
    chain.phase.set(Phase::Response);
    if let AnswerBody::Reset(details) = answer.body {
        return Err(details);
    }
    Ok(begin_back(exchange, chain, answer, None))
}

/// The request goes no further than its filters: what is told of it is what they made of it. A client's own words that they took
/// away are nobody's, and whom they found is who asked.
fn tell_as_filters_left_it(exchange: &mut Exchange, chain: &Shared) {
    if !exchange.tells_of_requests() {
        return;
    }
    // Filters of the response may still look at it.
    let head = chain.request.borrow().head.clone();
    if let Some(Ok(head)) = head.map(Headers::into_request) {
        exchange.goes_on_as(&head);
    }
}

/// What an interruption answers.
fn answer(exchange: &mut Exchange, interrupt: Interrupt) -> Answer {
    match interrupt {
        Interrupt::Reply(reply) => {
            let (reply, flag) = *reply;
            respond::local(exchange, reply, flag)
        }
        Interrupt::Error(error) => respond::error(exchange, &error.into()),
        Interrupt::Close(details) => respond::nothing(details),
    }
}

/// The chain of a request.
fn open(exchange: &Exchange, course: Course<'_>) -> Rc<Shared> {
    let chain = chain(exchange, slots(exchange, course.filters));
    chain.takes(course.route);
    chain
}

/// A chain of these filters.
pub(super) fn chain(exchange: &Exchange, slots: Box<[Slot]>) -> Rc<Shared> {
    let told = exchange.record.told();
    let connection = Rc::clone(&exchange.connection.facts);
    let serving = (Rc::clone(&exchange.view), Arc::clone(&exchange.listener));
    let (meter, worker) = (exchange.record.meter(), &exchange.connection.worker);
    Shared::new(StreamKind::Http, connection, serving, slots, told, meter, worker)
}

pub(super) fn slots(exchange: &Exchange, filters: &[FilterIndex]) -> Box<[Slot]> {
    filters.iter().map(|index| Slot::new(exchange.view.filter(*index))).collect()
}

/// To the upstream, and its response's head.
async fn forward(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    course: Course<'_>,
    scheme: Scheme,
    interim: Option<Interim>,
    leaving: Option<Box<Leaving>>,
) -> Result<Result<Outcome, ProxyError>, Stuck> {
    let left = match chain.left(Side::Request) {
        Some(left) => left,
        None => {
            let expects = if course.survey.has(Field::Expect) { Expects::Continue } else { Expects::Nothing };
            leave(exchange, chain, Side::Request, course.idle, expects, interim.as_ref()).await
        }
    };
    left?;
    let outcome = match again::choose(exchange, chain, course, scheme, interim.as_ref()).await {
        Ok(left) => onward(exchange, chain, left, course.survey, scheme, interim, leaving).await,
        Err(error) => Err(error),
    };
    Ok(outcome)
}

/// From the chain to the upstream.
async fn onward(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    left: Onward,
    mut survey: Survey,
    scheme: Scheme,
    interim: Option<Interim>,
    leaving: Option<Box<Leaving>>,
) -> Result<Outcome, ProxyError> {
    let Onward { mut parts, changed, route } = left;
    let shown_as_leaving = leaving.is_some();
    let listener = &chain.listener;
    let found = listener.routes.again(route, receive::path(&parts)).ok_or(RouteError::NotFound)?;
    let (leaving, withdrawn) = match leaving {
        None => (None, Withdrawn::No),
        Some(leaving) => upgrade::settle(*leaving, found.route, &mut parts)?,
    };
    // A filter that wanted the body first has had it asked for; where one took the field away no server will.
    let asked = survey.has(Field::Expect) && !parts.headers.contains_key(header::EXPECT);
    if asked {
        chain.ask_for_body(interim.as_ref());
    }
    // What asks to leave HTTP was shown with the fields that say so.
    if changed || asked || shown_as_leaving {
        survey = Survey::of(&parts.headers);
        hop_by_hop::behind_filters(&mut parts.headers, survey)?;
    }
    match &found.route.action {
        Action::Forward(_) => {
            let cluster = chain.aim.take().ok_or(RouteError::NoWeight)?;
            exchange.record.set_cluster(cluster.state().metrics());
            let body = chain.body(Side::Request);
            let mut prepared = prepare::depart(exchange, &found, parts, survey, body, interim, leaving)?;
            let (leaving, watched) = (prepared.leaving.take(), prepared.watched());
            if chain.keeps_heads() && exchange.compiled_route().is_some_and(|route| route.changes_requests) {
                chain.keep_request(&prepared.head, word(scheme));
            }
            chain.tell(&exchange.record);
            let now = Instant::now();
            chain.told.borrow_mut().sent_at = Some(now);
            // What filters held it for is theirs, and not the server's.
            let response = retry::send(exchange, &cluster, prepared, leaving.as_ref(), now).await?;
            let granted = leaving.as_ref().and_then(|leaving| upgrade::granted(&leaving.asked));
            chain.told.borrow_mut().answered_at = Some(Instant::now());
            let answer = deliver::deliver(exchange, found.route, response, leaving, watched)?;
            if withdrawn == Withdrawn::Connect && answer.head.status.is_success() {
                // To this client it would say that the tunnel stands.
                return Err(UpgradeError::Declined.into());
            }
            Ok(back(exchange, chain, answer, granted))
        }
        Action::Redirect(redirect) => {
            exchange.goes_on_as(&parts);
            let answer = respond::redirect(exchange, redirect, &found, &parts, survey)?;
            Ok(back(exchange, chain, answer, None))
        }
        Action::Respond(direct) => {
            exchange.goes_on_as(&parts);
            let answer = respond::direct(exchange, direct);
            Ok(back(exchange, chain, answer, None))
        }
    }
}

/// What of an answer does not pass the filters with its head.
pub(super) struct Rest {
    tunnel: Option<Box<dyn FnOnce(Account)>>,
    status: StatusCode,
    bodiless: bool,
    silence: Option<Duration>,
    watched: Watched,
}

/// The response into the chain. `granted`: what it grants if it begins a tunnel, where it does not say so itself.
pub(super) fn begin_back(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    answer: Answer,
    granted: Option<HeaderValue>,
) -> Rest {
    let Answer { mut head, body, idle: silence, watched } = answer;
    let (source, tunnel) = match body {
        AnswerBody::Stream(body) => (body, None),
        AnswerBody::Tunnel(start) => (Incoming::Empty, Some(start)),
        AnswerBody::Reset(_) | AnswerBody::Nobody => (Incoming::Empty, None),
    };
    respond::change_head(exchange, &mut head);
    exchange.changed = true;
    if let Some(protocol) = granted.filter(|_| tunnel.is_some()) {
        upgrade::show_granted(protocol, &mut head);
    }
    chain.tell(&exchange.record);
    chain.told.borrow_mut().status = Some(head.status);
    let bodiless = exchange.grammar.bodiless(head.status);
    let end = End::when(tunnel.is_none() && (bodiless || source.is_end_stream()));
    let status = head.status;
    {
        let mut half = chain.response.borrow_mut();
        half.source = if bodiless { Incoming::Empty } else { source };
        half.opens = tunnel.is_some();
        half.source_ended = end == End::Yes || tunnel.is_some();
    }
    if chain.response.borrow().source.made() >= LARGE && chain.count_held() == Room::None {
        // An answer that a filter gave, for which there is no room. The proxy's own say why in a few words.
        let made = std::mem::replace(&mut chain.response.borrow_mut().source, Incoming::Empty);
        drop(made);
        chain.count_held();
        chain.interrupt(Interrupt::Error(FilterError::ResponseShortMemory));
    }
    chain.begin_head(Side::Response, Headers::response(head), end);
    Rest { tunnel, status, bodiless, silence, watched }
}

/// The response as it left the chain, or what is answered in its place.
///
/// `idle`: for how long its body may rest, where the answer does not say.
pub(super) fn end_back(
    exchange: &mut Exchange,
    chain: &Rc<Shared>,
    rest: Rest,
    left: Result<(), Stuck>,
    idle: Option<Duration>,
) -> Answer {
    let Rest { tunnel, status, bodiless, silence, watched } = rest;
    let then = match exchange.grammar.version {
        Version::HTTP_2 => Then::Goes,
        _ if tunnel.is_some() => Then::Goes,
        _ => Then::ComesBack,
    };
    if left.is_err() {
        // Nothing of the request goes on past filters that have answered it otherwise: its upstream may wait for it yet.
        chain.forget_request();
        watched.give_up();
    }
    let error = match left {
        Ok(()) => match chain.take_response(bodiless, then) {
            // Who asked to leave HTTP is told so, or is not.
            Ok(head) if tunnel.is_some() && head.status != status => FilterError::Response(HeadFault::NoStatus).into(),
            Ok(mut head) => {
                chain.phase.set(Phase::Sent);
                if exchange.grammar.version == Version::HTTP_2 {
                    upgrade::grant(&mut head);
                }
                let body = match tunnel {
                    Some(start) => AnswerBody::Tunnel(start),
                    None => AnswerBody::Stream(chain.body(Side::Response)),
                };
                // An answer of our own waits for nobody, but a filter may hold it back.
                return Answer { head, body, idle: silence.or(idle), watched };
            }
            Err(fault) => {
                chain.forget_request();
                watched.give_up();
                FilterError::Response(fault).into()
            }
        },
        Err(Stuck::Interrupted) => {
            let interrupt = chain.interrupt.take();
            chain.phase.set(Phase::Sent);
            // The route's changes were made to what this stands in for.
            exchange.changed = false;
            return match interrupt {
                Some(interrupt) => answer(exchange, interrupt),
                None => respond::nothing("filter_interrupted"),
            };
        }
        Err(stuck) => stuck.of_response(),
    };
    chain.phase.set(Phase::Sent);
    exchange.changed = false;
    respond::error(exchange, &error)
}
