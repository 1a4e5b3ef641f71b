//! x
pub mod state;
