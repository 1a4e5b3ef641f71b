//! The HTTP/1 guard: a socket that yields only what is well-formed.
//!
//! Stands between the accepted (and decrypted) stream and the codec. New bytes are read straight into the codec's
//! buffer and judged there; only an incomplete head is moved aside until the rest has come. Never answers by itself.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Refused;
use super::handle::{Ending, GuardHandle, Order, Shared, Upgrade};
use super::timer::{Deadlines, Timer, Verdict, Wait};
use crate::framing::{Layout, Limits, Refusal, RequestFramer, Standing, Step, Withheld};

/// What the codec is given in the place of a refused head. The service meets it as [`Begin::Refuse`](super::Begin).
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// Bytes held back behind an upgrade request before reading stops: a client's first flight, not its data.
const MAX_HELD: usize = 64 * 1024;
/// Bytes drained after the answer to a refusal, so that closing does not reset it away.
const MAX_LINGER: usize = 256 * 1024;

/// A stream of requests that the codec can trust. Wrap it in `hyper_util::rt::TokioIo`.
///
/// It stays on its worker (`!Send`), so hyper's own upgrades do not apply: await the connection by reference, and if
/// [`GuardHandle::upgraded`] then, take it apart and tunnel. (Not `poll_without_shutdown`: it may leave the last of an
/// answer unflushed.)
///
/// Cancel-safe like the stream within: bytes taken from it are either in the caller's buffer or kept.
#[derive(Debug)]
pub struct GuardedSocket<S> {
    io: S,
    shared: SharedRef,
    framer: RequestFramer,
    timer: Timer,
    linger: std::time::Duration,
    /// Read before the guard was there, and not yet looked at.
    initial: Bytes,
    withheld: Withheld,
    /// Whether the last write found no room: an answer is still on its way, though its ticket may be gone.
    writing: bool,
    end: End,
    closing: Closing,
}

/// Whether and how input has ended, as the codec sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// A stand-in has been given or is about to be; nothing comes after it.
    StoodIn,
    /// Reads fail.
    Failed(Refusal),
    /// Reads give end of file.
    Eof,
}

#[derive(Clone, Copy, Debug)]
enum Closing {
    No,
    Lingering { drained: usize },
    Done,
}

/// `Rc` of cells without a useful `Debug` of its own.
struct SharedRef(Rc<Shared>);

impl std::fmt::Debug for SharedRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> GuardedSocket<S> {
    /// Guards `io`, of which protocol detection has read `initial` already.
    pub fn new(io: S, initial: Bytes, limits: Limits, deadlines: Deadlines) -> (Self, GuardHandle) {
        let (handle, shared) = GuardHandle::new();
        let socket = Self {
            io,
            shared: SharedRef(shared),
            framer: RequestFramer::new(limits),
            timer: Timer::new(deadlines),
            linger: deadlines.linger,
            initial,
            withheld: Withheld::default(),
            writing: false,
            end: End::Open,
            closing: Closing::No,
        };
        (socket, handle)
    }

