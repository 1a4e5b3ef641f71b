//! A connection to the target: TCP, perhaps with TLS over it, and the protocols' ways of using one.

use super::{fault::Fault, plan::Plan};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Connection and handshake together.
const CONNECT: Duration = Duration::from_secs(10);
/// Read at once; one buffer for all connections of a thread, since each uses it within one poll.
const READ: usize = 256 * 1024;

/// What the connections of a thread share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) plan: Arc<Plan>,
    /// Connections made.
    pub(super) opened: Cell<u64>,
    /// Long answers compared byte by byte.
    pub(super) compared: Cell<u32>,
    buffer: RefCell<Box<[u8]>>,
}

/// Bytes to and from the target.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Context {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, opened: Cell::new(0), compared: Cell::new(0), buffer: RefCell::new(vec![0; READ].into()) }
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Stream, Fault> {
        match timeout(CONNECT, self.dial()).await {
            Ok(stream) => stream,
            Err(_elapsed) => Err(Fault::Connect),
        }
    }

    async fn dial(&self) -> Result<Stream, Fault> {
        let socket = TcpStream::connect(self.plan.target).await.map_err(|_| Fault::Connect)?;
        socket.set_nodelay(true).map_err(|_| Fault::Connect)?;
        let stream = match &self.plan.tls {
            None => Stream::Plain(socket),
            Some((config, name)) => {
                let handshake = TlsConnector::from(Arc::clone(config)).connect(name.clone(), socket);
                Stream::Tls(Box::new(handshake.await.map_err(|_| Fault::Tls)?))
            }
        };
        self.opened.set(self.opened.get() + 1);
        Ok(stream)
    }

    /// Connects and speaks HTTP/2. The connection lives until the handle and its clones are dropped.
    pub(super) async fn connect_http2(&self) -> Result<h2::client::SendRequest<Bytes>, Fault> {
        let stream = self.connect().await?;
        let mut builder = h2::client::Builder::new();
        // Wide enough that the client never holds the server back, as h2load's are.
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24).enable_push(false);
        let (send, connection) = builder.handshake(stream).await.map_err(|error| Fault::of_h2(&error))?;
        tokio::task::spawn_local(async move {
            // Its streams say what happened to them.
            connection.await.ok();
        });
        Ok(send)
    }

    /// One read; `take` gets the bytes, none at the end of the stream.
    pub(super) fn poll_read<T>(
        &self,
        cx: &mut TaskContext<'_>,
        stream: &mut Stream,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        let mut buffer = self.buffer.borrow_mut();
        let mut buf = ReadBuf::new(&mut buffer);
        match Pin::new(stream).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(take(buf.filled()))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
