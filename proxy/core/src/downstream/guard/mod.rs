//! Guards: what stands between a socket and a lenient codec.
//!
//! ```text
//!   socket ─► FrameGuarded (http2) ─► h2 ─► service
//! ```
//!
//! HTTP/1 needs none: there `framing`, which judges, is also what the codec reads by. A guard never invents an answer.

pub mod http2;
