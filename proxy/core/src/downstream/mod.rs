//! 1. From an accepted socket to a decoded request.
//!
//! ```text
//!  accept ─► original_dst ─► proxy_protocol ─► tls ─► detect ─┬─ HTTP/1 ─► codec (its own, over strict framing) ─┬─► exchange
//!                                                             ├─ HTTP/2 ─► guard (frame floods) ─► codec (h2) ───┘
//!                                                             └─ opaque ─► tunnel
//! ```
//!
//! [`admit`] is asked as soon as something new is known of the client. [`serve_connection`] is the spine: what one connection goes through from its accept to its end.

pub mod accept;
pub mod admit;
pub mod codec;
pub mod connection;
pub mod detect;
pub mod guard;
pub(crate) mod held;
pub mod limit;
pub mod original_dst;
pub mod proxy_protocol;
pub mod tls;
pub mod unfinished;
pub mod windows;

pub use connection::Connection;

use crate::{
    io::Socket,
    snapshot::ListenerSnapshot,
    tunnel::{self, Late},
};
use admit::{Admitted, Fact};
use bytes::Bytes;
use detect::{Among, Detected, Heard, Names, Plan};
use pillion_config::model::ListenerProtocol;
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;

/// Serves one connection to its end. Dropping the future closes it.
///
/// The room of this future is held as long as the connection lives. So it holds what an HTTP/1 connection at rest needs and
/// no more; all else is boxed, and the box of the arrival is gone once the connection speaks.
pub fn serve_connection(connection: Rc<Connection>, socket: Socket) -> impl Future<Output = ()> {
    Serving::Arriving { arrival: Box::pin(begin(connection, socket)) }
}

pin_project! {
    /// What a connection is doing.
    #[project = At]
    enum Serving<A, H> {
        /// It is not known yet what it speaks.
        Arriving { arrival: Pin<Box<A>> },
        Http1 { #[pin] serving: H },
        Other { serving: Pin<Box<dyn Future<Output = ()>>> },
    }
}

/// What a connection does from here on.
enum Speaks<H> {
    Http1(H),
    Other(Pin<Box<dyn Future<Output = ()>>>),
}

impl<A, H> Future for Serving<A, H>
where
    A: Future<Output = Option<Speaks<H>>>,
    H: Future<Output = ()>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let speaks = match self.as_mut().project() {
            At::Http1 { serving } => return serving.poll(cx),
            At::Other { serving } => return serving.as_mut().poll(cx),
            At::Arriving { arrival } => ready!(arrival.as_mut().poll(cx)),
        };
        let Some(speaks) = speaks else { return Poll::Ready(()) };
        self.set(match speaks {
            Speaks::Http1(serving) => Self::Http1 { serving },
            Speaks::Other(serving) => Self::Other { serving },
        });
        self.poll(cx)
    }
}

/// Waits for what the connection speaks; `None`: it came to nothing.
async fn begin(connection: Rc<Connection>, mut socket: Socket) -> Option<Speaks<impl Future<Output = ()>>> {
    let listener = connection.slot.now();
    let detected = arrive(&connection, &listener, &mut socket).await?;
    listener.telemetry.metrics.detected(detected.name());
    Some(match (detected, listener.model.max_connection_age) {
        (Detected::Http1(prefix), None) => {
            let settings = connection.slot.http1_settings(&listener);
            Speaks::Http1(codec::http1::serve(socket, prefix, settings, connection))
        }
        (Detected::Http2(prefix), None) => {
            Speaks::Other(Box::pin(codec::serve_http2(socket, prefix, listener, connection)))
        }
        (detected, None) => Speaks::Other(Box::pin(serve(detected, listener, connection, socket))),
        (detected, Some(age)) => Speaks::Other(Box::pin(serve_to_age(detected, age, listener, connection, socket))),
    })
}

/// Serves what was detected; each protocol takes the room it needs and no other's.
async fn serve(detected: Detected, listener: Arc<ListenerSnapshot>, connection: Rc<Connection>, socket: Socket) {
    match detected {
        Detected::Http1(prefix) => {
            let settings = connection.slot.http1_settings(&listener);
            codec::http1::serve(socket, prefix, settings, connection).await;
        }
        Detected::Http2(prefix) => Box::pin(codec::serve_http2(socket, prefix, listener, connection)).await,
        // Nothing that could be answered means anything to its client.
        Detected::Tls(..) if matches!(listener.model.protocol, ListenerProtocol::Http) => {}
        Detected::Tls(early, name) => {
            Box::pin(tunnel::serve(connection, &listener, socket, early, Fact::Is(name.as_deref()))).await;
        }
        Detected::Opaque(early, heard) => {
            let asked = match heard {
                Heard::Enough => Fact::Is(None),
                Heard::TooLittle => Fact::Hidden,
            };
            let opaque = tunnel::serve(Rc::clone(&connection), &listener, socket, early, asked);
            if let Some(late) = Box::pin(opaque).await {
                // Type-erased: it may come here once more.
                let serving: Pin<Box<dyn Future<Output = ()>>> = Box::pin(serve_late(late, listener, connection));
                serving.await;
            }
        }
        Detected::Closed | Detected::TimedOut | Detected::Failed(_) => {}
    }
}

/// What was silent for too long has spoken, before its server did: what it speaks is told now.
async fn serve_late(late: Late, listener: Arc<ListenerSnapshot>, connection: Rc<Connection>) {
    let Late { mut socket, prefix } = late;
    let Some(detected) = speaks(&connection, &listener, &mut socket, prefix).await else { return };
    listener.telemetry.metrics.detected(detected.name());
    serve(detected, listener, connection, socket).await;
}

