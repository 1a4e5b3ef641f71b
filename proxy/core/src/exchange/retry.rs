//! retry: a request is sent, and sent again only when that cannot do it twice.
//!
//! A pooled connection may be closed by its server just as a request is written to it. Such a request is replayed
//! when it is provably unsent (any method), or when its method is idempotent and its body can be sent again
//! (RFC 9110 §9.2.2). A POST that may have arrived is never sent twice. Time for all attempts is one.

use super::{
    Exchange, filter,
    prepare::{Leaving, Prepared, go_on},
    stream::{BodyFailure, Gate, RequestBody, RequestStream},
};
use crate::{
    alarm::Alarm,
    body::Incoming,
    downstream::{codec::Interim, original_dst::Captured},
    error::{FilterError, ProxyError},
    telemetry::ResponseFlag,
    upstream::{self, Carried, Carrier, Cause, Delivery, Replay as Look, RequestError, SendError, SendOptions},
    worker::Cluster,
};
use http::{Request, Response};
use std::{convert::Infallible, rc::Rc, time::Duration};
use tokio::time::Instant;

/// Attempts at most. The first replay takes a fresh connection, so a second failure is the upstream's own.
const ATTEMPTS: u32 = 3;

/// How long a body waits for an upstream that does not answer `Expect: 100-continue`. RFC 9110 §10.1.1 lets nobody
/// wait for ever; a second is what curl waits.
const CONTINUE: Duration = Duration::from_secs(1);

/// Which time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimedOut {
    /// The route's.
    #[error("upstream did not answer in time")]
    Response,
    /// Neither side moved a byte for the route's idle timeout.
    #[error("nothing moved for too long")]
    Idle,
    /// The client's own `grpc-timeout`.
    #[error("the client's deadline passed")]
    Grpc,
}

/// What may be done about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replay {
    /// It never left: any request may go again.
    Unsent,
    /// It may have arrived, and arriving twice does no harm.
    Idempotent,
    /// No.
    Never,
}

impl Replay {
    fn name(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Idempotent => "idempotent",
            Self::Never => "never",
        }
    }
}

/// Sends the request until it is answered, or until sending it again would be wrong. Dropping the future gives it up.
///
/// `begun`: when a request without a body was there to be sent.
pub(super) async fn send(
    exchange: &mut Exchange,
    cluster: &Rc<Cluster>,
    prepared: Prepared,
    leaving: Option<&Leaving>,
    begun: Instant,
) -> Result<Response<Incoming>, ProxyError> {
    let stream = prepared.stream.clone();
    let (timeout, idle, deadline) = (prepared.timeout, prepared.idle, prepared.deadline);
    let (gate, interim) = (prepared.gate.clone(), prepared.interim.clone());
    let mut alarm = exchange.connection.worker.alarms.alarm();
    let answered = tokio::select! {
        biased;
        answered = attempts(exchange, cluster, prepared, leaving) => answered,
        late = out_of_time(&mut alarm, begun, timeout, idle, deadline, stream.as_deref()) => Err(late.into()),
        never = release(gate, interim) => match never {},
    };
    if let (Ok(response), Some(stream)) = (&answered, &stream) {
        stream.answered(response);
    }
    answered
}

