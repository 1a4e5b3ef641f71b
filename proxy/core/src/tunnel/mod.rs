//! 2'. Opaque bytes.
pub mod h2_stream;
