//! [`TlsStream`]: a socket whose bytes are TLS records, with no buffer while it rests.
//!
//! rustls' unbuffered interface, driven over a [`Socket`]. Records are read into and written from one buffer for each
//! thread, made with its first TLS connection; a connection holds bytes of its own only while a record is half read, while
//! the socket takes no more, or while its reader had no room. At rest it holds the session's keys and nothing else.
//!
//! Unlike a plain socket it may hold bytes that were written and have not left: flush it, as of any [`AsyncWrite`]. It
//! also flushes when it is read.

mod handshake;
mod session;

pub use handshake::{Told, Turns, handshake};
pub use session::Session;

use super::{Look, Outgoing, Socket};
use crate::identity::{Dialling, Failure};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use session::Step;
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A TLS connection.
#[derive(Debug)]
pub struct TlsStream {
    io: Socket,
    session: Session,
    /// Bytes that came and are not decrypted: a part of a record, or what the reader had no room for.
    incoming: Vec<u8>,
    /// Decrypted bytes that the reader had no room for.
    plain: Plain,
    /// Records on their way out, and how much of them has left.
    outgoing: Vec<u8>,
    left: usize,
    input: Input,
    output: Output,
    /// Why the session is over, if it failed: it must not be asked again.
    broken: Option<Box<rustls::Error>>,
    /// By what a server was judged, where we connected.
    made_by: Option<Arc<Dialling>>,
    heard: Heard,
}

/// Whether the peer said anything beyond the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
}

/// Decrypted bytes, and how many of them were read.
#[derive(Debug, Default)]
struct Plain {
    bytes: Vec<u8>,
    read: usize,
}

/// Whether more will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// close_notify came: this is the end, and nobody has cut it.
    Closed,
}

/// Whether more may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Open,
    /// close_notify went.
    Closed,
}

/// A record with its header and the most that encryption adds (RFC 8446 §5.2: 256 bytes).
const RECORD: usize = 5 + 16 * 1024 + 256;
/// Bytes read at once: a whole record and most of the next.
const READ: usize = 2 * RECORD;
/// Bytes encrypted at once: two full records go out by one call.
const WRITE: usize = 2 * 16 * 1024;
/// Bytes up to which several buffers are gathered into one record: a head and its body leave as one.
const GATHERED: usize = 16 * 1024;

