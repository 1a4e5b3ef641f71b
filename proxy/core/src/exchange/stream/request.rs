//! [`RequestBody`]: what the client sends, on its way to an upstream, and perhaps to a second one.

use crate::{
    body::{BodyError, GivenUp, Incoming},
    telemetry::ByteMeter,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};
use tokio::time::Instant;

/// Bytes of a body kept so that it can be sent again. Beyond it a request is sent once: memory per request in
/// flight is bounded, and most idempotent requests have no body at all.
const KEEP: usize = 64 * 1024;

/// A request's body as handed to an upstream. Dropping it gives the attempt up, not the request.
#[derive(Debug, Default)]
pub struct RequestBody {
    stream: Option<Rc<RequestStream>>,
    /// Frames of those kept that this attempt has sent already.
    resent: usize,
}

/// What the attempts to send one request share.
#[derive(Debug)]
pub struct RequestStream {
    source: RefCell<Incoming>,
    received: ByteMeter,
    kept: RefCell<Kept>,
    gate: Option<Gate>,
    state: Cell<State>,
    moved: Cell<Instant>,
}

/// Whether a body flowed, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untouched,
    Flowing,
    Ended,
    Failed,
}

/// Frames kept so that they can be sent again.
#[derive(Debug)]
enum Kept {
    /// All since the first.
    Frames(Vec<Piece>, usize),
    /// Not all: the request cannot be sent again once its body has flowed.
    Nothing,
}

#[derive(Debug, Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// Holds a body back until the upstream has said 100 (Continue) or has been silent long enough
/// (RFC 9110 §10.1.1). Shared with a callback that hyper wants to be `Send`.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    open: AtomicBool,
    waker: std::sync::Mutex<Option<Waker>>,
}

impl Gate {
    /// Lets the body through.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::Relaxed);
        let waker = self.0.waker.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.open.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        *self.0.waker.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl RequestStream {
    /// A stream for this body; `None` when there is none. `keep`: whether it may be sent again after it flowed.
    #[must_use]
    pub fn new(source: Incoming, received: ByteMeter, keep: bool, gate: Option<Gate>) -> Option<Rc<Self>> {
        if source.is_end_stream() {
            return None;
        }
        Some(Rc::new(Self {
            source: RefCell::new(source),
            received,
            kept: RefCell::new(if keep { Kept::Frames(Vec::new(), 0) } else { Kept::Nothing }),
            gate,
            state: Cell::new(State::Untouched),
            moved: Cell::new(Instant::now()),
        }))
    }

    /// A body for one attempt. At most one lives at a time.
    #[must_use]
    pub fn attempt(self: &Rc<Self>) -> RequestBody {
        RequestBody { stream: Some(Rc::clone(self)), resent: 0 }
    }

    /// Whether one attempt more would send the whole body.
    #[must_use]
    pub fn can_be_sent_again(&self) -> bool {
        self.state.get() == State::Untouched
            || (self.state.get() != State::Failed && matches!(*self.kept.borrow(), Kept::Frames(..)))
    }

    /// When the body last moved, or its request began.
    #[must_use]
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Whether the client has sent all of it.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.state.get() == State::Ended
    }

    /// Whether the client's side failed while it flowed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.state.get() == State::Failed
    }

    fn poll_source(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &self.gate {
            ready!(gate.poll_open(cx));
        }
        if self.state.get() == State::Untouched {
            self.state.set(State::Flowing);
        }
        let frame = ready!(Pin::new(&mut *self.source.borrow_mut()).poll_frame(cx));
        self.moved.set(Instant::now());
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.received.received(data.len() as u64);
                }
                self.keep(frame);
                if self.source.borrow().is_end_stream() {
                    self.state.set(State::Ended);
                }
            }
            Some(Err(_)) => self.state.set(State::Failed),
            None => self.state.set(State::Ended),
        }
        Poll::Ready(frame)
    }

    fn keep(&self, frame: &Frame<Bytes>) {
        let mut kept = self.kept.borrow_mut();
        if let Kept::Frames(pieces, bytes) = &mut *kept {
            let piece = match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => Piece::Data(data.clone()),
                (None, Some(trailers)) => Piece::Trailers(trailers.clone()),
                (None, None) => return,
            };
            *bytes += frame.data_ref().map_or(0, Bytes::len);
            if *bytes > KEEP {
                *kept = Kept::Nothing;
            } else {
                pieces.push(piece);
            }
        }
    }

    fn kept(&self, position: usize) -> Option<Frame<Bytes>> {
        match &*self.kept.borrow() {
            Kept::Frames(pieces, _) => pieces.get(position).map(|piece| match piece.clone() {
                Piece::Data(data) => Frame::data(data),
                Piece::Trailers(trailers) => Frame::trailers(trailers),
            }),
            Kept::Nothing => None,
        }
    }

    fn kept_len(&self) -> usize {
        match &*self.kept.borrow() {
            Kept::Frames(pieces, _) => pieces.len(),
            Kept::Nothing => 0,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(stream) = &this.stream else { return Poll::Ready(None) };
        if let Some(frame) = stream.kept(this.resent) {
            this.resent += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        match stream.state.get() {
            State::Ended => Poll::Ready(None),
            State::Failed => Poll::Ready(Some(Err(GivenUp::Ended.into()))),
            State::Untouched | State::Flowing => {
                let frame = ready!(stream.poll_source(cx));
                this.resent = stream.kept_len();
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.ended() && self.resent >= stream.kept_len())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stream {
            None => SizeHint::with_exact(0),
            // Only the first attempt knows by the source alone; a later one frames by the head's Content-Length.
            Some(stream) if stream.state.get() == State::Untouched => stream.source.borrow().size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}
