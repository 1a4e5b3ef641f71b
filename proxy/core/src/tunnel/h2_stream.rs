//! An HTTP/2 stream as a byte stream: what CONNECT and extended CONNECT (RFC 9113 §8.5, RFC 8441) leave behind.
//!
//! Either side uses it. Writes wait for the peer's window, reads give credit back as bytes are taken; it buffers at most
//! the one DATA frame being read, and small ones while the other side takes nothing. Closing the writing half sends END_STREAM; dropping it unfinished resets the stream.

use crate::{
    body::{Held, Source},
    downstream::guard::http2::Unread,
    io::{Pace, Received},
};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An HTTP/2 stream as a byte stream.
#[derive(Debug)]
pub struct H2Stream {
    send: SendStream<Bytes>,
    /// Told what h2 takes, towards a client.
    handed: Option<Rc<Unread>>,
    receive: Source,
    /// The part of the last DATA frame that is not read yet.
    unread: Bytes,
    reading: Half,
    writing: Half,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    Ended,
}

/// The most one write asks window for: a frame's worth, so that a big buffer does not hoard the connection's window.
const WRITE_PIECE: usize = 16 * 1024;

impl H2Stream {
    /// The two halves of a stream whose CONNECT was answered with 2xx.
    #[must_use]
    pub fn new(send: SendStream<Bytes>, receive: RecvStream, pace: &Rc<Pace>) -> Self {
        Self::of(send, Source::Own(Received::new(receive, pace)), None)
    }

    /// The same towards a client.
    pub(crate) fn downstream(send: SendStream<Bytes>, receive: Rc<Held>, handed: Rc<Unread>) -> Self {
        Self::of(send, Source::Shared(receive), Some(handed))
    }

    fn of(send: SendStream<Bytes>, receive: Source, handed: Option<Rc<Unread>>) -> Self {
        Self { send, handed, receive, unread: Bytes::new(), reading: Half::Open, writing: Half::Open }
    }

    /// The other side takes nothing for now: see [`Ahead`](crate::body::Ahead::poll_ahead).
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if self.reading == Half::Open {
            self.receive.with(|received| received.poll_ahead(cx));
        }
    }

    /// Resets the stream.
    pub fn reset(&mut self, reason: Reason) {
        self.send.send_reset(reason);
        self.writing = Half::Ended;
    }
}

impl AsyncRead for H2Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() && this.reading == Half::Open {
            match ready!(this.receive.with(|received| received.poll_data(cx))) {
                Some(Ok(data)) => this.unread = data,
                Some(Err(error)) => {
                    this.reading = Half::Ended;
                    if error.is_remote() {
                        this.receive.over();
                    }
                    // The peer has all it wants (RFC 9113 §8.1): an end, not a failure.
                    if error.reason() == Some(Reason::NO_ERROR) {
                        break;
                    }
                    return Poll::Ready(Err(to_io(error)));
                }
                None => {
                    this.reading = Half::Ended;
                    this.receive.over();
                }
            }
        }
        let taken = this.unread.len().min(buf.remaining());
        if taken > 0 {
            buf.put_slice(&this.unread.split_to(taken));
            // Credit follows what was taken, so a slow reader slows the peer.
            this.receive.with(|received| received.release(taken));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.writing == Half::Ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.send.reserve_capacity(buf.len().min(WRITE_PIECE));
        let mut room = this.send.capacity();
        if room == 0 {
            if let Poll::Ready(reset) = this.send.poll_reset(cx) {
                return Poll::Ready(Err(gone(reset)));
            }
            room = match ready!(this.send.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let taken = room.min(buf.len());
        if let Some(handed) = &this.handed {
            handed.data(|| this.send.stream_id().as_u32(), taken);
        }
        this.send.send_data(Bytes::copy_from_slice(&buf[..taken]), false).map_err(to_io)?;
        Poll::Ready(Ok(taken))
    }

    /// What was written is with the connection's task, which flushes without being asked.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.writing == Half::Open {
            this.writing = Half::Ended;
            // A stream that is gone already needs no END_STREAM.
            this.send.send_data(Bytes::new(), true).ok();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        // RFC 9113 §8.5: a TCP connection that fails maps to RST_STREAM; an orderly end has sent END_STREAM before.
        if self.writing == Half::Open {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

fn gone(reset: Result<Reason, h2::Error>) -> io::Error {
    match reset {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => to_io(error),
    }
}

fn to_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    } else {
        io::Error::new(io::ErrorKind::ConnectionReset, error)
    }
}
