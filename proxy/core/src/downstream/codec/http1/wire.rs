//! [`Wire`]: a connection's socket, what was read from it and not used up, and where its stream of requests stands.
//!
//! The connection's task and the body of the request in progress share it, since either may be the one who reads: the
//! body while somebody wants it, the task before and after. It judges by `framing`, times by the connection's one
//! timer, and never answers.

mod body;

pub(super) use body::Rest;
pub use body::Upload;

use super::{
    Leaving, Settings,
    timer::{Timer, Verdict, Wait},
};
use crate::{
    body::Incoming,
    downstream::unfinished::Room,
    drain::Control,
    framing::{Asks, Layout, Left, Persistence, Refusal, RequestFramer, Standing, Step},
    http1::{Broken, Outbox, ReadBuffer, read},
    io::{Settling, Socket},
};
use bytes::Bytes;
use http::{Method, Request, Version};
use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};
use tokio::io::AsyncWrite;

/// A connection's socket and the state of its stream.
pub(super) struct Wire {
    /// `None`: the connection has ended, or is a tunnel's.
    socket: Option<Socket>,
    settings: Rc<Settings>,
    line: Rc<Control>,
    framer: RequestFramer,
    layout: Layout,
    input: ReadBuffer,
    timer: Timer,
    read: u64,
    written: u64,
    course: Course,
    answered: Answered,
    /// Until the first head is there the connection has the time of a head, whatever has come of it.
    first: First,
    /// Who waits for the body's next bytes.
    reader: Option<Waker>,
    /// The connection's task, while a body may be read in another.
    task: Option<Waker>,
    /// What the connection was refused for.
    refusal: Option<Refusal>,
}

/// How the body of the request in progress stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// There is none, or all of it was taken.
    Whole,
    /// It is coming, and is read by whoever has its [`Upload`].
    Coming(Wants),
    /// Nobody wants what is left of it.
    Abandoned,
    /// It was refused.
    Refused(Refusal),
    /// The connection ended within it.
    Cut(Broken),
}

/// Whether a body's next bytes are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Nothing,
    More,
}

/// Whether a response to the request in progress has begun. Its client may be listening then, and is not slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    No,
    Yes,
}

/// Whether the connection's first head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Awaited,
    Here,
}

/// What comes next on a connection.
pub(super) enum Next {
    /// A request, whose head is at hand.
    Head(Begun),
    /// What cannot be a request.
    Refused(Refusal),
    /// Nothing.
    End,
}

/// A head that is at hand and good.
pub(super) struct Begun {
    len: usize,
    pub(super) asks: Asks,
}

/// What the head of a request means for its answer.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) persistence: Persistence,
    pub(super) trailers: Trailers,
    pub(super) awaits: Awaits,
}

/// What a client waits for before it sends its body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    Nothing,
    /// To be told to go on. Where an answer comes first, nobody can tell whether the body comes all the same.
    Continue,
}

/// Whether a client takes trailers (`TE: trailers`, RFC 9110 §6.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailers {
    Welcome,
    Unwelcome,
}

/// Why nothing more can be said to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It closed the connection, or the connection failed.
    Left,
    /// It took nothing for too long.
    Stalled,
    /// The worker says so.
    Aborted,
}

/// A [`Wire`] that two share.
pub(super) type Shared = Rc<RefCell<Wire>>;

impl Wire {
    /// Of `socket`, from which detection has read `prefix`.
    pub(super) fn shared(socket: Socket, prefix: Bytes, settings: Rc<Settings>, line: Rc<Control>) -> Shared {
        Rc::new(RefCell::new(Self {
            socket: Some(socket),
            framer: RequestFramer::new(settings.limits),
            settings,
            line,
            layout: Layout::default(),
            read: prefix.len() as u64,
            input: ReadBuffer::starting_with(prefix),
            timer: Timer::default(),
            written: 0,
            course: Course::Whole,
            answered: Answered::No,
            first: First::Awaited,
            reader: None,
            task: None,
            refusal: None,
        }))
    }

    /// Whether something of the next head is here.
    pub(super) fn has_begun(&self) -> bool {
        !self.input.is_empty() || self.framer.standing() == Standing::InHead
    }

