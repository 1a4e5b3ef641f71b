//! Cheap random numbers for choices that an attacker gains nothing by guessing.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
};

/// A generator of 64-bit numbers, one for each worker. Not for secrets.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// Seeded by the operating system, so that workers and instances choose apart.
    #[must_use]
    pub fn from_system() -> Self {
        // The standard library's hash keys are the random bits that need no dependency and no unsafe code.
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// The same numbers for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// The next number.
    #[must_use]
    pub fn next(&self) -> u64 {
        // A Weyl sequence scrambled by two multiply-xorshift rounds (the finaliser of SplitMix64, Steele et al. 2014):
        // any seed is good, zero included.
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
