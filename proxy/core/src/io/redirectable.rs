//! [`Redirectable`]: a TCP connection that BPF programs may take past TCP (`ebpf-redirect`).
//!
//! Its kernel then has two queues for a reader, of what was redirected and of what TCP carried, and a read takes from one of
//! them. So a read that brings less than was asked for says nothing about the other: only `EAGAIN` says that there is
//! nothing. The runtime's own stream takes a short read for the end and may then wait for ever.
//!
//! The programs redirect nothing to a proxy that does not know this, and of what a proxy sends only what it calls brief: the
//! peer may be a reader of that kind too. Both are said by timeouts of blocking calls (`SO_SNDTIMEO`, `SO_RCVTIMEO`), which
//! a socket that does not block has no other use for. What is not brief goes through TCP, and only once the peer has read
//! what was brief: that the next request has come proves nothing of a client that pipelines. The kernel knows: while
//! something waits, the programs refuse (EPERM) that brevity is taken back. It tells nobody when that changes, so it is
//! asked again, ever less often.

use rustix::{
    io::Errno,
    net::sockopt::{Timeout, set_socket_timeout},
};
use std::{
    future::Future,
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
    time::{Sleep, sleep},
};

/// Bytes of a body up to which a message is brief. With its head it stays well below what the programs let wait.
pub const BRIEF: u64 = 16 << 10;

/// Bytes sent briefly after which the kernel is asked whether they were read. With one more brief message it stays below
/// what may wait unread at a receiver (`redirect::BUDGET`), beyond which the programs would go through TCP by themselves.
const UNPROVEN: usize = 64 << 10;

/// How long the kernel is not asked again: at first, and at most.
const ASKED_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

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
    /// What is to be sent.
    sends: Sends,
    /// What the kernel was told of it.
    told: Sends,
    /// Bytes sent briefly that the peer may not have read.
    unproven: usize,
    /// While the peer is waited for.
    again: Option<Box<Again>>,
}

/// What is sent on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    /// At most [`BRIEF`] bytes, and what follows waits until they are read.
    Briefly,
    /// Who knows how much.
    Anything,
}

/// When the kernel is asked again.
#[derive(Debug)]
struct Again {
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Redirectable {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, sends: Sends::Anything, told: Sends::Anything, unproven: 0, again: None }
    }

    /// The connection itself. Who reads from it reads until there is nothing.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn send_briefly(&mut self, brief: bool) {
        self.sends = if brief { Sends::Briefly } else { Sends::Anything };
    }

    /// Ready when what is sent next may be sent as it is meant.
    #[inline]
    fn poll_may_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sends == self.told && self.unproven < UNPROVEN {
            return Poll::Ready(());
        }
        self.poll_agreed(cx)
    }

    #[cold]
    fn poll_agreed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.told == Sends::Briefly && (self.sends == Sends::Anything || self.unproven >= UNPROVEN) {
            ready!(self.poll_read_by_peer(cx));
        }
        if self.sends == Sends::Briefly && set_socket_timeout(&self.stream, Timeout::Recv, Some(SAID)).is_ok() {
            self.told = Sends::Briefly;
        }
        Poll::Ready(())
    }

    /// Ready when the peer has read all that was redirected; from then on nothing is called brief.
    fn poll_read_by_peer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(again) = &mut self.again {
                ready!(again.sleep.as_mut().poll(cx));
            }
            match set_socket_timeout(&self.stream, Timeout::Recv, None) {
                Err(Errno::PERM) => {
                    let pause = self.again.take().map_or(ASKED_AGAIN.0, |again| ASKED_AGAIN.1.min(again.pause * 2));
                    self.again = Some(Box::new(Again { pause, sleep: Box::pin(sleep(pause)) }));
                }
                // What else there is to fail is not this socket's any more: writing tells.
                Ok(()) | Err(_) => {
                    self.again = None;
                    self.unproven = 0;
                    self.told = Sends::Anything;
                    return Poll::Ready(());
                }
            }
        }
    }

    fn sent(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.told == Sends::Briefly
            && let Poll::Ready(Ok(len)) = sent
        {
            self.unproven += len;
        }
        sent
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
        ready!(self.poll_may_send(cx));
        let sent = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_may_send(cx));
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.sent(sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
