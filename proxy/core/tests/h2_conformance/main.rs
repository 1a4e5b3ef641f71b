//! HTTP/2 towards clients, spoken to in raw frames: every case of the public h2spec suite (generic, RFC 9113 §3 to §8,
//! HPACK), what our codec adds, and floods. Nothing here uses the h2 crate as a client.

#![allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]

mod codec;
mod cost;
mod floods;
mod generic;
mod h2spec;
mod hpack;
mod memory;
mod peer;
mod section3_to_4;
mod section5;
mod section6;
mod section7_to_8;
mod service;
mod table;
mod uploads;
mod wire;
