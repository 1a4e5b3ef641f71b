//! 1. From an accepted socket to a decoded request.
pub mod guard;
pub mod codec;
