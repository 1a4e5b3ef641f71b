//! Bodies as they arrive from a peer, whichever protocol carries them.
//!
//! [`Incoming`] is what `exchange/` passes on from either side. Beside the path: it moves bytes and trailers and
//! gives flow-control credit back as they are taken; it never buffers, counts or times.

use crate::{
    downstream::{admit::Distrust, codec::http1::Upload},
    exchange::filter::Filtered,
    framing::Refusal,
    http1::Broken,
    upstream::{Leased, Upgraded},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt,
    ops::DerefMut,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

mod http2;

pub use http2::{Held, Http2Body};
pub(crate) use http2::{QUARTERS, Source};

/// A body arriving from a peer, or one held in memory.
#[derive(Debug)]
pub enum Incoming {
    /// No body.
    Empty,
    /// A whole body in memory.
    Full(Bytes),
    /// The body of an HTTP/1 request.
    Http1(Upload),
    /// The DATA and trailers of an HTTP/2 stream.
    Http2(Http2Body),
    /// The body of an upstream's response, with what it holds on to: its connection, its place in the limits.
    Leased(Leased),
    /// Not a body: what follows 101, or 2xx to CONNECT, is the upstream's byte stream. As a body it is empty.
    Upgraded(Box<Upgraded>),
    /// What the proxy itself makes as it is asked for.
    Made(Box<dyn MadeBody>),
    /// A body behind filters.
    Filtered(Filtered),
}

/// A body that the proxy makes. As [`Body`], without its pins.
pub trait MadeBody: fmt::Debug {
    /// The next frame.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;

    /// Whether nothing more will come.
    fn is_end_stream(&self) -> bool;

    /// How much will come.
    fn size_hint(&self) -> SizeHint;
}

/// A body of which some may be taken before it is wanted.
pub trait Ahead {
    /// Whoever sends it on has no room for it now, and asks whenever it is woken until it has: what costs more where it waits than
    /// its bytes is taken from there. It never fails.
    fn poll_ahead(self: Pin<&mut Self>, _: &mut Context<'_>) {}
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The HTTP/1 connection that carried it failed.
    #[error("body on HTTP/1: {0}")]
    Http1(#[source] Broken),
    /// The HTTP/2 stream that carried it failed.
    #[error("body on HTTP/2: {0}")]
    Http2(#[source] h2::Error),
    /// It breaks a rule that only the proxy holds it to.
    #[error("body refused: {0}")]
    Refused(Refusal),
    /// The proxy gave it up.
    #[error("body given up: {0}")]
    GivenUp(#[from] GivenUp),
}

/// Why the proxy gave a body up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// Neither side moved a byte for the route's idle timeout.
    #[error("idle timeout")]
    Idle,
    /// The client's own deadline passed.
    #[error("deadline")]
    Late,
    /// The peer sent nothing of it for too long while it was wanted.
    #[error("the peer fell silent")]
    Silent,
    /// The exchange is over; nobody waits for the rest.
    #[error("the exchange ended")]
    Ended,
    /// The server that sends it is not believed any more, or we are not who we were to it.
    #[error("{}", .0.details())]
    Distrusted(Distrust),
    /// A filter ended it.
    #[error("a filter ended it")]
    Filter,
}

impl Incoming {
    /// The body of a downstream request's stream that is not ended; `content_length` as the head says.
    #[must_use]
    pub fn http2(held: Rc<Held>, content_length: Option<u64>) -> Self {
        Self::Http2(Http2Body::shared(held, content_length))
    }

    /// Bytes that it holds in memory, of a body that was made whole.
    pub(crate) fn made(&self) -> usize {
        match self {
            Self::Full(bytes) => bytes.len(),
            Self::Empty
            | Self::Http1(_)
            | Self::Http2(_)
            | Self::Leased(_)
            | Self::Upgraded(_)
            | Self::Made(_)
            | Self::Filtered(_) => 0,
        }
    }

    /// Bytes that it holds in memory, of a body of which some was taken [ahead](Ahead).
    pub(crate) fn waiting(&mut self) -> usize {
        match self {
            Self::Http2(body) => body.waiting(),
            Self::Empty
            | Self::Full(_)
            | Self::Http1(_)
            | Self::Leased(_)
            | Self::Upgraded(_)
            | Self::Made(_)
            | Self::Filtered(_) => 0,
        }
    }

    /// Says of what is asked for from here on whether it is held back by whoever asks.
    pub(crate) fn gather(&mut self, gathered: impl FnOnce() -> bool) {
        match self {
            Self::Http2(body) => body.gather(gathered()),
            Self::Empty
            | Self::Full(_)
            | Self::Http1(_)
            | Self::Leased(_)
            | Self::Upgraded(_)
            | Self::Made(_)
            | Self::Filtered(_) => {}
        }
    }

    /// Whoever asked for it does not for a while: its request waits for a connection, say. Its exchange looks after it meanwhile.
    pub(crate) fn rests(&mut self) {
        match self {
            Self::Http2(body) => body.rests(),
            Self::Filtered(body) => body.rests(),
            Self::Http1(_) | Self::Empty | Self::Full(_) | Self::Leased(_) | Self::Upgraded(_) | Self::Made(_) => {}
        }
    }

    /// The response to the request that this is the body of has begun. From here on its client may be listening, and how long
    /// both sides may be silent is the exchange's to say.
    pub fn answered(&mut self) {
        match self {
            Self::Http1(body) => body.answered(),
            Self::Http2(body) => body.answered(),
            Self::Filtered(body) => body.answered(),
            Self::Empty | Self::Full(_) | Self::Leased(_) | Self::Upgraded(_) | Self::Made(_) => {}
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Http1(body) => body.poll_frame(cx),
            Self::Http2(body) => body.poll_frame(cx),
            Self::Leased(body) => body.poll_frame(cx),
            Self::Upgraded(_) => Poll::Ready(None),
            Self::Made(body) => body.poll_frame(cx),
            Self::Filtered(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Upgraded(_) => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Leased(body) => body.is_end_stream(),
            Self::Made(body) => body.is_end_stream(),
            Self::Filtered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Upgraded(_) => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Leased(body) => body.size_hint(),
            Self::Made(body) => body.size_hint(),
            Self::Filtered(body) => body.size_hint(),
        }
    }
}

impl<P: DerefMut<Target: Ahead> + Unpin> Ahead for Pin<P> {
    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        self.get_mut().as_mut().poll_ahead(cx);
    }
}

impl Ahead for Incoming {
    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        match self.get_mut() {
            Self::Http2(body) => body.poll_ahead(cx),
            Self::Leased(body) => body.poll_ahead(cx),
            Self::Filtered(body) => body.poll_ahead(cx),
            Self::Empty | Self::Full(_) | Self::Http1(_) | Self::Upgraded(_) | Self::Made(_) => {}
        }
    }
}
