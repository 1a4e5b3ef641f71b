//! [`Socket`]: one end of a connection, whatever carries it.
//!
//! Sockets without TLS never buffer. TLS may hold the end of what was written while the carrier takes no more: whoever
//! writes flushes.

use super::{Outgoing, Redirectable, tls::TlsStream};
use crate::identity::{Dialling, Failure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, recv},
};
use rustls::pki_types::CertificateDer;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf},
    net::TcpStream,
};

/// One end of a connection. An enum and not a trait object: the kernel's descriptor must stay reachable, and
/// the branch costs less than an indirect call.
#[derive(Debug)]
pub enum Socket {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A TCP connection that BPF programs may take past TCP.
    Redirectable(Redirectable),
    /// A pipe in memory, for tests.
    Memory(DuplexStream),
    /// TLS over one of the others.
    Tls(Box<TlsStream>),
}

/// How closely a socket is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What the runtime has heard of it: no system call while it has heard nothing.
    Known,
    /// The kernel is asked.
    Kernel,
}

/// Bytes up to which several buffers are copied into one. A head with a small body goes out by send(2), whose path in
/// the kernel is shorter than writev(2)'s by more than the copy costs.
const GATHERED: usize = 2048;

macro_rules! each {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Tcp($socket) => $call,
            Socket::Redirectable($socket) => $call,
            Socket::Memory($socket) => $call,
            Socket::Tls($socket) => {
                let $socket = &mut **$socket;
                $call
            }
        }
    };
}

