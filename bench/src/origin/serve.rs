//! Sockets, and which service is behind each.

use super::{Listening, bodies::Bodies, http1, http2, tcp};
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::{JoinSet, spawn_local},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

const BACKLOG: i32 = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a thread serves from.
#[derive(Debug, Clone)]
pub(super) struct Services {
    pub(super) bodies: Arc<Bodies>,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// What is behind a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Http1,
    Http2,
    Tls,
    Echo,
    Discard,
    Source,
}

/// One thread's listening sockets.
#[derive(Debug)]
pub(super) struct Sockets(Vec<(Service, TcpListener)>);

impl Sockets {
    /// On ports of the kernel's choice.
    pub(super) fn bind(address: IpAddr, tls: bool) -> io::Result<Self> {
        use Service::{Discard, Echo, Http1, Http2, Source, Tls};
        let services = [Http1, Http2, Tls, Echo, Discard, Source].into_iter().filter(|it| tls || *it != Tls);
        let bound = services.map(|service| Ok((service, listen(SocketAddr::new(address, 0))?)));
        Ok(Self(bound.collect::<io::Result<_>>()?))
    }

    /// On the same ports again, for another thread: the kernel deals connections out.
    pub(super) fn again(&self) -> io::Result<Self> {
        let bound = self.0.iter().map(|(service, socket)| Ok((*service, listen(socket.local_addr()?)?)));
        Ok(Self(bound.collect::<io::Result<_>>()?))
    }

    /// Where they are.
    pub(super) fn listening(&self) -> io::Result<Listening> {
        let find = |service| match self.0.iter().find(|(it, _)| *it == service) {
            Some((_, socket)) => socket.local_addr().map(Some),
            None => Ok(None),
        };
        let there = |service| find(service)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        Ok(Listening {
            http1: there(Service::Http1)?,
            http2: there(Service::Http2)?,
            tls: find(Service::Tls)?,
            tcp_echo: there(Service::Echo)?,
            tcp_discard: there(Service::Discard)?,
            tcp_source: there(Service::Source)?,
        })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves until `stop`'s other end is gone.
pub(super) async fn all(sockets: Sockets, services: Services, mut stop: watch::Receiver<()>) {
    let services = Rc::new(services);
    let mut listeners = JoinSet::new();
    for (service, socket) in sockets.0 {
        listeners.spawn_local(accept(service, socket, Rc::clone(&services)));
    }
    stop.changed().await.ok();
}

async fn accept(service: Service, socket: TcpListener, services: Rc<Services>) -> io::Result<()> {
    let socket = tokio::net::TcpListener::from_std(socket)?;
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                stream.set_nodelay(true).ok();
                spawn_local(serve(service, stream, Rc::clone(&services)));
            }
            // No descriptors left, most likely: those in use may be given back.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// What ends a connection is its client's to tell of.
async fn serve(service: Service, stream: TcpStream, services: Rc<Services>) {
    let bodies = Arc::clone(&services.bodies);
    match service {
        Service::Http1 => drop(http1::serve(stream, bodies).await),
        Service::Http2 => drop(http2::serve(stream, bodies).await),
        Service::Tls => serve_tls(stream, &services).await,
        Service::Echo => drop(tcp::echo(stream).await),
        Service::Discard => drop(tcp::discard(stream).await),
        Service::Source => drop(tcp::source(stream).await),
    }
}

async fn serve_tls(stream: TcpStream, services: &Services) {
    let Some(config) = &services.tls else { return };
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let bodies = Arc::clone(&services.bodies);
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        drop(http2::serve(stream, bodies).await);
    } else {
        drop(http1::serve(stream, bodies).await);
    }
}
