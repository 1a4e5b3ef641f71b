//! HTTP/1 framing: where each message begins and ends, and whether everyone would agree on it.
//!
//! A lenient reader drops a Content-Length beside a Transfer-Encoding, merges equal lengths, takes a bare LF for a line
//! end. Whatever two readers could understand differently is where requests are smuggled, so these machines refuse it. They
//! also note where the parts of a head are ([`Layout`]): `http1` takes them from there, and nobody reads a head twice.
//!
//! ```text
//!            request_line/status_line → fields … → empty line
//!                 │                       │            │
//!   section ──────┴─── line by line ──────┘            ▼
//!   target    Host, request target          Head ─► Length(n) ─┐
//!   length    Content-Length, TE              ▲ └─► chunked ───┤      (responses: until close)
//!   chunked   sizes, extensions, trailers     │ └─► nothing ───┤
//!                                             └────────────────┴─► held ─► opaque   (upgrade, CONNECT)
//! ```
//!
//! Pure: bytes in, verdicts out; no I/O, no clock, no allocation but a layout's table. A verdict never depends on how the
//! stream was cut into reads. The shells are `downstream::codec::http1` and `upstream::http1`.

mod chunked;
mod class;
mod fault;
mod http2_response;
mod layout;
mod length;
mod limits;
mod request;
mod response;
mod section;
mod target;

#[cfg(test)]
mod tests;

pub use fault::{Fault, Refusal, Violation};
pub use http2_response::{Interim, LargeHead, judge_http2_response, judge_http2_trailers};
pub use layout::{FieldAt, Layout, Persistence, Version};
pub use length::{Left, is_forbidden_trailer};
pub use limits::{Limits, Underscores};
pub use request::{Asks, RequestFramer, Standing, Step};
pub use response::{Expected, Part, Progress, ResponseFramer};
