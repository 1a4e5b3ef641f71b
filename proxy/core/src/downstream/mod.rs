//! 1. From an accepted socket to a decoded request.
//!
//! ```text
//!  accept ─► tls ─► detect ─┬─ HTTP/1 ─► guard (strict framing) ─► codec (hyper) ─┬─► exchange
//!                           ├─ HTTP/2 ─► guard (frame floods)   ─► codec (h2) ────┘
//!                           └─ opaque ─► tunnel
//! ```
//!
//! [`serve_connection`] is the spine: what one connection goes through from its accept to its end.

pub mod accept;
pub mod codec;
pub mod connection;
pub mod detect;
pub mod guard;
pub mod limit;
pub mod tls;

pub use connection::Connection;

use crate::{io::Socket, telemetry::ConnectionFacts, tunnel, worker::Worker};
use accept::{ListenerSlot, Permits};
use detect::{Detected, Plan};
use pillion_config::model::ListenerProtocol;
use std::rc::Rc;
use tls::Accepted;

/// Serves one connection to its end. Dropping the future closes it.
pub async fn serve_connection(
    worker: Rc<Worker>,
    slot: Rc<ListenerSlot>,
    socket: Socket,
    facts: ConnectionFacts,
    permits: Permits,
) {
    let listener = slot.now();
    let metrics = &listener.telemetry.metrics;
    let connection = Connection::new(worker, slot, facts, permits);
    let accepted = tls::accept(socket, &listener, &connection).await;
    let Some(Accepted { mut socket, prefix, agreed }) = accepted else { return };
    let detected = match Plan::of(&listener.model.protocol, &listener.model.http, connection.facts.local.port()) {
        Plan::Unread => Detected::Opaque(prefix),
        Plan::Read(among, deadline) => tokio::select! {
            biased;
            detected = detect::first_bytes(&mut socket, prefix, among, deadline) => detected.agreed(agreed),
            () = connection.unwanted() => return,
        },
    };
    metrics.detected(detected.name());
    let serving = async {
        match detected {
            Detected::Http1(prefix) => codec::http1::serve(socket, prefix, &listener, Rc::clone(&connection)).await,
            Detected::Http2(prefix) => codec::serve_http2(socket, prefix, &listener, Rc::clone(&connection)).await,
            // Nothing that could be answered means anything to its client.
            Detected::Tls(..) if matches!(listener.model.protocol, ListenerProtocol::Http) => {}
            Detected::Tls(early, name) => {
                tunnel::serve(Rc::clone(&connection), &listener, socket, early, name.as_deref()).await;
            }
            Detected::Opaque(early) => {
                tunnel::serve(Rc::clone(&connection), &listener, socket, early, None).await;
            }
            Detected::Closed | Detected::TimedOut | Detected::Failed(_) => {}
        }
    };
    tokio::select! {
        () = serving => {}
        never = Rc::clone(&connection).age() => match never {},
    }
}
