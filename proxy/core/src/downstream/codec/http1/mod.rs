//! HTTP/1 towards clients: one request after the other on one task, read and written by the proxy itself.
//!
//! ```text
//!             ┌─ refused ──────────────► exchange::refuse ─┐
//!  poll_head ─┤                                            ├─► answer ─► settle ─┬─► next head
//!      ▲      └─ head ─► take_head ─► exchange::proxy ─────┘     │               └─► farewell
//!      │                     └─ Upload ┘ pulls the body          └─ 101, 2xx to CONNECT ─► tunnel
//!      └── Wire: socket, framing, deadlines
//! ```
//!
//! [`serve`] is the spine. What belongs to one request lives in a box of its own, so that a connection at rest holds no
//! more than its socket, its place in the stream and a timer. The codec decides nothing about a request.

mod answer;
mod timer;
mod wire;

pub use timer::Deadlines;
pub use wire::Upload;

use super::{Inbound, Interim, boxed};
use crate::{
    downstream::{
        Connection,
        connection::{Order, Orders},
    },
    exchange::{self, stream::ResponseBody},
    framing::{Asks, Limits, Persistence, Refusal, Underscores},
    http1::Outbox,
    io::Socket,
    telemetry::ResponseFlag,
    tunnel::upgrade::{Offer, TunnelEnd},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request};
use pillion_config::model::{self, Http};
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    time::timeout,
};
use wire::{Asked, Awaits, Begun, Gone, Next, Shared, Trailers, Wire};

/// How long a closed connection may take to say goodbye: to take our last bytes, and to stop sending its own.
const GOODBYE: Duration = Duration::from_secs(2);

/// Bytes drained after the last answer, so that closing does not reset it away. A client that uploads at full speed sends some
/// MiB before it looks for an answer; one that never does is cut here.
const MOST_LINGERED: usize = 16 << 20;

/// What a listener asks of its HTTP/1 connections. Built once for a listener and worker.
#[derive(Debug)]
pub struct Settings {
    limits: Limits,
    deadlines: Deadlines,
}

/// A connection being served.
struct Server {
    connection: Rc<Connection>,
    orders: Orders,
    wire: Shared,
    leaving: Leaving,
}

/// Whether the connection was told to close as soon as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    Yes,
}

/// What comes after a request.
enum Then {
    /// The next.
    Next,
    /// The end.
    Close,
    /// The end, at once.
    Drop,
    /// Bytes that are no HTTP.
    Tunnel(oneshot::Sender<TunnelEnd>),
}

/// A request and what is needed for its answer.
struct Taken {
    inbound: Inbound,
    asked: Asked,
    interim: Option<Interim>,
    tunnel: Option<oneshot::Sender<TunnelEnd>>,
}

impl From<Gone> for Then {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Left => Self::Close,
            Gone::Stalled | Gone::Aborted => Self::Drop,
        }
    }
}

impl Settings {
    /// From a listener's model.
    #[must_use]
    pub fn new(http: &Http) -> Self {
        let timeouts = &http.timeouts;
        Self {
            limits: Limits {
                max_headers: http.limits.headers,
                max_head_bytes: http.limits.header_bytes,
                max_target_bytes: http.limits.target_bytes,
                underscores: match http.underscores {
                    model::Underscores::Accept => Underscores::Accept,
                    model::Underscores::Reject => Underscores::Reject,
                },
                ..Limits::default()
            },
            deadlines: Deadlines {
                idle: timeouts.idle,
                head: timeouts.header,
                body: timeouts.body,
                write: timeouts.write,
            },
        }
    }
}

/// Serves requests until either side is done with the connection. Dropping the future closes it.
///
/// Not an async function, whose future would keep room for what it was called with.
pub fn serve(
    socket: Socket,
    prefix: Bytes,
    settings: Rc<Settings>,
    connection: Rc<Connection>,
) -> impl Future<Output = ()> {
    let control = Rc::clone(connection.control());
    let mut server = Server {
        orders: Orders::new(Rc::clone(&connection)),
        connection,
        wire: Wire::shared(socket, prefix, settings, control),
        leaving: Leaving::No,
    };
    async move {
        loop {
            let then = match poll_fn(|cx| server.poll_next(cx)).await {
                Next::Head(begun) => boxed(|| server.request(begun)).await,
                Next::Refused(refusal) => boxed(|| server.refuse(refusal)).await,
                Next::End => Then::Close,
            };
            match then {
                Then::Next => {}
                Then::Close => return Box::pin(server.farewell()).await,
                Then::Drop => return,
                Then::Tunnel(tunnel) => {
                    if let Some((socket, early)) = server.wire.borrow_mut().hand_over() {
                        // Nobody waits for it when the tunnel has been given up meanwhile.
                        tunnel.send(TunnelEnd::new(socket, early)).ok();
                    }
                    return;
                }
            }
        }
    }
}

