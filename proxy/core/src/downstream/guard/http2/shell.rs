//! [`FrameGuarded`]: the socket with the guard around it, and [`Watch`], what the connection loop sees of it.

use super::{Breach, Credit, FrameGuard, FrameLimits, SentFrames, Unread};
use crate::{downstream::unfinished::Room, drain::Control, io::Gone};
use bytes::{Buf, Bytes};
use h2::Reason;
use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// What the guard tells the connection loop. Cells: both live in one task.
#[derive(Debug, Default)]
pub struct Watch {
    breach: Cell<Option<Breach>>,
    /// Weight of frames taken in this turn.
    turn: Cell<u32>,
    /// What began last of which the end is owed; `None`: nothing is owed.
    owed: Cell<Option<u32>>,
    started: Cell<bool>,
    blocked: Cell<bool>,
    /// Writes that moved a byte; wraps.
    written: Cell<u32>,
    blamed: Cell<u32>,
    opened: Cell<u32>,
}

/// Frames taken from the socket in one turn of the connection loop (a HEADERS counts for 16): what bounds the streams
/// h2 opens, the header fields it materialises and the resets it queues before the codec or the write side sees them.
const TURN: u32 = 256;

/// What is read and thrown away while the peer reads our GOAWAY: unread input would make the kernel answer with RST,
/// which can overtake it.
const LINGER_BYTES: usize = 256 * 1024;

/// A peer that broke HTTP/2's rules in a way that has no name of its own, as the record and the counter call it.
pub const PROTOCOL: &str = "http2_protocol";

impl Watch {
    /// The rule broken, if any.
    #[must_use]
    pub fn breach(&self) -> Option<Breach> {
        self.breach.get()
    }

    /// Notes a breach that the loop saw (a deadline). The first one stays.
    pub fn note(&self, breach: Breach) {
        if self.breach.get().is_none() {
            self.breach.set(Some(breach));
        }
    }

    /// A new turn of the connection loop begins.
    pub fn begin_turn(&self) {
        self.turn.set(0);
    }

    /// The frame or header block whose end the peer owes; another value is another one.
    #[must_use]
    pub fn owed(&self) -> Option<u32> {
        self.owed.get()
    }

    /// Whether preface and SETTINGS came.
    #[must_use]
    pub fn started(&self) -> bool {
        self.started.get()
    }

    /// While the socket takes no more: the count of writes that moved a byte.
    #[must_use]
    pub fn blocked_at(&self) -> Option<u32> {
        self.blocked.get().then_some(self.written.get())
    }

    /// Streams that the peer asked to open; wraps.
    #[must_use]
    pub fn opened(&self) -> u32 {
        self.opened.get()
    }

    /// Streams reset by us for the peer's errors, h2's own refusals included.
    #[must_use]
    pub fn blamed(&self) -> u32 {
        self.blamed.get()
    }
}

/// A socket whose HTTP/2 frames are guarded in both directions.
#[derive(Debug)]
pub struct FrameGuarded<S> {
    socket: S,
    /// What was read before the guard (protocol detection), given out first.
    ahead: Bytes,
    received: FrameGuard,
    sent: SentFrames,
    credit: Credit,
    born: Instant,
    watch: Rc<Watch>,
    closing: Closing,
    /// Told what is unfinished.
    line: Option<Rc<Control>>,
    /// As it answered last.
    room: Room,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// Our half is closed; this many more bytes of input are thrown away.
    Linger(usize),
}

impl<S> FrameGuarded<S> {
    /// Guards `socket` from its first byte; `ahead` was read from it already.
    #[must_use]
    pub fn new(socket: S, ahead: Bytes, limits: &Rc<FrameLimits>) -> Self {
        let received = FrameGuard::new(Rc::clone(limits));
        Self {
            socket,
            ahead,
            sent: SentFrames::new(Rc::clone(limits)).telling(received.unread()),
            received,
            credit: Credit::default(),
            born: Instant::now(),
            watch: Rc::default(),
            closing: Closing::No,
            line: None,
            room: Room::Left,
        }
    }

    /// With a line to be told what the peer has not finished.
    #[must_use]
    pub fn on(self, line: &Rc<Control>) -> Self {
        self.received.unread().tells(line);
        Self { line: Some(Rc::clone(line)), ..self }
    }

    /// Tells what the peer has not finished.
    #[inline]
    fn tell(&mut self) {
        let Some(line) = &self.line else { return };
        self.room = match self.received.owed() {
            None => {
                line.release();
                Room::Left
            }
            Some(_) => line.hold(self.received.unfinished()),
        };
    }

    /// To be told which streams were reset.
    #[must_use]
    pub fn gone(&self) -> Rc<Gone> {
        Rc::clone(self.received.gone())
    }

    /// To be told what is handed to h2.
    #[must_use]
    pub fn unread(&self) -> Rc<Unread> {
        Rc::clone(self.received.unread())
    }

    /// What the connection loop watches.
    #[must_use]
    pub fn watch(&self) -> Rc<Watch> {
        Rc::clone(&self.watch)
    }

