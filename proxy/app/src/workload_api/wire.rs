//! The messages of the Workload API (`workload.proto` of the SPIFFE standards) and gRPC's frames around them.
//!
//! Pure, over bytes. Two messages of five fields are read here by hand: a protobuf library would bring a code generator
//! and an allocation for each field. Fields that are not known are passed over, as protobuf asks of readers.

use std::fmt;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ends within a field.
    #[error("a message is cut short")]
    Short,
    /// A number that is too long, a field of number 0, or of a kind that does not exist.
    #[error("a message is no protobuf")]
    Malformed,
    /// Text that is none.
    #[error("a text in a message is not UTF-8")]
    Text,
    /// gRPC's flag of a compression that was not asked for.
    #[error("a message is compressed, which was not asked for")]
    Compressed,
    /// Larger than any identity.
    #[error("a message is larger than {MAX_MESSAGE} bytes")]
    TooLarge,
}

/// Bytes of a message: a thousand trust domains with two roots of 2 KiB each.
pub const MAX_MESSAGE: usize = 4 << 20;

/// `X509SVIDResponse`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SvidResponse<'a> {
    /// The identities, the default one first.
    pub svids: Vec<X509Svid<'a>>,
    /// Roots of other trust domains, by the domain's ID.
    pub federated: Vec<(&'a str, &'a [u8])>,
}

/// `X509SVID`.
#[derive(Default, PartialEq, Eq)]
pub struct X509Svid<'a> {
    /// Who it is.
    pub id: &'a str,
    /// The certificate and what leads to a root, DER, one behind the other.
    pub chain: &'a [u8],
    /// The key, PKCS#8, DER.
    pub key: &'a [u8],
    /// The roots of its trust domain, DER, one behind the other.
    pub bundle: &'a [u8],
    /// What it is for, in the words of the agent's operator.
    pub hint: &'a str,
}

/// `X509BundlesResponse`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BundlesResponse<'a> {
    /// Roots by trust domain's ID, those of the own domain included.
    pub bundles: Vec<(&'a str, &'a [u8])>,
}

