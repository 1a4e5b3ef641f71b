//! What a response holds on to while it lasts: its connection, its place in the limits, the upload still running.
//!
//! Last on the path: at the end of the body the connection goes back to its pool; a body given up earlier takes its
//! HTTP/1 connection or its HTTP/2 stream with it. It never reads ahead.

use super::{
    host_core::HostCore,
    http1::Http1Body,
    http2::{Slot, Upload},
    tls::{self, Server},
};
use crate::{
    body::{BodyError, GivenUp, Http2Body, Incoming},
    io::{Outgoing, Socket},
    tunnel::h2_stream::H2Stream,
    upstream::{
        circuit_wait::Opened,
        error::{ConnectError, Limit},
    },
};
use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Frame, SizeHint};
use pillion_config::model::Cluster;
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The body of an upstream's response.
#[derive(Debug)]
pub struct Leased {
    body: Carried,
    lease: Option<Lease>,
    progress: Progress,
}

/// How far a body came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    /// Trailers end it; the codec says so only when it is asked once more, and nobody asks.
    Trailers,
}

#[derive(Debug)]
pub(super) enum Carried {
    Http1(Http1Body),
    Http2(Http2Body),
}

/// What is given back at the end of a response's body.
pub(super) enum Lease {
    /// The connection is with the body.
    Http1 {
        _in_flight: InFlight,
    },
    Http2 {
        upload: Option<Upload>,
        slot: Rc<Slot>,
        _in_flight: InFlight,
    },
}

/// A request's place in its cluster's limit and in its member's count.
#[derive(Debug)]
pub(super) struct InFlight(Rc<HostCore>);

/// A connection to an upstream that carries opaque bytes. Ends when dropped.
#[derive(Debug)]
pub struct Opaque {
    pub(super) io: Socket,
    pub(super) _opened: Opened,
    pub(super) in_flight: InFlight,
}

/// The byte stream that follows 101 or a 2xx to CONNECT. Ends the connection or the stream when dropped.
#[derive(Debug)]
pub struct Upgraded {
    stream: Stream,
    in_flight: InFlight,
}

#[derive(Debug)]
enum Stream {
    Http2 {
        io: H2Stream,
        slot: Rc<Slot>,
    },
    /// Behind 101 on HTTP/1.1, or CONNECT.
    Plain {
        io: Socket,
        /// What came with the head.
        early: Bytes,
        _opened: Opened,
    },
}

impl InFlight {
    pub(super) fn begin(host: &Rc<HostCore>) -> Result<Self, Limit> {
        host.state.take(Limit::Requests)?;
        host.member.enter();
        Ok(Self(Rc::clone(host)))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.member.address
    }

    pub(super) fn model(&self) -> &Cluster {
        self.0.state.model()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.member.leave();
        self.0.state.give_back(Limit::Requests);
    }
}

impl Leased {
    pub(super) fn new(body: Carried, lease: Lease) -> Self {
        Self { body, lease: Some(lease), progress: Progress::Open }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.progress == Progress::Trailers {
            return Poll::Ready(None);
        }
        let mut frame = ready!(match &mut self.body {
            Carried::Http1(body) => body.poll_frame(cx),
            Carried::Http2(body) => body.poll_frame(cx),
        });
        if let Some(Ok(frame)) = &frame
            && frame.is_trailers()
        {
            self.progress = Progress::Trailers;
        }
        if let Some(Err(error)) = &mut frame
            && let Some(Lease::Http2 { slot, .. }) = &self.lease
            && let Some(why) = slot.distrusted()
        {
            *error = GivenUp::Distrusted(why).into();
        }
        match &frame {
            None => self.end(),
            Some(Ok(_)) if self.is_end_stream() => self.end(),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.give_up(),
        }
        Poll::Ready(frame)
    }

    /// As [`Ahead::poll_ahead`](crate::body::Ahead::poll_ahead).
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        match &mut self.body {
            Carried::Http1(body) => body.poll_ahead(cx),
            Carried::Http2(body) => body.poll_ahead(cx),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.progress == Progress::Trailers
            || match &self.body {
                Carried::Http1(body) => body.is_end_stream(),
                Carried::Http2(body) => body.is_end_stream(),
            }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.body {
            Carried::Http1(body) => body.size_hint(),
            Carried::Http2(body) => body.size_hint(),
        }
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }

    fn give_up(&mut self) {
        // Dropping it closes the connection, or resets the stream and stops the upload.
        self.lease = None;
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if self.is_end_stream() { self.end() } else { self.give_up() }
    }
}

