//! [`ResponseBody`]: what the upstream answers, on its way to the client; carries the exchange's account to its end.

use super::{
    request::{BodyFailure, RequestStream},
    trailers,
};
use crate::{
    body::{Ahead, BodyError, GivenUp, Incoming, QUARTERS},
    downstream::{Connection, codec::Cut},
    exchange::{
        account::Account,
        head::grpc::{self, GrpcStatus},
    },
    http1::Broken,
    telemetry::{Blame, ByteMeter, ResponseFlag},
};
use bytes::Bytes;
use http::{HeaderMap, Version, response};
use http_body::{Body, Frame, SizeHint};
use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// A response's body as handed to the downstream codec. When it is dropped the exchange is over: well if all of
/// it was taken, cut short otherwise.
#[derive(Debug)]
pub struct ResponseBody {
    source: Incoming,
    exchange: Option<Box<Ending>>,
}

/// What ends with a response.
#[derive(Debug)]
pub struct Ending {
    /// The exchange's account, closed when the body ends.
    pub account: Account,
    /// The version the request came in.
    pub downstream: Version,
    /// The request's body, which may still be coming.
    pub request: Option<Rc<RequestStream>>,
    /// Silence of both sides, while the client wants more, after which the response is cut.
    pub idle: Option<Duration>,
    /// When the response must be complete (`grpc-timeout`).
    pub deadline: Option<Instant>,
    meter: ByteMeter,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer was set. It is left alone while the body moves and looked at when it fires, each quarter of the silence
    /// allowed, which so ends at most a quarter late.
    set: Option<Instant>,
    moved: Moved,
    /// Quarters that passed without a move.
    quarters: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    No,
    Yes,
}

/// Which time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overdue {
    Idle,
    Deadline,
}

/// Why a response's body failed, as the record says it.
struct Failure {
    blame: Blame,
    flag: ResponseFlag,
    details: Cow<'static, str>,
}

impl Ending {
    /// An ending that only closes the account.
    #[must_use]
    pub fn new(account: Account, downstream: Version) -> Self {
        Self {
            meter: account.meter(),
            account,
            downstream,
            request: None,
            idle: None,
            deadline: None,
            timer: None,
            set: None,
            moved: Moved::No,
            quarters: 0,
        }
    }

    /// Called when the source has nothing ready. The timer is made here, so that a response that never waits
    /// never makes one.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        loop {
            if self.timer.is_none() {
                let now = Instant::now();
                let quarter = self.idle.map(|idle| now + (idle / QUARTERS).max(Duration::from_millis(1)));
                let Some(at) = quarter.into_iter().chain(self.deadline).min() else { return Poll::Pending };
                (self.set, self.moved) = (Some(now), Moved::No);
                self.timer = Some(Box::pin(sleep_until(at)));
            }
            let Some(timer) = &mut self.timer else { return Poll::Pending };
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Poll::Ready(Overdue::Deadline);
            }
            let upload = self.request.as_ref().map(|request| request.moved());
            self.quarters = if self.moved == Moved::Yes || upload > self.set { 0 } else { self.quarters + 1 };
            if self.quarters == QUARTERS {
                return Poll::Ready(Overdue::Idle);
            }
        }
    }

    /// Closes the account of a response that ended, one way or another.
    fn close(self, failure: Option<Failure>) {
        let Self { mut account, request, downstream, .. } = self;
        if let Some(Failure { blame, flag, details }) = failure {
            account.flag(flag);
            account.details(details);
            account.terminated_by(blame);
        }
        account.finish();
        let_go(request.as_deref(), downstream);
    }

    /// The client did not take all of it.
    fn cut(self) {
        let Self { account, request, downstream, .. } = self;
        drop(account);
        let_go(request.as_deref(), downstream);
    }
}

/// A response is over before its request: HTTP/2 tells the client to stop (RFC 9113 §8.1), HTTP/1 lets it finish, unless it waits
/// to be asked for it still.
fn let_go(request: Option<&RequestStream>, downstream: Version) {
    if let Some(request) = request
        && (downstream == Version::HTTP_2 || request.is_held_back())
    {
        request.give_up();
    }
}

impl ResponseBody {
    /// A body whose end is the exchange's end.
    #[must_use]
    pub fn new(source: Incoming, ending: Ending) -> Self {
        Self { source, exchange: Some(Box::new(ending)) }
    }

    /// A body that ends nothing: its exchange lives on, in a tunnel.
    #[must_use]
    pub fn detached() -> Self {
        Self { source: Incoming::Empty, exchange: None }
    }

    /// Its head was written: whoever looks at it once more has it from here on.
    pub fn written(&self, head: response::Parts) {
        if let Some(chain) = self.exchange.as_ref().and_then(|ending| ending.account.chain()) {
            chain.written(head);
        }
    }

    fn close(&mut self, failure: Option<Failure>) {
        if let Some(ending) = self.exchange.take() {
            ending.close(failure);
        }
    }

    /// Ends a response that took too long. A gRPC client is told by trailers where there can be some.
    fn late(&mut self, overdue: Overdue) -> Option<Result<Frame<Bytes>, BodyError>> {
        self.source = Incoming::Empty;
        let http2 = self.exchange.as_ref().is_some_and(|ending| ending.downstream == Version::HTTP_2);
        let (flag, details, error) = match overdue {
            Overdue::Idle => (ResponseFlag::StreamIdleTimeout, "stream_idle_timeout", GivenUp::Idle),
            Overdue::Deadline => (ResponseFlag::DurationTimeout, "grpc_timeout", GivenUp::Late),
        };
        let trailers = (overdue == Overdue::Deadline && http2).then(deadline_exceeded);
        if let (Some(trailers), Some(ending)) = (&trailers, &mut self.exchange) {
            ending.account.trailers(trailers);
        }
        self.close(Some(Failure { blame: Blame::Proxy, flag, details: details.into() }));
        Some(trailers.map(Frame::trailers).ok_or(BodyError::GivenUp(error)))
    }

