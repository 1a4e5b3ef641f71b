//! What the source filter's program and its loader share.

/// The version of all this: a program that finds another one lets everything pass.
pub const FILTER_LAYOUT: u32 = 1;

/// Prefixes of each family that fit. The trie takes memory only for those that are there.
pub const MOST_PREFIXES: usize = 1 << 18;

/// Rules that fit.
pub const MOST_RULES: usize = 256;

/// Listeners' ports that fit.
pub const MOST_PORTS: usize = 1024;

/// What to do: entry 0 of the map `FILTER`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FilterControl {
    /// [`FILTER_LAYOUT`] of who wrote it; 0: nobody has.
    pub layout: u32,
    /// One of [`action`], for what no prefix matches.
    pub otherwise: u32,
    /// One of [`action`], for malformed frames.
    pub malformed: u32,
    /// 1: only TCP to the ports of the map `FILTER_PORTS` is looked at; 0: everything.
    pub ports_only: u32,
}

/// What becomes of a frame; the lowest bit of a prefix's value, whose other bits are its slot in `FILTER_COUNTS`.
pub mod action {
    /// It goes on.
    pub const PASS: u32 = 0;
    /// It ends here.
    pub const DROP: u32 = 1;
}

/// Slots of the map `FILTER_COUNTS` that are no rule's.
pub mod slot {
    /// Neither IPv4 nor IPv6, or not for a listener's port where only those are looked at. Passed.
    pub const OTHER: u32 = 0;
    /// Malformed.
    pub const MALFORMED: u32 = 1;
    /// No prefix matches.
    pub const UNMATCHED: u32 = 2;
    /// The first rule's.
    pub const RULES: u32 = 3;
}

/// Slots of the map `FILTER_COUNTS`.
pub const MOST_SLOTS: usize = slot::RULES as usize + MOST_RULES;

/// What a slot counts, per CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frames {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}
