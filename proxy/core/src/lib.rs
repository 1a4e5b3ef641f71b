//! The data path: from an accepted socket to an answered request.

pub mod telemetry;
