//! As much of HTTP/1.1 as the generator and the origin need, over bytes: where a message ends and what it says of itself.
//!
//! Neither reads nor writes a socket. Cheap rather than strict: what it reads comes from programs under measurement on
//! the same machine, and whatever it does not understand is counted as an error, not repaired.

mod chunked;
mod head;
mod response;

pub(crate) use chunked::Chunked;
pub(crate) use head::{Length, Malformed, parse_request};
pub(crate) use response::{Answer, Feed, ResponseReader};