impl Server {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        match self.orders.poll(cx) {
            Order::Carry | Order::Announce => {}
            // A head may be half here: its answer must say that it is the last.
            Order::CloseIfIdle | Order::CloseWhenIdle => self.leaving = Leaving::Yes,
            Order::Shed => return Poll::Ready(Next::Refused(self.wire.borrow_mut().shed())),
            Order::Abort => {
                if self.wire.borrow().has_begun() {
                    self.connection.control().note_lost();
                }
                return Poll::Ready(Next::End);
            }
        }
        self.wire.borrow_mut().poll_head(cx, self.leaving)
    }

    /// Obeys while a request is in progress.
    fn obey(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        match self.orders.poll(cx) {
            Order::Carry | Order::Announce | Order::CloseIfIdle => Ok(()),
            Order::CloseWhenIdle => {
                self.leaving = Leaving::Yes;
                Ok(())
            }
            Order::Shed => {
                self.wire.borrow_mut().shed();
                Ok(())
            }
            Order::Abort => {
                self.connection.control().note_lost();
                Err(Gone::Aborted)
            }
        }
    }

    /// One request, one answer.
    async fn request(&mut self, begun: Begun) -> Then {
        let Taken { inbound, mut asked, interim, tunnel } = match self.take(&begun) {
            Ok(taken) => taken,
            Err(refusal) => return self.refuse(refusal).await,
        };
        let mut out = Outbox::default();
        let answered = {
            let mut service = pin!(exchange::proxy(Rc::clone(&self.connection), inbound));
            poll_fn(|cx| self.poll_answered(cx, service.as_mut(), interim.as_ref(), &mut asked, &mut out)).await
        };
        match answered {
            Ok(response) => self.answer(response, asked, tunnel, out).await,
            Err(gone) => gone.into(),
        }
    }

    fn take(&self, begun: &Begun) -> Result<Taken, Refusal> {
        let (request, asked) = Wire::take_head(&self.wire, begun)?;
        let (tunnel, upgrade) = match begun.asks {
            Asks::Nothing | Asks::H2c => (None, None),
            Asks::Upgrade | Asks::Connect => {
                let (end, offer) = Offer::new(None);
                (Some(end), Some(offer))
            }
        };
        // HTTP/1.0 has no interim responses (RFC 9110 §15.2).
        let interim = (asked.version >= Version::HTTP_11).then(Interim::default);
        Ok(Taken { inbound: Inbound { request, upgrade, interim: interim.clone() }, asked, interim, tunnel })
    }

    /// Runs the service, sends what goes ahead of its response, and gives up when the client does.
    fn poll_answered(
        &mut self,
        cx: &mut Context<'_>,
        service: Pin<&mut impl Future<Output = Response<ResponseBody>>>,
        interim: Option<&Interim>,
        asked: &mut Asked,
        out: &mut Outbox,
    ) -> Poll<Result<Response<ResponseBody>, Gone>> {
        self.obey(cx)?;
        let response = service.poll(cx);
        for interim in interim.iter().flat_map(|interim| interim.take()) {
            if interim.status() == StatusCode::CONTINUE {
                asked.awaits = Awaits::Nothing;
            }
            answer::interim(interim, out);
        }
        if let Poll::Ready(response) = response {
            return Poll::Ready(Ok(response));
        }
        let mut wire = self.wire.borrow_mut();
        if !out.is_empty() {
            // Who knows what follows them.
            wire.send_briefly(false);
            if let Poll::Ready(Err(gone)) = wire.poll_flush(cx, out) {
                return Poll::Ready(Err(self.lost(gone)));
            }
        }
        wire.poll_gone(cx).map(Err)
    }

    /// Answers what is no request, and closes. Its record shows a stand-in, since there is no head to show.
    async fn refuse(&mut self, refusal: Refusal) -> Then {
        let response = exchange::refuse(Rc::clone(&self.connection), &stand_in(), &refusal.into());
        let asked = Asked {
            method: Method::GET,
            version: Version::HTTP_11,
            persistence: Persistence::Close,
            trailers: Trailers::Unwelcome,
            awaits: Awaits::Nothing,
        };
        match self.answer(response, asked, None, Outbox::default()).await {
            // Its goodbye would hold what is wanted for others.
            Then::Close if refusal == Refusal::ShortMemory => Then::Drop,
            then => then,
        }
    }

    /// Notes why nothing more can be said, while the exchange lives whose account asks for it.
    fn lost(&self, gone: Gone) -> Gone {
        if gone == Gone::Stalled {
            self.connection.cut_for(ResponseFlag::StreamIdleTimeout, "write_timeout");
            self.connection.count_refusal("write_timeout");
        }
        gone
    }

    /// Counts what no answer accounts for.
    fn count(&self, refusal: Option<Refusal>) {
        if let Some(refusal) = refusal {
            self.connection.count_refusal(refusal.name());
        }
    }

    /// Closes, so that the client can read our last answer even while it still sends.
    async fn farewell(&mut self) {
        let (lingering, refusal) = {
            let mut wire = self.wire.borrow_mut();
            (wire.must_linger(), wire.refusal())
        };
        self.count(refusal);
        let Some((mut socket, _)) = self.wire.borrow_mut().hand_over() else { return };
        let mut goodbye = pin!(timeout(GOODBYE, async {
            if socket.shutdown().await.is_err() || !lingering {
                return;
            }
            let mut drained = 0;
            let mut scratch = [0; 16 * 1024];
            while drained < MOST_LINGERED {
                match socket.read(&mut scratch).await {
                    Ok(0) | Err(_) => return,
                    Ok(len) => drained += len,
                }
            }
        }));
        poll_fn(|cx| match self.orders.poll(cx) {
            Order::Abort | Order::Shed => Poll::Ready(()),
            Order::Carry | Order::CloseIfIdle | Order::Announce | Order::CloseWhenIdle => {
                goodbye.as_mut().poll(cx).map(|_| ())
            }
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A body may live on with the upstream; the socket does not.
        let Ok(mut wire) = self.wire.try_borrow_mut() else { return };
        self.count(wire.refusal());
        drop(wire.hand_over());
    }
}

fn stand_in() -> request::Parts {
    let mut request = Request::new(());
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("refused"));
    request.into_parts().0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a function's future takes in memory; it is never called.
    fn size<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_a_connection_holds_at_rest() {
        let (future, wire) = (size(serve), size_of::<Wire>());
        println!("future {future} bytes, wire {wire} bytes");
        assert!(future <= 96, "{future} bytes");
        assert!(wire <= 600, "{wire} bytes");
    }
}
