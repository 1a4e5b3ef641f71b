//! HTTP/2 towards clients: one connection of the h2 crate, a task for each stream.
//!
//! ```text
//!  FrameGuarded ─► h2::server::Connection ─► serve_stream() ─► check ─► service ─► respond ─► pump
//!       └─ Watch ─► Driver (signals, breaches, deadlines) ─► GOAWAY
//!                      └─ Way (how far windows are opened) ─► SETTINGS, PING
//! ```
//!
//! It stands behind `guard::http2` and before `exchange/`. It never invents an answer (h2 itself sends a bare 431 for
//! a header list over twice the limit, see [`Settings`]) and never routes. What is reset and not answered reaches the
//! service as [`Decoded::Reset`], so that it has its record: malformed requests at once, those that h2 ended by itself,
//! of which nothing is known, when the connection ends.

pub mod check;
mod deadlines;
mod settings;
mod stream;
mod way;

use super::{Cut, Decoded, boxed};
use crate::{
    body::BodyError,
    downstream::{
        guard::http2::{Breach, FrameGuarded, Unread, Watch},
        windows::{Back, Window},
    },
    drain::{Control, Signal},
    io::Gone,
};
use bytes::Bytes;
use check::Malformed;
use deadlines::{Deadlines, Expired};
use h2::{Reason, server::Connection};
use http::{Request, Response, Version, request::Parts};
use http_body::Body;
pub use settings::Settings;
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};
use stream::{Shared, serve_stream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
};
use way::{Told, Way};

/// Streams that are started in one turn. They run before the next ones are: one that waits in h2 takes a tenth of the memory of one
/// that is started, and what is started is refused where memory is short.
const AT_ONCE: u32 = 16;

/// How a connection ended, and what it saw.
#[derive(Debug)]
pub struct Served {
    /// Why.
    pub end: End,
    /// Its counts. Streams of an aborted connection may still add to them.
    pub tally: Rc<Tally>,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client closed it, or said GOAWAY and its streams are done.
    Closed,
    /// It was told to leave, and did.
    Drained,
    /// It was idle for too long.
    Idle,
    /// It was idle when it was told to close.
    Shed,
    /// It was told to stop at once.
    Aborted,
    /// The client broke a limit of the guard.
    Breach(Breach),
    /// The client broke the protocol; h2 said GOAWAY with this.
    Protocol(Reason),
    /// The client said GOAWAY with this error.
    Peer(Reason),
    /// The socket failed.
    Io(std::io::ErrorKind),
}

/// What happened on a connection, for the listener's counters.
#[derive(Debug, Default)]
pub struct Tally {
    /// Streams accepted.
    pub requests: Cell<u32>,
    /// Requests handed to the service as [`Decoded::Refused`].
    pub refused: Cell<u32>,
    /// Requests reset as malformed by `check`, by [`Malformed`].
    pub malformed: [Cell<u32>; 6],
    /// Requests that the client gave up.
    pub cancelled: Cell<u32>,
    /// Responses given up because the client's window stayed closed.
    pub stalled: Cell<u32>,
    /// Streams that h2 ended by itself: malformed ones, those over the stream limit, and those whose header list is over
    /// twice the limit (a bare 431). Known when the connection has ended.
    pub unserved: Cell<u32>,
    /// Streams that became tunnels, which may be open still.
    pub tunnels: Cell<u32>,
    /// Services that panicked.
    pub panics: Cell<u32>,
    /// RST_STREAM sent for the client's errors, those of h2 included. Known when the connection has ended.
    pub resets_sent: Cell<u32>,
}

impl Tally {
    #[expect(clippy::unused_self, reason = "reads as what it does at the call")]
    fn count(&self, counter: &Cell<u32>) {
        counter.set(counter.get().saturating_add(1));
    }

