//! copy: bytes both ways until both sides have ended.
//!
//! What is read goes into a buffer that all connections of a worker share and from there straight to the other side;
//! only what that side does not take at once is kept, in as many bytes as it has. So a tunnel that rests holds no
//! buffer, and thousands of them cost what their sockets cost. Half-close is kept: one side's end is passed on while the
//! other side still speaks. Nothing that is carried is looked at.
//!
//! A side that breaks off, by a reset or by TLS without its end, has not said that this was all: the other side gets all of
//! what came before, and then a reset and no end ([`abort`](mod@abort)). Over two TLS legs that goes from end to end.
//!
//! A direction between two TCP sockets that brings large reads is moved within the kernel instead (`splice.rs`), until it
//! slows down again.

use super::{
    end::End,
    splice::{Moved, Pipe, Pipes},
};
use abort::abort;
use bytes::{Buf, Bytes};
use std::{
    cell::{Cell, RefCell, RefMut},
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

mod abort;

/// Bytes read at once, and so what one direction holds at most while its reader is slow. Enough that a bulk stream's
/// system calls disappear beside its copying; half of a usual second-level cache's share for one of its two copies.
const READ: usize = 64 * 1024;

/// A read as large as this is a bulk stream's: the kernel had it waiting.
const BULK: usize = READ / 2;

/// How often within a time of silence it is looked whether something moved: that time is kept to a twelfth, and a tunnel wakes no more
/// often than every five minutes by default.
const LOOKS: u32 = 12;

/// So many of them in a row, and the direction is moved within the kernel.
const STREAK: u8 = 4;

/// A worker's means for bytes in passing. Made when they are first used.
#[derive(Debug, Default)]
pub struct Passage {
    buffer: RefCell<Box<[u8]>>,
    pipes: Pipes,
}

impl Passage {
    fn buffer(&self) -> RefMut<'_, Box<[u8]>> {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            *buffer = vec![0; READ].into();
        }
        buffer
    }

    /// Pipes that wait for their next use.
    #[cfg(test)]
    pub(super) fn resting_pipes(&self) -> usize {
        self.pipes.resting()
    }
}

/// Bytes of each direction, readable while they flow.
#[derive(Debug, Default)]
pub(super) struct Meters {
    up: Meter,
    down: Meter,
    /// The side that broke off, from then on.
    broken: Cell<Option<Broken>>,
}

/// Bytes of one direction.
#[derive(Debug, Default)]
struct Meter {
    read: Cell<u64>,
    written: Cell<u64>,
    /// What was seen to arrive after the last was written.
    arrived: Cell<u64>,
    end: Cell<Told>,
}

/// What the other side was told of a direction's end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    InOrder,
}

/// Whether something was read and not yet written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    Something,
}

impl Meters {
    /// Bytes that came from downstream.
    pub(super) fn received(&self) -> u64 {
        self.up.read.get()
    }

    /// Bytes that downstream was given: a TCP socket's kernel has taken them.
    pub(super) fn sent(&self) -> u64 {
        self.down.written.get()
    }

    /// Grows with every byte that moves.
    pub(super) fn moved(&self) -> u64 {
        self.up.moved() + self.down.moved()
    }

    /// Whether neither side has said anything, and the server not that this was all. A client that closed its side without a word
    /// has asked for nothing.
    pub(super) fn unspoken(&self) -> bool {
        self.moved() == 0 && self.down.end.get() == Told::Nothing
    }

    /// The side that broke off, if one has.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken.get()
    }

    /// Whether either direction holds what the other side was not given: to close that one would say that this was all.
    pub(super) fn held(&self) -> (Holds, Holds) {
        (self.up.holds(), self.down.holds())
    }

    /// The side that broke off, if downstream is lost or reset for it and so may not get what it was given.
    pub(super) fn cut_downstream(&self) -> Option<Broken> {
        self.broken.get().filter(|broken| *broken == Broken::Downstream || self.down.end.get() == Told::Nothing)
    }
}

impl Meter {
    fn add(counter: &Cell<u64>, bytes: usize) {
        counter.set(counter.get() + bytes as u64);
    }

    fn holds(&self) -> Holds {
        if self.read.get() == self.written.get() { Holds::Nothing } else { Holds::Something }
    }

    fn moved(&self) -> u64 {
        self.read.get() + self.written.get() + self.arrived.get()
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
    meter: &'a Meter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Flowing,
    Ending,
    Ended,
    /// Its source broke off: nothing of it is left, and what was written is on its way out.
    Cut,
    /// The other side takes nothing any more: what comes is thrown away.
    ReadOver,
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
    /// TLS without close_notify: cut by its peer's end or by somebody on the way, nobody can tell.
    Truncated,
    Writing,
}

/// What was read of each side before.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Of downstream.
    pub(super) client: Bytes,
    /// Of upstream.
    pub(super) server: Bytes,
}

