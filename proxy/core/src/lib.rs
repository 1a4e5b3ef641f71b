//! The data path of Pillion: from an accepted socket to an answered request.
//!
//! ```text
//!            ┌─────────── downstream ───────────┐  ┌──── exchange ────┐  ┌───────── upstream ─────────┐
//!  client ──►│ accept → detect → guard → codec  │─►│ receive → route  │─►│ balance → pool │ connect → │──► server
//!            └──────────────────────────────────┘  │ → prepare → retry│  │  handshake → request       │
//!                            │                     │ → deliver        │  └────────────────────────────┘
//!                            │ 101, 2xx to CONNECT │ → respond        │
//!                            ▼                     └──────────────────┘
//!                          tunnel (opaque bytes)
//! ```
//!
//! The path, in its order:
//!
//! 1. [`downstream`]: from an accepted socket to a decoded request; its spine is [`downstream::serve_connection`].
//! 2. [`exchange`]: one request, one response, exactly one record; its spine is [`exchange::proxy`].
//! 3. [`upstream`]: from a chosen cluster to bytes on a connection; its spine is [`upstream::send`].
//! 4. [`tunnel`]: what becomes of a request that left HTTP, after both sides agreed; [`tunnel::forward`].
//!
//! Beside the path: [`framing`] (where an HTTP/1 message begins and ends, judged for both sides), [`http1`] (HTTP/1
//! between bytes and messages, for both sides), [`body`] (the bodies
//! in either direction), [`io`] (sockets, and the seams [`io::Accept`] and [`io::Dial`]), [`snapshot`] (a compiled
//! configuration), [`worker`] (one thread's share of all this), [`drain`] (what a worker tells its connections),
//! [`alarm`] (deadlines that are nearly always called off), [`error`] (what can go wrong, one variant for each stage),
//! [`telemetry`] (metrics and the access log).
//!
//! Words: the *downstream* is the client's side, the *upstream* the server's. A *listener* accepts connections, a
//! *route* says what is done with a request, a *cluster* is a group of *endpoints* that serve the same thing. A
//! *worker* is a thread with its own runtime, listeners and pools: nothing of it is `Send`, nothing of it is locked.
//! What workers share is an immutable [`snapshot::Snapshot`] or an atomic counter.

#![forbid(unsafe_code)]

pub mod alarm;
pub mod body;
pub mod downstream;
pub mod drain;
pub mod error;
pub mod exchange;
pub mod framing;
pub mod http1;
pub mod identity;
pub mod io;
pub mod snapshot;
pub mod telemetry;
pub mod tunnel;
pub mod upstream;
pub mod worker;