    /// Tells what was cut without the service having a name for it.
    pub fn each_refusal(&self, mut tell: impl FnMut(&'static str, u32)) {
        tell("stalled", self.stalled.get());
    }

    fn malformed(&self, malformed: Malformed) {
        self.count(&self.malformed[malformed as usize]);
    }
}

/// Serves one connection to its end. `ahead` was read from the socket already, preface included. Must run within a
/// `LocalSet`: each stream is a task of its own, which ends with its stream or soon after the connection.
///
/// `service` is called once for each request; a request that the client gives up is dropped there. Dropping this
/// closes the connection and gives up its streams.
pub async fn serve<S, F, Fut, B>(
    socket: S,
    ahead: Bytes,
    settings: Rc<Settings>,
    control: Rc<Control>,
    service: F,
) -> Served
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Decoded) -> Fut + 'static,
    Fut: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes, Error = BodyError> + Cut + 'static,
{
    let mut deadlines = Deadlines::new(&settings.timeouts);
    let tally = Rc::<Tally>::default();
    // What is over when the connection rests is boxed, here and below: this future lives as long as the connection.
    let greeted = Box::pin(greet(socket, ahead, &settings, &control, &mut deadlines)).await;
    let (connection, watch, gone, unread) = match greeted {
        Ok(greeted) => greeted,
        Err(end) => return Served { end, tally },
    };
    let (stream, most, all) = settings.windows;
    let window = Window::new(control.windows(), stream, most, Back::Never).bears(all);
    let pace = Rc::clone(window.pace());
    let way = Way::new(window);
    let shared =
        Rc::new(Shared { service, settings, tally: Rc::clone(&tally), gone, pace, unread: Rc::clone(&unread) });
    let streams = Rc::clone(&shared);
    let mut driver =
        Driver { connection, way, watch, unread, control, deadlines, tally: &tally, phase: Phase::Serving };
    let start = |(request, respond)| {
        spawn_local(boxed(|| serve_stream(request, respond, Rc::clone(&streams))));
    };
    // Each that is served holds on to it, as we do twice. Tunnels are no more served.
    let open = || Rc::strong_count(&streams) - 2 + tally.tunnels.get() as usize;
    poll_fn(|cx| {
        streams.pace.remember(cx);
        Poll::Ready(())
    })
    .await;
    let end = poll_fn(|cx| driver.poll(cx, &start, &open)).await;
    tally.resets_sent.set(driver.watch.blamed());
    // A header block that never ended was no request yet.
    let unfinished = u32::from(driver.watch.owed().is_some());
    let opened = driver.watch.opened().saturating_sub(unfinished);
    drop(driver);
    tally.unserved.set(opened.saturating_sub(tally.requests.get()));
    for number in 1..=tally.unserved.get() {
        drop(boxed(|| (shared.service)(Decoded::Reset(nothing_known(), UNSERVED))).await);
        if number % 64 == 0 {
            // Other connections are not kept waiting for one that collected thousands.
            tokio::task::yield_now().await;
        }
    }
    Served { end, tally }
}

/// How the record and the counter name a request that h2 ended by itself.
const UNSERVED: &str = "http2_refused";

/// The head of a request that only h2 has seen.
fn nothing_known() -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.version = Version::HTTP_2;
    parts
}

/// A connection whose preface and settings have come, what its guard sees, and what that must know.
type Greeted<S> = (Box<Connection<FrameGuarded<S>, Bytes>>, Rc<Watch>, Rc<Gone>, Rc<Unread>);

/// Exchanges prefaces with the client.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    ahead: Bytes,
    settings: &Settings,
    control: &Rc<Control>,
    deadlines: &mut Deadlines,
) -> Result<Greeted<S>, End> {
    let socket = FrameGuarded::new(socket, ahead, &settings.frames).on(control);
    let (watch, gone, unread) = (socket.watch(), socket.gone(), socket.unread());
    let mut handshake = pin!(settings.builder.handshake::<_, Bytes>(socket));
    let connection = poll_fn(|cx| {
        control.set_waker(cx);
        if control.is_shed() {
            return Poll::Ready(Err(End::Breach(Breach::ShortMemory)));
        }
        match control.signal() {
            // A client that was accepted while its listener drains is told after the handshake, by GOAWAY: its first
            // requests may be on their way already.
            Signal::Stay | Signal::Drain | Signal::CloseIfIdle => {}
            Signal::Abort => return Poll::Ready(Err(End::Aborted)),
        }
        watch.begin_turn();
        if let Poll::Ready(result) = handshake.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|error| end_of(&error)));
        }
        // Before the first request there is nothing to finish; behind a preface that is whole one may have come.
        if control.signal() == Signal::CloseIfIdle {
            return Poll::Ready(Err(End::Shed));
        }
        match deadlines.poll(cx, &watch, 0, || false) {
            Poll::Ready(Expired::Breach(breach)) => Poll::Ready(Err(End::Breach(breach))),
            Poll::Ready(Expired::Idle | Expired::Drain | Expired::Close) => Poll::Ready(Err(End::Idle)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    Ok((Box::new(connection), watch, gone, unread))
}

struct Driver<'a, S> {
    connection: Box<Connection<FrameGuarded<S>, Bytes>>,
    way: Way,
    watch: Rc<Watch>,
    unread: Rc<Unread>,
    control: Rc<Control>,
    deadlines: Deadlines,
    tally: &'a Tally,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The end is announced; streams finish.
    Leaving(End),
    /// The last GOAWAY is on its way.
    Closing(End),
}

