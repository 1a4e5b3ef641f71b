//! placeholder
pub mod guard;