    /// The stream within. What the guard still withholds is lost: only for looking at the socket.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    fn fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.initial.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let len = buf.remaining().min(self.initial.len());
        buf.put_slice(&self.initial[..len]);
        self.initial.advance(len);
        if self.initial.is_empty() {
            self.initial = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Judges the bytes just read, `buf.filled()[before..]`, leaves what is good and keeps the rest.
    #[inline]
    fn admit(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let fresh = &buf.filled()[before..];
        if self.withheld.is_empty() {
            let (good, judged) = judge(&mut self.framer, &self.shared.0, fresh);
            if good == fresh.len() && judged.is_ok() {
                return;
            }
            if judged.is_ok() {
                self.withheld.keep(&fresh[good..]);
            }
            buf.set_filled(before + good);
            self.settle(judged);
        } else {
            self.withheld.keep(fresh);
            buf.set_filled(before);
            self.judge_withheld();
        }
    }

    fn judge_withheld(&mut self) {
        let (good, judged) = judge(&mut self.framer, &self.shared.0, self.withheld.unjudged());
        self.withheld.approve(good);
        if good > 0 {
            // Whatever head comes next has its own time.
            self.timer.clear_due();
        }
        self.settle(judged);
    }

    fn settle(&mut self, judged: Result<(), Halt>) {
        match judged {
            Ok(()) => {}
            Err(Halt::Head(refusal)) => self.refuse_head(refusal),
            Err(Halt::Body(refusal)) => self.refuse_body(refusal),
        }
    }

    fn refuse_head(&mut self, refusal: Refusal) {
        self.framer.refuse(refusal);
        self.withheld.drop_unjudged();
        self.withheld.keep(STAND_IN);
        self.withheld.approve(STAND_IN.len());
        self.shared.0.head_refused(refusal);
        self.timer.clear_due();
        self.end = End::StoodIn;
    }

    fn refuse_body(&mut self, refusal: Refusal) {
        self.framer.refuse(refusal);
        self.withheld.drop_unjudged();
        self.shared.0.body_refused(refusal);
        self.timer.clear_due();
        self.end = End::Failed(refusal);
    }

    fn finish(&mut self, ending: Ending) -> Poll<io::Result<()>> {
        self.shared.0.end(ending);
        self.end = End::Eof;
        Poll::Ready(Ok(()))
    }

    /// Nothing to read: whose turn is it, and for how long? `None`: look again, there is something to give.
    fn wait(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<()>>> {
        let idle = self.shared.0.outstanding() == 0 && !self.writing;
        let progress = self.shared.0.read.get() + self.shared.0.written.get();
        let verdict = match self.framer.standing() {
            Standing::Between if idle && self.shared.0.order() == Order::CloseWhenIdle => {
                return Some(self.finish(Ending::Closed));
            }
            Standing::Between if idle => self.timer.watch(cx, Wait::Idle, progress),
            Standing::InHead => self.timer.until_head(cx),
            Standing::InBody => self.timer.watch(cx, Wait::Body, self.shared.0.read.get()),
            Standing::Between | Standing::Held | Standing::Opaque | Standing::Refused(_) => Verdict::Waiting,
        };
        if verdict == Verdict::Waiting {
            self.shared.0.parked(cx, self.timer.is_armed());
            return Some(Poll::Pending);
        }
        match self.framer.standing() {
            Standing::InHead => self.refuse_head(Refusal::HeadTimeout),
            Standing::InBody => self.refuse_body(Refusal::BodyTimeout),
            Standing::Between | Standing::Held | Standing::Opaque | Standing::Refused(_) => {
                return Some(self.finish(Ending::Idle));
            }
        }
        None
    }

    /// Takes the answer to a held upgrade; what was held is judged again.
    fn take_answer(&mut self) {
        match self.shared.0.take_upgrade() {
            Some(Upgrade::Accepted) => self.framer.accept_upgrade(),
            Some(Upgrade::Declined) => self.framer.decline_upgrade(),
            Some(Upgrade::None | Upgrade::Asked(_)) | None => return,
        }
        self.judge_withheld();
    }

    fn aborted(&self) -> io::Error {
        self.shared.0.end(Ending::Aborted);
        io::ErrorKind::ConnectionAborted.into()
    }

    /// Counts a write's progress, or times the lack of it.
    fn wrote(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let was_writing = std::mem::replace(&mut self.writing, outcome.is_pending());
        if was_writing && !self.writing && self.shared.0.order() != Order::Serve {
            // The read side waits for this to close.
            cx.waker().wake_by_ref();
        }
        match outcome {
            Poll::Ready(Ok(len)) => {
                let written = &self.shared.0.written;
                written.set(written.get() + len as u64);
                Poll::Ready(Ok(len))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // A tunnel has deadlines of its own.
            Poll::Pending if self.framer.standing() == Standing::Opaque => Poll::Pending,
            Poll::Pending => match self.timer.watch(cx, Wait::Write, self.shared.0.written.get()) {
                Verdict::Waiting => Poll::Pending,
                Verdict::Expired => {
                    self.shared.0.end(Ending::WriteStalled);
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
            },
        }
    }

    /// Whether the client may still be sending: closing on unread input makes its kernel throw our answer away.
    fn must_linger(&self) -> bool {
        match self.framer.standing() {
            Standing::InBody | Standing::Refused(_) => true,
            Standing::Between | Standing::InHead | Standing::Held | Standing::Opaque => false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.shared.0.order() == Order::Abort {
            return Poll::Ready(Err(this.aborted()));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let start = buf.filled().len();
        loop {
            if this.framer.standing() == Standing::Held {
                this.take_answer();
            }
            if this.withheld.has_good() {
                this.withheld.give(buf);
                return Poll::Ready(Ok(()));
            }
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
            match this.end {
                End::Open => {}
                // End of file here would tell the codec that the client is gone, and cancel what it is answering.
                End::StoodIn => {
                    this.shared.0.parked(cx, true);
                    return Poll::Pending;
                }
                End::Failed(refusal) => return Poll::Ready(Err(refused(refusal))),
                End::Eof => return Poll::Ready(Ok(())),
            }
            if this.framer.standing() == Standing::Held && this.withheld.unjudged().len() >= MAX_HELD {
                this.shared.0.parked(cx, true);
                return Poll::Pending;
            }
            match this.fill(cx, buf) {
                Poll::Pending => {
                    if let Some(poll) = this.wait(cx) {
                        return poll;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if buf.filled().len() == start => {
                    // A head that stops here is nobody's request any more.
                    this.end = End::Eof;
                }
                Poll::Ready(Ok(())) => {
                    let read = &this.shared.0.read;
                    read.set(read.get() + (buf.filled().len() - start) as u64);
                    this.admit(buf, start);
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.shared.0.order() == Order::Abort {
            return Poll::Ready(Err(self.aborted()));
        }
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.shared.0.order() == Order::Abort {
            return Poll::Ready(Err(self.aborted()));
        }
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.0.order() == Order::Abort {
            return Poll::Ready(Err(self.aborted()));
        }
        let outcome = Pin::new(&mut self.io).poll_flush(cx).map_ok(|()| 0);
        self.wrote(cx, outcome).map_ok(|_| ())
    }

    /// Shuts down, then drains input for a bounded time and size if the client may not have read its answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.shared.0.order() == Order::Abort {
            return Poll::Ready(Err(this.aborted()));
        }
        loop {
            match this.closing {
                Closing::No => {
                    let outcome = Pin::new(&mut this.io).poll_shutdown(cx).map_ok(|()| 0);
                    ready!(this.wrote(cx, outcome))?;
                    this.timer.clear_due();
                    this.closing = if this.must_linger() { Closing::Lingering { drained: 0 } } else { Closing::Done };
                }
                Closing::Lingering { drained } => {
                    let mut scratch = [0u8; 2048];
                    let mut buf = ReadBuf::new(&mut scratch);
                    let drained = match Pin::new(&mut this.io).poll_read(cx, &mut buf) {
                        Poll::Ready(Ok(())) if !buf.filled().is_empty() => drained + buf.filled().len(),
                        // Gone, or in error: there is nobody left to wait for.
                        Poll::Ready(_) => MAX_LINGER,
                        Poll::Pending => match this.timer.until(cx, this.linger) {
                            Verdict::Waiting => return Poll::Pending,
                            Verdict::Expired => MAX_LINGER,
                        },
                    };
                    this.closing = if drained < MAX_LINGER { Closing::Lingering { drained } } else { Closing::Done };
                }
                Closing::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Where a refusal was met: in a head it gets a stand-in, in a body it fails the read.
enum Halt {
    Head(Refusal),
    Body(Refusal),
}

/// Steps over `bytes`: how many of them are good, and what stopped it.
#[inline]
fn judge(framer: &mut RequestFramer, shared: &Shared, bytes: &[u8]) -> (usize, Result<(), Halt>) {
    let (mut good, mut layout) = (0, Layout::lent());
    loop {
        let in_body = framer.standing() == Standing::InBody;
        match framer.step(&bytes[good..], &mut layout) {
            Ok(Step::Head { len, asks }) => {
                shared.head_released(asks);
                good += len;
            }
            Ok(Step::Body { len } | Step::Framing { len } | Step::Trailers { len }) => good += len,
            Ok(Step::Opaque) => return (bytes.len(), Ok(())),
            Ok(Step::More | Step::Held) => return (good, Ok(())),
            Err(refusal) if in_body => return (good, Err(Halt::Body(refusal))),
            Err(refusal) => return (good, Err(Halt::Head(refusal))),
        }
    }
}

#[cold]
fn refused(refusal: Refusal) -> io::Error {
    let kind = if refusal == Refusal::BodyTimeout { io::ErrorKind::TimedOut } else { io::ErrorKind::InvalidData };
    io::Error::new(kind, Refused(refusal))
}
