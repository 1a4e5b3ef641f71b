//! What leaves the chain: waiting for a head that filters hold, and fetching heads and bodies from where they came out.

use super::{HeadFault, Interest, Side, body::Filtered, kept::Kept, shared::Shared, stage::At};
use crate::{
    body::{BodyError, Incoming},
    downstream::codec::Interim,
    error::{FilterError, ProxyError},
    exchange::{Exchange, retry::TimedOut, stream::BodyFailure},
    http1::write::content_length,
    upstream::{Cause, RequestError},
};
use http::{HeaderValue, Method, Response, StatusCode, header, request, response};
use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Why a head does not leave the chain.
pub(super) enum Stuck {
    /// The stream's course has ended; [`Shared::interrupt`] says how.
    Interrupted,
    /// Its body broke off.
    Body(BodyError),
    /// It stayed longer than the route allows silence.
    Idle,
}

/// What becomes of a response's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// HTTP/1 writes it and gives it back ([`Shared::written`]).
    ComesBack,
    /// It goes.
    Goes,
}

/// Bytes of a body that is soon over: the head that was given back, and the memory it was read to, stay until then.
const BRIEF: u64 = 64 * 1024;

/// Whether a body comes only when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expects {
    Nothing,
    Continue,
}

/// Waits until a head has left the chain, where [`Shared::left`] says that it has not.
pub(super) async fn leave(
    exchange: &Exchange,
    chain: &Rc<Shared>,
    side: Side,
    idle: Option<Duration>,
    expects: Expects,
    interim: Option<&Interim>,
) -> Result<(), Stuck> {
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

impl Shared {
    /// Whether a head has left the chain already, as nearly all have once they were begun; `None`: it must be waited for.
    pub(super) fn left(&self, side: Side) -> Option<Result<(), Stuck>> {
        if self.interrupted() {
            return Some(Err(Stuck::Interrupted));
        }
        self.head_is_out(side).then_some(Ok(()))
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
                self.wait_outside(side, cx);
                return if self.interrupted() { Poll::Ready(Err(Stuck::Interrupted)) } else { Poll::Pending };
            }
            match self.poll_feed(side, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Stuck::Body(error))),
            }
        }
    }

    /// A filter wants a body that the client holds back until it is told to go on (RFC 9110 §10.1.1).
    pub(super) fn ask_for_body(&self, interim: Option<&Interim>) {
        {
            let mut half = self.request.borrow_mut();
            if std::mem::replace(&mut half.asked_for, true) {
                return;
            }
            if let Some(head) = &mut half.head {
                head.forget(&header::EXPECT);
            }
        }
        if let Some(interim) = interim {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            interim.send(response);
        }
    }

    /// The request's head, which has left the chain, and whether a filter changed it.
    pub(super) fn take_request(&self) -> Result<(request::Parts, bool), FilterError> {
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
        if half.head_ends {
            // Nothing of the body that it names would come, and the server would take the next request for it.
            if changed && content_length(&parts.headers).is_some_and(|length| length > 0) {
                return Err(FilterError::BodyTooShort);
            }
        } else {
            // It has no body (RFC 9110 §9.3.8), and a server might take one for its next request.
            if changed && parts.method == Method::TRACE {
                return Err(FilterError::Request(HeadFault::Value(":method".into())));
            }
            half.length = content_length(&parts.headers);
        }
        Ok((parts, changed))
    }

    /// The response's head, which has left the chain.
    pub(super) fn take_response(&self, bodiless: bool, then: Then) -> Result<response::Parts, HeadFault> {
        let mut half = self.response.borrow_mut();
        half.head_at = At::Gone;
        let head = half.head.take().ok_or(HeadFault::NoStatus)?;
        let whole = half.whole().filter(|_| !bodiless);
        let mut length = if bodiless { Some(0) } else { content_length(head.fields()) };
        if self.keeps_heads() {
            let brief = length.is_some_and(|length| length <= BRIEF);
            half.comes_back = brief && then == Then::ComesBack && head.is_as_it_came() && whole.is_none();
            half.kept = (!half.comes_back).then(|| Kept::of(&head));
        }
        let mut parts = head.into_response()?;
        if let Some(whole) = whole
            && parts.headers.contains_key(header::CONTENT_LENGTH)
        {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
            length = Some(whole);
        }
        if half.head_ends && !bodiless && length.is_some_and(|length| length > 0) {
            // What another method or status brought, or a filter set: an HTTP/2 client would wait for it.
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            length = Some(0);
        }
        if !bodiless {
            half.length = length;
        }
        Ok(parts)
    }

    /// Whether filters look at a request's body that has not come to its end.
    pub(super) fn is_still_looked_at(&self) -> bool {
        !self.request.borrow().source_ended && self.is_looked_at(Side::Request)
    }

    /// Whether a filter looks at a direction's body.
    pub(super) fn is_looked_at(&self, side: Side) -> bool {
        let (data, trailers) = match side {
            Side::Request => (Interest::REQUEST_BODY, Interest::REQUEST_TRAILERS),
            Side::Response => (Interest::RESPONSE_BODY, Interest::RESPONSE_TRAILERS),
        };
        self.slots.iter().any(|slot| slot.interest.has(data) || slot.interest.has(trailers))
    }

    /// A direction's body, behind its filters; as it is where none of them looks at it.
    pub(super) fn body(self: &Rc<Self>, side: Side) -> Incoming {
        let looked_at = self.is_looked_at(side);
        {
            let mut half = self.half(side).borrow_mut();
            let clear = half.out.is_empty() && half.trailers_at == At::Nowhere;
            if clear && half.head_ends {
                return Incoming::Empty;
            }
            let untouched = clear && !half.ended && !half.source_ended;
            // One that was made whole waits here, where it is counted.
            if untouched && !looked_at && side == Side::Response && !self.held.counts() {
                return std::mem::replace(&mut half.source, Incoming::Empty);
            }
            if half.head_ends || (clear && half.ended && half.length.is_none_or(|left| left == 0)) {
                return Incoming::Empty;
            }
        }
        Filtered::body(self, side)
    }
}

impl Stuck {
    pub(super) fn of_response(self) -> ProxyError {
        match self {
            Self::Interrupted => FilterError::Interrupted.into(),
            Self::Body(_) => Cause::from(RequestError::Closed).into(),
            Self::Idle => TimedOut::Idle.into(),
        }
    }
}

impl From<Stuck> for ProxyError {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Interrupted => FilterError::Interrupted.into(),
            Stuck::Body(error) => match BodyFailure::of(&error) {
                BodyFailure::Refused(refusal) => refusal.into(),
                BodyFailure::Gone => Self::ClientGone,
                BodyFailure::Filter => FilterError::BodyTooShort.into(),
            },
            Stuck::Idle => TimedOut::Idle.into(),
        }
    }
}
