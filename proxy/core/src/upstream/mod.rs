//! 3. From a chosen cluster to bytes on a connection.
pub mod guard;
