//! [`RequestBody`]: what the client sends, on its way to an upstream, and perhaps to a second one.

use super::{gate::Gate, trailers};
use crate::{
    body::{Ahead, BodyError, GivenUp, Incoming},
    downstream::{
        held::{self, Held, Spare},
        unfinished::Room,
    },
    framing::Refusal,
    telemetry::ByteMeter,
    worker::Worker,
};
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
};
use tokio::time::Instant;

/// Bytes of a body, and of what keeping them takes, kept so that it can be sent again. Beyond it a request is sent once:
/// memory per request in flight is bounded, and most idempotent requests have no body at all.
const KEEP: usize = (64 + 4) * 1024;

/// The same where only a request that provably never left may go again: what an HTTP/2 upload takes before its stream
/// can be known to be refused.
const KEEP_UNSENT: usize = (16 + 1) * 1024;

/// A request's body as handed to an upstream. Dropping it gives the attempt up, not the request.
#[derive(Debug, Default)]
pub struct RequestBody {
    stream: Option<Rc<RequestStream>>,
}

/// What the attempts to send one request share.
#[derive(Debug)]
pub struct RequestStream {
    source: RefCell<Incoming>,
    received: ByteMeter,
    kept: RefCell<Kept>,
    most_kept: usize,
    /// What is kept counts for. `None` where nobody counts.
    held: Option<Held>,
    /// Frames of those kept that the attempt which lives has sent.
    resent: Cell<usize>,
    /// It is not sent again: what is kept goes as soon as no attempt needs it.
    once: Cell<bool>,
    gate: Option<Gate>,
    state: Cell<State>,
    failure: Cell<Option<BodyFailure>>,
    moved: Cell<Instant>,
    wants: Cell<Wants>,
    /// Who waits for the client's next byte, where the exchange may end first.
    waker: RefCell<Option<Waker>>,
}

/// Why a request's body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFailure {
    /// It breaks its framing, or did not come in time.
    Refused(Refusal),
    /// The client is gone.
    Gone,
    /// Filters left less of it than its length says.
    Filter,
}

/// Whether a body is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    More,
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

impl RequestStream {
    /// A stream for this body; `None` when there is none. `idempotent`: whether it may be sent again after it arrived.
    /// `held`: where what is kept of it counts.
    #[must_use]
    pub(crate) fn new(
        source: Incoming,
        received: ByteMeter,
        idempotent: bool,
        gate: Option<Gate>,
        held: Option<&Rc<Worker>>,
    ) -> Option<Rc<Self>> {
        if source.is_end_stream() {
            return None;
        }
        Some(Rc::new(Self {
            source: RefCell::new(source),
            received,
            kept: RefCell::new(Kept::Frames(Vec::new(), 0)),
            most_kept: if idempotent { KEEP } else { KEEP_UNSENT },
            held: held.map(Held::nothing),
            resent: Cell::new(0),
            once: Cell::new(false),
            gate,
            state: Cell::new(State::Untouched),
            failure: Cell::new(None),
            moved: Cell::new(Instant::now()),
            wants: Cell::new(Wants::Nothing),
            waker: RefCell::default(),
        }))
    }

    /// A body for one attempt. At most one lives at a time.
    #[must_use]
    pub fn attempt(self: &Rc<Self>) -> RequestBody {
        self.resent.set(0);
        // Until the attempt has a connection.
        self.source.borrow_mut().rests();
        RequestBody { stream: Some(Rc::clone(self)) }
    }

    /// Whether one attempt more would send the whole body.
    #[must_use]
    pub fn can_be_sent_again(&self) -> bool {
        self.state.get() == State::Untouched
            || (self.state.get() != State::Failed
                && !self.once.get()
                && matches!(*self.kept.borrow(), Kept::Frames(..)))
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

    /// Why the client's side failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<BodyFailure> {
        self.failure.get()
    }

    /// Whether the upstream would take more of it and the client sends nothing: what passes is the client's time.
    #[must_use]
    pub fn waits_for_client(&self) -> bool {
        self.wants.get() == Wants::More
    }