impl Lease {
    /// The response is whole. An upload still running goes on until its own end: RFC 9113 §8.1 leaves it to the server
    /// to stop it.
    pub(super) fn end(self) {
        match self {
            Self::Http2 { upload, slot, .. } => {
                slot.over();
                if let Some(upload) = upload {
                    upload.let_go();
                }
            }
            Self::Http1 { .. } => {}
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 { .. } => "Lease::Http1",
            Self::Http2 { .. } => "Lease::Http2",
        })
    }
}

impl Upgraded {
    pub(super) fn plain(io: Socket, early: Bytes, opened: Opened, in_flight: InFlight) -> Self {
        Self { stream: Stream::Plain { io, early, _opened: opened }, in_flight }
    }

    pub(super) fn http2(io: H2Stream, slot: Rc<Slot>, in_flight: InFlight) -> Self {
        Self { stream: Stream::Http2 { io, slot }, in_flight }
    }

    /// The other end takes nothing for now.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        match &mut self.stream {
            Stream::Http2 { io, .. } => io.poll_ahead(cx),
            Stream::Plain { .. } => {}
        }
    }

    /// As [`Opaque::late_refusal`], of a connection that a CONNECT got; behind an answer the server has spoken already.
    pub(crate) fn late_refusal(&mut self) -> Option<ConnectError> {
        match &mut self.stream {
            Stream::Plain { io, .. } => Some(tls::refused_late(&self.in_flight.0, io.late_refusal()?)),
            Stream::Http2 { .. } => None,
        }
    }

    /// From here on dropping it resets the connection; a stream that is not finished is reset in any case.
    pub(crate) fn reset_at_close(&self) {
        match &self.stream {
            Stream::Plain { io, .. } => io.reset_at_close(),
            Stream::Http2 { .. } => {}
        }
    }

    /// As [`Socket::outgoing`]; what a stream was given h2 does not tell.
    pub(crate) fn outgoing(&self) -> Outgoing {
        match &self.stream {
            Stream::Plain { io, .. } => io.outgoing(),
            Stream::Http2 { .. } => Outgoing::OnItsWay(0),
        }
    }

    /// Who is at the other end, where that is TLS.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        match &self.stream {
            Stream::Plain { io, .. } => server_of(io, &self.in_flight),
            Stream::Http2 { slot, .. } => {
                let (made_by, chain) = slot.shown()?;
                Some(Server::of(&self.in_flight.0, made_by, chain))
            }
        }
    }
}

/// Who is at the other end of a socket, where that is TLS.
fn server_of(io: &Socket, in_flight: &InFlight) -> Option<Server> {
    let chain = io.peer_certificates().map(Into::into).unwrap_or_default();
    Some(Server::of(&in_flight.0, Arc::clone(io.made_by()?), chain))
}

/// The answer to a CONNECT whose endpoint was reached.
pub(super) fn connected(io: Socket, opened: Opened, in_flight: InFlight) -> Response<Incoming> {
    Response::new(Incoming::Upgraded(Box::new(Upgraded::plain(io, Bytes::new(), opened, in_flight))))
}

impl Opaque {
    /// What carries it.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.io
    }

    /// Who is at the other end, where that is TLS.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        server_of(&self.io, &self.in_flight)
    }
}

impl Opaque {
    /// Why the server refused us after the handshake, once the connection failed; counted and told here, once.
    pub(crate) fn late_refusal(&mut self) -> Option<ConnectError> {
        let failure = self.io.late_refusal()?;
        Some(tls::refused_late(&self.in_flight.0, failure))
    }
}

impl AsyncRead for Opaque {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain { early, .. } if !early.is_empty() => {
                let len = early.len().min(buf.remaining());
                buf.put_slice(&early[..len]);
                early.advance(len);
                Poll::Ready(Ok(()))
            }
            Stream::Http2 { io, .. } => Pin::new(io).poll_read(cx, buf),
            Stream::Plain { io, .. } => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Http2 { io, .. } => Pin::new(io).poll_write(cx, buf),
            Stream::Plain { io, .. } => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Http2 { io, .. } => Pin::new(io).poll_flush(cx),
            Stream::Plain { io, .. } => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Http2 { io, .. } => Pin::new(io).poll_shutdown(cx),
            Stream::Plain { io, .. } => Pin::new(io).poll_shutdown(cx),
        }
    }
}
