//! The handshake of either side, and how handshakes share a thread with established connections.

use super::{Input, SCRATCH, Session, TlsStream, session::Step};
use crate::{
    identity::{Alert, Cause, Failure},
    io::Socket,
};
use rustls::AlertDescription;
use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::Semaphore,
    task::yield_now,
    time::Instant,
};

/// Bytes of a flight that may wait to be whole: the longest chain that is judged, and what stands around it.
const MAX_FLIGHT: usize = 40 * 1024;

/// The turns in which a thread's handshakes compute.
///
/// A step of a handshake costs some hundred microseconds of one thread; a thousand of them ready at once would hold
/// up every established connection behind them. So they take turns, one step each, and between two of them everything
/// else that is ready runs once. Nothing waits when nothing else is to be done. A handshake that begins while too many
/// wait for their turn is shed: it would only be later than its client's patience.
#[derive(Debug)]
pub struct Turns {
    turn: Semaphore,
    waiting: Cell<usize>,
    told: Cell<Option<(Instant, u32)>>,
}

/// Lines about failures in a second: enough to see what is wrong, too few to be a flood of their own.
const LINES: u32 = 10;

impl Default for Turns {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), waiting: Cell::new(0), told: Cell::new(None) }
    }
}

thread_local! {
    static TURNS: Rc<Turns> = Rc::default();
}

/// Counted among those that wait, until dropped.
struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Turns {
    /// Whether a handshake may begin while at most `limit` wait.
    ///
    /// # Errors
    ///
    /// It is shed.
    pub fn admit(&self, limit: usize) -> Result<(), Failure> {
        if self.waiting.get() < limit { Ok(()) } else { Err(Failure::of(Cause::Shed)) }
    }

    /// Those of this thread: a worker has one.
    #[must_use]
    pub fn of_this_thread() -> Rc<Self> {
        TURNS.with(Rc::clone)
    }

    /// Whether one more failure is told in the log; all are counted.
    #[must_use]
    pub fn tells(&self) -> Told {
        let now = Instant::now();
        let (since, lines) = match self.told.get() {
            Some((since, lines)) if now.saturating_duration_since(since) < Duration::from_secs(1) => (since, lines),
            Some(_) | None => (now, 0),
        };
        self.told.set(Some((since, lines.saturating_add(1))));
        if lines < LINES { Told::Yes } else { Told::No }
    }

    /// Runs a step when it is its turn. Cancel-safe: who leaves gives its turn away.
    async fn take<T>(&self, step: impl FnOnce() -> T) -> T {
        self.waiting.set(self.waiting.get() + 1);
        let waiting = Waiting(&self.waiting);
        // Never closed, so it is never refused.
        let turn = self.turn.acquire().await;
        drop(waiting);
        let done = step();
        yield_now().await;
        drop(turn);
        done
    }
}

/// Whether a failure is told in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is.
    Yes,
    /// Enough were in this second.
    No,
}

/// Shakes hands over `io`, of which `prefix` was read already. The caller bounds the time. Dropping the future loses
/// the connection.
///
/// # Errors
///
/// Why not. The alert has been sent as far as the socket took it.
pub async fn handshake(io: Socket, session: Session, prefix: Vec<u8>, turns: &Turns) -> Result<TlsStream, Failure> {
    let mut stream = TlsStream::new(io, session, prefix);
    loop {
        let step = turns.take(|| stream.advance()).await;
        let alert = if step.is_err() { plain_alert(&stream.outgoing) } else { None };
        // What goes out last is not waited for: the peer may read it only when it has something to read for.
        let last = matches!(step, Ok(Hands::Shaken));
        let flushed = poll_fn(|cx| match stream.poll_drain(cx) {
            Poll::Pending if last => Poll::Ready(Ok(())),
            polled => polled,
        })
        .await;
        match step {
            Err(error) => {
                let mut failure = Failure::from_tls(&error);
                failure.alert = failure.alert.or(alert);
                return Err(failure);
            }
            Ok(_) if flushed.is_err() => return Err(Failure::of(Cause::Io)),
            Ok(Hands::Shaken) => return Ok(stream),
            Ok(Hands::Waiting) => stream.read_more().await?,
        }
    }
}

enum Hands {
    Shaken,
    Waiting,
}

impl TlsStream {
    /// As far as what came allows.
    fn advance(&mut self) -> Result<Hands, rustls::Error> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut done = 0;
        let hands = loop {
            match self.step(&mut incoming[done..], &mut done) {
                // What comes with the last flight is the reader's.
                Ok(Step::Plain) if !self.session.is_handshaking() => break Ok(Hands::Shaken),
                Ok(Step::Again | Step::Plain) => {}
                Ok(Step::Open) if !self.session.is_handshaking() => break Ok(Hands::Shaken),
                // So is an end that comes with it: the peer has nothing to say, and may be told something.
                Ok(Step::PeerClosed) if !self.session.is_handshaking() => {
                    self.input = Input::Closed;
                    break Ok(Hands::Shaken);
                }
                Ok(Step::Open | Step::Blocked | Step::PeerClosed) => break Ok(Hands::Waiting),
                Err(error) => break Err(error),
            }
        };
        incoming.drain(..done);
        if !incoming.is_empty() {
            self.incoming = incoming;
        }
        hands
    }

    async fn read_more(&mut self) -> Result<(), Failure> {
        if self.incoming.len() >= MAX_FLIGHT {
            return Err(Failure::of(Cause::FlightTooLarge));
        }
        let read = poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                scratch.read.resize(super::READ, 0);
                let room = scratch.read.len().min(MAX_FLIGHT - self.incoming.len());
                let mut more = ReadBuf::new(&mut scratch.read[..room]);
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut more))?;
                self.incoming.extend_from_slice(more.filled());
                Poll::Ready(Ok::<_, std::io::Error>(more.filled().len()))
            })
        });
        match read.await {
            Ok(0) => Err(Failure::of(Cause::Closed)),
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::of(Cause::Io)),
        }
    }
}

/// The alert at the end of these records, if it is in the clear (RFC 8446 §5.1, §6).
fn plain_alert(records: &[u8]) -> Option<Alert> {
    match records.get(records.len().checked_sub(7)?..)? {
        [21, 3, _, 0, 2, _, description] => Some(Alert::Sent(AlertDescription::from(*description))),
        _ => None,
    }
}