impl Early {
    pub(super) fn is_nothing(&self) -> bool {
        self.client.is_empty() && self.server.is_empty()
    }
}

/// Copies until both sides have ended or one has failed; then the other was given what came before, and is reset when it is
/// dropped, unless it has been told an end in order. A side that takes nothing of what came before is waited for at most
/// `idle`. Dropping the future loses what is held of either direction; the sockets
/// must go with it.
pub(super) async fn copy<D, U>(
    passage: &Passage,
    downstream: &mut D,
    upstream: &mut U,
    early: Early,
    idle: Option<Duration>,
    meters: &Meters,
) -> Result<(), Broken>
where
    D: End,
    U: End,
{
    let mut up = Direction::new(early.client, &meters.up);
    let mut down = Direction::new(early.server, &meters.down);
    let copied = poll_fn(|cx| {
        let up = up.poll(cx, passage, downstream, upstream).map_err(|failed| match failed {
            Failed::Reading | Failed::Truncated => (Broken::Downstream, failed),
            Failed::Writing => (Broken::Upstream, failed),
        })?;
        let down = down.poll(cx, passage, upstream, downstream).map_err(|failed| match failed {
            Failed::Reading | Failed::Truncated => (Broken::Upstream, failed),
            Failed::Writing => (Broken::Downstream, failed),
        })?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await;
    let Err((broken, failed)) = copied else { return Ok(()) };
    meters.broken.set(Some(broken));
    // Boxed: tunnels that live do not carry the room for it.
    match broken {
        Broken::Downstream => Box::pin(abort((&mut up, &mut down), failed, idle, passage, downstream, upstream)).await,
        Broken::Upstream => Box::pin(abort((&mut down, &mut up), failed, idle, passage, upstream, downstream)).await,
    }
    Err(broken)
}

impl<'a> Direction<'a> {
    fn new(held: Bytes, meter: &'a Meter) -> Self {
        Meter::add(&meter.read, held.len());
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
                let Poll::Ready(taken) = write(cx, to, &self.held) else {
                    from.poll_ahead(cx);
                    return Poll::Pending;
                };
                let taken = taken?;
                Meter::add(&self.meter.written, taken);
                self.held.advance(taken);
                self.unflushed = Unflushed::Something;
            }
            match self.stage {
                // What is within the kernel comes before whatever is read.
                Stage::Flowing if self.streak >= STREAK || self.pipe.is_some() => match (from.tcp(), to.tcp()) {
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
                    self.meter.end.set(Told::InOrder);
                    self.stage = Stage::Ended;
                }
                Stage::Cut => {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| Failed::Writing)?;
                    self.stage = Stage::Ended;
                }
                Stage::Ended | Stage::ReadOver => return Poll::Ready(Ok(())),
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
        let mut buffer = passage.buffer();
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(from).poll_read(cx, &mut read)).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Failed::Truncated,
            _ => Failed::Reading,
        })?;
        let bytes = read.filled();
        if bytes.is_empty() {
            self.stage = Stage::Ending;
            return Poll::Ready(Ok(()));
        }
        Meter::add(&self.meter.read, bytes.len());
        self.streak = if bytes.len() >= BULK { self.streak + 1 } else { 0 };
        let taken = match write(cx, to, bytes) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        Meter::add(&self.meter.written, taken);
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
                    Meter::add(&self.meter.read, count);
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
            let taken = pipe.drain(to).map_err(|_| Failed::Writing)?;
            Meter::add(&self.meter.written, taken);
        }
        passage.pipes.put(self.pipe.take());
        Poll::Ready(Ok(()))
    }
}

/// Ready once `moved`, which grows with what moves, has not changed for `idle`. It looks [`LOOKS`] times in that time, so that nothing
/// that moves has to ask the clock, and may take one look longer.
pub(super) async fn silence(idle: Option<Duration>, moved: impl Fn() -> u64) {
    let Some(idle) = idle else { return std::future::pending().await };
    let (mut before, mut since) = (moved(), Instant::now());
    loop {
        // An `idle` that no clock reaches is as good as none.
        let Some(end) = since.checked_add(idle) else { return std::future::pending().await };
        let now = Instant::now();
        if now >= end {
            return;
        }
        tokio::time::sleep_until(end.min(now + idle / LOOKS)).await;
        let after = moved();
        if after != before {
            (before, since) = (after, Instant::now());
        }
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
