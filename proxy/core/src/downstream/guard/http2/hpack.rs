//! Tells a header block that cannot be decoded from one whose fields are not allowed, after h2 refused it.
//!
//! h2 answers both with PROTOCOL_ERROR and ends the connection; RFC 9113 §4.3 wants COMPRESSION_ERROR for the first.
//! This walks the block once more, in the error path only, without a dynamic table: what an index there stands for is
//! not known, only whether the table could be so long at all.

use super::huffman;

/// What ended the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// It can be decoded.
    Sound,
    /// It can be decoded if the dynamic table is long enough for the indices it uses.
    Referring,
    /// A field that HTTP does not allow came first; what follows it was not looked at.
    BadField,
    /// It ends within a field.
    Cut,
    /// It cannot be decoded, whatever is in the table.
    Undecodable,
}

/// The table that we offer: SETTINGS_HEADER_TABLE_SIZE is left at its initial value.
const TABLE_BYTES: u64 = 4_096;

/// Entries of the static table.
const STATIC: u64 = 61;

/// The highest index there can be: an entry takes 32 bytes at least (RFC 7541 §4.1).
const HIGHEST: u64 = STATIC + TABLE_BYTES / 32;

/// Walks a whole block (RFC 7541 §6).
pub(super) fn walk(block: &[u8]) -> Block {
    let mut reader = Reader { rest: block, name: Vec::new(), value: Vec::new(), refers: false, fields: false };
    loop {
        match reader.field() {
            Ok(Step::Field) => {}
            Ok(Step::End) if reader.refers => return Block::Referring,
            Ok(Step::End) => return Block::Sound,
            Err(Stop::BadField) => return Block::BadField,
            Err(Stop::Cut) => return Block::Cut,
            Err(Stop::Undecodable) => return Block::Undecodable,
        }
    }
}

enum Step {
    Field,
    End,
}

enum Stop {
    BadField,
    Cut,
    Undecodable,
}

struct Reader<'a> {
    rest: &'a [u8],
    name: Vec<u8>,
    value: Vec<u8>,
    refers: bool,
    /// Whether a field came: a change of the table's size comes before all of them (RFC 7541 §4.2).
    fields: bool,
}

impl Reader<'_> {
    fn field(&mut self) -> Result<Step, Stop> {
        let Some(&first) = self.rest.first() else {
            return Ok(Step::End);
        };
        if first & 0xe0 == 0x20 {
            let size = self.integer(5)?;
            return if self.fields || size > TABLE_BYTES { Err(Stop::Undecodable) } else { Ok(Step::Field) };
        }
        self.fields = true;
        if first & 0x80 != 0 {
            let index = self.integer(7)?;
            return if index == 0 { Err(Stop::Undecodable) } else { self.refer(index) };
        }
        let index = self.integer(if first & 0x40 == 0 { 4 } else { 6 })?;
        if index != 0 {
            self.refer(index)?;
        }
        let mut name = std::mem::take(&mut self.name);
        let mut value = std::mem::take(&mut self.value);
        name.clear();
        if index == 0 {
            self.string(&mut name)?;
        }
        self.string(&mut value)?;
        let allowed = (index != 0 || allowed_name(&name)) && allowed_value(&value);
        (self.name, self.value) = (name, value);
        if allowed { Ok(Step::Field) } else { Err(Stop::BadField) }
    }

    fn refer(&mut self, index: u64) -> Result<Step, Stop> {
        self.refers |= index > STATIC;
        if index > HIGHEST { Err(Stop::Undecodable) } else { Ok(Step::Field) }
    }

    /// An integer (RFC 7541 §5.1), of 28 bits: nothing here needs more.
    fn integer(&mut self, prefix: u32) -> Result<u64, Stop> {
        let most = (1_u64 << prefix) - 1;
        let mut value = u64::from(self.octet()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let octet = self.octet()?;
            value += u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Stop::Undecodable)
    }

    fn octet(&mut self) -> Result<u8, Stop> {
        let (&first, rest) = self.rest.split_first().ok_or(Stop::Cut)?;
        self.rest = rest;
        Ok(first)
    }

    fn string(&mut self, into: &mut Vec<u8>) -> Result<(), Stop> {
        let coded = self.rest.first().is_some_and(|first| first & 0x80 != 0);
        let length = self.integer(7)?;
        let (string, rest) = self.rest.split_at_checked(length as usize).ok_or(Stop::Cut)?;
        self.rest = rest;
        if coded {
            huffman::decode(string, into).map_err(|_| Stop::Undecodable)
        } else {
            into.clear();
            into.extend_from_slice(string);
            Ok(())
        }
    }
}

/// What h2 takes for a name: a token in lower case, or a request's or response's pseudo-header field (RFC 9113 §8.2, §8.3).
fn allowed_name(name: &[u8]) -> bool {
    let pseudo = [&b":method"[..], b":scheme", b":path", b":authority", b":protocol", b":status"];
    pseudo.contains(&name) || (http::HeaderName::from_bytes(name).is_ok() && !name.iter().any(u8::is_ascii_uppercase))
}

fn allowed_value(value: &[u8]) -> bool {
    http::HeaderValue::from_bytes(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_decoded() {
        for block in [
            &[0x80][..],
            &[0x82, 0x20],
            &[0x3f, 0xe2, 0x1f],
            &[0xff, 0x80, 0x80, 0x80, 0x80, 0x01],
            &[0xff, 0x3f],
            b"\x00\x01x\x82\xf3\xff",
            b"\x00\x01x\x81\x00",
            b"\x00\x01x\x84\xff\xff\xff\xff",
        ] {
            assert_eq!(walk(block), Block::Undecodable, "{block:x?}");
        }
    }

    #[test]
    fn what_ends_within_a_field() {
        for block in [&[0x40][..], &[0x00, 0x05, b'x'], &[0xff], &[0x82, 0x3f, 0x80], &[0x04, 0x81]] {
            assert_eq!(walk(block), Block::Cut, "{block:x?}");
        }
    }

    #[test]
    fn what_can() {
        assert_eq!(walk(&[]), Block::Sound);
        assert_eq!(walk(&[0x82, 0x86, 0x84, 0x41, 0x01, b'a']), Block::Sound);
        assert_eq!(walk(&[0x20, 0x3f, 0xe1, 0x1f, 0x82]), Block::Sound, "two sizes, then a field");
        assert_eq!(walk(&[0x82, 0xbe]), Block::Referring);
        assert_eq!(walk(&[0x7f, 0x00, 0x01, b'x']), Block::Referring);
    }

    #[test]
    fn fields_that_are_not_allowed() {
        for block in [
            &b"\x00\x01X\x00"[..],
            b"\x00\x01 \x00",
            b"\x00\x00\x00",
            b"\x00\x05:test\x00",
            b"\x00\x01x\x01\n",
            b"\x04\x01\0",
        ] {
            assert_eq!(walk(block), Block::BadField, "{block:x?}");
        }
        // What comes first is what h2 stopped at.
        assert_eq!(walk(b"\x00\x01X\x00\x80"), Block::BadField);
        assert_eq!(walk(b"\x80\x00\x01X\x00"), Block::Undecodable);
    }
}