type Stream = (http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>);

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>, start: &dyn Fn(Stream), open: &dyn Fn() -> usize) -> Poll<End> {
        self.control.set_waker(cx);
        self.watch.begin_turn();
        loop {
            if let Poll::Ready(end) = self.obey() {
                return Poll::Ready(end);
            }
            if self.control.is_shed() {
                return Poll::Ready(self.shed(cx));
            }
            let mut started = 0;
            while let Poll::Ready(accepted) = self.connection.poll_accept(cx) {
                match accepted {
                    Some(Ok(stream)) => {
                        self.tally.count(&self.tally.requests);
                        start(stream);
                        self.way.fit(open(), &mut *self.connection);
                        started += 1;
                        if started == AT_ONCE {
                            cx.waker().wake_by_ref();
                            break;
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(self.end(end_of(&error))),
                    None => return Poll::Ready(self.end(End::Closed)),
                }
            }
            if self.way.tend(cx, open, &mut self.connection) == Told::Something {
                continue;
            }
            if self.may_rest() {
                self.close(End::Shed, Reason::NO_ERROR);
                continue;
            }
            if let (Some(breach), Phase::Serving | Phase::Leaving(_)) = (self.watch.breach(), self.phase) {
                self.close(End::Breach(breach), breach.code());
                continue;
            }
            let connection = &self.connection;
            let accepted = self.tally.requests.get();
            match self.deadlines.poll(cx, &self.watch, accepted, || connection.has_streams()) {
                Poll::Pending => {
                    self.unread.settle(self.watch.blocked_at().is_some());
                    return Poll::Pending;
                }
                Poll::Ready(Expired::Close) => return Poll::Ready(self.end(End::Closed)),
                // Nothing can be said to a peer that does not read.
                Poll::Ready(Expired::Breach(Breach::WriteTimeout)) => {
                    self.watch.note(Breach::WriteTimeout);
                    return Poll::Ready(self.end(End::Breach(Breach::WriteTimeout)));
                }
                Poll::Ready(Expired::Breach(breach)) => self.watch.note(breach),
                Poll::Ready(Expired::Idle) => self.leave(End::Idle),
                Poll::Ready(Expired::Drain) => {
                    if let Phase::Leaving(end) = self.phase {
                        self.close(end, Reason::NO_ERROR);
                    }
                }
            }
        }
    }

    fn obey(&mut self) -> Poll<End> {
        match self.control.signal() {
            // Of what has come it hears before it rests.
            Signal::Stay | Signal::CloseIfIdle => {}
            Signal::Drain => self.leave(End::Drained),
            Signal::Abort => {
                if self.connection.has_streams() {
                    self.control.note_lost();
                }
                return Poll::Ready(End::Aborted);
            }
        }
        Poll::Pending
    }

    /// Whether it was told to close if it rests, and does. A busy one forgets it.
    fn may_rest(&self) -> bool {
        if self.control.signal() != Signal::CloseIfIdle || matches!(self.phase, Phase::Closing(_)) {
            return false;
        }
        if self.connection.has_streams() {
            self.control.forget();
        }
        self.control.signal() == Signal::CloseIfIdle
    }

    /// GOAWAY that lets requests on their way in, then the final one after a round trip (RFC 9113 §6.8).
    fn leave(&mut self, end: End) {
        if self.phase == Phase::Serving {
            self.phase = Phase::Leaving(end);
            self.connection.graceful_shutdown();
            self.deadlines.draining();
        }
    }

    fn close(&mut self, end: End, reason: Reason) {
        if !matches!(self.phase, Phase::Closing(_)) {
            self.phase = Phase::Closing(end);
            self.connection.abrupt_shutdown(reason);
            self.deadlines.closing();
        }
    }

    /// Says GOAWAY if it can be said now, and ends: what waits for it would hold what is wanted for others.
    #[cold]
    fn shed(&mut self, cx: &mut Context<'_>) -> End {
        let breach = Breach::ShortMemory;
        // From here on it reads nothing more.
        self.watch.note(breach);
        self.close(End::Breach(breach), breach.code());
        let _ = self.connection.poll_accept(cx);
        self.end(End::Breach(breach))
    }

    /// What the connection ended for: what we decided, or else what h2 says.
    fn end(&self, otherwise: End) -> End {
        match (self.phase, otherwise) {
            (Phase::Closing(end), _) | (Phase::Leaving(end), End::Closed) => end,
            (Phase::Serving | Phase::Leaving(_), otherwise) => otherwise,
        }
    }
}

fn end_of(error: &h2::Error) -> End {
    if let Some(io) = error.get_io() {
        return End::Io(io.kind());
    }
    let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
    if error.is_remote() { End::Peer(reason) } else { End::Protocol(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exchange::stream::ResponseBody, io::Socket};

    /// What a future takes in memory; it is never made.
    fn size<S, F, Fut, B, Made>(
        _: impl Fn(S, Bytes, Rc<Settings>, Rc<Control>, F) -> Made,
        _: fn() -> (F, Fut, B),
    ) -> usize
    where
        F: Fn(Decoded) -> Fut,
    {
        size_of::<Made>()
    }

    #[test]
    fn what_a_connection_holds_at_rest() {
        type Service = fn(Decoded) -> std::future::Ready<Response<ResponseBody>>;
        type Parts = (Service, std::future::Ready<Response<ResponseBody>>, ResponseBody);
        let future = size(serve::<Socket, Service, _, ResponseBody>, (|| unreachable!()) as fn() -> Parts);
        let connection = size_of::<Connection<FrameGuarded<Socket>, Bytes>>();
        println!("future {future} bytes, connection {connection} bytes");
        assert!(future <= 1024, "{future} bytes");
    }
}
