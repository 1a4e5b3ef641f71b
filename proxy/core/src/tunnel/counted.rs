//! One end of a tunnel, counted: what it said, and whether it failed.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What came out of an end.
#[derive(Debug, Default)]
pub(super) struct Meter {
    bytes: Cell<u64>,
    failed: Cell<bool>,
}

/// An end that counts what is read from it.
pub(super) struct Counted<T> {
    end: T,
    meter: Rc<Meter>,
}

impl Meter {
    /// Bytes read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether the end failed, in either direction.
    pub(super) fn failed(&self) -> bool {
        self.failed.get()
    }

    fn note<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &outcome {
            self.failed.set(true);
        }
        outcome
    }
}

impl<T> Counted<T> {
    /// Counts what is read from `end`.
    pub(super) fn new(end: T, meter: Rc<Meter>) -> Self {
        Self { end, meter }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.end).poll_read(cx, buf);
        this.meter.bytes.set(this.meter.bytes.get() + (buf.filled().len() - before) as u64);
        this.meter.note(outcome)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.meter.note(Pin::new(&mut this.end).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.meter.note(Pin::new(&mut this.end).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.meter.note(Pin::new(&mut this.end).poll_shutdown(cx))
    }
}