impl Socket {
    /// The socket itself, to be put into something else; a pipe without another end stands in its place.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Memory(tokio::io::duplex(1).0))
    }

    /// Our end's address; a pipe in memory has none. A system call.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tls(stream) => stream.carrier().local_addr(),
            Self::Tcp(_) | Self::Redirectable(_) | Self::Memory(_) => self.kernels()?.local_addr().ok(),
        }
    }

    /// The kernel's connection, where nothing stands between.
    #[must_use]
    pub fn kernels(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Redirectable(socket) => Some(socket.stream()),
            Self::Memory(_) | Self::Tls(_) => None,
        }
    }

    /// Says whether what is sent from now on, until it is said again, is brief: over after at most
    /// [`BRIEF`](super::BRIEF) bytes, and read by a peer of the usual kind before it expects more. What is sent afterwards
    /// waits until it is read.
    pub fn send_briefly(&mut self, brief: bool) {
        if let Self::Redirectable(socket) = self {
            socket.send_briefly(brief);
        }
    }

    /// By what the server at the other end was judged, where that is TLS that we began.
    #[must_use]
    pub fn made_by(&self) -> Option<&Arc<Dialling>> {
        match self {
            Self::Tls(stream) => stream.made_by(),
            Self::Tcp(_) | Self::Redirectable(_) | Self::Memory(_) => None,
        }
    }

    /// What a server that refused us after the handshake said, once the connection is known to have failed
    /// ([`TlsStream::late_refusal`]). Told once.
    pub fn late_refusal(&mut self) -> Option<Failure> {
        match self {
            Self::Tls(stream) => stream.late_refusal(),
            Self::Tcp(_) | Self::Redirectable(_) | Self::Memory(_) => None,
        }
    }

    /// The chain that the peer showed, its own certificate first.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Self::Tls(stream) => stream.session().peer_certificates(),
            Self::Tcp(_) | Self::Redirectable(_) | Self::Memory(_) => None,
        }
    }

    /// Ready when a read may bring something: bytes, an end or an error. Asks no system call of a socket that has been
    /// read empty.
    ///
    /// # Errors
    ///
    /// When the runtime is gone.
    #[inline]
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Redirectable(socket) => socket.stream().poll_read_ready(cx),
            // Only a read tells.
            Self::Memory(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) if stream.has_something() => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.carrier().poll_read_ready(cx),
        }
    }

    /// From here on dropping it resets the connection; what the kernel has not sent by then is lost. TLS says no goodbye
    /// when it is dropped, in any case.
    pub fn reset_at_close(&self) {
        let set = match self {
            Self::Tcp(socket) => socket.set_zero_linger(),
            Self::Redirectable(socket) => socket.stream().set_zero_linger(),
            Self::Memory(_) => Ok(()),
            Self::Tls(stream) => return stream.carrier().reset_at_close(),
        };
        // It can fail only on what is no socket any more.
        set.ok();
    }

    /// What was written and the peer's kernel has not acknowledged. A pipe in memory keeps what it has. A system call, two
    /// where there is something.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Redirectable(socket) => socket.stream(),
            Self::Memory(_) => return Outgoing::OnItsWay(0),
            Self::Tls(stream) => return stream.outgoing(),
        };
        // It can fail only on what is no socket any more.
        let bytes = pillion_outq::unacknowledged(socket).unwrap_or(0);
        // The kernel knows no peer of a connection that is over.
        if bytes > 0 && socket.peer_addr().is_err() { Outgoing::Lost(bytes) } else { Outgoing::OnItsWay(bytes) }
    }

    /// Whether the peer has closed its side or reset the connection, also behind bytes that nobody has read: those hide it
    /// from a read, and from the runtime. A system call; a pipe in memory tells nothing.
    #[must_use]
    pub fn has_left(&self) -> bool {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Redirectable(socket) => socket.stream(),
            Self::Memory(_) => return false,
            Self::Tls(stream) => return stream.carrier().has_left(),
        };
        told(socket, PollFlags::RDHUP)
    }

    /// Whether the peer has reset the connection, also behind bytes that nobody has read. Who has only closed its side, and may
    /// listen still, has not. A system call; a pipe in memory tells nothing.
    #[must_use]
    pub fn was_reset(&self) -> bool {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Redirectable(socket) => socket.stream(),
            Self::Memory(_) => return false,
            Self::Tls(stream) => return stream.carrier().was_reset(),
        };
        told(socket, PollFlags::empty())
    }

    /// Ready when a socket that should be quiet is not: its peer closed it, or sent something. Takes nothing from it. A
    /// pipe in memory tells nothing.
    pub fn poll_disturbed(&self, cx: &mut Context<'_>, look: Look) -> Poll<()> {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Redirectable(socket) => socket.stream(),
            Self::Memory(_) => return Poll::Pending,
            Self::Tls(stream) => return stream.poll_disturbed(cx, look),
        };
        let peek = || recv(socket, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        if look == Look::Kernel {
            return match peek() {
                Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
                Ok(_) | Err(_) => Poll::Ready(()),
            };
        }
        loop {
            if ready!(socket.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            // What the runtime heard may have been read since; then it forgets it here.
            match socket.try_io(Interest::READABLE, || peek().map_err(io::Error::from)) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// As [`poll_disturbed`](Self::poll_disturbed), of a socket that is of no use once it is ready: a byte may be taken.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(_) | Self::Redirectable(_) => self.poll_disturbed(cx, Look::Known),
            Self::Memory(pipe) => Pin::new(pipe).poll_read(cx, &mut ReadBuf::new(&mut [0])).map(|_: io::Result<()>| ()),
            Self::Tls(stream) => {
                Pin::new(&mut **stream).poll_read(cx, &mut ReadBuf::new(&mut [0])).map(|_: io::Result<()>| ())
            }
        }
    }
}

/// Whether the kernel tells any of this now, or what it always tells: an error, and that both sides are closed.
fn told(socket: &TcpStream, asked: PollFlags) -> bool {
    let mut asked = [PollFd::new(socket, asked)];
    poll(&mut asked, Some(&Timespec::default())).is_ok_and(|told| told > 0)
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => Pin::new(socket).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, socket => Pin::new(socket).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if let [single] = bufs {
            return self.poll_write(cx, single);
        }
        if total <= GATHERED && !matches!(*self, Self::Tls(_)) {
            let mut gathered = [0; GATHERED];
            let mut end = 0;
            for buf in bufs {
                gathered[end..end + buf.len()].copy_from_slice(buf);
                end += buf.len();
            }
            return self.poll_write(cx, &gathered[..end]);
        }
        each!(self, socket => Pin::new(socket).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Redirectable(socket) => socket.is_write_vectored(),
            Self::Memory(socket) => socket.is_write_vectored(),
            Self::Tls(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => Pin::new(socket).poll_shutdown(cx))
    }
}