    /// Whether nobody has asked for it yet.
    pub(super) fn is_held_back(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| !gate.is_open())
    }

    /// The upstream has answered: the request is not sent again, and what was kept for that is let go. A client that sends no more
    /// of its body is not slow from here on; it may be listening, as that of a gRPC stream does. A body that is held back is not wanted then (RFC 9110 §10.1.1), unless the answer is a success that goes on, whose server reads it meanwhile. Its
    /// client is told that the connection ends, since nobody knows whether it sends the body all the same, and what comes
    /// next is never taken for it.
    pub fn answered(&self, response: &Response<Incoming>) {
        self.let_go();
        self.source.borrow_mut().answered();
        let Some(gate) = &self.gate else { return };
        if response.status().is_success() && !response.body().is_end_stream() {
            gate.open();
        } else if !gate.is_open() {
            let unwanted = self.source.replace(Incoming::Empty);
            drop(unwanted);
        }
    }

    /// The exchange is over: what is left of the body is not waited for, and its stream is let go.
    pub fn give_up(&self) {
        let source = self.source.replace(Incoming::Empty);
        drop(source);
        self.forget();
        if self.state.get() != State::Ended {
            self.state.set(State::Failed);
        }
        if let Some(gate) = &self.gate {
            gate.open();
        }
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_source(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &self.gate {
            ready!(gate.poll_open(cx));
        }
        if self.state.get() == State::Untouched {
            self.state.set(State::Flowing);
        }
        let polled = Pin::new(&mut *self.source.borrow_mut()).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            self.wait(cx);
            return Poll::Pending;
        };
        self.wants.set(Wants::Nothing);
        self.moved.set(Instant::now());
        let frame = frame.map(checked);
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.received.received(data.len() as u64);
                }
                self.keep(frame);
                // Trailers are the last frame; a codec says that it has ended only when it is asked once more.
                if frame.is_trailers() || self.source.borrow().is_end_stream() {
                    self.state.set(State::Ended);
                }
            }
            Some(Err(error)) => {
                self.state.set(State::Failed);
                self.failure.set(Some(BodyFailure::of(error)));
            }
            None => self.state.set(State::Ended),
        }
        Poll::Ready(frame)
    }

    /// Only an HTTP/2 stream is let go before its end (RFC 9113 §8.1); on HTTP/1 both directions run to theirs.
    fn wait(&self, cx: &Context<'_>) {
        self.wants.set(Wants::More);
        if matches!(&*self.source.borrow(), Incoming::Http2(_) | Incoming::Made(_) | Incoming::Filtered(_)) {
            self.waker.replace(Some(cx.waker().clone()));
        }
    }

    fn keep(self: &Rc<Self>, frame: &Frame<Bytes>) {
        let more =
            size_of::<Piece>() + frame.data_ref().map_or(0, Bytes::len) + frame.trailers_ref().map_or(0, held::weight);
        if let Kept::Frames(pieces, bytes) = &mut *self.kept.borrow_mut() {
            *bytes += more;
            if *bytes <= self.most_kept {
                match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(data), _) => pieces.push(Piece::Data(data.clone())),
                    (None, Some(trailers)) => pieces.push(Piece::Trailers(trailers.clone())),
                    (None, None) => {}
                }
                let me = || Rc::downgrade(self) as Weak<dyn Spare>;
                if self.held.as_ref().is_none_or(|held| held.keep(more, me) == Room::Left) {
                    return;
                }
            }
        } else {
            return;
        }
        self.forget();
    }

    /// What was kept is let go, whoever needs it.
    fn forget(&self) {
        self.kept.replace(Kept::Nothing);
        if let Some(held) = &self.held {
            held.release();
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

impl Spare for RequestStream {
    /// The request is sent once from now on. An attempt that is still sending what was kept goes on with it.
    fn let_go(&self) {
        self.once.set(true);
        if self.resent.get() >= self.kept_len() {
            self.forget();
        }
    }
}

/// A frame fit to be sent on.
fn checked(frame: Result<Frame<Bytes>, BodyError>) -> Result<Frame<Bytes>, BodyError> {
    let frame = frame?;
    match frame.trailers_ref().map(trailers::judge) {
        None | Some(Ok(())) => Ok(frame),
        Some(Err(fault)) => Err(BodyError::Refused(fault.into())),
    }
}

impl BodyFailure {
    pub(in crate::exchange) fn of(error: &BodyError) -> Self {
        match error {
            BodyError::Refused(refusal) => Self::Refused(*refusal),
            BodyError::GivenUp(GivenUp::Silent) => Self::Refused(Refusal::BodyTimeout),
            BodyError::Http1(_)
            | BodyError::Http2(_)
            | BodyError::GivenUp(GivenUp::Idle | GivenUp::Late | GivenUp::Ended | GivenUp::Distrusted(_)) => Self::Gone,
            BodyError::GivenUp(GivenUp::Filter) => Self::Filter,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(stream) = &this.stream else { return Poll::Ready(None) };
        if let Some(frame) = stream.kept(stream.resent.get()) {
            stream.resent.set(stream.resent.get() + 1);
            if stream.once.get() {
                stream.let_go();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        match stream.state.get() {
            State::Ended => Poll::Ready(None),
            State::Failed => Poll::Ready(Some(Err(GivenUp::Ended.into()))),
            State::Untouched | State::Flowing => {
                let frame = ready!(stream.poll_source(cx));
                stream.resent.set(stream.kept_len());
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.ended() && stream.resent.get() >= stream.kept_len())
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

impl Ahead for RequestBody {
    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let Some(stream) = &self.stream else { return };
        if matches!(stream.state.get(), State::Untouched | State::Flowing) && !stream.is_held_back() {
            Pin::new(&mut *stream.source.borrow_mut()).poll_ahead(cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &mut RequestBody) -> Option<Bytes> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(frame) = Pin::new(body).poll_frame(&mut cx) else { panic!("a full body is ready") };
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    }

    fn stream(idempotent: bool, bytes: usize) -> Rc<RequestStream> {
        let source = Incoming::Full(vec![b'x'; bytes].into());
        RequestStream::new(source, ByteMeter::detached(), idempotent, None, None).unwrap()
    }

    #[test]
    fn what_is_kept_stays_until_the_attempt_that_sends_it_again_has_done_so() {
        let answered = |stream: &RequestStream| stream.answered(&Response::new(Incoming::Empty));
        for let_go in [answered, <RequestStream as Spare>::let_go] {
            let stream = stream(true, 60_000);
            assert_eq!(frame(&mut stream.attempt()).unwrap().len(), 60_000);
            assert!(stream.can_be_sent_again());
            let mut again = stream.attempt();
            let_go(&stream);
            assert!(!stream.can_be_sent_again());
            assert!(!again.is_end_stream());
            assert_eq!(frame(&mut again).map(|data| data.len()), Some(60_000));
            assert!(again.is_end_stream());
            assert!(matches!(*stream.kept.borrow(), Kept::Nothing));
            assert_eq!(frame(&mut again), None);
        }
    }

    #[test]
    fn what_was_let_go_is_sent_once_and_what_has_not_begun_may_begin_again() {
        let stream = stream(true, 100);
        stream.let_go();
        assert!(stream.can_be_sent_again(), "nothing of it has left");
        drop(stream.attempt());
        assert_eq!(frame(&mut stream.attempt()).unwrap().len(), 100);
        assert!(!stream.can_be_sent_again());
    }

    #[test]
    fn so_much_is_kept() {
        for (idempotent, bytes, again) in
            [(true, 64 << 10, true), (true, 72 << 10, false), (false, 16 << 10, true), (false, 20 << 10, false)]
        {
            let stream = stream(idempotent, bytes);
            frame(&mut stream.attempt());
            assert_eq!(stream.can_be_sent_again(), again, "{idempotent} {bytes}");
        }
    }
}
