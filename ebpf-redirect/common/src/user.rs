//! What lets the loader put these types into maps.
#![expect(unsafe_code, reason = "aya's marker for types that are bytes and nothing else")]

use crate::{Claimed, Control, Endpoint, FilterControl, Frames, Identity, Listener, Original, Pair, PairKey};

macro_rules! bytes {
    ($($name:ty),+) => {
        // SAFETY: `#[repr(C)]`, integers only, no padding: the test beside compares sizes with the sums of their fields.
        $(unsafe impl aya::Pod for $name {})+
    };
}

bytes!(Claimed, Control, Endpoint, FilterControl, Frames, Identity, Listener, Original, Pair, PairKey);

/// The counters of one CPU.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct Counts(pub [u64; crate::COUNTERS.len()]);

// SAFETY: an array of integers.
unsafe impl aya::Pod for Counts {}
