//! What is decided about and changed in the heads of requests and responses.
//!
//! ```text
//! request  ─► survey ─► target (Host, :authority, :scheme) ─► hop_by_hop ─► forwarding ─► change ─► target::to_http1 | to_http2
//! response ─► survey ─► hop_by_hop ─► forwarding (Via) ─► change
//! ```
//!
//! The names are looked at once, by [`Survey`]; what it did not see costs nothing after it. Nothing here reads a
//! clock, a socket or the system's randomness.

pub mod change;
pub mod forwarding;
pub mod grpc;
pub mod hop_by_hop;
mod refusal;
mod survey;
pub mod target;

pub use refusal::HeadRefusal;
pub use survey::{Field, Survey};
