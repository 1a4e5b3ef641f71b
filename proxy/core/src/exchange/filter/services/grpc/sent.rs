//! Messages on their way to an upstream.

use super::{
    super::{CallError, NoRoom, holding::Holding},
    received::PREFIX,
};
use crate::body::{BodyError, GivenUp, MadeBody};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Bytes of messages that wait for the upstream at most.
const MOST_WAITING: usize = 4 << 20;

/// Messages on their way to the upstream.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    frames: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
    reset: bool,
    waker: Option<Waker>,
}

/// The body they are.
#[derive(Debug)]
pub(super) struct Sending(pub(super) Rc<RefCell<Outgoing>>);

impl Outgoing {
    /// A message more; `holding` is what says whether there is room for so many bytes.
    pub(super) fn send(
        &mut self,
        message: &[u8],
        holding: impl FnOnce(usize) -> Result<Holding, NoRoom>,
    ) -> Result<(), CallError> {
        let length = u32::try_from(message.len()).map_err(|_| CallError::TooLarge)?;
        if self.closed || self.reset {
            return Err(CallError::Gone);
        }
        if self.bytes + message.len() > MOST_WAITING {
            return Err(CallError::TooLarge);
        }
        let holding = holding(PREFIX + message.len())?;
        let mut frame = BytesMut::with_capacity(PREFIX + message.len());
        frame.put_u8(0);
        frame.put_u32(length);
        frame.put_slice(message);
        self.bytes += frame.len();
        self.frames.push_back(holding.of(frame.freeze()));
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
        (self.frames, self.bytes) = (VecDeque::new(), 0);
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
        if let Some(frame) = outgoing.frames.pop_front() {
            outgoing.bytes -= frame.len();
            return Poll::Ready(Some(Ok(Frame::data(frame))));
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
