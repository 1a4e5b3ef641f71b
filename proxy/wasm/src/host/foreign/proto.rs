//! Protobuf's wire format, as much of it as arguments of foreign functions need: fields of varints and of bytes.

use crate::abi::Status;

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u64,
    /// Its value, where it is a varint.
    pub varint: Option<u64>,
    /// Its value, where it has a length.
    pub bytes: Option<&'a [u8]>,
}

/// The fields of a message, up to the first that is malformed.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = message;
    std::iter::from_fn(move || field(&mut rest))
}

/// A message all of whose fields can be read.
///
/// # Errors
///
/// [`Status::BadArgument`]: these bytes are none.
pub fn checked(message: &[u8]) -> Result<&[u8], Status> {
    let mut rest = message;
    while !rest.is_empty() {
        field(&mut rest).ok_or(Status::BadArgument)?;
    }
    Ok(message)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let key = varint(rest)?;
    let number = key >> 3;
    let field = match key & 7 {
        0 => Field { number, varint: Some(varint(rest)?), bytes: None },
        1 => Field { number, varint: None, bytes: Some(take(rest, 8)?) },
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Field { number, varint: None, bytes: Some(take(rest, length)?) }
        }
        5 => Field { number, varint: None, bytes: Some(take(rest, 4)?) },
        _ => return None,
    };
    (number != 0).then_some(field)
}

/// Appends a field of bytes.
pub fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7F).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(bytes);
}

/// Appends a field that is true.
pub fn put_true(out: &mut Vec<u8>, number: u8) {
    out.extend_from_slice(&[number << 3, 1]);
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, &[7; 300]);
        put_true(&mut out, 2);
        let read: Vec<_> = fields(&out).collect();
        assert_eq!(read[0], Field { number: 1, varint: None, bytes: Some(&[7; 300]) });
        assert_eq!(read[1], Field { number: 2, varint: Some(1), bytes: None });
        assert_eq!(read.len(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            fields(&bytes).for_each(drop);
            checked(&bytes).ok();
        }
    }
}
