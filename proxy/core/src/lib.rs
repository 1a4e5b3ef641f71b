//! The data path of Pillion.
#![forbid(unsafe_code)]

pub mod exchange;
