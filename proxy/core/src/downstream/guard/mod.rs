//! Guards: what stands between a socket and a lenient codec.
//!
//! ```text
//!   socket ─► GuardedSocket (http1) ─► hyper http1 ─► service
//!                    │    bytes judged by framing::RequestFramer
//!                    └── GuardHandle ◄── begin() / RequestTicket ──┘
//! ```
//!
//! - [`GuardedSocket`]: the HTTP/1 guard. The codec sees whole, valid heads only; a refused head reaches the service as
//!   one stand-in request, in its place behind the pipelined ones before it, and the service answers it like any other.
//!   It owns the deadlines of the connection too: the codec's own run while idle and need a timer each.
//!
//! A guard never invents an answer: it names the [`Refusal`](crate::framing::Refusal), `respond` writes it.

mod handle;
mod http1;
pub mod http2;
mod refused;
mod timer;

#[cfg(test)]
mod tests;

pub use handle::{Begin, Ending, GuardHandle, RequestTicket, UpgradeError};
pub use http1::GuardedSocket;
pub use refused::Refused;
pub use timer::Deadlines;
