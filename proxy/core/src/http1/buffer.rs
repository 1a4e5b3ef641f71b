//! [`ReadBuffer`]: what was read from a socket and is not used up.

use crate::io::Socket;
use bytes::{Buf, Bytes, BytesMut};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// What was read from a socket and is not used up. Heads and content are split off as slices that share its memory.
///
/// Holds no memory while there is nothing in it and nothing to read.
#[derive(Debug)]
pub struct ReadBuffer {
    bytes: BytesMut,
    /// Bytes the next read may bring.
    room: usize,
}

/// The first read of a message: nearly every head with a small body. What it brings is copied to memory of its size, which
/// takes less time than to find 4 KiB for each, and less room while the request lasts.
const FIRST: usize = 4 * 1024;

thread_local! {
    /// Where first reads go to.
    static SCRATCH: RefCell<[u8; FIRST]> = const { RefCell::new([0; FIRST]) };
    /// The memory of the last large read on this thread, for the next one, whoever's it is. The processor has it at hand
    /// still; the allocator gives out what was freed last at the end, when all else of its size has been out.
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// A read that fills its room doubles the next one, up to this. Every response in flight to a client that does not read
/// may hold two of them.
const MOST: usize = 32 * 1024;

impl Default for ReadBuffer {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), room: FIRST }
    }
}

impl ReadBuffer {
    /// A buffer that begins with these bytes, read by somebody else.
    #[must_use]
    pub fn starting_with(bytes: Bytes) -> Self {
        Self { bytes: BytesMut::from(bytes), room: FIRST }
    }

    /// So many bytes are promised yet. Once a read has filled its room the next ones need not feel their way: they have
    /// room for all of it, up to their bound, and for no more.
    #[inline]
    pub fn promise(&mut self, bytes: u64) {
        if self.room > FIRST {
            self.room = usize::try_from(bytes).unwrap_or(MOST).clamp(2 * FIRST, MOST);
        }
    }

    /// Reads once, behind what is there. How many bytes came; 0: the peer has ended its side.
    ///
    /// Cancel-safe. While the socket has nothing to read, an empty buffer takes no memory.
    ///
    /// # Errors
    ///
    /// What `recv(2)` says.
    pub fn poll_fill(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let polled = if self.room == FIRST { self.poll_first(socket, cx) } else { self.poll_more(socket, cx) };
        if polled.is_pending() {
            self.release();
        }
        polled
    }

    /// Reads into the thread's own memory and keeps what came.
    fn poll_first(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(socket).poll_read(cx, &mut read))?;
            self.bytes.extend_from_slice(read.filled());
            self.filled(read.filled().len(), FIRST);
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    /// Reads to where the bytes stay.
    fn poll_more(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(socket.poll_read_ready(cx))?;
        if self.bytes.capacity() - self.bytes.len() < self.room / 4 {
            self.find_room();
        }
        let room = self.bytes.capacity() - self.bytes.len();
        let len = ready!(pin!(socket.read_buf(&mut self.bytes)).poll(cx))?;
        self.filled(len, room);
        Poll::Ready(Ok(len))
    }

    fn find_room(&mut self) {
        if self.bytes.try_reclaim(self.room) {
            return;
        }
        if self.bytes.is_empty() {
            // Grown, it would take along what is used up.
            self.bytes = SPARE.take().unwrap_or_default();
        }
        self.bytes.reserve(self.room);
    }

    /// A read brought `len` bytes where it had `room` for more or no more.
    fn filled(&mut self, len: usize, room: usize) {
        if len == room {
            self.room = (self.room * 2).min(MOST);
        }
    }

    /// What is not used up.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether all is used up.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Uses up the first `len` bytes, and has them.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    #[inline]
    pub fn take(&mut self, len: usize) -> Bytes {
        self.bytes.split_to(len).freeze()
    }

    /// Uses up the first `len` bytes.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[inline]
    pub fn skip(&mut self, len: usize) {
        self.bytes.advance(len);
    }

    /// All that is not used up: the connection belongs to another protocol.
    #[must_use]
    pub fn take_all(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }

    /// Gives its memory back if nothing is in it: the connection rests.
    pub fn release(&mut self) {
        if !self.bytes.is_empty() {
            return;
        }
        if self.room > FIRST {
            self.set_aside();
        } else if self.bytes.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// Gives the memory of a large message to whoever reads one next, if nobody holds a part of it any more.
    #[cold]
    fn set_aside(&mut self) {
        let mut bytes = std::mem::take(self).bytes;
        if bytes.try_reclaim(MOST) {
            SPARE.set(Some(bytes));
        }
    }

    /// Bytes of memory it holds, beyond itself.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }
}
