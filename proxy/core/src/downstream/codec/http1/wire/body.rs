//! The body of the request in progress: read as it is asked for, and read over where nobody asks.

use super::{Answered, Course, Shared, Wants, Wire};
use crate::{
    body::BodyError,
    downstream::codec::http1::timer::{Verdict, Wait},
    framing::{Left, Persistence, Refusal, Step},
    http1::{Broken, read},
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use std::{
    fmt,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// Bytes of a body that nobody wants which are read so that its connection can go on: what comes along with a head.
/// Whoever sends more is closed upon.
const MOST_DRAINED: usize = 64 * 1024;

/// Bytes of a body that may be left as its answer begins where its connection goes on in any case: whoever gives it up then, they are
/// read. Servers that decline an upload before they have read it would cost each client its connection.
const MOST_READ_OVER: u64 = 1 << 20;

/// What is left of a body in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Rest {
    /// All of it was read from the socket.
    Here,
    /// No more than is [read for nobody](Wire::poll_settled).
    Short,
    /// More, or nobody knows.
    Long,
}

impl Wire {
    /// What is left of the body in progress.
    pub(in super::super) fn rest(&self) -> Rest {
        match self.framer.left() {
            Left::Length(left) if left <= self.input.bytes().len() as u64 => Rest::Here,
            Left::Length(left) if left <= MOST_READ_OVER => Rest::Short,
            Left::Length(_) | Left::Chunked | Left::UntilClose => Rest::Long,
            Left::Nothing => Rest::Here,
        }
    }

    /// After an answer that `told` its client what becomes of the connection: waits for the end of a body that somebody still reads. One
    /// that nobody wants is read to its end where the connection is to go on.
    pub(in super::super) fn poll_settled(&mut self, cx: &mut Context<'_>, told: Persistence) -> Poll<Persistence> {
        if self.course == Course::Abandoned && told == Persistence::Keep && self.poll_over(cx).is_pending() {
            return match self.timer.watch(cx, &self.settings.deadlines, Wait::Body, self.read) {
                Verdict::Waiting => Poll::Pending,
                Verdict::Expired => Poll::Ready(Persistence::Close),
            };
        }
        match self.course {
            Course::Coming(wants) => {
                self.mind(cx);
                // Its exchange is over: where the upstream does not take it, nobody else counts the time.
                match (self.timer.watch(cx, &self.settings.deadlines, Wait::Body, self.read), wants) {
                    (Verdict::Waiting, _) => return Poll::Pending,
                    (Verdict::Expired, Wants::More) => self.refuse_body(Refusal::BodyTimeout),
                    (Verdict::Expired, Wants::Nothing) => {}
                }
                Poll::Ready(Persistence::Close)
            }
            Course::Whole => Poll::Ready(told),
            Course::Abandoned | Course::Refused(_) | Course::Cut(_) => Poll::Ready(Persistence::Close),
        }
    }

    /// Reads over a body that nobody wants.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.course == Course::Abandoned {
            // An error ends the course, too.
            let _ = ready!(self.poll_frame(cx));
        }
        Poll::Ready(())
    }

    /// Reads over what has come of a body that nobody wants.
    pub(in super::super) fn drain(&mut self, cx: &mut Context<'_>) -> Persistence {
        let until = self.read + MOST_DRAINED as u64;
        while self.course == Course::Abandoned && self.read < until {
            match self.poll_frame(cx) {
                Poll::Ready(Some(Ok(_)) | None) => {}
                Poll::Ready(Some(Err(_))) | Poll::Pending => break,
            }
        }
        match self.course {
            Course::Whole => Persistence::Keep,
            Course::Coming(_) | Course::Abandoned | Course::Refused(_) | Course::Cut(_) => Persistence::Close,
        }
    }

    /// The next frame of the body in progress.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.course {
                Course::Coming(_) | Course::Abandoned => {}
                Course::Whole => return Poll::Ready(None),
                Course::Refused(refusal) => return Poll::Ready(Some(Err(BodyError::Refused(refusal)))),
                Course::Cut(broken) => return Poll::Ready(Some(Err(BodyError::Http1(broken)))),
            }
            match self.framer.step(self.input.bytes(), &mut self.layout) {
                Ok(Step::Body { len }) => {
                    let data = self.input.take(len);
                    // The end of chunks is known only when it has come.
                    if self.framer.left() == Left::Nothing {
                        self.ended();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Step::Framing { len }) => {
                    self.line.release();
                    self.input.skip(len);
                }
                Ok(Step::Trailers { len }) => {
                    if let Some(trailers) = self.take_trailers(len) {
                        return Poll::Ready(Some(trailers.map(Frame::trailers)));
                    }
                }
                Ok(Step::More | Step::Head { .. } | Step::Held | Step::Opaque) => {
                    if !self.input.is_empty() {
                        // Trailers in part, or the line before a chunk.
                        ready!(self.hold(cx));
                    }
                    if let Left::Length(left) = self.framer.left() {
                        self.input.promise(left);
                    }
                    match ready!(self.poll_fill(cx)) {
                        Ok(0) => self.course = Course::Cut(Broken::Closed),
                        Ok(_) => {}
                        Err(error) => self.course = Course::Cut(Broken::of(&error)),
                    }
                }
                Err(refusal) => {
                    self.refuse(refusal);
                }
            }
        }
    }

    fn take_trailers(&mut self, len: usize) -> Option<Result<HeaderMap, BodyError>> {
        let section = self.input.take(len);
        let trailers = read::trailers(&section, &self.layout);
        self.layout.give_back();
        self.ended();
        match trailers {
            Ok(trailers) if trailers.is_empty() => None,
            Ok(trailers) => Some(Ok(trailers)),
            Err(_uncarriable) => Some(Err(BodyError::Refused(self.refuse(Refusal::BadTarget)))),
        }
    }

    fn ended(&mut self) {
        self.course = Course::Whole;
        self.line.release();
        self.input.release();
    }

    /// Wakes the connection's task, if it is another than the one that runs.
    fn call_task(&self, cx: &Context<'_>) {
        if let Some(task) = &self.task
            && !task.will_wake(cx.waker())
        {
            task.wake_by_ref();
        }
    }
}

