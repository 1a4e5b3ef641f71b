//! [`Outbox`]: what is to be written to a socket.

use crate::io::Socket;
use bytes::{Buf, Bytes};
use std::{
    cell::Cell,
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// What is to be written to a socket: small things gathered in a buffer, and behind them at most one large piece, which
/// is never copied.
///
/// Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct Outbox {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are written.
    written: usize,
    large: Bytes,
    /// What follows the large piece.
    tail: &'static [u8],
}

/// Pieces up to this are copied: for fewer bytes, the kernel's path for one buffer is shorter than for several by more
/// than the copy costs.
const SMALL: usize = 2048;

/// Gathered bytes beyond which nothing more is taken before a flush.
const FULL: usize = 16 * 1024;

thread_local! {
    /// One buffer for all outboxes of a thread: nearly every head is written in one go.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Outbox {
    /// Where heads are written to, behind all that is there.
    ///
    /// # Panics
    ///
    /// When there is no [room](Self::has_room).
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        assert!(self.large.is_empty(), "invariant: nothing is written behind a large piece before it is flushed");
        if self.buffer.capacity() == 0 {
            self.buffer = SPARE.take();
        }
        &mut self.buffer
    }

    /// Whether more may be put into it.
    #[must_use]
    #[inline]
    pub fn has_room(&self) -> bool {
        self.large.is_empty() && self.buffer.len() < FULL
    }

    /// Whether there is nothing to write.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.large.is_empty() && self.tail.is_empty()
    }

    /// Adds content.
    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() <= SMALL {
            self.buffer().extend_from_slice(&data);
        } else {
            self.large = data;
        }
    }

    /// Adds content as a chunk.
    pub(super) fn push_chunk(&mut self, data: Bytes) {
        let buffer = self.buffer();
        write!(buffer, "{:x}\r\n", data.len()).expect("invariant: memory takes every write");
        if data.len() <= SMALL {
            buffer.extend_from_slice(&data);
            buffer.extend_from_slice(b"\r\n");
        } else {
            self.large = data;
            self.tail = b"\r\n";
        }
    }

    /// Adds the chunk that ends a body without trailers.
    pub(super) fn push_last_chunk(&mut self) {
        if self.large.is_empty() {
            self.buffer().extend_from_slice(b"0\r\n\r\n");
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
    }

    /// Writes all there is. `sent` is told of every write that took something, by its bytes. Cancel-safe.
    ///
    /// # Errors
    ///
    /// What `send(2)` says; what was not written stays.
    pub fn poll_flush(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        mut sent: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let buffer = &self.buffer[self.written..];
            let wrote = match (buffer, &*self.large, self.tail) {
                (one, [], []) | ([], one, []) => ready!(Pin::new(&mut *socket).poll_write(cx, one))?,
                (buffer, large, tail) => {
                    let slices = [IoSlice::new(buffer), IoSlice::new(large), IoSlice::new(tail)];
                    ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &slices))?
                }
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            sent(wrote);
            self.wrote(wrote);
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, mut len: usize) {
        let of_buffer = len.min(self.buffer.len() - self.written);
        self.written += of_buffer;
        len -= of_buffer;
        if self.written == self.buffer.len() && self.written > 0 {
            self.release();
        }
        let of_large = len.min(self.large.len());
        self.large.advance(of_large);
        if self.large.is_empty() {
            self.large = Bytes::new();
        }
        self.tail = &self.tail[len - of_large..];
    }

    /// The buffer is written: the next outbox may have it.
    fn release(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.written = 0;
        if buffer.capacity() <= FULL {
            buffer.clear();
            SPARE.set(buffer);
        }
    }
}
