//! copy: bytes both ways until both sides have ended.
//!
//! What is read goes into a buffer that all connections of a worker share and from there straight to the other side;
//! only what that side does not take at once is kept, in as many bytes as it has. So a tunnel that rests holds no
//! buffer, and thousands of them cost what their sockets cost. Half-close is kept: one side's end is passed on while the
//! other side still speaks. Nothing that is carried is looked at.
//!
//! A side that breaks off, by a reset or by TLS without its end, has not said that this was all: the other side gets what
//! came before, and then a reset and no end ([`abort`]). Over two TLS legs that goes from end to end.
//!
//! A direction between two TCP sockets that brings large reads is moved within the kernel instead (`splice.rs`), until it
//! slows down again.

use super::{
    end::End,
    splice::{Moved, Pipe, Pipes},
};
use bytes::{Buf, Bytes};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

/// Bytes read at once, and so what one direction holds at most while its reader is slow. Enough that a bulk stream's
/// system calls disappear beside its copying; half of a usual second-level cache's share for one of its two copies.
const READ: usize = 64 * 1024;

/// A read as large as this is a bulk stream's: the kernel had it waiting.
const BULK: usize = READ / 2;

/// So many of them in a row, and the direction is moved within the kernel.
const STREAK: u8 = 4;

/// How long a side may take for what came before the other broke off.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// A worker's means for bytes in passing. Made when they are first used.
#[derive(Debug, Default)]
pub struct Passage {
    buffer: RefCell<Box<[u8]>>,
    pipes: Pipes,
}

impl Passage {
    /// Pipes that wait for their next use.
    #[cfg(test)]
    pub(super) fn resting_pipes(&self) -> usize {
        self.pipes.resting()
    }
}

/// Bytes that came from each side, readable while they flow.
#[derive(Debug, Default)]
pub(super) struct Meters {
    /// From downstream.
    pub(super) received: Cell<u64>,
    /// From upstream.
    pub(super) sent: Cell<u64>,
}

impl Meters {
    /// Bytes of both directions.
    pub(super) fn total(&self) -> u64 {
        self.received.get() + self.sent.get()
    }
}

/// The side whose socket failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The client's.
    Downstream,
    /// The server's.
    Upstream,
}

/// One direction.
struct Direction<'a> {
    /// Read and not yet taken by the other side.
    held: Bytes,
    stage: Stage,
    ends: Ends,
    /// Written since the last flush.
    unflushed: Unflushed,
    /// Large reads in a row.
    streak: u8,
    /// What is on its way within the kernel.
    pipe: Option<Pipe>,
    meter: &'a Cell<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Flowing,
    Ending,
    Ended,
    /// Its source broke off: nothing of it is left, and what was written is on its way out.
    Cut,
}

/// What becomes of a source's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    PassedOn,
    /// It is none that its peer meant.
    Withheld,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unflushed {
    Nothing,
    Something,
}

/// Which of a direction's two sockets failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    Reading,
    Writing,
}

