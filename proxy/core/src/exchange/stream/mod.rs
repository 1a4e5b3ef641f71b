//! The two bodies of an exchange on their way through: [`RequestBody`] to the upstream, [`ResponseBody`] to the
//! downstream.
//!
//! They count, time and account; the bytes themselves are never copied. A request without a body and a response
//! that is ready when it is asked for cost no timer.

mod request;
mod response;

pub use request::{Gate, RequestBody, RequestStream};
pub use response::{Ending, ResponseBody};