/// As [`serve`], and asks the connection to leave at this age.
async fn serve_to_age(
    detected: Detected,
    age: Duration,
    listener: Arc<ListenerSnapshot>,
    connection: Rc<Connection>,
    socket: Socket,
) {
    tokio::select! {
        () = serve(detected, listener, Rc::clone(&connection), socket) => {}
        never = connection.age(age) => match never {},
    }
}

/// admit by address, proxy_protocol, admit, tls, admit, then detect: what the connection speaks; `None`: it came to nothing.
async fn arrive(connection: &Rc<Connection>, listener: &ListenerSnapshot, socket: &mut Socket) -> Option<Detected> {
    let began = Instant::now();
    if let Some(sources) = &listener.sources
        && admit::source(connection, listener, sources) == Admitted::No
    {
        return None;
    }
    let early = match &listener.model.proxy_protocol {
        None => Bytes::new(),
        Some(rules) => Box::pin(proxy_protocol::accept(socket, rules, listener, connection)).await?,
    };
    if listener.admit.is_some() && admit::connection(connection, listener) == Admitted::No {
        return None;
    }
    let detected = speaks(connection, listener, socket, early).await?;
    let opaque = matches!(detected, Detected::Tls(..) | Detected::Opaque(..));
    if opaque && admit::not_http(connection, listener, began) == Admitted::No {
        return None;
    }
    Some(detected)
}

/// detect's. Where what is not HTTP may not be, what has begun as HTTP in time is no silence: it goes on as HTTP does, whose own
/// deadline it has. Where the operator lets pass what is none, a word of which nobody knows is none.
async fn first_bytes(
    connection: &Connection,
    listener: &ListenerSnapshot,
    socket: &mut Socket,
    prefix: Bytes,
    (among, deadline): (Among, Duration),
) -> Detected {
    match detect::first_bytes(socket, prefix, among, deadline, connection.control()).await {
        Detected::Opaque(prefix, Heard::TooLittle)
            if detect::has_begun(&prefix) && admit::takes_http_alone(connection, listener) =>
        {
            let header = listener.model.http.timeouts.header;
            detect::first_bytes(socket, prefix, Among::Http, header, connection.control()).await
        }
        Detected::Opaque(prefix, Heard::TooLittle)
            if detect::has_begun(&prefix)
                && !detect::is_usual(&prefix)
                && listener.model.protocol.passes_unfinished() =>
        {
            Detected::Opaque(prefix, Heard::Enough)
        }
        // Who says that it will say nothing may want to hear its server.
        Detected::Closed if among != Among::Http && goes_on_without_a_word(connection, listener) => {
            Detected::Opaque(Bytes::new(), Heard::TooLittle)
        }
        detected => detected,
    }
}

/// Whether a client that has closed its side without a word has a server here.
fn goes_on_without_a_word(connection: &Connection, listener: &ListenerSnapshot) -> bool {
    let tcp = listener.model.protocol.tcp();
    tcp.is_some_and(|tcp| !tcp.names_alone()) && !admit::takes_http_alone(connection, listener)
}

/// tls, admit, then detect, on a connection of which `early` was read before.
async fn speaks(
    connection: &Rc<Connection>,
    listener: &ListenerSnapshot,
    socket: &mut Socket,
    early: Bytes,
) -> Option<Detected> {
    let shaken = connection.facts.tls.get().is_some();
    let (prefix, agreed, waited) = match listener.tls_of(connection).filter(|_| !shaken) {
        None => (early, None, Duration::ZERO),
        Some(tls) => {
            // Boxed: a connection in the clear does not carry the room for it.
            let accepted = Box::pin(tls::accept(socket.take(), early, tls, listener, connection)).await?;
            *socket = accepted.socket;
            if listener.admit.is_some() && admit::connection(connection, listener) == Admitted::No {
                return None;
            }
            (accepted.prefix, accepted.agreed, accepted.waited)
        }
    };
    let port = connection.facts.port();
    let ended_here = connection.facts.tls.get().is_some();
    let names = match &listener.admit {
        Some(admission) if admission.looks_at_names() && !ended_here => Names::Matter,
        Some(_) | None => Names::DoNot,
    };
    let detected = match Plan::of(&listener.model.protocol, &listener.model.http, port, names, agreed) {
        Plan::Unread => Detected::Opaque(prefix, Heard::Enough),
        Plan::Read(among, deadline) => {
            let left = deadline.saturating_sub(waited);
            tokio::select! {
                biased;
                detected = first_bytes(connection, listener, socket, prefix, (among, left)) => detected,
                () = connection.unwanted() => return None,
            }
        }
    };
    connection.control().release();
    connection.has_arrived();
    let detected = detected.agreed(agreed);
    let speaks_http = matches!(detected, Detected::Http1(_) | Detected::Http2(_));
    if speaks_http && listener.admit.is_some() && admit::connection(connection, listener) == Admitted::No {
        return None;
    }
    Some(detected)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a function's future takes in memory; it is never called.
    fn size<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_at_rest_is_small() {
        // With the task's own parts, some 100 bytes, in one allocation of a multiple of 128.
        let task = size(serve_connection);
        println!("{task} bytes");
        assert!(task <= 128, "{task} bytes");
    }
}
