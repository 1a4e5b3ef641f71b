//! Messages on their way to an upstream.

use super::{
    super::{
        Bound, CallError, NoRoom,
        holding::{Holding, Holds},
    },
    received::PREFIX,
};
use crate::body::{BodyError, GivenUp, MadeBody};
use bytes::{BufMut, Bytes};
use http_body::{Frame, SizeHint};
use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Short messages that wait are one frame, up to so many bytes: as many as a frame of HTTP/2 has by default.
const JOINED: usize = 16 * 1024;

/// Bytes that a frame takes beside its own, as measured: its places here and in the connection's queues, its owner.
const FRAME: usize = 256;

/// Messages on their way to the upstream.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    frames: VecDeque<Messages>,
    closed: bool,
    reset: bool,
    waker: Option<Waker>,
}

/// Messages that go on together.
#[derive(Debug)]
struct Messages {
    bytes: Vec<u8>,
    /// Its bytes' capacity and [`FRAME`].
    holding: Holding,
}

/// The body they are.
#[derive(Debug)]
pub(super) struct Sending(pub(super) Rc<RefCell<Outgoing>>);

impl Messages {
    /// None yet, with room for so many bytes.
    fn new(bound: Option<&Arc<dyn Bound>>, room: usize) -> Result<Self, NoRoom> {
        let holding = Holding::request(bound, FRAME + room)?;
        Ok(Self { bytes: Vec::with_capacity(room), holding })
    }

    /// Makes room for so many bytes more; room doubles, so that bytes are not moved each time.
    fn reserve(&mut self, more: usize) -> Result<(), NoRoom> {
        let (has, needs) = (self.bytes.capacity(), self.bytes.len() + more);
        if needs > has {
            let room = needs.max((2 * has).min(JOINED));
            self.holding.take(room - has, Holds::Request)?;
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        Ok(())
    }
}

impl Outgoing {
    /// A message more, within this bound.
    pub(super) fn send(&mut self, message: &[u8], bound: Option<&Arc<dyn Bound>>) -> Result<(), CallError> {
        let length = u32::try_from(message.len()).map_err(|_| CallError::TooLarge)?;
        if self.closed || self.reset {
            return Err(CallError::Gone);
        }
        let whole = PREFIX + message.len();
        let bytes = match self.frames.back_mut().filter(|last| last.bytes.len() + whole <= JOINED) {
            Some(last) => {
                last.reserve(whole)?;
                &mut last.bytes
            }
            None => &mut self.frames.push_back_mut(Messages::new(bound, whole)?).bytes,
        };
        bytes.put_u8(0);
        bytes.put_u32(length);
        bytes.put_slice(message);
        self.wake();
        Ok(())
    }

    /// No message follows.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.wake();
    }

    /// The stream is given up: what has not been taken of it goes nowhere.
    pub(super) fn reset(&mut self) {
        self.reset = true;
        self.frames = VecDeque::new();
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl MadeBody for Sending {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut outgoing = self.0.borrow_mut();
        if outgoing.reset {
            return Poll::Ready(Some(Err(GivenUp::Ended.into())));
        }
        if let Some(Messages { bytes, holding }) = outgoing.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(holding.of(bytes.into())))));
        }
        if outgoing.closed {
            return Poll::Ready(None);
        }
        outgoing.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let outgoing = self.0.borrow();
        outgoing.closed && !outgoing.reset && outgoing.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
