//! Texts found by a hash that grows byte by byte, so that all prefixes of a path (or suffixes of a host) are
//! looked up in one walk over it.
//!
//! The hash is not keyed. It need not be: only the configuration inserts, so that a client can neither make a
//! chain longer nor gain more from a colliding look-up than one failed comparison.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A hash that grows: byte by byte, or a segment at a time in words of eight bytes.
#[derive(Clone, Copy)]
pub(super) struct Rolling(u64);

impl Rolling {
    /// The hash of nothing. Different seeds keep apart what shares a table.
    pub(super) fn new(seed: u32) -> Self {
        Self(0xcbf2_9ce4_8422_2325 ^ u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// One byte more.
    pub(super) fn push(&mut self, byte: u8) {
        self.push_word(u64::from(byte));
    }

    /// Bytes more. The hash tells where such a push ended: keys are pushed in the same pieces as what is looked up.
    pub(super) fn push_all(&mut self, bytes: &[u8]) {
        self.push_words(bytes, 0);
    }

    /// The same without regard to the case of letters. Some other bytes fall together too, which comparing the
    /// entry finds out.
    pub(super) fn push_all_folded(&mut self, bytes: &[u8]) {
        self.push_words(bytes, 0x2020_2020_2020_2020);
    }

    fn push_words(&mut self, bytes: &[u8], mask: u64) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.push_word(u64::from_le_bytes(*word) | mask);
        }
        let tail_word = tail.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte));
        self.push_word((tail_word | mask) ^ ((tail.len() as u64) << 56));
    }

    fn push_word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// The hash of what was pushed so far, in one of several flavours that do not meet.
    pub(super) fn value(self, flavour: u8) -> u64 {
        let mixed = (self.0 ^ u64::from(flavour)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 32)
    }
}

/// Entries found by hash; entries whose hashes are equal are chained.
pub(super) struct Index<T> {
    heads: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
    entries: Vec<Entry<T>>,
}

struct Entry<T> {
    value: T,
    next: u32,
}

/// The end of a chain.
const END: u32 = u32::MAX;

impl<T> Index<T> {
    /// An empty index.
    pub(super) fn new() -> Self {
        Self { heads: HashMap::default(), entries: Vec::new() }
    }

    /// The entry with this hash that `is` recognises.
    pub(super) fn get(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<&T> {
        self.position(hash, is).map(|at| &self.entries[at as usize].value)
    }

    /// The entry with this hash that `is` recognises, made when there is none.
    pub(super) fn get_or_insert(&mut self, hash: u64, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
        let at = self.position(hash, is).unwrap_or_else(|| {
            let at = self.entries.len() as u32;
            let next = self.heads.insert(hash, at).unwrap_or(END);
            self.entries.push(Entry { value: make(), next });
            at
        });
        &mut self.entries[at as usize].value
    }

    /// Gives back what growing left over.
    pub(super) fn shrink(&mut self) {
        self.heads.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    fn position(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<u32> {
        let mut at = *self.heads.get(&hash)?;
        while at != END {
            let entry = &self.entries[at as usize];
            if is(&entry.value) {
                return Some(at);
            }
            at = entry.next;
        }
        None
    }
}

/// Passes a hash through: the keys of [`Index`] are hashes.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_hashes_are_told_apart_by_the_entry() {
        let mut index = Index::new();
        for text in ["a", "b", "c", "b"] {
            index.get_or_insert(7, |held: &&str| *held == text, || text);
        }
        assert_eq!(index.entries.len(), 3);
        for text in ["a", "b", "c"] {
            assert_eq!(index.get(7, |held| *held == text), Some(&text));
        }
        assert_eq!(index.get(7, |held| *held == "d"), None);
        assert_eq!(index.get(8, |_| true), None);
    }
}