/// The body of an HTTP/1 request, read from its connection as it is asked for. Dropped, what is left of it is nobody's.
pub struct Upload {
    wire: Shared,
}

impl Upload {
    pub(super) fn of(wire: &Shared) -> Self {
        Self { wire: Rc::clone(wire) }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut wire = self.wire.borrow_mut();
        let polled = wire.poll_frame(cx);
        match (&polled, wire.course) {
            (Poll::Pending, _) => {
                wire.course = Course::Coming(Wants::More);
                if !wire.reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    wire.reader = Some(cx.waker().clone());
                }
                // The connection's task keeps the time, unless an alarm will call it anyway.
                if wire.is_timed() && !wire.timer.is_armed() {
                    wire.call_task(cx);
                }
            }
            (Poll::Ready(_), Course::Coming(_)) => wire.course = Course::Coming(Wants::Nothing),
            // It is the task that reads from here on.
            (Poll::Ready(_), _) => wire.call_task(cx),
        }
        polled
    }

    /// As [`Incoming::answered`](crate::body::Incoming::answered).
    pub(crate) fn answered(&mut self) {
        let mut wire = self.wire.borrow_mut();
        wire.answered = Answered::Yes;
        // What is left of it when the response is whole has all its time then.
        wire.timer.forget();
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.wire.borrow().course == Course::Whole
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.wire.borrow().framer.left() {
            Left::Nothing => SizeHint::with_exact(0),
            Left::Length(left) => SizeHint::with_exact(left),
            Left::Chunked | Left::UntilClose => SizeHint::default(),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut wire = self.wire.borrow_mut();
        wire.reader = None;
        if let Course::Coming(_) = wire.course {
            wire.course = Course::Abandoned;
            if let Some(task) = &wire.task {
                task.wake_by_ref();
            }
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}