impl<'a> SvidResponse<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut response = Self::default();
        fields(bytes, |number, value| {
            match number {
                1 => response.svids.push(X509Svid::read(value)?),
                3 => response.federated.push(entry(value)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(response)
    }
}

impl<'a> X509Svid<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut svid = Self::default();
        fields(bytes, |number, value| {
            match number {
                1 => svid.id = text(value)?,
                2 => svid.chain = value,
                3 => svid.key = value,
                4 => svid.bundle = value,
                5 => svid.hint = text(value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(svid)
    }
}

/// Nothing of a key.
impl fmt::Debug for X509Svid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid").field("id", &self.id).field("hint", &self.hint).finish_non_exhaustive()
    }
}

impl<'a> BundlesResponse<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut response = Self::default();
        fields(bytes, |number, value| {
            if number == 2 {
                response.bundles.push(entry(value)?);
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// An entry of a map: key and value.
fn entry(bytes: &[u8]) -> Result<(&str, &[u8]), WireError> {
    let mut entry = ("", &[][..]);
    fields(bytes, |number, value| {
        match number {
            1 => entry.0 = text(value)?,
            2 => entry.1 = value,
            _ => {}
        }
        Ok(())
    })?;
    Ok(entry)
}

fn text(bytes: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(bytes).map_err(|_| WireError::Text)
}

/// Gives each field that is a string of bytes; passes over the others.
fn fields<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(u64, &'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let (number, kind) = (key >> 3, key & 7);
        if number == 0 {
            return Err(WireError::Malformed);
        }
        match kind {
            0 => drop(varint(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| WireError::Short)?;
                each(number, take(&mut bytes, length)?)?;
            }
            5 => drop(take(&mut bytes, 4)?),
            _ => return Err(WireError::Malformed),
        }
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], WireError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(WireError::Short)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        let low = u64::from(byte & 0x7F);
        if shift == 63 && low > 1 {
            return Err(WireError::Malformed);
        }
        number |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(WireError::Malformed)
}

/// The first whole message among these bytes: where it lies, and where what follows begins. `None`: more is needed.
///
/// # Errors
///
/// When what comes is no message that was asked for.
pub fn frame(bytes: &[u8]) -> Result<Option<std::ops::Range<usize>>, WireError> {
    let Some((&[flag, length @ ..], _)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
    if flag != 0 {
        return Err(WireError::Compressed);
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| WireError::TooLarge)?;
    if length > MAX_MESSAGE {
        return Err(WireError::TooLarge);
    }
    Ok((bytes.len() >= 5 + length).then_some(5..5 + length))
}

/// The elements of DER that stand one behind the other; `None`: they are none.
#[must_use]
pub fn elements(mut der: &[u8]) -> Option<Vec<&[u8]>> {
    let mut elements = Vec::new();
    while !der.is_empty() {
        let (&[tag, first], _) = der.split_first_chunk::<2>()?;
        // A certificate is a SEQUENCE (X.690 §8.9).
        if tag != 0x30 {
            return None;
        }
        let (header, length) = match first {
            0..=0x7F => (2, usize::from(first)),
            0x81 => (3, usize::from(*der.get(2)?)),
            0x82 => (4, usize::from(u16::from_be_bytes([*der.get(2)?, *der.get(3)?]))),
            _ => return None,
        };
        let (element, rest) = der.split_at_checked(header + length)?;
        elements.push(element);
        der = rest;
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that is a string of bytes.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![(number << 3) | 2];
        let mut length = value.len();
        while length > 0x7F {
            bytes.push(0x80 | (length & 0x7F) as u8);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(value);
        bytes
    }

    fn response() -> Vec<u8> {
        let svid = [
            field(1, b"spiffe://example.org/web"),
            field(2, &[7; 300]),
            field(3, b"key"),
            // A number, eight and four bytes that nobody knows.
            vec![0x30, 0xFF, 0x01, 0x39, 1, 2, 3, 4, 5, 6, 7, 8, 0x45, 1, 2, 3, 4],
            field(4, b"roots"),
            field(5, b"internal"),
        ]
        .concat();
        let federated = [field(1, b"spiffe://other.org"), field(2, b"others")].concat();
        [field(1, &svid), field(2, b"a revocation list"), field(3, &federated)].concat()
    }

    #[test]
    fn a_response_is_read() {
        let bytes = response();
        let read = SvidResponse::read(&bytes).unwrap();
        let [svid] = &read.svids[..] else { panic!("one identity") };
        assert_eq!((svid.id, svid.hint, svid.key), ("spiffe://example.org/web", "internal", &b"key"[..]));
        assert_eq!((svid.chain, svid.bundle), (&[7; 300][..], &b"roots"[..]));
        assert_eq!(read.federated, [("spiffe://other.org", &b"others"[..])]);
        let bundles = field(2, &[field(1, b"spiffe://a"), field(2, b"r")].concat());
        assert_eq!(BundlesResponse::read(&bundles).unwrap().bundles, [("spiffe://a", &b"r"[..])]);
        assert!(!format!("{read:?}").contains("key"), "nothing of a key is told");
    }

    #[test]
    fn whatever_comes_there_is_an_answer() {
        let bytes = response();
        for end in 0..bytes.len() {
            let _ = SvidResponse::read(&bytes[..end]);
            let _ = BundlesResponse::read(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bent = bytes.clone();
                bent[at] ^= 1 << bit;
                let _ = SvidResponse::read(&bent);
                let _ = elements(&bent);
            }
        }
        assert_eq!(SvidResponse::read(&[0x0A, 0xFF]), Err(WireError::Short));
        assert_eq!(SvidResponse::read(&[0x02, 0x00]), Err(WireError::Malformed));
        assert_eq!(SvidResponse::read(&[0xFF; 11]), Err(WireError::Malformed));
        let endless = [&[0x0A][..], &[0xFF; 9], &[0x7F]].concat();
        assert_eq!(SvidResponse::read(&endless), Err(WireError::Malformed));
        assert_eq!(SvidResponse::read(&field(1, &field(1, &[0xFF]))), Err(WireError::Text));
    }

    #[test]
    fn frames_come_in_pieces() {
        let framed = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0]].concat();
        for end in 0..8 {
            assert_eq!(frame(&framed[..end]), Ok(None), "{end}");
        }
        assert_eq!(frame(&framed), Ok(Some(5..8)));
        assert_eq!(frame(&[1, 0, 0, 0, 0]), Err(WireError::Compressed));
        assert_eq!(frame(&[0, 0xFF, 0, 0, 0]), Err(WireError::TooLarge));
    }

    #[test]
    fn certificates_stand_one_behind_the_other() {
        let long = [&[0x30, 0x82, 1, 0][..], &[5; 256]].concat();
        let both = [&[0x30, 1, 9][..], &long].concat();
        assert_eq!(elements(&both), Some(vec![&[0x30, 1, 9][..], &long[..]]));
        assert_eq!(elements(&[]), Some(Vec::new()));
        for bad in [&[0x31, 0][..], &[0x30], &[0x30, 5, 1], &[0x30, 0x84, 0, 0, 0, 1, 1]] {
            assert_eq!(elements(bad), None, "{bad:?}");
        }
    }
}