/// The buffers of a thread, in use for the time of a poll.
#[derive(Default)]
struct Scratch {
    read: Vec<u8>,
    gathered: Vec<u8>,
    write: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl TlsStream {
    fn new(io: Socket, session: Session, incoming: Vec<u8>) -> Self {
        Self {
            io,
            session,
            incoming,
            plain: Plain::default(),
            outgoing: Vec::new(),
            left: 0,
            input: Input::Open,
            output: Output::Open,
            broken: None,
            made_by: None,
            heard: Heard::Nothing,
        }
    }

    /// What a server that refused us said, once the connection is known to have failed. A server of TLS 1.3 judges our
    /// certificate when our handshake is over (RFC 8446 §4.4.2.4, appendix E.1.5), so that its alert is the first that is
    /// read, in the place of an answer: this is the handshake's failure still. `None`: it is something else, the server has
    /// answered before, it connected to us, or it was told already. Reads what the kernel has, without waiting: whose write
    /// failed first may not have come to read the alert.
    pub fn late_refusal(&mut self) -> Option<Failure> {
        if self.heard == Heard::Something || self.made_by.is_none() {
            return None;
        }
        if self.broken.is_none() && self.input == Input::Open {
            self.read_last();
        }
        match self.broken.as_deref()? {
            error @ rustls::Error::AlertReceived(_) if self.heard == Heard::Nothing => {
                self.heard = Heard::Something;
                Some(Failure::from_tls(error))
            }
            _ => None,
        }
    }

    /// Takes what the kernel still has of a connection that failed.
    fn read_last(&mut self) {
        let Some(socket) = self.io.kernels() else { return };
        let mut incoming = std::mem::take(&mut self.incoming);
        let known = incoming.len();
        incoming.resize(known + READ, 0);
        let read = recv(socket, &mut incoming[known..], RecvFlags::DONTWAIT).map_or(0, |(read, _)| read);
        incoming.truncate(known + read);
        let mut done = 0;
        while let Ok(Step::Again | Step::Plain) = self.step(&mut incoming[done..], &mut done) {}
        incoming.drain(..done);
        self.incoming = incoming;
    }

    /// What carries the records.
    #[must_use]
    pub fn carrier(&self) -> &Socket {
        &self.io
    }

    /// What was made into records and the peer's kernel has not acknowledged.
    pub(super) fn outgoing(&self) -> Outgoing {
        self.io.outgoing().and((self.outgoing.len() - self.left) as u64)
    }

    /// Notes by what the server at the other end was judged.
    pub fn set_made_by(&mut self, dialling: Arc<Dialling>) {
        self.made_by = Some(dialling);
    }

    /// By what the server at the other end was judged; `None`: it connected to us.
    #[must_use]
    pub fn made_by(&self) -> Option<&Arc<Dialling>> {
        self.made_by.as_ref()
    }

    /// The session, for what was negotiated.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether a read has something to do before anything more comes: bytes nobody had room for, records to send.
    pub(super) fn has_something(&self) -> bool {
        !self.incoming.is_empty() || !self.plain.is_empty() || !self.outgoing.is_empty() || self.input == Input::Closed
    }

    /// Ready when a connection that should be quiet is not. A server's session ticket, which may come at any time, is
    /// none of that; an alert, an end or bytes of the peer's are. Takes nothing.
    pub(super) fn poll_disturbed(&self, cx: &mut Context<'_>, look: Look) -> Poll<()> {
        /// An alert in the clear (RFC 5246 §7.2), and one within a record of TLS 1.3: two bytes, its kind, a tag of 16.
        const ALERTS: [[u8; 2]; 2] = [[21, 2], [23, 19]];
        if !self.plain.is_empty() || self.input == Input::Closed || self.broken.is_some() {
            return Poll::Ready(());
        }
        let Some(socket) = self.io.kernels() else { return Poll::Pending };
        let mut header = [0u8; 5];
        let mut peek = || recv(socket, &mut header[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        let peeked = match look {
            Look::Kernel => peek(),
            Look::Known => loop {
                if socket.poll_read_ready(cx).is_pending() {
                    return Poll::Pending;
                }
                // What the runtime heard may have been read since; then it forgets it here.
                let peeked = socket.try_io(Interest::READABLE, || Ok(peek()?));
                match peeked {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => break Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
                    Ok(peeked) => break Ok(peeked),
                }
            },
        };
        match peeked {
            Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
            Ok((5, _)) if !ALERTS.contains(&[header[0], header[4]]) => Poll::Pending,
            Ok(_) | Err(_) => Poll::Ready(()),
        }
    }

    /// One step of the session over what came; `done` grows by what it is done with. When it fails, the alert is among what
    /// goes out.
    fn step(&mut self, incoming: &mut [u8], done: &mut usize) -> Result<Step, rustls::Error> {
        if let Some(error) = &self.broken {
            return Err((**error).clone());
        }
        let (discard, step) = self.session.step(incoming, &mut self.outgoing, &mut self.plain.bytes);
        *done += discard;
        if let Ok(Step::Plain) = step {
            self.heard = Heard::Something;
        }
        if let Err(error) = &step {
            self.broken = Some(Box::new(error.clone()));
            while self.session.wants_write() {
                if self.session.step(&mut [], &mut self.outgoing, &mut self.plain.bytes).1.is_err() {
                    break;
                }
            }
        }
        step
    }

    /// Decrypts what is in `bytes` until `buf` is full or no whole record is left; gives how many bytes are done with.
    fn decrypt(&mut self, bytes: &mut [u8], buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut done = 0;
        loop {
            if self.plain.give(buf) == Room::None {
                return Ok(done);
            }
            match self.step(&mut bytes[done..], &mut done) {
                Ok(Step::Again | Step::Plain) => {}
                Ok(Step::Blocked | Step::Open) => return Ok(done),
                Ok(Step::PeerClosed) => {
                    self.input = Input::Closed;
                    return Ok(done);
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }

    /// Writes out what waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left < self.outgoing.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing[self.left..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.left += written,
            }
        }
        // Given back, not kept: the next answer goes out from the thread's buffer.
        (self.outgoing, self.left) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Brings the session to where it takes bytes to send. What comes to light meanwhile is kept.
    fn ready_to_send(&mut self) -> io::Result<()> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut done = 0;
        let ended = loop {
            match self.step(&mut incoming[done..], &mut done) {
                Ok(Step::Again | Step::Plain) => {}
                Ok(Step::PeerClosed) => self.input = Input::Closed,
                Ok(Step::Open | Step::Blocked) => break Ok(()),
                Err(error) => break Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        };
        incoming.drain(..done);
        if !incoming.is_empty() {
            self.incoming = incoming;
        }
        ended
    }

    /// Encrypts `data` and sends as much of it as the socket takes; the rest waits.
    fn send(&mut self, cx: &mut Context<'_>, data: &[u8], scratch: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if self.output == Output::Closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_drain(cx))?;
        self.ready_to_send()?;
        let data = &data[..data.len().min(WRITE)];
        let waiting = !self.outgoing.is_empty();
        let length = self.session.encrypt(data, &mut self.incoming, scratch)?;
        let records = &scratch[..length];
        let sent = if waiting {
            0
        } else {
            match Pin::new(&mut self.io).poll_write(cx, records) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            }
        };
        self.outgoing.extend_from_slice(&records[sent..]);
        if waiting {
            // A message of the session's own goes first; that both leave is for the flush.
            let _ = self.poll_drain(cx)?;
        }
        Poll::Ready(Ok(data.len()))
    }
}

/// Whether a reader has room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Some,
    None,
}

impl Plain {
    fn is_empty(&self) -> bool {
        self.read == self.bytes.len()
    }

    /// Hands out what `buf` has room for.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> Room {
        let piece = &self.bytes[self.read..];
        let piece = &piece[..piece.len().min(buf.remaining())];
        buf.put_slice(piece);
        self.read += piece.len();
        if self.is_empty() && !self.bytes.is_empty() {
            *self = Self::default();
        }
        if buf.remaining() == 0 { Room::None } else { Room::Some }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.plain.give(buf) == Room::None || buf.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        // An answer to the peer's key update, or what a writer left, must not wait for the next write.
        if !this.outgoing.is_empty()
            && let Poll::Ready(Err(error)) = this.poll_drain(cx)
        {
            return Poll::Ready(Err(error));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let scratch = &mut scratch.read;
            scratch.resize(READ, 0);
            let mut filled = this.incoming.len();
            if filled > scratch.len() {
                scratch.resize(filled + RECORD, 0);
            }
            scratch[..filled].copy_from_slice(&this.incoming);
            let mut start = 0;
            let outcome = loop {
                match this.decrypt(&mut scratch[start..filled], buf) {
                    Ok(done) => start += done,
                    Err(error) => break Poll::Ready(Err(error)),
                }
                if buf.filled().len() > before || this.input == Input::Closed {
                    break Poll::Ready(Ok(()));
                }
                if start > 0 {
                    scratch.copy_within(start..filled, 0);
                    (start, filled) = (0, filled - start);
                }
                if filled == scratch.len() {
                    // More than any record holds, and rustls asks for more: it has refused shorter ones before.
                    break Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                let mut more = ReadBuf::new(&mut scratch[filled..]);
                match Pin::new(&mut this.io).poll_read(cx, &mut more) {
                    Poll::Ready(Ok(())) if more.filled().is_empty() => {
                        // Cut, by the peer's end or by somebody on the way: nobody can tell.
                        break Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    Poll::Ready(Ok(())) => filled += more.filled().len(),
                    Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                    Poll::Pending => break Poll::Pending,
                }
            };
            if start == filled {
                this.incoming = Vec::new();
            } else {
                this.incoming.clear();
                this.incoming.extend_from_slice(&scratch[start..filled]);
            }
            outcome
        })
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        SCRATCH.with_borrow_mut(|scratch| self.get_mut().send(cx, buf, &mut scratch.write))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut whole = bufs.iter().filter(|buf| !buf.is_empty());
        match (whole.next(), whole.next()) {
            (None, _) => Poll::Ready(Ok(0)),
            (Some(single), None) => self.poll_write(cx, single),
            (Some(first), Some(_)) if first.len() >= GATHERED => self.poll_write(cx, first),
            (Some(_), Some(_)) => SCRATCH.with_borrow_mut(|scratch| {
                let Scratch { gathered, write, .. } = scratch;
                gathered.clear();
                for buf in bufs {
                    let room = GATHERED - gathered.len();
                    gathered.extend_from_slice(&buf[..buf.len().min(room)]);
                }
                self.get_mut().send(cx, gathered, write)
            }),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    /// Says close_notify, then closes the carrier's sending half.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.output == Output::Open {
            this.output = Output::Closed;
            // A session that failed has said its alert.
            if this.ready_to_send().is_ok() {
                this.session.close(&mut this.incoming, &mut this.outgoing);
            }
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
