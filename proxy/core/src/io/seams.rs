//! Where connections come from ([`Accept`]) and how they are made ([`Dial`]).

use super::Socket;
use futures_util::future::LocalBoxFuture;
use pillion_config::model::TcpKeepalive;
use socket2::SockRef;
use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};
use tokio::net::{TcpListener, TcpStream};

/// A source of downstream connections.
pub trait Accept {
    /// The next connection and its peer's address.
    ///
    /// # Errors
    ///
    /// What `accept(2)` says; the caller tells errors of one connection from those of the process.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>>;

    /// A connection that waits in the kernel's queue, of which the runtime may not have heard yet: to be asked before the
    /// source is closed, which resets what waits there.
    fn accept_queued(&self) -> Option<io::Result<(Socket, SocketAddr)>> {
        None
    }

    /// The address bound.
    fn local_addr(&self) -> SocketAddr;
}

/// A way to reach an endpoint.
pub trait Dial {
    /// Connects to `to`. Dropping the future gives the attempt up. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// What `connect(2)` says.
    fn dial<'a>(&'a self, to: SocketAddr, options: &'a DialOptions) -> LocalBoxFuture<'a, io::Result<Socket>>;
}

/// What is set on a connection before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialOptions {
    /// TCP keepalive; `None`: off.
    pub keepalive: Option<TcpKeepalive>,
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    local: SocketAddr,
}

impl Listening {
    /// Takes over a bound, listening socket.
    ///
    /// # Errors
    ///
    /// When its address cannot be read.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self { listener, local })
    }
}

fn accepted(socket: TcpStream) -> Socket {
    // Small answers must not wait for an ACK of the one before (RFC 896's algorithm off).
    socket.set_nodelay(true).ok();
    Socket::Tcp(socket)
}

impl Accept for Listening {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        let (socket, peer) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok((accepted(socket), peer)))
    }

    fn accept_queued(&self) -> Option<io::Result<(Socket, SocketAddr)>> {
        let queued = || {
            let (socket, peer) = SockRef::from(&self.listener).accept()?;
            socket.set_nonblocking(true)?;
            let peer = peer.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((accepted(TcpStream::from_std(socket.into())?), peer))
        };
        match queued() {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => None,
            queued => Some(queued),
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Plain TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, to: SocketAddr, options: &'a DialOptions) -> LocalBoxFuture<'a, io::Result<Socket>> {
        Box::pin(async move {
            let socket = TcpStream::connect(to).await?;
            socket.set_nodelay(true)?;
            if let Some(keepalive) = &options.keepalive {
                let parameters = socket2::TcpKeepalive::new()
                    .with_time(keepalive.time)
                    .with_interval(keepalive.interval)
                    .with_retries(keepalive.probes);
                SockRef::from(&socket).set_tcp_keepalive(&parameters)?;
            }
            Ok(Socket::Tcp(socket))
        })
    }
}