async fn attempts(
    exchange: &mut Exchange,
    cluster: &Rc<Cluster>,
    prepared: Prepared,
    leaving: Option<&Leaving>,
) -> Result<Response<Incoming>, ProxyError> {
    let Prepared { mut head, stream, on_informational, host, .. } = prepared;
    // What asks to leave HTTP opens a conversation: nothing about it is idempotent.
    let idempotent = head.method.is_idempotent() && leaving.is_none();
    let meter = exchange.record.meter();
    let announced = exchange.connection.announced(cluster.state().model().proxy_protocol.as_ref(), None);
    let chain = exchange.record.chain().cloned();
    let mut tried = Vec::new();
    let mut stale = false;
    for attempt in 1.. {
        // HTTP/1.1 hands back what it did not use up; towards HTTP/2 a head that may be needed again is cloned.
        let replayable = idempotent && attempt < ATTEMPTS;
        let spare = (replayable && cluster.speaks_http2(exchange.grammar.version)).then(|| head.clone());
        let body = stream.as_ref().map_or_else(RequestBody::default, RequestStream::attempt);
        let options = SendOptions {
            downstream: exchange.grammar.version,
            replay: match (stale, replayable) {
                (true, _) => Look::Fresh,
                (false, true) => Look::Possible,
                (false, false) => Look::Never,
            },
            upgrade: leaving.and_then(|leaving| leaving.asked.protocol()),
            websocket_key: leaving.and_then(|leaving| leaving.asked.made_key()),
            host,
            address: Some(meter.upstream()),
            carrying: chain.as_deref().map(filter::Shared::carrying),
            tried: &tried,
            captured: Captured::of(&exchange.listener.model, &exchange.connection.facts),
            on_informational: on_informational.clone(),
            announced: announced.as_ref(),
            body_stall: exchange.listener.model.http.timeouts.write,
        };
        exchange.record.attempt();
        let error = match upstream::send(cluster, Request::from_parts(head, body), &options).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if let Some(failure) = stream.as_ref().and_then(|stream| stream.failure()) {
            return Err(of_body(failure));
        }
        match &error.cause {
            Cause::Request(cut) => cluster.state().metrics().reset(cut.reason()),
            Cause::Connect(why) => {
                if let Some(chain) = &chain {
                    chain.carrying().replace(Some(Carried::not(*why)));
                }
            }
            Cause::NoEndpoint | Cause::Overflow(_) | Cause::UpgradeUnsupported => {}
        }
        // Where nobody answered, somebody else may; a connection that had gone stale says nothing of its server.
        stale = error.carrier == Carrier::Reused;
        if !stale {
            tried.extend(error.address);
        }
        // A server that was reached and handed the request back (REFUSED_STREAM, GOAWAY) may take it now.
        let handed_back = error.delivery == Delivery::Unsent && matches!(error.cause, Cause::Request(_));
        let may_help = stale || handed_back || cluster.has_other(&tried);
        let mut replay = if may_help { verdict(&error, idempotent, stream.as_deref()) } else { Replay::Never };
        if attempt >= ATTEMPTS && replay != Replay::Never {
            exchange.record.flag(ResponseFlag::RetryLimitExceeded);
            replay = Replay::Never;
        }
        let unsent = error.request.map(|request| request.into_parts().0).or(error.head.map(|head| *head));
        head = match (replay, unsent.or(spare)) {
            (Replay::Unsent | Replay::Idempotent, Some(head)) => head,
            (Replay::Unsent | Replay::Idempotent, None) | (Replay::Never, _) => return Err(error.cause.into()),
        };
        cluster.state().metrics().replay(replay.name());
    }
    unreachable!("invariant: the last attempt returns")
}

/// The request's own body ended the attempt.
fn of_body(failure: BodyFailure) -> ProxyError {
    match failure {
        BodyFailure::Refused(refusal) => refusal.into(),
        BodyFailure::Gone => ProxyError::ClientGone,
        BodyFailure::Filter => FilterError::BodyTooShort.into(),
    }
}

fn verdict(error: &SendError<RequestBody>, idempotent: bool, body: Option<&RequestStream>) -> Replay {
    if !body.is_none_or(RequestStream::can_be_sent_again) {
        return Replay::Never;
    }
    match (&error.cause, error.delivery, error.carrier) {
        // Nothing was wrong with a connection: the answer would be the same.
        (
            Cause::NoEndpoint
            | Cause::Overflow(_)
            | Cause::UpgradeUnsupported
            | Cause::Request(RequestError::Unwritable),
            _,
            _,
        ) => Replay::Never,
        (Cause::Connect(_) | Cause::Request(_), Delivery::Unsent, _) => Replay::Unsent,
        // It had its time.
        (Cause::Request(RequestError::Distrusted(_)), Delivery::Unanswered, _) => Replay::Never,
        (Cause::Request(_), Delivery::Unanswered, Carrier::Reused) if idempotent => Replay::Idempotent,
        (Cause::Connect(_) | Cause::Request(_), Delivery::Unanswered | Delivery::Answered, _) => Replay::Never,
    }
}

/// Ready when the request's time is up. The route's runs from the request's last byte. While a body is still coming it
/// runs from the last sign of it, so that an upstream which stops reading is noticed too, and stands while only the
/// client is waited for: that is the body's own deadline.
async fn out_of_time(
    alarm: &mut Alarm,
    begun: Instant,
    timeout: Option<Duration>,
    idle: Option<Duration>,
    deadline: Option<Instant>,
    stream: Option<&RequestStream>,
) -> TimedOut {
    // The first round needs no clock: hardly any time has passed.
    let mut now = begun;
    loop {
        let moved = match stream {
            Some(stream) if stream.waits_for_client() => now,
            Some(stream) => stream.moved(),
            None => begun,
        };
        let silent = stream.map_or(begun, RequestStream::moved);
        let ends = [
            deadline.map(|at| (at, TimedOut::Grpc)),
            timeout.map(|timeout| (moved + timeout, TimedOut::Response)),
            idle.map(|idle| (silent + idle, TimedOut::Idle)),
        ];
        let Some((at, late)) = ends.into_iter().flatten().min_by_key(|(at, _)| *at) else {
            return std::future::pending().await;
        };
        if at <= now {
            return late;
        }
        alarm.until(at).await;
        now = Instant::now();
    }
}

/// Lets a held body go after a while, and tells the client so.
async fn release(gate: Option<Gate>, interim: Option<Interim>) -> Infallible {
    if let Some(gate) = gate {
        tokio::time::sleep(CONTINUE).await;
        go_on(&gate, interim.as_ref());
    }
    std::future::pending().await
}
