//! What the container this process lives in allows: CPU time and memory.
//!
//! Beside the path. Parsing is pure ([`locate`], [`quota_of`], [`Thresholds::judge`]); only thin shells read files.
//! It never changes a limit.

mod cpu;
mod memory;
mod mounts;
#[cfg(test)]
mod tests;

pub use cpu::{count, quota, quota_of, workers};
pub use memory::{Meter, Pressure, Thresholds, Usage};
pub use mounts::{Controller, Place, Version, locate};
