//! The data path of Pillion: from an accepted socket to an answered request.
//!
//! ```text
//!                 ┌──────────── downstream ───────────┐   ┌─ exchange ─┐   ┌──────── upstream ───────┐
//!  client ──────► │ accept → detect → guard → codec   │──►│ route      │──►│ balance → pool | connect │──► server
//!                 └───────────────────────────────────┘   │ filter     │   │ → handshake → request    │
//!                            │ 101, 200 to CONNECT        │ respond    │   └──────────────────────────┘
//!                            ▼                            └────────────┘
//!                          tunnel (opaque bytes)
//! ```
//!
//! Modules in path order: [`downstream`], [`exchange`], [`tunnel`], [`upstream`]; beside the path: `worker`,
//! [snapshot], [`framing`], [`io`], [`body`], [`drain`], [`error`], [`telemetry`].
//!
//! Words: the *downstream* is the client's side, the *upstream* the server's. A *listener* accepts connections, a
//! *route* says what is done with a request, a *cluster* is a group of *endpoints* that serve the same thing. A
//! *worker* is a thread with its own runtime, listeners and pools: nothing of it is `Send`, nothing of it is locked.

#![forbid(unsafe_code)]

pub mod body;
pub mod downstream;
pub mod drain;
pub mod error;
pub mod exchange;
pub mod framing;
pub mod io;
pub mod snapshot;
pub mod telemetry;
pub mod tunnel;
pub mod upstream;
pub mod worker;
