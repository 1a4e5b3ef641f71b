//! The request's body on its way up, beside the wait for the response.
//!
//! A body that is whole at once goes out at once, END_STREAM on its DATA frame; any other gets a task. It never
//! outlives its stream: given up, it resets it.

use super::Slot;
use crate::{
    body::{Ahead, BodyError},
    io::h2_pump::{PumpError, send_body},
    upstream::{RequestBody, error::RequestError},
};
use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};
use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::task::{AbortHandle, spawn_local};

/// A request's body on its way up. Dropping it stops it, and resets the stream unless the body is out already.
#[derive(Debug)]
pub(in crate::upstream) struct Upload(Option<Running>);

#[derive(Debug)]
struct Running {
    task: AbortHandle,
    failure: Rc<Cell<Option<Failure>>>,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    Body,
    Stalled,
}

/// A body whose first frame was taken already.
struct Begun<B> {
    first: Option<Frame<Bytes>>,
    body: B,
}

/// What may go to the codec without asking for window first: one frame.
const AT_ONCE: usize = 16 * 1024;

impl Upload {
    /// Sends what is there and leaves the rest to a task.
    pub(super) async fn start<B: RequestBody>(
        mut body: B,
        mut stream: SendStream<Bytes>,
        slot: Rc<Slot>,
        stall: Duration,
    ) -> Self {
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
        let first = match first {
            Poll::Pending => None,
            Poll::Ready(None) => {
                // The stream may be gone by now; the response says so.
                stream.send_data(Bytes::new(), true).ok();
                return Self(None);
            }
            Poll::Ready(Some(Err(_))) => {
                stream.send_reset(Reason::CANCEL);
                let failure = Rc::new(Cell::new(Some(Failure::Body)));
                let task = spawn_local(async {}).abort_handle();
                return Self(Some(Running { task, failure }));
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.len() <= AT_ONCE && body.is_end_stream() => {
                    stream.send_data(data, true).ok();
                    return Self(None);
                }
                Ok(data) => Some(Frame::data(data)),
                Err(frame) => Some(frame),
            },
        };
        let failure = Rc::new(Cell::new(None));
        let task = spawn_local(run(Begun { first, body }, stream, slot, stall, Rc::clone(&failure)));
        Self(Some(Running { task: task.abort_handle(), failure }))
    }

    /// Why it failed, if it did: then the stream was reset on its account.
    pub(super) fn failure(&self) -> Option<RequestError> {
        match self.0.as_ref()?.failure.get()? {
            Failure::Body => Some(RequestError::RequestBody),
            Failure::Stalled => Some(RequestError::Stalled),
        }
    }

    /// Lets it run to its own end.
    pub(in crate::upstream) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.task.abort();
        }
    }
}

async fn run<B: RequestBody>(
    body: Begun<B>,
    stream: SendStream<Bytes>,
    slot: Rc<Slot>,
    stall: Duration,
    failure: Rc<Cell<Option<Failure>>>,
) {
    // Dropped in the other order.
    let _slot = slot;
    let mut stream = stream;
    match send_body(body, &mut stream, stall, |_, _| ()).await {
        Ok(_) | Err(PumpError::Reset(_) | PumpError::Connection(_)) => {}
        Err(PumpError::Body(_)) => {
            failure.set(Some(Failure::Body));
            stream.send_reset(Reason::CANCEL);
        }
        Err(PumpError::Stalled(_)) => {
            failure.set(Some(Failure::Stalled));
            stream.send_reset(Reason::CANCEL);
        }
    }
}

impl<B: RequestBody> Body for Begun<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut this.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }
}

impl<B: RequestBody> Ahead for Begun<B> {
    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        Pin::new(&mut self.get_mut().body).poll_ahead(cx);
    }
}
