//! The client's side of a tunnel, whichever protocol it came by.
//!
//! A codec makes a [`DownstreamUpgrade`] for a request that asks for a tunnel; `exchange/` decides; whoever forwards
//! the bytes waits for the stream behind it. It never decides whether there is a tunnel.

use super::h2_stream::H2Stream;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

/// A tunnel that a client asked for, before or after it was accepted.
#[derive(Debug)]
pub enum DownstreamUpgrade {
    /// An HTTP/1 connection that stops being one after 101, or after 2xx to CONNECT.
    Http1(OnUpgrade),
    /// An HTTP/2 stream after 2xx to CONNECT or extended CONNECT (RFC 9113 §8.5, RFC 8441).
    Http2(oneshot::Receiver<H2Stream>),
}

/// The client's side of an accepted tunnel: bytes both ways.
#[derive(Debug)]
pub enum UpgradedIo {
    /// The rest of an HTTP/1 connection.
    Http1(TokioIo<Upgraded>),
    /// An HTTP/2 stream.
    Http2(H2Stream),
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeFailed {
    /// The HTTP/1 connection ended before the upgrade.
    #[error("upgrade on HTTP/1: {0}")]
    Http1(#[source] hyper::Error),
    /// The answer was no 2xx, or the stream was reset before it went out.
    #[error("upgrade on HTTP/2: refused or reset")]
    Http2,
}

impl DownstreamUpgrade {
    /// Waits until the answer that accepts the tunnel went out. Not cancel-safe: dropping it gives the tunnel up.
    ///
    /// # Errors
    ///
    /// [`UpgradeFailed`]: the tunnel was refused, or the client left.
    pub async fn into_io(self) -> Result<UpgradedIo, UpgradeFailed> {
        match self {
            Self::Http1(upgrade) => {
                upgrade.await.map(|io| UpgradedIo::Http1(TokioIo::new(io))).map_err(UpgradeFailed::Http1)
            }
            Self::Http2(stream) => stream.await.map(UpgradedIo::Http2).map_err(|_| UpgradeFailed::Http2),
        }
    }
}

macro_rules! each {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            UpgradedIo::Http1($io) => $call,
            UpgradedIo::Http2($io) => $call,
        }
    };
}

impl AsyncRead for UpgradedIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for UpgradedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
