//! `Line`: a socket that its codec owns and its pool can look at.
//!
//! Beside the path, between the socket and the guard. It counts what was read, so that silence can be told without a
//! clock, and peeks for a close that the codec has not seen yet. It never buffers.

use crate::io::Socket;
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket that its codec owns and its pool can look at.
#[derive(Debug)]
pub(super) struct Line(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: RefCell<Socket>,
    read: Cell<u64>,
}

/// The pool's view of a [`Line`]; it does not keep the socket open.
#[derive(Debug, Clone)]
pub(super) struct Watch(Weak<Shared>);

/// What a look at a resting connection shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: as a resting connection should be.
    Quiet,
    /// The peer closed it, or said something nobody asked for.
    Over,
}

impl Line {
    pub(super) fn new(socket: Socket) -> (Self, Watch) {
        let shared = Rc::new(Shared { socket: RefCell::new(socket), read: Cell::new(0) });
        let watch = Watch(Rc::downgrade(&shared));
        (Self(shared), watch)
    }

    fn with<T>(&self, call: impl FnOnce(Pin<&mut Socket>) -> T) -> T {
        call(Pin::new(&mut *self.0.socket.borrow_mut()))
    }
}

/// Looks at what waits in front of a TLS connection: a server's session ticket is no end, an alert is.
fn look_at_records(carrier: &Socket) -> Seen {
    /// An alert in the clear (RFC 5246 §7.2), and one within a record of TLS 1.3: two bytes, its kind, a tag of 16.
    const ALERTS: [[u8; 2]; 2] = [[21, 2], [23, 19]];
    let Socket::Tcp(socket) = carrier else { return Seen::Quiet };
    let mut header = [0u8; 5];
    match recv(socket, &mut header[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Err(Errno::AGAIN | Errno::INTR) => Seen::Quiet,
        Ok((5, _)) if !ALERTS.contains(&[header[0], header[4]]) => Seen::Quiet,
        Ok(_) | Err(_) => Seen::Over,
    }
}

impl Watch {
    /// Looks at the socket without taking anything from it.
    pub(super) fn look(&self) -> Seen {
        let Some(shared) = self.0.upgrade() else { return Seen::Over };
        match &*shared.socket.borrow() {
            Socket::Tcp(socket) => match recv(socket, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN | Errno::INTR) => Seen::Quiet,
                Ok(_) | Err(_) => Seen::Over,
            },
            Socket::Memory(_) => Seen::Quiet,
            Socket::Tls(stream) => look_at_records(stream.carrier()),
        }
    }

    /// Bytes read so far; `None` once the socket is closed.
    pub(super) fn bytes_read(&self) -> Option<u64> {
        self.0.upgrade().map(|shared| shared.read.get())
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = self.with(|socket| socket.poll_read(cx, buf));
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    #[test]
    fn a_look_tells_quiet_from_over_and_takes_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut theirs, _) = listener.accept().await.unwrap();
            let (mut line, watch) = Line::new(Socket::Tcp(ours));
            assert_eq!((watch.look(), watch.bytes_read()), (Seen::Quiet, Some(0)));
            theirs.write_all(b"408").await.unwrap();
            assert_eq!(until(&watch, Seen::Over).await, Seen::Over, "nobody asked for that");
            let mut said = [0; 3];
            line.read_exact(&mut said).await.unwrap();
            assert_eq!((watch.look(), watch.bytes_read()), (Seen::Quiet, Some(3)));
            drop(theirs);
            assert_eq!(until(&watch, Seen::Over).await, Seen::Over);
            drop(line);
            assert_eq!((watch.look(), watch.bytes_read()), (Seen::Over, None));
        });
    }

    /// The kernel needs a moment between two sockets.
    async fn until(watch: &Watch, wanted: Seen) -> Seen {
        for _ in 0..1_000 {
            if watch.look() == wanted {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        watch.look()
    }
}
