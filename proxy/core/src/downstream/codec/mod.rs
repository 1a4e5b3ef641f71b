//! codec: requests out of bytes, and responses into them.
//!
//! Two protocols, one shape: each decoded request is given to [`exchange`](crate::exchange), whose answer is written
//! out. What the guard refused is answered here too, through the same door.

pub mod http1;
pub mod http2;
