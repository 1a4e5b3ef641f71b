//! Wasm filters through the real seam: a worker on loopback, an origin that echoes, guests in text.

#![allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]

mod calls;
mod configurations;
mod counted;
mod faults;
mod http;
mod queues;
mod shared;
mod time;
#[path = "../warnings/mod.rs"]
mod warnings;
mod world;
