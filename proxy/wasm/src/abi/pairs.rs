//! The encoding of header maps, property maps and lists: a count, the lengths, then each key and value with a NUL.
//!
//! ```text
//!  u32 n │ u32 key length, u32 value length │ × n │ key NUL value NUL │ × n        little-endian
//! ```

use super::Status;
use std::iter::FusedIterator;

/// Pairs in a buffer that a guest gave; an iterator over keys and values.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    lengths: &'a [u8],
    data: &'a [u8],
}

/// Appends the encoding of what `pairs` iterates over; it is asked twice. Nothing is appended for no pairs: the ABI writes an empty
/// map as an empty buffer.
///
/// Lengths beyond `u32` cannot arise: header maps are bounded far below.
pub fn encode<'a, I>(pairs: impl Fn() -> I, out: &mut Vec<u8>)
where
    I: Iterator<Item = (&'a [u8], &'a [u8])>,
{
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0;
    let mut bytes = 0;
    for (key, value) in pairs() {
        out.extend_from_slice(&length(key));
        out.extend_from_slice(&length(value));
        count += 1_u32;
        bytes += key.len() + value.len() + 2;
    }
    if count == 0 {
        out.truncate(start);
        return;
    }
    out[start..start + 4].copy_from_slice(&count.to_le_bytes());
    out.reserve(bytes);
    for (key, value) in pairs() {
        out.extend_from_slice(key);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
}

/// As [`encode`], of a value that is no header map, where none are a count of zero.
pub fn encode_value<'a, I>(pairs: impl Fn() -> I, out: &mut Vec<u8>)
where
    I: Iterator<Item = (&'a [u8], &'a [u8])>,
{
    let start = out.len();
    encode(pairs, out);
    if out.len() == start {
        out.extend_from_slice(&0_u32.to_le_bytes());
    }
}

fn length(text: &[u8]) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads an encoding. An empty buffer is no pairs.
///
/// # Errors
///
/// [`Status::ParseFailure`] when the counts and lengths do not fit the buffer to its last byte, or a key or value does not end with a NUL.
pub fn decode(buffer: &[u8]) -> Result<Pairs<'_>, Status> {
    if buffer.is_empty() {
        return Ok(Pairs::none());
    }
    let (count, rest) = buffer.split_first_chunk::<4>().ok_or(Status::ParseFailure)?;
    let count = usize::try_from(u32::from_le_bytes(*count)).map_err(|_| Status::ParseFailure)?;
    let table = count.checked_mul(8).ok_or(Status::ParseFailure)?;
    let (lengths, data) = rest.split_at_checked(table).ok_or(Status::ParseFailure)?;
    let pairs = Pairs { lengths, data };
    let mut rest = data;
    for length in pairs.lengths().flat_map(|(key, value)| [key, value]) {
        let (_, behind) = rest.split_at_checked(length as usize).ok_or(Status::ParseFailure)?;
        rest = behind.strip_prefix(b"\0").ok_or(Status::ParseFailure)?;
    }
    if rest.is_empty() { Ok(pairs) } else { Err(Status::ParseFailure) }
}

impl<'a> Pairs<'a> {
    /// Of nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { lengths: &[], data: &[] }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len() / 8
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    fn lengths(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        self.lengths.chunks_exact(8).map(|pair| {
            let (key, value) = pair.split_at(4);
            (number(key), number(value))
        })
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (pair, lengths) = self.lengths.split_at_checked(8)?;
        let (key, value) = (number(&pair[..4]) as usize, number(&pair[4..]) as usize);
        let (key, rest) = self.data.split_at_checked(key)?;
        let (value, rest) = rest.get(1..)?.split_at_checked(value)?;
        self.data = rest.get(1..)?;
        self.lengths = lengths;
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl FusedIterator for Pairs<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_layout_is_the_specifications() {
        let mut out = Vec::new();
        encode(|| [(&b"a"[..], &b"bc"[..])].into_iter(), &mut out);
        assert_eq!(out, b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0");
        out.clear();
        encode(std::iter::empty, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for bad in [
            &b"\x01"[..],
            b"\x01\0\0\0",
            b"\xff\xff\xff\xff",
            b"\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xffa\0b\0",
            b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc",
            b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0\0",
            b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a.bc\0",
            b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc.",
            b"\0\0\0\0\0",
        ] {
            assert_eq!(decode(bad).err(), Some(Status::ParseFailure), "{bad:?}");
        }
        assert_eq!(decode(b"\0\0\0\0").map(|pairs| pairs.count()), Ok(0));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
            let mut out = Vec::new();
            encode(|| pairs.iter().map(|(key, value)| (&key[..], &value[..])), &mut out);
            let read: Vec<_> = decode(&out).unwrap().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn no_bytes_panic_and_all_announced_pairs_are_there(bytes: Vec<u8>) {
            if let Ok(pairs) = decode(&bytes) {
                let announced = pairs.len();
                prop_assert_eq!(pairs.count(), announced);
            }
        }
    }
}
