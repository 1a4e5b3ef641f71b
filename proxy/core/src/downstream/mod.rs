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
pub mod limit;
pub mod original_dst;
pub mod proxy_protocol;
pub mod tls;

pub use connection::Connection;

use crate::{io::Socket, snapshot::ListenerSnapshot, tunnel};
use admit::Admitted;
use bytes::Bytes;
use detect::{Detected, Plan};
use pillion_config::model::ListenerProtocol;
use std::{rc::Rc, sync::Arc, time::Duration};

/// Serves one connection to its end. Dropping the future closes it.
///
/// What a connection at rest does not need is boxed: the room of this future is held as long as the connection lives.
pub async fn serve_connection(connection: Rc<Connection>, mut socket: Socket) {
    let listener = connection.slot.now();
    let Some(detected) = Box::pin(arrive(&connection, &listener, &mut socket)).await else { return };
    listener.telemetry.metrics.detected(detected.name());
    match (detected, listener.model.max_connection_age) {
        (Detected::Http1(prefix), None) => {
            let settings = connection.slot.http1_settings(&listener);
            drop(listener);
            codec::http1::serve(socket, prefix, settings, connection).await;
        }
        (detected, None) => Box::pin(serve(detected, listener, connection, socket)).await,
        (detected, Some(age)) => Box::pin(serve_to_age(detected, age, listener, connection, socket)).await,
    }
}

/// Serves what was detected; each protocol takes the room it needs and no other's.
async fn serve(detected: Detected, listener: Arc<ListenerSnapshot>, connection: Rc<Connection>, socket: Socket) {
    match detected {
        Detected::Http1(prefix) => {
            let settings = connection.slot.http1_settings(&listener);
            Box::pin(codec::http1::serve(socket, prefix, settings, connection)).await;
        }
        Detected::Http2(prefix) => Box::pin(codec::serve_http2(socket, prefix, listener, connection)).await,
        // Nothing that could be answered means anything to its client.
        Detected::Tls(..) if matches!(listener.model.protocol, ListenerProtocol::Http) => {}
        Detected::Tls(early, name) => {
            Box::pin(tunnel::serve(connection, &listener, socket, early, name.as_deref())).await;
        }
        Detected::Opaque(early) => Box::pin(tunnel::serve(connection, &listener, socket, early, None)).await,
        Detected::Closed | Detected::TimedOut | Detected::Failed(_) => {}
    }
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
    let (prefix, agreed) = match &listener.tls {
        None => (early, None),
        Some(tls) => {
            // Boxed: a connection in the clear does not carry the room for it.
            let accepted = Box::pin(tls::accept(socket.take(), early, tls, listener, connection)).await?;
            *socket = accepted.socket;
            if listener.admit.is_some() && admit::connection(connection, listener) == Admitted::No {
                return None;
            }
            (accepted.prefix, accepted.agreed)
        }
    };
    let port = connection.facts.destination().port();
    let detected = match Plan::of(&listener.model.protocol, &listener.model.http, port) {
        Plan::Unread => Detected::Opaque(prefix),
        Plan::Read(among, deadline) => tokio::select! {
            biased;
            detected = detect::first_bytes(socket, prefix, among, deadline) => detected,
            () = connection.unwanted() => return None,
        },
    };
    connection.has_arrived();
    let speaks_http = matches!(detected, Detected::Http1(_) | Detected::Http2(_));
    if speaks_http && listener.admit.is_some() && admit::connection(connection, listener) == Admitted::No {
        return None;
    }
    Some(detected.agreed(agreed))
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
        // With the task's own parts in one allocation; what it points to comes to some 1,300 bytes more.
        // Three kinds of socket need a tag of their own: 24 bytes more than two did.
        let task = size(serve_connection);
        println!("{task} bytes");
        assert!(task <= 424, "{task} bytes");
    }
}
