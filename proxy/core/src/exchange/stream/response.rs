//! [`ResponseBody`]: what the upstream answers, on its way to the client; carries the exchange's record to its end.

use crate::{
    body::{BodyError, GivenUp, Incoming},
    downstream::guard::RequestTicket,
    telemetry::{Blame, ByteMeter, Record, ResponseFlag},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// A response's body as handed to the downstream codec. When it is dropped the exchange is over: well if all of
/// it was taken, cut short by the client otherwise.
#[derive(Debug)]
pub struct ResponseBody {
    source: Incoming,
    exchange: Option<Box<Ending>>,
    /// Tells the HTTP/1 guard, by being dropped, that the request is answered.
    ticket: Option<RequestTicket>,
}

/// What ends with a response.
#[derive(Debug)]
pub struct Ending {
    /// The exchange's record, written when the body ends.
    pub record: Record,
    /// Silence of the upstream, while the client wants more, after which the response is cut.
    pub idle: Option<Duration>,
    /// When the response must be complete (`grpc-timeout`).
    pub deadline: Option<Instant>,
    meter: ByteMeter,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Ending {
    /// An ending that only writes the record.
    #[must_use]
    pub fn new(record: Record) -> Self {
        Self { meter: record.meter(), record, idle: None, deadline: None, timer: None }
    }

    /// Called when the source has nothing ready. The timer is made here, so that a response that never waits
    /// never makes one.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.is_none() {
            let idle = self.idle.map(|idle| Instant::now() + idle);
            let Some(at) = idle.into_iter().chain(self.deadline).min() else { return Poll::Pending };
            self.timer = Some(Box::pin(tokio::time::sleep_until(at)));
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl ResponseBody {
    /// A body whose end is the exchange's end.
    #[must_use]
    pub fn new(source: Incoming, ending: Ending) -> Self {
        Self { source, exchange: Some(Box::new(ending)), ticket: None }
    }

    /// A body that ends nothing: its exchange lives on, in a tunnel.
    #[must_use]
    pub fn detached() -> Self {
        Self { source: Incoming::Empty, exchange: None, ticket: None }
    }

    /// Keeps the HTTP/1 guard's ticket until the body has ended.
    pub fn hold(&mut self, ticket: RequestTicket) {
        self.ticket = Some(ticket);
    }

    fn fail(&mut self, blame: Blame, flag: ResponseFlag, details: &'static str) {
        if let Some(mut ending) = self.exchange.take() {
            ending.record.flag(flag);
            ending.record.details(details);
            ending.record.terminated_by(blame);
            ending.record.finish();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.source).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let Some(ending) = &mut this.exchange else { return Poll::Pending };
                ready!(ending.poll_overdue(cx));
                this.source = Incoming::Empty;
                this.fail(Blame::Proxy, ResponseFlag::StreamIdleTimeout, "response_timeout");
                return Poll::Ready(Some(Err(GivenUp::Idle.into())));
            }
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(ending) = &mut this.exchange {
                    // Progress: the silence that follows is a new one. The deadline stays.
                    ending.timer = None;
                    match frame.data_ref() {
                        Some(data) => ending.meter.sent(data.len() as u64),
                        None => frame.trailers_ref().into_iter().for_each(|trailers| ending.record.trailers(trailers)),
                    }
                }
            }
            Some(Err(_)) => {
                this.fail(
                    Blame::Upstream,
                    ResponseFlag::UpstreamConnectionTermination,
                    "upstream_reset_after_response_started",
                );
            }
            None => {
                if let Some(ending) = this.exchange.take() {
                    ending.record.finish();
                }
            }
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

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(mut ending) = self.exchange.take() {
            // A codec need not ask for the end of a body whose length it knows.
            if !self.source.is_end_stream() {
                ending.record.flag(ResponseFlag::DownstreamConnectionTermination);
                ending.record.details("downstream_remote_disconnect");
                ending.record.terminated_by(Blame::Downstream);
            }
            ending.record.finish();
        }
    }
}
