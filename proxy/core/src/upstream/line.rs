//! `Line`: a socket that its codec owns and that counts what was read, so that silence can be told without a clock, and knows
//! by what it began, of which the codec tells nothing where that is no HTTP/2.
//!
//! Beside the path, between an HTTP/2 connection's socket and its codec. It never buffers.

use super::Carrying;
use crate::{
    identity::{Dialling, Failure},
    io::{Gone, Marker, Socket},
};
use rustls::pki_types::CertificateDer;
use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket that its codec owns and that counts what was read.
#[derive(Debug)]
pub(super) struct Line(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: RefCell<Socket>,
    read: Cell<u64>,
    marker: RefCell<Marker>,
    /// Of the marker.
    gone: Rc<Gone>,
    /// The first byte of it.
    first: Cell<Option<u8>>,
}

/// A connection's view of its [`Line`]; it does not keep the socket open.
#[derive(Debug, Clone)]
pub(super) struct Watch(Weak<Shared>);

impl Line {
    pub(super) fn new(socket: Socket) -> (Self, Watch) {
        let marker = Marker::default();
        let gone = Rc::clone(marker.gone());
        let (socket, marker) = (RefCell::new(socket), RefCell::new(marker));
        let shared = Rc::new(Shared { socket, read: Cell::new(0), marker, gone, first: Cell::new(None) });
        let watch = Watch(Rc::downgrade(&shared));
        (Self(shared), watch)
    }

    /// Keeps the socket open as long as it lives.
    pub(super) fn hold(&self) -> Held {
        Held(Rc::clone(&self.0))
    }

    fn with<T>(&self, call: impl FnOnce(Pin<&mut Socket>) -> T) -> T {
        call(Pin::new(&mut *self.0.socket.borrow_mut()))
    }
}

/// Keeps the socket of a [`Line`] that its codec may drop.
pub(super) struct Held(Rc<Shared>);

impl Held {
    /// As [`Watch::late_refusal`].
    pub(super) fn late_refusal(&self) -> Option<Failure> {
        self.0.socket.borrow_mut().late_refusal()
    }

    /// The first byte that was read.
    pub(super) fn first(&self) -> Option<u8> {
        self.0.first.get()
    }

    /// The same once the codec has given up: it may have failed to write before it read what was there.
    pub(super) fn last_look(&self, cx: &mut Context<'_>) -> Option<u8> {
        if self.first().is_none() {
            let mut byte = [0];
            let mut buf = ReadBuf::new(&mut byte);
            // What fails here has said nothing.
            let _ = Pin::new(&mut Line(Rc::clone(&self.0))).poll_read(cx, &mut buf);
        }
        self.first()
    }
}

impl Watch {
    /// What the socket is, for filters; `None` once it is closed.
    pub(super) fn carrying(&self) -> Option<Rc<Carrying>> {
        self.0.upgrade().map(|shared| Carrying::of(&shared.socket.borrow()))
    }

    /// To be told which streams were reset, while the socket is open.
    pub(super) fn gone(&self) -> Option<Rc<Gone>> {
        self.0.upgrade().map(|shared| Rc::clone(&shared.gone))
    }

    /// Bytes read so far; `None` once the socket is closed.
    pub(super) fn bytes_read(&self) -> Option<u64> {
        self.0.upgrade().map(|shared| shared.read.get())
    }

    /// The first byte that was read, while the socket is open.
    pub(super) fn first(&self) -> Option<u8> {
        self.0.upgrade().and_then(|shared| shared.first.get())
    }

    /// By what the server was judged, where TLS carries it and the socket is open.
    pub(super) fn made_by(&self) -> Option<Arc<Dialling>> {
        self.0.upgrade().and_then(|shared| shared.socket.borrow().made_by().cloned())
    }

    /// What a server that refused us after the handshake said, once the connection failed and while its codec is there.
    pub(super) fn late_refusal(&self) -> Option<Failure> {
        self.0.upgrade()?.socket.borrow_mut().late_refusal()
    }

    /// The chain that the peer showed; empty once the socket is closed.
    pub(super) fn peer_certificates(&self) -> Box<[CertificateDer<'static>]> {
        let shared = self.0.upgrade();
        shared.and_then(|shared| shared.socket.borrow().peer_certificates().map(Into::into)).unwrap_or_default()
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.0.marker.borrow_mut().gives_way() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = self.with(|socket| socket.poll_read(cx, buf));
        if self.0.first.get().is_none() {
            self.0.first.set(buf.filled().get(before).copied());
        }
        self.0.marker.borrow_mut().pass(&mut buf.filled_mut()[before..]);
        self.0.read.set(self.0.read.get() + (buf.filled().len() - before) as u64);
        polled
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|socket| socket.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|socket| socket.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.socket.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[test]
    fn what_is_read_is_counted_while_the_socket_is_open() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = duplex(64);
            let (mut line, watch) = Line::new(Socket::Memory(ours));
            assert_eq!((watch.bytes_read(), watch.first()), (Some(0), None));
            theirs.write_all(b"408").await.unwrap();
            line.read_exact(&mut [0; 3]).await.unwrap();
            assert_eq!((watch.bytes_read(), watch.first()), (Some(3), Some(b'4')));
            drop(line);
            assert_eq!(watch.bytes_read(), None);
        });
    }
}
