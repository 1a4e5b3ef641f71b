//! The bodies of admin answers: a text, or pieces made one at a time.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// Pieces of a long answer, made when they are asked for.
pub(super) type Pieces = Box<dyn Iterator<Item = Bytes>>;

/// A body.
pub(super) struct Body(Kind);

enum Kind {
    Full(Option<Bytes>),
    Pieces { pieces: Pieces, rest: Option<Pin<Box<Sleep>>> },
}

/// How long this thread rests between two pieces. Making one takes some 0.3 ms; where the workers share a CPU or a
/// quota with this thread, a scrape of thousands of clusters in one go would be felt in their latency.
const REST: Duration = Duration::from_millis(2);

impl Body {
    /// A text.
    pub(super) fn full(text: impl Into<Bytes>) -> Self {
        Self(Kind::Full(Some(text.into())))
    }

    /// Pieces. Between two of them other tasks of the thread run, and other threads.
    pub(super) fn pieces(pieces: Pieces) -> Self {
        Self(Kind::Pieces { pieces, rest: None })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().0 {
            Kind::Full(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Kind::Pieces { pieces, rest } => {
                if let Some(rest) = rest {
                    ready!(rest.as_mut().poll(cx));
                }
                let piece = pieces.next();
                *rest = piece.is_some().then(|| Box::pin(sleep(REST)));
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(text) => text.as_ref().is_none_or(Bytes::is_empty),
            Kind::Pieces { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Kind::Pieces { .. } => SizeHint::default(),
        }
    }
}
