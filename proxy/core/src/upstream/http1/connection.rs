//! [`Http1Connection`]: a connection to a server that carries one request at a time, and knows its way home.
//!
//! It has one owner at any time: the pool while it rests, the request, then the response's body. Whoever drops it closes
//! it. Nothing runs it: who owns it polls it, and while it rests the pool's sweeper hears of a close.

use crate::{
    body::{BodyError, GivenUp},
    downstream::admit::Distrust,
    framing::{Expected, Layout, Left, Limits, Part, Persistence, Progress, ResponseFramer, Violation},
    http1::{Broken, Outbox, ReadBuffer},
    identity::{Dialling, Failure},
    io::{Look, Socket},
    telemetry::metrics::Active,
    upstream::{
        Bond, Carrying,
        circuit_wait::Opened,
        error::{Carrier, Cause, ConnectError, Delivery, RequestError},
    },
};
use bytes::Bytes;
use std::{
    io,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
};
use tokio::time::Instant;

/// A connection that carries one request at a time.
pub(in crate::upstream) struct Http1Connection {
    pub(super) socket: Socket,
    pub(super) framer: ResponseFramer,
    pub(super) layout: Layout,
    pub(super) input: ReadBuffer,
    pub(super) output: Outbox,
    /// Bytes that the socket took of the request under way, and that came of its response.
    pub(super) sent: u64,
    answered: u64,
    /// Whether it may carry another request, as far as is known.
    pub(super) persistence: Persistence,
    pub(super) carrier: Carrier,
    since: Instant,
    announced: Option<Rc<[u8]>>,
    carrying: Option<Rc<Carrying>>,
    home: Weak<dyn Home>,
    /// Where its server was judged.
    bond: Option<Rc<Bond>>,
    /// Counted as resting while this is here.
    idle: Option<Active>,
    /// Last: its place in the limits is free once the socket is closed.
    opened: Opened,
}

/// Where connections rest.
pub(in crate::upstream) trait Home {
    /// Takes a connection back whose last response is whole.
    fn rest(&self, connection: Box<Http1Connection>);

    /// Hears that the server refused us after the handshake; gives what that comes to.
    fn refused_late(&self, failure: Failure) -> ConnectError;
}

/// Why nothing more can be read of a response.
#[derive(Debug)]
pub(super) enum Lost {
    /// The server ended its side.
    Ended,
    /// The connection failed.
    Failed(io::Error),
    /// The response breaks a rule.
    Violation(Violation),
    /// The server is not believed any more, or we are somebody else.
    Distrusted(Distrust),
}

impl Http1Connection {
    /// A connection that nothing was sent on but what it was `announced` with.
    pub(in crate::upstream) fn new(
        socket: Socket,
        limits: Limits,
        home: Weak<dyn Home>,
        bond: Option<Rc<Bond>>,
        opened: Opened,
        announced: Option<Rc<[u8]>>,
    ) -> Box<Self> {
        Box::new(Self {
            socket,
            framer: ResponseFramer::new(limits),
            layout: Layout::default(),
            input: ReadBuffer::default(),
            output: Outbox::default(),
            sent: 0,
            answered: 0,
            persistence: Persistence::Keep,
            carrier: Carrier::Fresh,
            since: Instant::now(),
            announced,
            carrying: None,
            home,
            bond,
            idle: None,
            opened,
        })
    }

    /// What it is, for filters.
    pub(in crate::upstream) fn carrying(&mut self) -> Rc<Carrying> {
        Rc::clone(self.carrying.get_or_insert_with(|| Carrying::of(&self.socket)))
    }

    /// Whether it can carry another request. A close that the runtime knows of is seen without a system call; `look`
    /// asks the kernel too.
    pub(in crate::upstream) fn is_fit(&self, cx: &mut Context<'_>, look: Look) -> bool {
        self.socket.poll_disturbed(cx, look).is_pending()
    }