    /// Whether nothing more will come. A length that is used up says so too: some upstreams end HTTP/2 streams by an
    /// empty frame of its own, which a codec that has counted never asks for.
    fn is_whole(&self) -> bool {
        self.source.is_end_stream() || self.source.size_hint().exact() == Some(0)
    }
}

fn deadline_exceeded() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert("grpc-status", GrpcStatus::DeadlineExceeded.to_value());
    trailers.insert("grpc-message", grpc::message("deadline exceeded"));
    trailers
}

/// Who broke a response off: the upstream, unless the request's body failed first.
fn failure(error: &BodyError, request: Option<&RequestStream>, connection: &Connection) -> Failure {
    let upstream =
        |flag, details: &'static str| Failure { blame: Blame::Upstream, flag, details: Cow::Borrowed(details) };
    match request.and_then(RequestStream::failure) {
        Some(BodyFailure::Refused(refusal)) => {
            let flag = ResponseFlag::DownstreamProtocolError;
            return Failure { blame: Blame::Downstream, flag, details: refusal.name().into() };
        }
        Some(BodyFailure::Gone) => {
            if let Some((flag, why)) = connection.cut() {
                return Failure { blame: Blame::of_cut(flag), flag, details: why.into() };
            }
            let flag = ResponseFlag::DownstreamConnectionTermination;
            return Failure { blame: Blame::Downstream, flag, details: "downstream_remote_disconnect".into() };
        }
        Some(BodyFailure::Filter) => {
            let flag = ResponseFlag::FilterFailed;
            return Failure { blame: Blame::Proxy, flag, details: "filter_body_too_short".into() };
        }
        None => {}
    }
    match error {
        BodyError::Http1(Broken::Violation(violation)) => {
            upstream(ResponseFlag::UpstreamProtocolError, violation.name())
        }
        BodyError::Http2(error) if error.is_remote() && error.is_reset() => {
            upstream(ResponseFlag::UpstreamRemoteReset, "upstream_reset_after_response_started{remote_reset}")
        }
        // Another response on its connection, perhaps.
        BodyError::Http2(error) if error.is_go_away() && !error.is_remote() => {
            upstream(ResponseFlag::UpstreamProtocolError, "upstream_http2_protocol")
        }
        BodyError::Http2(error) if error.get_io().is_none() && !error.is_remote() => {
            upstream(ResponseFlag::UpstreamProtocolError, "upstream_malformed")
        }
        BodyError::GivenUp(GivenUp::Distrusted(why)) => {
            Failure { blame: Blame::Proxy, flag: ResponseFlag::Unauthorized, details: why.details().into() }
        }
        BodyError::Http1(Broken::Closed | Broken::Reset | Broken::Request)
        | BodyError::Http2(_)
        | BodyError::GivenUp(GivenUp::Idle | GivenUp::Late | GivenUp::Silent | GivenUp::Ended | GivenUp::Filter) => {
            upstream(ResponseFlag::UpstreamConnectionTermination, "upstream_reset_after_response_started")
        }
        BodyError::Refused(refusal) => upstream(ResponseFlag::UpstreamProtocolError, refusal.name()),
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut frame = match Pin::new(&mut this.source).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let Some(ending) = &mut this.exchange else { return Poll::Pending };
                let overdue = ready!(ending.poll_overdue(cx));
                return Poll::Ready(this.late(overdue));
            }
        };
        if let Some(Ok(passing)) = &mut frame
            && let Some(Err(fault)) = passing.trailers_ref().map(trailers::judge)
        {
            frame = Some(Err(BodyError::Refused(fault.into())));
        }
        match (&frame, &mut this.exchange) {
            (Some(Ok(frame)), Some(ending)) => {
                ending.moved = Moved::Yes;
                match frame.data_ref() {
                    Some(data) => ending.meter.sent(data.len() as u64),
                    None => frame.trailers_ref().into_iter().for_each(|trailers| ending.account.trailers(trailers)),
                }
            }
            (Some(Err(error)), Some(ending)) => {
                let by_filter =
                    matches!(error, BodyError::GivenUp(GivenUp::Filter)).then(|| ending.account.cut()).flatten();
                let failure = match by_filter {
                    Some((flag, details)) => Failure { blame: Blame::Proxy, flag, details },
                    None => failure(error, ending.request.as_deref(), ending.account.connection()),
                };
                this.source = Incoming::Empty;
                this.close(Some(failure));
            }
            (None, Some(_)) => this.close(None),
            (_, None) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Ahead for ResponseBody {
    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        Pin::new(&mut self.get_mut().source).poll_ahead(cx);
    }
}

impl Cut for ResponseBody {
    fn cut(self: Pin<&mut Self>, why: &'static str) {
        let flag = ResponseFlag::StreamIdleTimeout;
        self.get_mut().close(Some(Failure { blame: Blame::Proxy, flag, details: why.into() }));
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let whole = self.is_whole();
        match self.exchange.take() {
            // A codec need not ask for the end of a body whose length it knows.
            Some(ending) if whole => ending.close(None),
            Some(ending) => ending.cut(),
            None => {}
        }
    }
}
