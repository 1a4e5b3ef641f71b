//! Bodies as they arrive from a peer, whichever protocol carries them.
//!
//! [`Incoming`] is what `exchange/` passes on from either side. Beside the path: it moves bytes and trailers and
//! gives flow-control credit back as they are taken; it never buffers, counts or times.

use crate::{
    downstream::{admit::Distrust, codec::http1::Upload},
    exchange::filter::Filtered,
    framing::Refusal,
    http1::Broken,
    io::Hold,
    upstream::{Leased, Upgraded},
};
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

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

/// The DATA and trailers of an HTTP/2 stream.
#[derive(Debug)]
pub struct Http2Body {
    stream: RecvStream,
    /// `Content-Length` less what came; h2 itself holds the peer to it (RFC 9113 §8.1.1).
    expected: Option<u64>,
    state: Http2State,
    /// Of a downstream request. Dropped behind the stream.
    held: Option<Rc<Held>>,
}

/// What all hold who hold a part of a downstream request's stream.
#[derive(Debug)]
pub struct Held {
    pub(crate) hold: Hold,
    /// Until the request is answered.
    silence: RefCell<Option<Silence>>,
}

/// How long a wanted body may stay silent, told without the clock while it moves: a timer of a quarter of that time, made when the
/// first wait begins, is only looked at when it fires. Silence ends at most a quarter late, never early.
#[derive(Debug)]
struct Silence {
    most: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    moved: bool,
    /// Quarters that passed without a move.
    quarters: u32,
}

/// Looks at a time that may pass in silence.
pub(crate) const QUARTERS: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Http2State {
    Data,
    Trailers,
    Ended,
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
    pub fn http2(stream: RecvStream, content_length: Option<u64>, held: Rc<Held>) -> Self {
        Self::Http2(Http2Body { held: Some(held), ..Http2Body::new(stream, content_length) })
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

impl Held {
    /// Of a stream whose body fails with [`GivenUp::Silent`] when it is wanted and nothing of it comes for `silence` (at most a
    /// quarter more), until it is [`answered`](Incoming::answered). While nobody polls it, no time runs out.
    #[must_use]
    pub fn new(hold: Hold, silence: Option<Duration>) -> Self {
        Self { hold, silence: RefCell::new(silence.map(Silence::of)) }
    }
}

impl Http2Body {
    pub(crate) fn new(stream: RecvStream, content_length: Option<u64>) -> Self {
        Self { stream, expected: content_length, state: Http2State::Data, held: None }
    }

    fn answered(&self) {
        if let Some(held) = &self.held {
            held.silence.take();
        }
    }

    /// The peer has ended it, or reset it.
    fn over(&mut self) {
        self.state = Http2State::Ended;
        if let Some(held) = &self.held {
            held.hold.over();
        }
    }

    fn failed(&mut self, error: h2::Error) -> BodyError {
        if error.is_remote() {
            self.over();
        }
        self.state = Http2State::Ended;
        BodyError::Http2(error)
    }

    /// Told with the last chunk when END_STREAM came with it, so that it can be sent on the same way.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.state == Http2State::Ended
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.expected.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.poll_stream(cx);
        if let Some(held) = &self.held
            && let Some(silence) = &mut *held.silence.borrow_mut()
        {
            if frame.is_ready() {
                silence.moved();
            } else if silence.poll(cx).is_ready() {
                self.state = Http2State::Ended;
                return Poll::Ready(Some(Err(GivenUp::Silent.into())));
            }
        }
        frame
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.state == Http2State::Data {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    if let Some(expected) = &mut self.expected {
                        *expected = expected.saturating_sub(data.len() as u64);
                    }
                    // The consumer polls only when it has room, so taking the chunk is the moment to give credit back.
                    // An error here means the stream is gone; the next poll says why.
                    self.stream.flow_control().release_capacity(data.len()).ok();
                    if self.stream.is_end_stream() {
                        self.over();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.failed(error)))),
                None => self.state = Http2State::Trailers,
            }
        }
        if self.state == Http2State::Trailers {
            let trailers = ready!(self.stream.poll_trailers(cx));
            match trailers {
                Ok(trailers) => {
                    self.over();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Err(error) => return Poll::Ready(Some(Err(self.failed(error)))),
            }
        }
        Poll::Ready(None)
    }
}

impl Silence {
    /// Of this time, which has not begun.
    fn of(most: Duration) -> Self {
        Self { most, timer: None, moved: false, quarters: 0 }
    }

    /// Something came.
    fn moved(&mut self) {
        self.moved = true;
    }

    /// Ready when nothing moved for so long. Called while something is waited for.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let quarter = (self.most / QUARTERS).max(Duration::from_millis(1));
        let timer = self.timer.get_or_insert_with(|| {
            self.moved = false;
            Box::pin(sleep(quarter))
        });
        while timer.as_mut().poll(cx).is_ready() {
            self.quarters = if std::mem::take(&mut self.moved) { 0 } else { self.quarters + 1 };
            if self.quarters == QUARTERS {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + quarter);
        }
        Poll::Pending
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