    /// Ready when a resting connection is over: its server closed it, or said something that nobody asked for.
    pub(in crate::upstream) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_over(cx)
    }

    /// Whether it began as a request wants it.
    pub(in crate::upstream) fn began_with(&self, announced: Option<&Rc<[u8]>>) -> bool {
        self.announced.as_ref() == announced
    }

    /// By what its server was judged, where it speaks TLS.
    pub(in crate::upstream) fn made_by(&self) -> Option<&Dialling> {
        self.socket.made_by().map(|made_by| &**made_by)
    }

    pub(in crate::upstream) fn resting_since(&self) -> Instant {
        self.since
    }

    /// Rests from now on, or no longer.
    pub(in crate::upstream) fn set_idle(&mut self, gauge: Option<Active>) {
        self.idle = gauge;
    }

    /// Announces a request: from here on its response is awaited.
    pub(super) fn expect(&mut self, request: Expected) {
        self.framer.expect(request);
        (self.sent, self.answered) = (0, 0);
        self.layout = Layout::lent();
    }

    /// What its loss before an answer comes to: the handshake's failure, where the server refused us after it.
    #[cold]
    pub(super) fn loss(&mut self, cause: RequestError) -> Cause {
        let lost = matches!(cause, RequestError::Closed | RequestError::ConnectionReset | RequestError::TlsFailed);
        let refused = || Some((self.home.upgrade()?, self.socket.late_refusal()?));
        match lost.then(refused).flatten() {
            Some((home, failure)) => Cause::Connect(home.refused_late(failure)),
            None => cause.into(),
        }
    }

    /// What the server can have seen of the request.
    pub(super) fn delivery(&self) -> Delivery {
        match (self.sent, self.answered) {
            (0, _) => Delivery::Unsent,
            (_, 0) => Delivery::Unanswered,
            _ => Delivery::Answered,
        }
    }

    /// Reads before a byte of the request is sent. What came until then answers something else.
    pub(super) fn poll_before(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        self.look(cx)?;
        match self.input.poll_fill(&mut self.socket, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(0)) => Err(Lost::Ended),
            Poll::Ready(Ok(_)) => {
                self.framer.refuse(Violation::Early);
                Err(Lost::Violation(Violation::Early))
            }
            Poll::Ready(Err(error)) => Err(Lost::Failed(error)),
        }
    }

    /// Whether it may go on still; whoever polls is woken when it may not.
    #[inline]
    pub(super) fn look(&self, cx: &Context<'_>) -> Result<(), Lost> {
        let Some(bond) = &self.bond else { return Ok(()) };
        match bond.poll_broken(cx, || self.socket.peer_certificates().unwrap_or_default()) {
            Poll::Ready(why) => Err(Lost::Distrusted(why)),
            Poll::Pending => Ok(()),
        }
    }

    /// The next part of the response, once it has come. Cancel-safe.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, Lost>> {
        self.look(cx)?;
        loop {
            match self.framer.step(self.input.bytes(), &mut self.layout) {
                Ok(Part::More) => {}
                Ok(part) => return Poll::Ready(Ok(part)),
                Err(violation) => return Poll::Ready(Err(Lost::Violation(violation))),
            }
            if let Left::Length(left) = self.framer.left() {
                self.input.promise(left);
            }
            match ready!(self.input.poll_fill(&mut self.socket, cx)) {
                Ok(0) => return Poll::Ready(Err(Lost::Ended)),
                Ok(len) => self.answered += len as u64,
                Err(error) => return Poll::Ready(Err(Lost::Failed(error))),
            }
        }
    }

    /// Back to the pool, if it is fit to serve again; otherwise it is closed.
    pub(super) fn go_home(mut self: Box<Self>) {
        self.layout.give_back();
        let whole = self.framer.progress() == Progress::Idle && self.input.is_empty() && self.output.is_empty();
        if !whole || self.persistence == Persistence::Close {
            return;
        }
        if let Some(home) = self.home.upgrade() {
            self.input.release();
            self.since = Instant::now();
            self.carrier = Carrier::Reused;
            home.rest(self);
        }
    }

    /// The byte stream that it has become, what came of it already, and its place in the limits.
    pub(super) fn into_stream(mut self) -> (Socket, Bytes, Opened) {
        (self.socket, self.input.take_all(), self.opened)
    }
}

impl Lost {
    /// What it means before the response's head was whole.
    pub(super) fn cause(&self) -> RequestError {
        match self {
            Self::Ended => RequestError::Closed,
            // What cannot be read is TLS's: HTTP's own faults are violations.
            Self::Failed(error) if error.kind() == io::ErrorKind::InvalidData => RequestError::TlsFailed,
            Self::Failed(error) => match Broken::of(error) {
                Broken::Reset => RequestError::ConnectionReset,
                Broken::Closed | Broken::Violation(_) | Broken::Request => RequestError::Closed,
            },
            Self::Violation(violation) => RequestError::Violation(*violation),
            Self::Distrusted(why) => RequestError::Distrusted(*why),
        }
    }

    /// What it means within the response's body.
    pub(super) fn within_body(&self) -> BodyError {
        BodyError::Http1(match self {
            Self::Ended => Broken::Closed,
            Self::Failed(error) => Broken::of(error),
            Self::Violation(violation) => Broken::Violation(*violation),
            Self::Distrusted(why) => return GivenUp::Distrusted(*why).into(),
        })
    }
}
