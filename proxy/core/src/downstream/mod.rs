//! 1. From an accepted socket to a decoded request.
//!
//! ```text
//!  accept ─► detect ─┬─ HTTP/1 ─► codec (its own, over strict framing) ────┬─► exchange
//!                    ├─ HTTP/2 ─► guard (frame floods) ─► codec (h2) ──────┘
//!                    └─ opaque ─► tunnel
//! ```
//!
//! [`serve_connection`] is the spine: what one connection goes through from its accept to its end.

pub mod accept;
pub mod codec;
pub mod connection;
pub mod detect;
pub mod guard;
pub mod limit;

pub use connection::Connection;

use crate::{io::Socket, telemetry::ConnectionFacts, tunnel, worker::Worker};
use accept::{ListenerSlot, Permits};
use bytes::Bytes;
use detect::{Detected, Plan};
use pillion_config::model::ListenerProtocol;
use std::rc::Rc;

/// Serves one connection to its end. Dropping the future closes it.
pub async fn serve_connection(
    worker: Rc<Worker>,
    slot: Rc<ListenerSlot>,
    mut socket: Socket,
    facts: ConnectionFacts,
    permits: Permits,
) {
    let listener = slot.now();
    let metrics = &listener.telemetry.metrics;
    let connection = Connection::new(worker, slot, facts, permits);
    let plan = Plan::of(&listener.model.protocol, &listener.model.http, connection.facts.local.port());
    // Boxed, as all that is over before a connection first rests: its room would be held as long as that lives.
    let Some(detected) = Box::pin(detected(&connection, &mut socket, plan)).await else { return };
    metrics.detected(detected.name());
    let aging = listener.model.max_connection_age.map(|age| Box::pin(Rc::clone(&connection).age(age)));
    let serving = async {
        match detected {
            Detected::Http1(prefix) => {
                let settings = connection.slot.http1_settings(&listener);
                drop(listener);
                codec::http1::serve(socket, prefix, settings, connection).await;
            }
            // Boxed: what is larger than HTTP/1's future would be held by every connection.
            Detected::Http2(prefix) => Box::pin(codec::serve_http2(socket, prefix, listener, connection)).await,
            // Nothing that could be answered means anything to its client.
            Detected::Tls(..) if matches!(listener.model.protocol, ListenerProtocol::Http) => {}
            Detected::Tls(early, name) => {
                Box::pin(tunnel::serve(connection, &listener, socket, early, name.as_deref())).await;
            }
            Detected::Opaque(early) => {
                Box::pin(tunnel::serve(connection, &listener, socket, early, None)).await;
            }
            Detected::Closed | Detected::TimedOut | Detected::Failed(_) => {}
        }
    };
    match aging {
        None => serving.await,
        Some(aging) => {
            Box::pin(async {
                tokio::select! {
                    () = serving => {}
                    never = aging => match never {},
                }
            })
            .await
        }
    }
}

/// What a connection speaks; `None`: it was told to leave before it said so.
async fn detected(connection: &Rc<Connection>, socket: &mut Socket, plan: Plan) -> Option<Detected> {
    match plan {
        Plan::Unread => Some(Detected::Opaque(Bytes::new())),
        Plan::Read(among, deadline) => tokio::select! {
            biased;
            detected = detect::first_bytes(socket, among, deadline) => Some(detected),
            () = connection.unwanted() => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a function's future takes in memory; it is never called.
    fn size<A, B, C, D, E, F>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_at_rest_is_small() {
        // With the task's own parts in one allocation; what it points to comes to some 900 bytes more.
        let task = size(serve_connection);
        println!("{task} bytes");
        assert!(task <= 600, "{task} bytes");
    }
}
