//! The assembly of Pillion around the data path.
pub mod cgroup;
