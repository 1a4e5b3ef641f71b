//! Being written.
pub mod http2;
