//! Where fields stand in this kernel's structures, by its own type information (/sys/kernel/btf/vmlinux).
//!
//! The format is the kernel's Documentation/bpf/btf.rst. Only what is asked for is read: structures by name, members by
//! name, through members without a name.

use std::{fs, io, path::Path};

/// Where the kernel keeps it, since Linux 5.4.
const PLACE: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// Why a field was not found.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel has no type information.
    #[error("{PLACE}: {0}; the kernel needs CONFIG_DEBUG_INFO_BTF")]
    Missing(io::Error),
    /// It is not what it should be.
    #[error("{PLACE}: not type information of a known form")]
    Malformed,
    /// No such field in this kernel.
    #[error("this kernel's struct {0} has no field {1}")]
    NoField(&'static str, &'static str),
}

/// The kernel's types.
pub(crate) struct Btf {
    bytes: Vec<u8>,
    /// Where each type begins; type 0 is void.
    types: Vec<usize>,
    strings: usize,
}

impl Btf {
    /// Reads the running kernel's.
    pub(crate) fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(fs::read(Path::new(PLACE)).map_err(BtfError::Missing)?)
    }

    /// Reads type information.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        Self::index(bytes).ok_or(BtfError::Malformed)
    }

    fn index(bytes: Vec<u8>) -> Option<Self> {
        if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = word(&bytes, 4)?;
        let types_at = header.checked_add(word(&bytes, 8)?)?;
        let types_end = types_at.checked_add(word(&bytes, 12)?)?;
        let strings = header.checked_add(word(&bytes, 16)?)?;
        let (mut types, mut at) = (vec![0], types_at);
        while at < types_end {
            types.push(at);
            let info = u32::try_from(word(&bytes, at + 4)?).ok()?;
            let count = usize::try_from(info & 0xffff).ok()?;
            let rest = match (info >> 24) & 0x1f {
                1 | 14 | 17 => 4,                       // INT, VAR, DECL_TAG
                3 => 12,                                // ARRAY
                STRUCT | UNION | 15 | 19 => 12 * count, // and DATASEC, ENUM64
                6 | 13 => 8 * count,                    // ENUM, FUNC_PROTO
                2 | 7..=12 | 16 | 18 => 0,
                _ => return None,
            };
            at = at.checked_add(12 + rest)?;
        }
        Some(Self { bytes, types, strings })
    }

    /// The offset in bytes of a field, written as a path of members.
    pub(crate) fn offset(&self, structure: &'static str, path: &'static str) -> Result<u32, BtfError> {
        let missing = || BtfError::NoField(structure, path);
        let mut current =
            (1..self.types.len()).find(|number| self.is_named_structure(*number, structure)).ok_or_else(missing)?;
        let mut offset = 0;
        for name in path.split('.') {
            let (at, kind) = self.member(current, name, 0).ok_or_else(missing)?;
            offset += at;
            current = self.resolved(kind);
        }
        Ok(offset)
    }

    fn kind(&self, number: usize) -> Option<u32> {
        let at = *self.types.get(number)?;
        Some((u32::try_from(word(&self.bytes, at + 4)?).ok()? >> 24) & 0x1f)
    }

    fn is_named_structure(&self, number: usize, name: &str) -> bool {
        let at = self.types[number];
        self.kind(number) == Some(STRUCT) && word(&self.bytes, at).is_some_and(|string| self.string_is(string, name))
    }

    fn string_is(&self, offset: usize, name: &str) -> bool {
        let at = self.strings + offset;
        self.bytes.get(at..at + name.len()) == Some(name.as_bytes()) && self.bytes.get(at + name.len()) == Some(&0)
    }

    /// Offset and type of a member, looked for within members without a name as well.
    fn member(&self, number: usize, name: &str, depth: u32) -> Option<(u32, usize)> {
        let kind = self.kind(number)?;
        if depth > 8 || (kind != STRUCT && kind != UNION) {
            return None;
        }
        let at = self.types[number];
        let info = word(&self.bytes, at + 4)?;
        let bit_fields = info >> 31 == 1;
        for index in 0..info & 0xffff {
            let member = at + 12 + 12 * index;
            let (string, of, bits) =
                (word(&self.bytes, member)?, word(&self.bytes, member + 4)?, word(&self.bytes, member + 8)?);
            let bits = if bit_fields { bits & 0xff_ffff } else { bits };
            let here = u32::try_from(bits / 8).ok()?;
            if string == 0 || self.string_is(string, "") {
                if let Some((inner, of)) = self.member(self.resolved(of), name, depth + 1) {
                    return Some((here + inner, of));
                }
            } else if self.string_is(string, name) {
                return Some((here, of));
            }
        }
        None
    }

    /// The type behind typedefs, const and volatile.
    fn resolved(&self, mut number: usize) -> usize {
        for _ in 0..16 {
            match self.kind(number) {
                Some(8..=11 | 18) => {
                    number = word(&self.bytes, self.types[number] + 8).unwrap_or(0);
                }
                _ => break,
            }
        }
        number
    }
}

