//! The assembly of Pillion: everything around the data path.

pub mod metrics;
