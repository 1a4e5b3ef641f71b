//! placeholder
pub mod downstream;
pub mod framing;
pub mod upstream;
