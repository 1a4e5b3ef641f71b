//! 1. From an accepted socket to a decoded request.
//!
//! ```text
//!  accept ─► detect ─┬─ HTTP/1 ─► guard (strict framing) ─► codec (hyper) ─┬─► exchange
//!                    └─ HTTP/2 ─► guard (frame floods)   ─► codec (h2) ────┘
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

use crate::{io::Socket, telemetry::ConnectionFacts, worker::Worker};
use accept::{ListenerSlot, Permits};
use detect::Detected;
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
    let detected = tokio::select! {
        biased;
        detected = detect::first_bytes(&mut socket, listener.model.http.timeouts.header) => detected,
        () = connection.unwanted() => return,
    };
    metrics.detected(detected.name());
    let serving = async {
        match detected {
            Detected::Http1(prefix) => codec::http1::serve(socket, prefix, &listener, Rc::clone(&connection)).await,
            Detected::Http2(prefix) => codec::serve_http2(socket, prefix, &listener, Rc::clone(&connection)).await,
            Detected::Tls | Detected::Closed | Detected::TimedOut | Detected::Failed(_) => {}
        }
    };
    tokio::select! {
        () = serving => {}
        never = Rc::clone(&connection).age() => match never {},
    }
}
