//! The two bodies of an exchange on their way through: [`RequestBody`] to the upstream, [`ResponseBody`] to the
//! downstream.
//!
//! They count, time and account; the bytes themselves are never copied. A request without a body and a response
//! that is ready when it is asked for cost no timer.
//!
//! Trailers: those of HTTP/2 messages are filtered. Towards HTTP/1 the codec writes only such as the head's `Trailer`
//! names, to a client only if it said `TE: trailers`; others end here, as HTTP/1 promises nobody that they come.

mod gate;
mod request;
mod response;
pub(super) mod trailers;

pub use gate::{Gate, Opened};
pub use request::{BodyFailure, RequestBody, RequestStream};
pub use response::{Ending, ResponseBody};
