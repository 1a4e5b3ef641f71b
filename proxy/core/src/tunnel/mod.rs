//! 2'. Opaque bytes.
pub mod h2_stream;
pub mod upgrade;
