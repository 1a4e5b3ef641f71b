//! Fixtures of the end-to-end tests: the real program, real peers, and clients that show every byte.
//!
//! ```text
//!   client (raw bytes, frames, load)     proxy (the real binary)        peers
//!   ─────────────────────────────────►   ───────────────────────►  scripted   a server written byte for byte
//!                                         │ metrics, admin, /proc   origin     HTTP/1.1 and HTTP/2 that tells what it saw
//!                                         ▼                         nginx, haproxy  Debian's
//!                                        process, metrics           python     gRPC, WebSocket servers and clients
//! ```
//!
//! Everything binds to loopback, ends by itself, and is killed when its handle is dropped. A peer the machine lacks
//! is skipped loudly ([`need`]); with `CI=true` the test fails instead.

pub mod cgroup;
pub mod client;
pub mod dns;
pub mod envoy;
pub mod frames;
pub mod haproxy;
pub mod kubernetes;
pub mod load;
pub mod metrics;
pub mod namespaces;
pub mod need;
pub mod nginx;
pub mod origin;
pub mod pki;
pub mod port;
pub mod process;
pub mod proxy;
pub mod python;
pub mod received;
pub mod response;
pub mod scripted;
pub mod spiffe;
pub mod tempdir;
pub mod tls;
pub mod wait;