/// What an object file says of its maps (`.maps`), for a test that compares it with what was known of them.
#[cfg(test)]
impl Btf {
    /// A line each: `NAME type 1 key(8) … value(24) … max_entries 16 map_flags 0`.
    pub(crate) fn maps(&self) -> Option<Vec<String>> {
        const DATASEC: u32 = 15;
        let section = (1..self.types.len())
            .find(|number| self.kind(*number) == Some(DATASEC) && self.name(*number).as_deref() == Some(".maps"))?;
        let at = self.types[section];
        (0..word(&self.bytes, at + 4)? & 0xffff)
            .map(|index| {
                let variable = word(&self.bytes, at + 12 + 12 * index)?;
                let definition = self.resolved(word(&self.bytes, self.types[variable] + 8)?);
                let mut line = self.name(variable)?;
                for (name, _, of) in self.members(definition)? {
                    // A pointer to what is meant: a type, or an array that is as long as the number says.
                    let of = word(&self.bytes, *self.types.get(of)? + 8)?;
                    match name.as_str() {
                        "key" | "value" => line += &format!(" {name}({}) {}", self.size(of)?, self.text(of, 0)?),
                        _ => line += &format!(" {name} {}", word(&self.bytes, *self.types.get(of)? + 20)?),
                    }
                }
                Some(line)
            })
            .collect()
    }

    fn name(&self, number: usize) -> Option<String> {
        let begin = self.strings + word(&self.bytes, *self.types.get(number)?)?;
        self.string(begin)
    }

    fn string(&self, begin: usize) -> Option<String> {
        let rest = self.bytes.get(begin..)?;
        Some(String::from_utf8_lossy(rest.split(|byte| *byte == 0).next()?).into_owned())
    }

    /// Name, offset in bytes and type of each.
    fn members(&self, number: usize) -> Option<Vec<(String, usize, usize)>> {
        let at = *self.types.get(number)?;
        (0..word(&self.bytes, at + 4)? & 0xffff)
            .map(|index| {
                let member = at + 12 + 12 * index;
                let name = self.string(self.strings + word(&self.bytes, member)?)?;
                Some((name, word(&self.bytes, member + 8)? / 8, word(&self.bytes, member + 4)?))
            })
            .collect()
    }

    fn size(&self, number: usize) -> Option<usize> {
        let (number, at) = (self.resolved(number), *self.types.get(self.resolved(number))?);
        match self.kind(number)? {
            3 => Some(self.size(word(&self.bytes, at + 12)?)? * word(&self.bytes, at + 20)?),
            _ => word(&self.bytes, at + 8),
        }
    }

    /// A type with all that is in it.
    fn text(&self, number: usize, depth: u32) -> Option<String> {
        let (number, at) = (self.resolved(number), *self.types.get(self.resolved(number))?);
        match self.kind(number)? {
            _ if depth > 16 => None,
            1 => self.name(number),
            3 => Some(format!(
                "[{}; {}]",
                self.text(word(&self.bytes, at + 12)?, depth + 1)?,
                word(&self.bytes, at + 20)?
            )),
            STRUCT | UNION => {
                let member = |(name, at, of)| Some(format!("{name}@{at}: {}", self.text(of, depth + 1)?));
                let members: Option<Vec<_>> = self.members(number)?.into_iter().map(member).collect();
                Some(format!("{} {{ {} }}", self.name(number)?, members?.join(", ")))
            }
            _ => None,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?);
    usize::try_from(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_running_kernel_are_found_and_unknown_ones_are_named() {
        let Ok(btf) = Btf::of_kernel() else { return };
        assert_eq!(btf.offset("list_head", "prev").unwrap(), 8);
        let receive = btf.offset("sock", "sk_backlog.rmem_alloc").unwrap();
        assert!((8..2000).contains(&receive), "{receive}");
        assert!(btf.offset("tcp_sock", "write_seq").unwrap() > btf.offset("sock", "sk_backlog").unwrap());
        let error = btf.offset("tcp_sock", "no_such_field").unwrap_err();
        assert_eq!(error.to_string(), "this kernel's struct tcp_sock has no field no_such_field");
    }

    #[test]
    fn every_truncation_is_malformed_or_harmless() {
        let Ok(bytes) = fs::read(PLACE) else { return };
        for length in (0..64).chain([200, 4096, bytes.len() / 2]) {
            if let Ok(btf) = Btf::parse(bytes[..length].to_vec()) {
                drop(btf.offset("sock", "sk_backlog.rmem_alloc"));
            }
        }
    }
}
