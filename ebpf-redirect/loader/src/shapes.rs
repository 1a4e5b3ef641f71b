//! shapes: the maps that are pinned, and what they must be for this build to use them.
//!
//! Pins of another layout stand in a directory of another name. That a build changed a map without changing the number is what the
//! test below is there to prevent, and what is looked for all the same before anything is read.

use redirect_common::{
    COUNTERS, Claimed, Control, Endpoint, Excluded, Flow, Identity, Listener, Original, Pair, PairKey,
};
use std::fmt;

/// Kinds of maps, as linux/bpf.h numbers them.
mod kind {
    pub(super) const HASH: u32 = 1;
    pub(super) const ARRAY: u32 = 2;
    pub(super) const PROGRAMS: u32 = 3;
    pub(super) const PER_CPU_ARRAY: u32 = 6;
    pub(super) const LRU_HASH: u32 = 9;
    pub(super) const TRIE: u32 = 11;
    pub(super) const SOCK_HASH: u32 = 18;
    pub(super) const SOCKET_STORAGE: u32 = 24;
    pub(super) const RING: u32 = 27;
}

/// What a map is to who reads and writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Its type, as linux/bpf.h numbers them.
    pub kind: u32,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
}

impl Form {
    /// Whether it is [`Control`]'s in any layout: an array of something that begins with layout and mode.
    pub(crate) fn is_control(self) -> bool {
        self.kind == kind::ARRAY && self.key == 4 && self.value >= 8
    }

    /// Whether it holds sockets.
    pub(crate) fn is_of_sockets(self) -> bool {
        self.kind == kind::SOCK_HASH
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, value } = self;
        write!(f, "kind {kind}, keys of {key} bytes, values of {value}")
    }
}

/// A map that is pinned.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel allows no such values")]
const fn shape<K, V>(name: &'static str, kind: u32) -> Shape {
    Shape { name, form: Form { kind, key: size_of::<K>() as u32, value: size_of::<V>() as u32 } }
}

/// Every map that is pinned, but for what is no program's.
pub(crate) const MAPS: &[Shape] = &[
    shape::<u32, Control>("CONTROL", kind::ARRAY),
    shape::<u32, u32>("PORTS", kind::HASH),
    shape::<Identity, u32>("PROXIES", kind::HASH),
    shape::<Excluded, u32>("EXCLUDED", kind::TRIE),
    shape::<u32, u32>("EXCLUDED_PORTS", kind::HASH),
    shape::<PairKey, u32>("SOCKETS", kind::SOCK_HASH),
    shape::<u32, u32>("PROGRAMS", kind::PROGRAMS),
    shape::<u32, Flow>("FLOWS", kind::SOCKET_STORAGE),
    shape::<Endpoint, u32>("EXPECTED", kind::LRU_HASH),
    shape::<PairKey, Pair>("PAIRS", kind::LRU_HASH),
    shape::<Endpoint, Original>("ORIGINALS", kind::LRU_HASH),
    shape::<u64, Claimed>("CLAIMS", kind::HASH),
    shape::<Listener, u32>("LISTENERS", kind::SOCK_HASH),
    shape::<u32, [u64; COUNTERS.len()]>("COUNTS", kind::PER_CPU_ARRAY),
    shape::<(), ()>("EVENTS", kind::RING),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Btf;
    use redirect_common::LAYOUT;
    use std::{env, fs};

    const OBJECT: &[u8] = include_bytes!("../../prebuilt/redirect.o");
    /// The layout's number, and what it stands for.
    const KNOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/layout.txt");

    /// The type information of an object file (ELF, 64 bits).
    fn types(object: &[u8]) -> Option<Btf> {
        let number = |at: usize, bytes: usize| {
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(object.get(at..at + bytes)?);
            usize::try_from(u64::from_le_bytes(word)).ok()
        };
        let (table, size, count) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?);
        let header = |index: usize| table + index * size;
        let names = number(header(number(0x3e, 2)?) + 0x18, 8)?;
        let section = (0..count).map(header).find(|at| {
            number(*at, 4)
                .is_some_and(|name| object.get(names + name..).is_some_and(|name| name.starts_with(b".BTF\0")))
        })?;
        let begin = number(section + 0x18, 8)?;
        Btf::parse(object.get(begin..begin + number(section + 0x20, 8)?)?.to_vec()).ok()
    }

    /// What the object says of every map, the structures in them field by field; and the counters' order, which is in none.
    fn described() -> String {
        let mut maps = types(OBJECT).and_then(|types| types.maps()).expect("maps of a known form");
        maps.sort_unstable();
        let counters: Vec<_> = COUNTERS.iter().map(|counter| counter.name()).collect();
        format!("layout {LAYOUT}\n{}\ncounters {}\n", maps.join("\n"), counters.join(" "))
    }

    /// Whoever changes a map or a structure in it changes the number: the pins of a build that did not were read by others as theirs, and
    /// nobody could detach them.
    #[test]
    fn what_is_pinned_changes_with_the_layouts_number_only() {
        let (known, now) = (fs::read_to_string(KNOWN).unwrap_or_default(), described());
        if known == now {
            return;
        }
        let number = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        assert!(
            number(&known) != number(&now),
            "maps or shared structures have changed, and redirect_common::LAYOUT has not: raise it, run ebpf-redirect/build, and \
             then this test with WRITE_LAYOUT=1\n--- known\n{known}\n--- now\n{now}"
        );
        assert!(env::var_os("WRITE_LAYOUT").is_some(), "LAYOUT has changed: WRITE_LAYOUT=1 writes {KNOWN} anew\n{now}");
        fs::write(KNOWN, now).expect("written");
    }

    #[test]
    fn what_is_looked_for_is_what_the_object_has() {
        let maps = types(OBJECT).and_then(|types| types.maps()).expect("maps of a known form");
        assert_eq!(maps.len(), MAPS.len());
        for Shape { name, form: Form { kind, key, value } } in MAPS {
            let line = maps.iter().find(|line| line.split(' ').next() == Some(name)).expect(name);
            // What ends is told and not kept by entries.
            if *kind == kind::RING {
                assert!(line.starts_with(&format!("{name} type {kind} ")), "{line}");
                continue;
            }
            for words in [format!("{name} type {kind} "), format!(" key({key}) "), format!(" value({value}) ")] {
                assert!(line.contains(&words), "{words:?} is not in {line}");
            }
        }
    }
}
