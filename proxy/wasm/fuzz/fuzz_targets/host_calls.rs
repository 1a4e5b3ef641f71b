//! A guest that calls host functions as the input says: whatever it gives them, the host does not panic, the stream
//! ends, streams without it are served, and nothing of another plugin's reaches it.

#![no_main]

mod guest;
mod judge;
mod world;

libfuzzer_sys::fuzz_target!(|input: &[u8]| judge::judge(input));
