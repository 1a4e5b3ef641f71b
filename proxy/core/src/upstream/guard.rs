//! The guard over responses: the codec towards an upstream sees only what is well-formed and asked for.
//!
//! Stands between the (encrypted) stream and `hyper::client::conn::http1`, and holds responses to the rules that
//! requests are held to: a response that two readers could end at different places would put its tail in front of another
//! client's request. Owns no deadline (those are the exchange's) and never writes a byte of its own.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::framing::{Expected, Layout, Limits, Part, Progress, ResponseFramer, Violation, Withheld};

/// The error of a read that met a breach of framing. The connection is of no use after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResponseViolation(pub Violation);

impl ResponseViolation {
    /// Looks for one behind `error`, along [`source`](Error::source) and within [`io::Error`]s.
    #[must_use]
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(*found);
            }
            // An io::Error's source is that of the error within it, which this would step over.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(within) => Some(within),
                None => error.source(),
            };
        }
        None
    }
}

/// Whether a request asks the upstream to change protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeAsked {
    /// It does not: 101 is a violation.
    No,
    /// It carries `Connection: upgrade`.
    Yes,
}

/// The sender's end of a guarded connection. Clones are the same connection.
#[derive(Clone)]
pub struct ResponseHandle {
    shared: Rc<Shared>,
}

struct Shared {
    framer: RefCell<ResponseFramer>,
    /// Bytes read, and written, since the last request was announced.
    answered: Cell<u64>,
    sent: Cell<u64>,
    read: Cell<u64>,
    written: Cell<u64>,
}

impl ResponseHandle {
    /// Announces a request. Call it directly before handing the request to the codec, once each, and only when the
    /// response before has ended.
    pub fn expect_response(&self, method: &Method, upgrade: UpgradeAsked) {
        let expected = match (method, upgrade) {
            (&Method::CONNECT, _) => Expected::Connect,
            // That it has no body weighs more than what it asks for.
            (&Method::HEAD, _) => Expected::Head,
            (_, UpgradeAsked::Yes) => Expected::Upgrade,
            (_, UpgradeAsked::No) => Expected::Plain,
        };
        self.shared.framer.borrow_mut().expect(expected);
        self.shared.answered.set(0);
        self.shared.sent.set(0);
    }

    /// Bytes that the socket took of the request announced last. 0: it is provably unsent.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.get()
    }

    /// Bytes that came of its response, incomplete heads included.
    #[must_use]
    pub fn bytes_answered(&self) -> u64 {
        self.shared.answered.get()
    }

    /// The violation met on this connection, if any: there is at most one.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        match self.shared.framer.borrow().progress() {
            Progress::Refused(violation) => Some(violation),
            Progress::Idle | Progress::InHead | Progress::InBody | Progress::Opaque => None,
        }
    }

    /// Whether the last response has ended, so that the connection may carry another request.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.framer.borrow().progress() == Progress::Idle
    }

    /// Bytes read from the upstream over the connection's life.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.shared.read.get()
    }

    /// Bytes the upstream's socket took over the connection's life.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.shared.written.get()
    }
}

impl fmt::Debug for ResponseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHandle").field("progress", &self.shared.framer.borrow().progress()).finish()
    }
}

/// A stream of responses that the codec can trust. Wrap it in `hyper_util::rt::TokioIo`.
///
/// Cancel-safe like the stream within: bytes taken from it are either in the caller's buffer or kept.
#[derive(Debug)]
pub struct GuardedUpstream<S> {
    io: S,
    handle: ResponseHandle,
    withheld: Withheld,
}

impl<S: AsyncRead + AsyncWrite + Unpin> GuardedUpstream<S> {
    /// Guards a fresh connection.
    pub fn new(io: S, limits: Limits) -> (Self, ResponseHandle) {
        let shared = Rc::new(Shared {
            framer: RefCell::new(ResponseFramer::new(limits)),
            answered: Cell::new(0),
            sent: Cell::new(0),
            read: Cell::new(0),
            written: Cell::new(0),
        });
        let handle = ResponseHandle { shared };
        (Self { io, handle: handle.clone(), withheld: Withheld::default() }, handle)
    }

    /// The stream within. What the guard still withholds is lost: only for looking at the socket.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Judges the bytes just read, `buf.filled()[before..]`, leaves what is good and keeps the rest.
    fn admit(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let shared = &self.handle.shared;
        let fresh = &buf.filled()[before..];
        let mut framer = shared.framer.borrow_mut();
        add(&shared.read, fresh.len());
        add(&shared.answered, fresh.len());
        if shared.sent.get() == 0 && framer.progress() == Progress::InHead {
            framer.refuse(Violation::Early);
        }
        if self.withheld.is_empty() {
            let good = judge(&mut framer, fresh);
            if good < fresh.len() && !matches!(framer.progress(), Progress::Refused(_)) {
                self.withheld.keep(&fresh[good..]);
            }
            buf.set_filled(before + good);
        } else {
            self.withheld.keep(fresh);
            buf.set_filled(before);
            let good = judge(&mut framer, self.withheld.unjudged());
            self.withheld.approve(good);
            if matches!(framer.progress(), Progress::Refused(_)) {
                self.withheld.drop_unjudged();
            }
        }
    }

    fn sent(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(len)) = outcome {
            add(&self.handle.shared.sent, len);
            add(&self.handle.shared.written, len);
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedUpstream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let start = buf.filled().len();
        loop {
            if this.withheld.has_good() {
                this.withheld.give(buf);
                return Poll::Ready(Ok(()));
            }
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
            if let Some(violation) = this.handle.violation() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, ResponseViolation(violation))));
            }
            match Pin::new(&mut this.io).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() > start => this.admit(buf, start),
                // End of file in an incomplete head: the codec sees a connection closed before its answer.
                other => return other,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedUpstream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.sent(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.sent(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Steps over `bytes`: how many of them are good. A violation stays with the framer.
#[inline]
fn judge(framer: &mut ResponseFramer, bytes: &[u8]) -> usize {
    let (mut good, mut layout) = (0, Layout::default());
    loop {
        match framer.step(&bytes[good..], &mut layout) {
            Ok(Part::Head { len, .. } | Part::Body { len } | Part::Framing { len } | Part::Trailers { len }) => {
                good += len
            }
            Ok(Part::Opaque) => return bytes.len(),
            Ok(Part::More) | Err(_) => return good,
        }
    }
}

fn add(counter: &Cell<u64>, len: usize) {
    counter.set(counter.get() + len as u64);
}

#[cfg(test)]
mod tests;