    /// Waits for the next head; on a connection that is leaving, only for one that has begun.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>, leaving: Leaving) -> Poll<Next> {
        loop {
            if !self.input.is_empty() {
                if self.framer.standing() == Standing::Between {
                    self.layout = Layout::lent();
                }
                match self.framer.step(self.input.bytes(), &mut self.layout) {
                    Ok(Step::Head { len, asks }) => {
                        self.timer.head_ended();
                        self.first = First::Here;
                        self.line.release();
                        return Poll::Ready(Next::Head(Begun { len, asks }));
                    }
                    Ok(Step::More) => ready!(self.hold(cx)),
                    Ok(
                        Step::Body { .. } | Step::Framing { .. } | Step::Trailers { .. } | Step::Held | Step::Opaque,
                    ) => {
                        return Poll::Ready(Next::End);
                    }
                    Err(refusal) => return Poll::Ready(Next::Refused(self.refuse(refusal))),
                }
            }
            match self.poll_fill(cx) {
                // A head that stops here is nobody's request any more.
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.wait_for_head(cx, leaving),
            }
        }
    }

    /// Notes what has come of a head or of trailers; pending while it may not grow.
    #[cold]
    fn hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.line.hold(self.input.held()) {
            Room::Left => Poll::Ready(()),
            Room::None => {
                // Behind those who must make room: they were woken before.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Refuses what its client has not finished, and gives its memory back.
    pub(super) fn shed(&mut self) -> Refusal {
        self.refuse_body(Refusal::ShortMemory);
        self.input = ReadBuffer::default();
        Refusal::ShortMemory
    }

    fn wait_for_head(&mut self, cx: &mut Context<'_>, leaving: Leaving) -> Poll<Next> {
        let deadlines = &self.settings.deadlines;
        if self.framer.standing() == Standing::InHead {
            return match self.timer.head(cx, deadlines) {
                Verdict::Waiting => Poll::Pending,
                Verdict::Expired => Poll::Ready(Next::Refused(self.refuse(Refusal::HeadTimeout))),
            };
        }
        if leaving == Leaving::Yes {
            return Poll::Ready(Next::End);
        }
        let verdict = match self.first {
            // An empty line ahead of it is no request to be idle after.
            First::Awaited => self.timer.head(cx, deadlines),
            First::Here => self.timer.watch(cx, deadlines, Wait::Idle, self.read),
        };
        match verdict {
            Verdict::Waiting => Poll::Pending,
            Verdict::Expired => Poll::Ready(Next::End),
        }
    }

    /// Takes a head that [`Wire::poll_head`] has found.
    ///
    /// # Errors
    ///
    /// A refusal where the request's types cannot carry it.
    pub(super) fn take_head(this: &Shared, begun: &Begun) -> Result<(Request<Incoming>, Asked), Refusal> {
        let mut wire = this.borrow_mut();
        let wire = &mut *wire;
        let head = wire.input.take(begun.len);
        wire.input.release();
        let parts = match read::request(&head, &wire.layout) {
            Ok(parts) => parts,
            Err(_uncarriable) => return Err(wire.refuse(Refusal::BadTarget)),
        };
        let asked = Asked {
            method: parts.method.clone(),
            version: parts.version,
            persistence: wire.layout.persistence(),
            trailers: trailers(&head, &wire.layout),
            awaits: if wire.layout.expects_continue() { Awaits::Continue } else { Awaits::Nothing },
        };
        wire.layout.give_back();
        let body = match wire.framer.left() {
            Left::Nothing => Incoming::Empty,
            Left::Length(_) | Left::Chunked | Left::UntilClose => {
                wire.course = Course::Coming(Wants::Nothing);
                wire.answered = Answered::No;
                Incoming::Http1(Upload::of(this))
            }
        };
        Ok((Request::from_parts(parts, body), asked))
    }

    /// Watches the client while its request is answered. Ready when it has left.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        match self.course {
            Course::Coming(wants) => {
                self.mind(cx);
                match wants {
                    Wants::More => {
                        self.watch_body(cx);
                        Poll::Pending
                    }
                    Wants::Nothing => self.poll_left(cx),
                }
            }
            // What comes is for later, and no more than one read of it.
            Course::Whole | Course::Abandoned if self.input.is_empty() => match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => Poll::Ready(Gone::Left),
                Ok(_) => self.poll_left(cx),
            },
            Course::Whole | Course::Abandoned => self.poll_left(cx),
            Course::Refused(_) | Course::Cut(_) => Poll::Pending,
        }
    }

    /// Watches a client that nobody reads from, whose end is behind what it sent.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let left = self.timer.looks(cx) && self.socket.as_ref().is_some_and(Socket::has_left);
        if left { Poll::Ready(Gone::Left) } else { Poll::Pending }
    }

    /// Notes the connection's task, to be woken when a body's reader is done or waits.
    fn mind(&mut self, cx: &Context<'_>) {
        if !self.task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
    }

    /// Whether the client has a time to send more of its body in.
    fn is_timed(&self) -> bool {
        self.answered == Answered::No && self.settings.deadlines.body.is_some()
    }

    fn watch_body(&mut self, cx: &mut Context<'_>) {
        if self.is_timed() && self.timer.watch(cx, &self.settings.deadlines, Wait::Body, self.read) == Verdict::Expired
        {
            self.refuse_body(Refusal::BodyTimeout);
        }
    }

    fn refuse_body(&mut self, refusal: Refusal) {
        self.refuse(refusal);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Writes what there is to write.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<Result<(), Gone>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Err(Gone::Left)) };
        let written = &mut self.written;
        let flushed = match out.poll_flush(socket, cx, |len| *written += len as u64) {
            Poll::Ready(Ok(())) => Pin::new(socket).poll_flush(cx),
            other => other,
        };
        match flushed {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| Gone::Left)),
            Poll::Pending => match self.timer.watch(cx, &self.settings.deadlines, Wait::Write, self.written) {
                Verdict::Waiting => Poll::Pending,
                Verdict::Expired => Poll::Ready(Err(Gone::Stalled)),
            },
        }
    }

    /// Waits until the client's kernel has what was written.
    pub(super) fn poll_acknowledged(
        &mut self,
        cx: &mut Context<'_>,
        settling: &mut Settling,
    ) -> Poll<Result<(), Gone>> {
        let Some(socket) = &self.socket else { return Poll::Ready(Err(Gone::Left)) };
        if settling.poll(cx, || socket.outgoing()).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let progress = self.written + settling.arrived();
        match self.timer.watch(cx, &self.settings.deadlines, Wait::Write, progress) {
            Verdict::Waiting => Poll::Pending,
            Verdict::Expired => Poll::Ready(Err(Gone::Stalled)),
        }
    }

    /// An upgrade was not granted: what follows is the next request.
    pub(super) fn decline_upgrade(&mut self) {
        self.framer.decline_upgrade();
    }

    /// How the body of the request in progress stands.
    pub(super) fn course(&self) -> Course {
        self.course
    }

    /// What the connection was refused for, if it was; or would be for what is at hand behind its last request.
    pub(super) fn refusal(&mut self) -> Option<Refusal> {
        if self.framer.standing() == Standing::Between
            && let Err(refusal) = self.framer.step(self.input.bytes(), &mut self.layout)
        {
            self.refuse(refusal);
        }
        self.refusal
    }

    /// Whether the client may still be sending: closing on unread input makes its kernel throw our answer away.
    pub(super) fn must_linger(&self) -> bool {
        match self.framer.standing() {
            Standing::InBody | Standing::Refused(_) => true,
            Standing::Between | Standing::InHead | Standing::Held | Standing::Opaque => !self.input.is_empty(),
        }
    }

    /// Says whether what is sent next is brief. Where more requests are here already, what follows might have to wait.
    pub(super) fn send_briefly(&mut self, brief: bool) {
        let brief = brief && self.input.is_empty();
        if let Some(socket) = &mut self.socket {
            socket.send_briefly(brief);
        }
    }

    /// The client is to see its connection break, not end.
    pub(super) fn reset_at_close(&self) {
        if let Some(socket) = &self.socket {
            socket.reset_at_close();
        }
    }

    /// The socket, and what was read from it and not used up. Whoever reads a body is told that it is cut.
    pub(super) fn hand_over(&mut self) -> Option<(Socket, Bytes)> {
        if let Course::Coming(_) | Course::Abandoned = self.course {
            self.course = Course::Cut(Broken::Closed);
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        self.task = None;
        self.line.release();
        let early = self.input.take_all();
        self.socket.take().map(|socket| (socket, early))
    }

    fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.framer.refuse(refusal);
        self.line.release();
        self.timer.head_ended();
        self.layout.give_back();
        if let Course::Coming(_) | Course::Abandoned = self.course {
            self.course = Course::Refused(refusal);
        }
        self.refusal = Some(refusal);
        refusal
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(0)) };
        let len = ready!(self.input.poll_fill(socket, cx))?;
        self.read += len as u64;
        Poll::Ready(Ok(len))
    }
}

/// Whether a request says that it takes trailers.
fn trailers(head: &Bytes, layout: &Layout) -> Trailers {
    let mut te = layout.fields().iter().filter(|field| field.name().len() == 2);
    let welcome = te.any(|field| {
        head[field.name()].eq_ignore_ascii_case(b"te")
            && head[field.value()]
                .split(|&byte| byte == b',')
                .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    if welcome { Trailers::Welcome } else { Trailers::Unwelcome }
}