    /// Follows what was just read, `buf` beyond `before`; after a breach only what came before it stays.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let weight = self.received.weight();
        let born = self.born;
        let clock = move || milliseconds(born);
        let bytes = &buf.filled()[before..];
        if bytes.is_empty() {
            return;
        }
        let fed = self.received.feed(bytes, &mut self.credit, clock);
        for mark in self.received.marks() {
            mark.change(&mut buf.filled_mut()[before..]);
        }
        if let Err(stopped) = fed {
            self.watch.note(stopped.breach);
            buf.set_filled(before + stopped.at);
            return;
        }
        let more = self.received.weight().wrapping_sub(weight);
        self.watch.turn.set(self.watch.turn.get().saturating_add(more));
        self.watch.owed.set(self.received.owed());
        self.watch.opened.set(self.received.opened());
        self.tell();
        if !self.watch.started.get() {
            self.watch.started.set(self.received.started());
        }
    }

    fn wrote(&mut self, result: &Poll<io::Result<usize>>, bufs: &[IoSlice<'_>]) {
        let mut left = match result {
            Poll::Ready(Ok(written)) if *written > 0 => *written,
            Poll::Ready(_) => return,
            Poll::Pending => return self.watch.blocked.set(true),
        };
        self.watch.blocked.set(false);
        self.watch.written.set(self.watch.written.get().wrapping_add(1));
        let born = self.born;
        for buf in bufs {
            let here = left.min(buf.len());
            left -= here;
            if let Err(breach) = self.sent.feed(&buf[..here], &mut self.credit, move || milliseconds(born)) {
                self.watch.note(breach);
            }
            if left == 0 {
                break;
            }
        }
        self.watch.blamed.set(self.sent.blamed());
        if self.sent.refused() {
            self.break_off();
        }
    }

    /// GOAWAY is out: what else is on the connection ends by it, before its loop does.
    #[cold]
    fn break_off(&self) {
        let why = match self.watch.breach() {
            // They have flags of their own.
            Some(Breach::WriteTimeout | Breach::ShortMemory) => return,
            Some(breach) => breach.as_str(),
            None => PROTOCOL,
        };
        if let Some(line) = &self.line {
            line.note_broken(why);
        }
    }
}

impl<S: AsyncWrite + Unpin> FrameGuarded<S> {
    /// h2's GOAWAY, with the code that RFC 9113 §4.3 asks for if a header block could not be decoded. `None`: what is to
    /// be written stays as it is.
    #[inline]
    fn corrected(&self, bufs: &[IoSlice<'_>]) -> Option<Vec<u8>> {
        // h2 says it last, in one piece.
        let last = bufs.iter().rev().find(|buf| !buf.is_empty())?;
        if last.last_chunk::<4>() != Some(&[0, 0, 0, 1]) {
            return None;
        }
        self.corrected_end(bufs)
    }

    #[cold]
    fn corrected_end(&self, bufs: &[IoSlice<'_>]) -> Option<Vec<u8>> {
        let mut bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<_>>();
        let processed = self.sent.ends_in_protocol_error(&bytes)?;
        if !self.received.undecodable(processed) {
            return None;
        }
        *bytes.last_mut()? = u32::from(Reason::COMPRESSION_ERROR) as u8;
        Some(bytes)
    }
}

fn milliseconds(born: Instant) -> u32 {
    // Wraps after 49 days; windows are compared by difference.
    born.elapsed().as_millis() as u32
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameGuarded<S> {
    /// After a breach it stays pending: the loop sees the breach and closes.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.breach.get().is_some() {
            return Poll::Pending;
        }
        if this.watch.turn.get() >= TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.room == Room::None {
            this.tell();
            if this.room == Room::None {
                // Behind those who must make room, this connection perhaps.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
        } else {
            let taken = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..taken]);
            this.ahead.advance(taken);
            if this.ahead.is_empty() {
                // The allocation that detection made is given back.
                this.ahead = Bytes::new();
            }
        }
        this.judge(buf, before);
        if buf.filled().len() == before {
            // Nothing of it may pass. Zero bytes would mean the end; the loop, which runs now, looks at the breach.
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FrameGuarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let corrected = this.corrected(bufs);
        let socket = Pin::new(&mut this.socket);
        let result = match (&corrected, bufs) {
            (Some(bytes), _) => socket.poll_write(cx, bytes),
            (None, [buf]) => socket.poll_write(cx, buf),
            (None, bufs) => socket.poll_write_vectored(cx, bufs),
        };
        this.wrote(&result, bufs);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    /// Closes our half, then throws input away until the peer closes its own. The caller bounds the time.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Closing::Linger(mut left) = this.closing else {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            this.closing = Closing::Linger(LINGER_BYTES);
            return Pin::new(this).poll_shutdown(cx);
        };
        let mut scratch = [0; 1024];
        while left > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.socket).poll_read(cx, &mut buf) {
                Poll::Pending => {
                    this.closing = Closing::Linger(left);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => left = left.saturating_sub(buf.filled().len()),
                // The peer closed, or the connection is broken: nothing is left to wait for.
                Poll::Ready(_) => break,
            }
        }
        this.closing = Closing::Linger(0);
        Poll::Ready(Ok(()))
    }
}
