//! HTTP/1 between bytes and messages, the same for both sides: heads in and out, bodies in and out, and the buffers
//! between them and a socket.
//!
//! ```text
//!  socket ─► ReadBuffer ─► framing (one machine: verdict and layout) ─┬─► read::request, read::response ─► Parts
//!                                                                     └─► content, trailers
//!  Parts ─► write::request, write::response ─┐
//!  frames ─► Encoder ────────────────────────┴─► Outbox ─► socket
//! ```
//!
//! Pure but for [`ReadBuffer::poll_fill`] and [`Outbox::poll_flush`], which move bytes over a socket that somebody else
//! owns. Who may speak when, deadlines and what a message means are the shells' (`downstream::codec`,
//! `upstream::http1`).
//!
//! # Why our own, and not hyper's
//!
//! - *One reader.* A strict machine stood before a lenient parser: every byte was read twice, and where the two
//!   disagreed a request could be smuggled. Here the machine that judges a head also says where its parts are.
//! - *Interim responses.* hyper's server cannot send a 1xx other than 100, and its client tells of them only through a
//!   hook that must be `Send`.
//! - *Memory at rest.* hyper keeps its buffers while a connection is idle; here a buffer with nothing in it holds none.
//! - *Work.* hyper's client runs in a task of its own beside the request: two channels, two wake-ups, and some ten
//!   moves of a whole `Request` and `Response` each way. By callgrind (one worker, 8 connections, GET, a small answer by
//!   nginx) a request cost 45,300 user instructions with hyper on both sides, 38,200 with this towards servers,
//!   and 36,400 with it on both sides.

mod buffer;
mod encoder;
mod outbox;
pub mod read;
pub mod write;

#[cfg(test)]
mod tests;

pub use buffer::ReadBuffer;
pub use encoder::{Encoder, Misfit};
pub use outbox::Outbox;

use crate::framing::Violation;

/// Why a body on HTTP/1 ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The peer closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The connection was reset.
    #[error("the connection was reset")]
    Reset,
    /// It breaks its framing.
    #[error("{0}")]
    Violation(Violation),
    /// The request that it answers failed while it was being sent, and the connection with it.
    #[error("the request's body failed")]
    Request,
}

impl Broken {
    /// What a failed read or write says.
    #[must_use]
    pub fn of(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::ConnectionAborted => Self::Reset,
            _ => Self::Closed,
        }
    }
}
