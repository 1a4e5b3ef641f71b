//! How a request leaves HTTP: the codec's offer to hand the connection over, and what is handed over.
//!
//! A codec that decodes a request which may become a tunnel (HTTP/1 `Upgrade`, CONNECT, extended CONNECT) gives an
//! [`Offer`] along with it. The exchange takes it, answers 101 or 200, and waits for the end; a codec whose offer was
//! not taken goes on with HTTP.

use super::h2_stream::H2Stream;
use crate::{
    io::{Outgoing, Socket},
    telemetry::Blame,
    upstream::{ConnectError, Upgraded},
};
use bytes::{Buf, Bytes};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

/// A byte stream, whatever carries it.
pub trait Duplex: AsyncRead + AsyncWrite {
    /// From here on dropping it says that it was cut, and is no end.
    fn reset_at_close(&self);

    /// What was written and has not arrived.
    fn outgoing(&self) -> Outgoing;

    /// As [`Ahead::poll_ahead`](crate::body::Ahead::poll_ahead).
    fn poll_ahead(self: Pin<&mut Self>, _: &mut Context<'_>) {}
}

impl Duplex for Socket {
    fn reset_at_close(&self) {
        Socket::reset_at_close(self);
    }

    fn outgoing(&self) -> Outgoing {
        Socket::outgoing(self)
    }
}

impl Duplex for Upgraded {
    fn reset_at_close(&self) {
        Upgraded::reset_at_close(self);
    }

    fn outgoing(&self) -> Outgoing {
        Upgraded::outgoing(self)
    }

    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        self.get_mut().poll_ahead(cx);
    }
}

impl Duplex for H2Stream {
    /// To drop it unfinished resets the stream in any case.
    fn reset_at_close(&self) {}

    /// What h2 has not sent yet it does not tell.
    fn outgoing(&self) -> Outgoing {
        Outgoing::OnItsWay(0)
    }

    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        self.get_mut().poll_ahead(cx);
    }
}

/// One end of a tunnel. Boxed: a tunnel is made once and its two ends differ in every pairing of protocols.
pub struct TunnelEnd {
    /// Bytes that came with the head.
    early: Bytes,
    stream: Stream,
}

/// What carries an end.
enum Stream {
    /// The client's.
    Downstream(Pin<Box<dyn Duplex>>),
    /// The server's, which may refuse us yet.
    Upstream(Box<Upgraded>),
}

/// A codec's offer to hand over the stream behind a request.
#[derive(Debug)]
pub struct Offer {
    /// The protocol an extended CONNECT names (`:protocol`, RFC 8441 §4); HTTP/1 names it in `Upgrade`.
    pub protocol: Option<String>,
    end: oneshot::Receiver<TunnelEnd>,
}

/// Why a tunnel cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The response says that it switches, but the codec cannot: the request asked for nothing.
    #[error("upstream switched protocols unasked")]
    Unasked,
    /// The upstream took the request without switching protocols, which the client's protocol cannot say.
    #[error("upstream answered without switching protocols")]
    Declined,
    /// The connection ended before it could be handed over.
    #[error("the connection ended before it could be handed over")]
    Gone,
    /// Upstream's answer to the WebSocket handshake proves nothing (RFC 6455 §4.1).
    #[error("upstream's Sec-WebSocket-Accept is wrong")]
    BadAccept,
}

impl UpgradeError {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Unasked | Self::Declined | Self::BadAccept => Blame::Upstream,
            Self::Gone => Blame::Downstream,
        }
    }
}

impl TunnelEnd {
    /// The client's end, whose first bytes have been read already.
    pub fn new(stream: impl Duplex + 'static, early: Bytes) -> Self {
        Self { early, stream: Stream::Downstream(Box::pin(stream)) }
    }

    /// The server's end.
    pub(crate) fn upstream(stream: Box<Upgraded>) -> Self {
        Self { early: Bytes::new(), stream: Stream::Upstream(stream) }
    }

    /// Why a server refused us after the handshake, once the connection failed; counted and told here, once.
    pub(super) fn late_refusal(&mut self) -> Option<ConnectError> {
        match &mut self.stream {
            Stream::Upstream(stream) => stream.late_refusal(),
            Stream::Downstream(_) => None,
        }
    }

    /// From here on dropping it says that it was cut, and is no end.
    pub(super) fn reset_at_close(&self) {
        match &self.stream {
            Stream::Downstream(stream) => stream.reset_at_close(),
            Stream::Upstream(stream) => stream.reset_at_close(),
        }
    }

    /// What was written and has not arrived.
    pub(super) fn outgoing(&self) -> Outgoing {
        match &self.stream {
            Stream::Downstream(stream) => stream.outgoing(),
            Stream::Upstream(stream) => stream.outgoing(),
        }
    }

    /// The other end takes nothing for now.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.carrier().poll_ahead(cx);
    }

    fn carrier(&mut self) -> Pin<&mut dyn Duplex> {
        match &mut self.stream {
            Stream::Downstream(stream) => stream.as_mut(),
            Stream::Upstream(stream) => Pin::new(stream.as_mut()) as Pin<&mut Upgraded>,
        }
    }
}

impl Offer {
    /// An offer, and the codec's half of it: send the end there, or drop it.
    #[must_use]
    pub fn new(protocol: Option<String>) -> (oneshot::Sender<TunnelEnd>, Self) {
        let (sender, end) = oneshot::channel();
        (sender, Self { protocol, end })
    }

    /// Waits for the end. It comes once the head that ends HTTP has been written.
    ///
    /// # Errors
    ///
    /// [`UpgradeError::Gone`] when the connection ended first.
    pub async fn end(self) -> Result<TunnelEnd, UpgradeError> {
        self.end.await.map_err(|_| UpgradeError::Gone)
    }
}

impl fmt::Debug for TunnelEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelEnd").field("early", &self.early.len()).finish_non_exhaustive()
    }
}

impl AsyncRead for TunnelEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.early.is_empty() {
            return this.carrier().poll_read(cx, buf);
        }
        let taken = this.early.len().min(buf.remaining());
        buf.put_slice(&this.early[..taken]);
        this.early.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().carrier().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().carrier().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().carrier().poll_shutdown(cx)
    }
}
