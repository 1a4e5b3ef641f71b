//! [`Http2Body`]: the DATA and trailers of an HTTP/2 stream.

use super::{BodyError, GivenUp};
use crate::io::{Hold, Pace, Received};
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// The DATA and trailers of an HTTP/2 stream.
#[derive(Debug)]
pub struct Http2Body {
    source: Source,
    /// `Content-Length` less what came; h2 itself holds the peer to it (RFC 9113 §8.1.1).
    expected: Option<u64>,
    state: Http2State,
}

/// Where the bytes of a stream come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// From the upstream.
    Own(Received),
    /// From downstream.
    Shared(Rc<Held>),
}

/// What comes of a downstream request: its body, or tunnel, and its task hold it until both are done with it.
#[derive(Debug)]
pub struct Held {
    received: RefCell<Received>,
    /// Until the request is answered.
    silence: RefCell<Option<Silence>>,
    /// Whether the body was asked for: whoever does so keeps asking, or says that it [rests](super::Incoming::rests).
    wanted: Cell<bool>,
    /// The body was dropped: what comes of it goes nowhere.
    refused: Cell<bool>,
    /// Dropped last.
    hold: Hold,
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

impl Held {
    /// Of a stream whose body fails with [`GivenUp::Silent`] when it is wanted and nothing of it comes for `silence` (at most a
    /// quarter more), until it is [`answered`](super::Incoming::answered). While nobody polls it, no time runs out.
    #[must_use]
    pub fn new(stream: RecvStream, hold: Hold, silence: Option<Duration>, pace: &Rc<Pace>) -> Self {
        Self {
            received: RefCell::new(Received::new(stream, pace)),
            silence: RefCell::new(silence.map(Silence::of)),
            wanted: Cell::new(false),
            refused: Cell::new(false),
            hold,
        }
    }

    /// As [`Ahead::poll_ahead`](super::Ahead::poll_ahead), while nobody asks for the body: its request waits for filters, or for a connection.
    pub fn poll_unwanted(&self, cx: &mut Context<'_>) {
        if !self.wanted.get() {
            let mut received = self.received.borrow_mut();
            received.poll_ahead(cx);
            if self.refused.get() {
                received.forget();
            }
        }
    }
}

impl Source {
    pub(crate) fn with<T>(&mut self, call: impl FnOnce(&mut Received) -> T) -> T {
        match self {
            Self::Own(received) => call(received),
            Self::Shared(held) => {
                held.wanted.set(true);
                call(&mut held.received.borrow_mut())
            }
        }
    }

    /// The peer has ended it, or reset it.
    pub(crate) fn over(&self) {
        if let Self::Shared(held) = self {
            held.hold.over();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Self::Shared(held) = self {
            held.wanted.set(false);
            held.refused.set(true);
            held.received.borrow_mut().forget();
        }
    }
}

impl Http2Body {
    /// Of a response.
    pub(crate) fn new(stream: RecvStream, content_length: Option<u64>, pace: &Rc<Pace>) -> Self {
        Self { source: Source::Own(Received::new(stream, pace)), expected: content_length, state: Http2State::Data }
    }

    /// Of a request.
    pub(super) fn shared(held: Rc<Held>, content_length: Option<u64>) -> Self {
        Self { source: Source::Shared(held), expected: content_length, state: Http2State::Data }
    }

    pub(super) fn rests(&self) {
        if let Source::Shared(held) = &self.source {
            held.wanted.set(false);
        }
    }

    /// As [`Incoming::gather`](super::Incoming::gather).
    pub(super) fn gather(&mut self, gathered: bool) {
        self.source.with(|received| received.gather(gathered));
    }

    pub(super) fn answered(&self) {
        if let Source::Shared(held) = &self.source {
            held.silence.take();
        }
    }

    fn over(&mut self) {
        self.state = Http2State::Ended;
        self.source.over();
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
        if let Source::Shared(held) = &self.source
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

    /// As [`Ahead::poll_ahead`](super::Ahead::poll_ahead).
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if self.state == Http2State::Data {
            self.source.with(|received| received.poll_ahead(cx));
        }
    }

    /// As [`Incoming::waiting`](super::Incoming::waiting).
    pub(super) fn waiting(&mut self) -> usize {
        self.source.with(|received| received.waiting())
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.state == Http2State::Data {
            let (data, end) = ready!(self.source.with(|received| {
                received.poll_data(cx).map(|data| {
                    if let Some(Ok(data)) = &data {
                        // The consumer polls only when it has room, so taking the chunk is the moment to give credit back.
                        received.release(data.len());
                    }
                    (data, received.is_end_stream())
                })
            }));
            match data {
                Some(Ok(data)) => {
                    if let Some(expected) = &mut self.expected {
                        *expected = expected.saturating_sub(data.len() as u64);
                    }
                    if end {
                        self.over();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.failed(error)))),
                None => self.state = Http2State::Trailers,
            }
        }
        if self.state == Http2State::Trailers {
            return match ready!(self.source.with(|received| received.poll_trailers(cx))) {
                Ok(trailers) => {
                    self.over();
                    Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
                }
                Err(error) => Poll::Ready(Some(Err(self.failed(error)))),
            };
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
