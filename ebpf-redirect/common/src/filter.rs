//! The source filter's layouts.

/// Rules that can be counted apart.
pub const MOST_RULES: usize = 1024;

/// A prefix of IPv4, the key of a trie.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Prefix4 {
    /// Bits that count, 0 to 32.
    pub bits: u32,
    /// In network order.
    pub address: [u8; 4],
}

/// A prefix of IPv6, the key of a trie.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Prefix6 {
    /// Bits that count, 0 to 128.
    pub bits: u32,
    /// In network order.
    pub address: [u8; 16],
}

/// What a prefix says; the value of both tries.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rule {
    /// One of [`rule`].
    pub verdict: u32,
    /// Where it is counted, below [`MOST_RULES`].
    pub index: u32,
}

/// Values of [`Rule::verdict`].
pub mod rule {
    /// Dropped.
    pub const DENY: u32 = 0;
    /// Taken.
    pub const ALLOW: u32 = 1;
}

/// What becomes of a packet whose headers cannot be read.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The stack shall judge.
    Pass = 0,
    /// Dropped.
    Drop = 1,
}

/// What the filter does: entry 0 of its map `FILTER`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FilterControl {
    /// [`crate::LAYOUT`].
    pub layout: u32,
    /// The [`rule`] for sources that no prefix names.
    pub otherwise: u32,
    /// One of [`Malformed`].
    pub malformed: u32,
    /// Zero: there is no padding to forget.
    pub zero: u32,
}

/// Packets and bytes that met a rule, per CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleHits {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}