/// Copies until both sides have ended or one has failed; then the other was given what came before, and is reset when it is
/// dropped, unless it has been told an end in order. `early` was read from downstream before. Dropping the future loses what
/// is held of either direction; the sockets must go with it.
pub(super) async fn copy<D, U>(
    passage: &Passage,
    downstream: &mut D,
    upstream: &mut U,
    early: Bytes,
    meters: &Meters,
) -> Result<(), Broken>
where
    D: End,
    U: End,
{
    meters.received.set(meters.received.get() + early.len() as u64);
    let mut up = Direction::new(early, &meters.received);
    let mut down = Direction::new(Bytes::new(), &meters.sent);
    let copied = poll_fn(|cx| {
        let up = up.poll(cx, passage, downstream, upstream).map_err(|failed| match failed {
            Failed::Reading => (Broken::Downstream, failed),
            Failed::Writing => (Broken::Upstream, failed),
        })?;
        let down = down.poll(cx, passage, upstream, downstream).map_err(|failed| match failed {
            Failed::Reading => (Broken::Upstream, failed),
            Failed::Writing => (Broken::Downstream, failed),
        })?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await;
    let Err((broken, failed)) = copied else { return Ok(()) };
    // Boxed: tunnels that live do not carry the room for it.
    match broken {
        Broken::Downstream => Box::pin(abort(&mut up, failed, passage, downstream, upstream)).await,
        Broken::Upstream => Box::pin(abort(&mut down, failed, passage, upstream, downstream)).await,
    }
    Err(broken)
}

/// One side, `from`, broke off. What came of it before goes on to the other, as far as that takes it within
/// [`LAST_BYTES`]; then that side is reset, too: to close it would say that this was all. What the kernel has not sent by
/// then is lost, as what follows a reset on its own way is. An end in order that was passed on before stands.
async fn abort<F: End, T: End>(
    direction: &mut Direction<'_>,
    failed: Failed,
    passage: &Passage,
    from: &mut F,
    to: &mut T,
) {
    if direction.stage != Stage::Flowing {
        return;
    }
    match failed {
        // Whatever it had said was read before.
        Failed::Reading => direction.stage = Stage::Cut,
        // It takes nothing any more, and what it said may still be there. Whether its end was meant the kernel has told the
        // write that failed, and nobody else.
        Failed::Writing => direction.ends = Ends::Withheld,
    }
    let rest = poll_fn(|cx| direction.poll(cx, passage, from, to));
    // Whether it took everything is no matter.
    let _ = timeout(LAST_BYTES, rest).await;
    from.reset_at_close();
    to.reset_at_close();
}

impl<'a> Direction<'a> {
    fn new(held: Bytes, meter: &'a Cell<u64>) -> Self {
        Self {
            held,
            stage: Stage::Flowing,
            ends: Ends::PassedOn,
            unflushed: Unflushed::Nothing,
            streak: 0,
            pipe: None,
            meter,
        }
    }

    /// Moves what can be moved. Ready once the end has been passed on.
    fn poll<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        passage: &Passage,
        from: &mut F,
        to: &mut T,
    ) -> Poll<Result<(), Failed>>
    where
        F: End,
        T: End,
    {
        loop {
            while !self.held.is_empty() {
                let taken = ready!(write(cx, to, &self.held))?;
                self.held.advance(taken);
                self.unflushed = Unflushed::Something;
            }
            match self.stage {
                Stage::Flowing if self.streak >= STREAK => match (from.tcp(), to.tcp()) {
                    (Some(from), Some(to)) => ready!(self.poll_splice(cx, passage, from, to))?,
                    // Never again: what carries it does not change.
                    (None, _) | (_, None) => self.streak = 0,
                },
                Stage::Flowing => match self.poll_pass(cx, passage, from, to) {
                    Poll::Ready(passed) => passed?,
                    Poll::Pending => {
                        // A socket has nothing to flush; a layer upon one may.
                        if self.unflushed == Unflushed::Something {
                            ready!(Pin::new(to).poll_flush(cx)).map_err(|_| Failed::Writing)?;
                            self.unflushed = Unflushed::Nothing;
                        }
                        return Poll::Pending;
                    }
                },
                Stage::Ending if self.ends == Ends::Withheld => self.stage = Stage::Cut,
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Failed::Writing)?;
                    self.stage = Stage::Ended;
                }
                Stage::Cut => {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| Failed::Writing)?;
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// One read, and the write of what it brought as far as it goes.
    fn poll_pass<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        passage: &Passage,
        from: &mut F,
        to: &mut T,
    ) -> Poll<Result<(), Failed>>
    where
        F: End,
        T: End,
    {
        let mut buffer = passage.buffer.borrow_mut();
        if buffer.is_empty() {
            *buffer = vec![0; READ].into();
        }
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(from).poll_read(cx, &mut read)).map_err(|_| Failed::Reading)?;
        let bytes = read.filled();
        if bytes.is_empty() {
            self.stage = Stage::Ending;
            return Poll::Ready(Ok(()));
        }
        self.meter.set(self.meter.get() + bytes.len() as u64);
        self.streak = if bytes.len() >= BULK { self.streak + 1 } else { 0 };
        let taken = match write(cx, to, bytes) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        self.unflushed = Unflushed::Something;
        self.held = Bytes::copy_from_slice(&bytes[taken..]);
        Poll::Ready(Ok(()))
    }

    /// One move within the kernel: out of one socket into a pipe, and on into the other. Leaves the mode where what comes
    /// is small, or where no pipe can be had.
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        passage: &Passage,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Poll<Result<(), Failed>> {
        if self.pipe.is_none() {
            // Taken only when there is something to move: a direction that waits holds no pipe.
            ready!(from.poll_read_ready(cx)).map_err(|_| Failed::Reading)?;
            self.pipe = passage.pipes.take();
        }
        let Some(pipe) = &mut self.pipe else {
            self.streak = 0;
            return Poll::Ready(Ok(()));
        };
        if pipe.is_empty() {
            match pipe.fill(from) {
                Ok(Moved::Bytes(count)) => {
                    self.meter.set(self.meter.get() + count as u64);
                    // A bulk stream has its small moments.
                    let large = count >= BULK;
                    self.streak = if large { (self.streak + 1).min(2 * STREAK) } else { self.streak - 1 };
                }
                Ok(Moved::End) => self.stage = Stage::Ending,
                Ok(Moved::NotYet) => {}
                // Read instead; the next large ones may come through TCP again.
                Ok(Moved::Unseen) => self.streak = 0,
                Err(_) => return Poll::Ready(Err(Failed::Reading)),
            }
        }
        while !pipe.is_empty() {
            ready!(to.poll_write_ready(cx)).map_err(|_| Failed::Writing)?;
            pipe.drain(to).map_err(|_| Failed::Writing)?;
        }
        passage.pipes.put(self.pipe.take());
        Poll::Ready(Ok(()))
    }
}

fn write<T: AsyncWrite + Unpin>(cx: &mut Context<'_>, to: &mut T, bytes: &[u8]) -> Poll<Result<usize, Failed>> {
    match ready!(Pin::new(to).poll_write(cx, bytes)) {
        Ok(0) | Err(_) => Poll::Ready(Err(Failed::Writing)),
        Ok(taken) => Poll::Ready(Ok(taken)),
    }
}

#[cfg(test)]
mod tests;
