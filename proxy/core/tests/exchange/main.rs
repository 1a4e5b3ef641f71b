//! The whole data path in memory: a real worker and snapshot, scripted sockets at both ends, a paused clock.

#![allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]

mod client;
mod scripted;
mod server;
mod world;

mod accept;
mod codec;
mod detect;
mod drain;
mod far;
mod far_server;
mod filter;
mod filter_native;
mod filter_tcp;
mod http1;
mod receive;
mod records;
mod respond;
mod retry;
mod route;
mod stall;
mod tunnel;
mod unread;
