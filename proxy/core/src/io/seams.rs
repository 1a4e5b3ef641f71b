//! Where connections come from ([`Accept`]) and how they are made ([`Dial`]).

use super::{
    Entry, Own, RedirectSwitch, Socket,
    redirectable::{Redirectable, ready_for_redirect},
};
use futures_util::future::LocalBoxFuture;
use pillion_config::model::TcpKeepalive;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockFilter, SockRef, Type};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
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

    /// Lets no client begin a connection any more; those that have begun one can still finish. Closing the source resets what
    /// came into its queue since it was last looked at, so this comes first. A client that asks meanwhile hears nothing
    /// and asks again after its first retransmission, a second later, when the address refuses it or somebody else
    /// serves it. Where the system cannot do this, nothing happens.
    fn turn_away(&self) {}

    /// Which socket of the kernel this is: the same for two sources that are duplicates of one, as when a listener is renamed.
    fn identity(&self) -> Option<u64> {
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

    /// A place among the connections of this process, where they are remembered.
    fn entry(&self) -> Option<Rc<Entry>> {
        None
    }
}

/// What is set on a connection before it is used.
#[derive(Debug, Clone, Default)]
pub struct DialOptions {
    /// TCP keepalive; `None`: off.
    pub keepalive: Option<TcpKeepalive>,
    /// `SO_MARK`, which needs CAP_NET_ADMIN; `None`: none.
    pub mark: Option<u32>,
    /// An address to come from that need not be this machine's (`IP_TRANSPARENT`, which needs CAP_NET_ADMIN); `None`: the
    /// kernel's choice.
    pub source: Option<IpAddr>,
    /// Where the connection's ends are noted as soon as they are known; `None`: nowhere.
    pub entry: Option<Rc<Entry>>,
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    local: SocketAddr,
    redirect: Arc<RedirectSwitch>,
}

impl Listening {
    /// Takes over a bound, listening socket.
    ///
    /// # Errors
    ///
    /// When its address cannot be read.
    pub fn new(listener: TcpListener, redirect: Arc<RedirectSwitch>) -> io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self { listener, local, redirect })
    }

    fn accepted(&self, socket: TcpStream) -> Socket {
        // Small answers must not wait for an ACK of the one before (RFC 896's algorithm off).
        socket.set_nodelay(true).ok();
        carried(socket, &self.redirect)
    }
}

/// A classic BPF program that drops what has SYN set (RFC 9293 section 3.1: bit 1 of the header's byte 13) and passes the rest.
/// The kernel shows a TCP socket's filter the segment from its TCP header on.
fn no_syn() -> [SockFilter; 4] {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

fn carried(socket: TcpStream, redirect: &RedirectSwitch) -> Socket {
    if redirect.on() {
        ready_for_redirect(&socket);
        Socket::Redirectable(Redirectable::new(socket))
    } else {
        Socket::Tcp(socket)
    }
}

impl Accept for Listening {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        let (socket, peer) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok((self.accepted(socket), peer)))
    }

    fn accept_queued(&self) -> Option<io::Result<(Socket, SocketAddr)>> {
        let queued = || {
            let (socket, peer) = SockRef::from(&self.listener).accept()?;
            socket.set_nonblocking(true)?;
            let peer = peer.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((self.accepted(TcpStream::from_std(socket.into())?), peer))
        };
        match queued() {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => None,
            queued => Some(queued),
        }
    }

    fn turn_away(&self) {
        SockRef::from(&self.listener).attach_filter(&no_syn()).ok();
    }

    /// `SO_COOKIE` (Linux 4.12).
    fn identity(&self) -> Option<u64> {
        SockRef::from(&self.listener).cookie().ok()
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Plain TCP.
#[derive(Debug, Clone, Default)]
pub struct Tcp {
    own: Arc<Own>,
    redirect: Arc<RedirectSwitch>,
}

impl Tcp {
    /// TCP whose connections are remembered, while that is wanted.
    #[must_use]
    pub fn new(own: Arc<Own>, redirect: Arc<RedirectSwitch>) -> Self {
        Self { own, redirect }
    }
}

impl Dial for Tcp {
    fn dial<'a>(&'a self, to: SocketAddr, options: &'a DialOptions) -> LocalBoxFuture<'a, io::Result<Socket>> {
        Box::pin(async move {
            let plain = options.mark.is_none() && options.source.is_none() && options.entry.is_none();
            let socket = if plain { TcpStream::connect(to).await? } else { prepared(to, options).await? };
            socket.set_nodelay(true)?;
            if let Some(keepalive) = &options.keepalive {
                let parameters = socket2::TcpKeepalive::new()
                    .with_time(keepalive.time)
                    .with_interval(keepalive.interval)
                    .with_retries(keepalive.probes);
                SockRef::from(&socket).set_tcp_keepalive(&parameters)?;
            }
            Ok(carried(socket, &self.redirect))
        })
    }

    fn entry(&self) -> Option<Rc<Entry>> {
        self.own.entry()
    }
}

/// Connects a socket on which something is set before.
async fn prepared(to: SocketAddr, options: &DialOptions) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    if let Some(source) = options.source {
        if source.is_ipv4() {
            socket.set_ip_transparent_v4(true)?
        } else {
            socket.set_ip_transparent_v6(true)?
        }
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if let (Some(entry), Some(local)) = (&options.entry, socket.local_addr()?.as_socket()) {
        entry.note(local, to);
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    stream.take_error()?.map_or(Ok(stream), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Duration};
    use tokio::time::timeout;

    /// Less than the second after which a client asks again.
    const UNHEARD: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn once_turned_away_clients_wait_and_those_before_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = Listening::new(listener, Arc::default()).unwrap();
        let early = TcpStream::connect(source.local_addr()).await.unwrap();
        source.turn_away();
        let late = tokio::spawn(TcpStream::connect(source.local_addr()));
        let (_socket, peer) = poll_fn(|cx| source.poll_accept(cx)).await.unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
        assert!(timeout(UNHEARD, poll_fn(|cx| source.poll_accept(cx))).await.is_err(), "nobody else came in");
        assert!(source.accept_queued().is_none());
        assert!(!late.is_finished(), "whoever asks later is neither served nor refused");
        drop(source);
        let refused = late.await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
