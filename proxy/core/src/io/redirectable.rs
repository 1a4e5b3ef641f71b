//! [`Redirectable`]: a TCP connection that BPF programs may take past TCP (`ebpf-redirect`).
//!
//! Its kernel then has two queues for a reader, of what was redirected and of what TCP carried, and a read takes from one of
//! them. So a read that brings less than was asked for says nothing about the other: only `EAGAIN` says that there is
//! nothing. The runtime's own stream takes a short read for the end and may then wait for ever.
//!
//! The programs redirect nothing to a proxy that does not know this, and of what a proxy sends only what it calls brief: the
//! peer may be a reader of that kind too, and what is sent briefly never stands in both queues. Both are said by timeouts
//! of blocking calls (`SO_SNDTIMEO`, `SO_RCVTIMEO`), which a socket that does not block has no other use for.

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::{
    io,
    os::fd::AsFd,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Bytes of a body up to which a message is brief. With its head it stays well below what the programs let wait.
pub const BRIEF: u64 = 16 << 10;

/// Any timeout at all.
const SAID: Duration = Duration::from_secs(3600);

/// Whether programs may redirect this process's connections.
#[derive(Debug, Default)]
pub struct RedirectSwitch(AtomicBool);

impl RedirectSwitch {
    /// They may, or may not, from now on. Connections that there are stay what they are.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    /// Whether they may.
    #[must_use]
    pub fn on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says of a socket that its reader looks into both queues.
pub(super) fn ready_for_redirect(socket: impl AsFd) {
    // Where it fails the programs leave the connection to TCP.
    set_socket_timeout(socket, Timeout::Send, Some(SAID)).ok();
}

/// A TCP connection that may be redirected.
#[derive(Debug)]
pub struct Redirectable {
    stream: TcpStream,
    brief: bool,
}

impl Redirectable {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, brief: false }
    }

    /// The connection itself. Who reads from it reads until there is nothing.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn send_briefly(&mut self, brief: bool) {
        if brief != self.brief {
            let said = set_socket_timeout(&self.stream, Timeout::Recv, brief.then_some(SAID));
            self.brief = brief && said.is_ok();
        }
    }

    pub(super) fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl AsyncRead for Redirectable {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = &self.stream;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(buf) {
                // Only this makes the runtime forget that something may be there.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return Poll::Ready(read.map(|_| ())),
            }
        }
    }
}

impl AsyncWrite for Redirectable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
