//! The Huffman code of RFC 7541, appendix B, read in the error path only.
//!
//! The code is canonical (shorter codes first, and by symbol within a length), so its lengths are all that is kept; the
//! first code of each length follows from them.

/// The length in bits of each octet's code (RFC 7541, appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Bits of the longest code; that of the end-of-string symbol, the last one, is all ones.
const LONGEST: u32 = 30;

/// The string holds the end-of-string symbol, or its padding is too long or not of ones (RFC 7541 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadEnding;

/// Decodes a string into `decoded`, which is emptied first.
///
/// # Errors
///
/// The string is to be treated as a decoding error; `decoded` then holds what came before.
pub(super) fn decode(string: &[u8], decoded: &mut Vec<u8>) -> Result<(), BadEnding> {
    decoded.clear();
    let mut bits = 0_u32;
    let mut length = 0_u32;
    for byte in string {
        for at in (0..8).rev() {
            bits = bits << 1 | u32::from(byte >> at & 1);
            length += 1;
            if let Some(octet) = octet(bits, length) {
                decoded.push(octet);
                (bits, length) = (0, 0);
            } else if length == LONGEST {
                return Err(BadEnding);
            }
        }
    }
    // Padding is the beginning of the end-of-string symbol, and shorter than an octet.
    if length < 8 && bits == (1 << length) - 1 { Ok(()) } else { Err(BadEnding) }
}

/// The octet that these bits are the whole code of.
fn octet(bits: u32, length: u32) -> Option<u8> {
    let mut first = 0_u32;
    for shorter in 1..length {
        first = (first + count(shorter)) << 1;
    }
    let place = bits.checked_sub(first)?;
    let mut same = (0..=u8::MAX).filter(|octet| u32::from(LENGTHS[usize::from(*octet)]) == length);
    same.nth(place as usize)
}

fn count(length: u32) -> u32 {
    LENGTHS.iter().filter(|of| u32::from(**of) == length).count() as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]
mod tests {
    use super::*;

    fn decoded(string: &[u8]) -> Option<Vec<u8>> {
        let mut decoded = Vec::new();
        self::decode(string, &mut decoded).ok().map(|()| decoded)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7541, appendices C.4 and C.6.
        let text = |string: &[u8]| String::from_utf8(decoded(string).unwrap()).unwrap();
        assert_eq!(text(&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]), "www.example.com");
        assert_eq!(text(&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]), "custom-value");
        assert_eq!(text(&[0x64, 0x02]), "302");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn the_code_is_complete() {
        // Kraft's sum with the end-of-string symbol is one.
        let sum: u64 = LENGTHS.iter().map(|length| 1_u64 << (LONGEST - u32::from(*length))).sum();
        assert_eq!(sum + 1, 1 << LONGEST);
        // The last octets of some lengths, as the RFC prints them.
        for (bits, length, octet) in [(0x9, 5, b't'), (0x2d, 6, b'u'), (0x7b, 7, b'z'), (0xffa, 12, b'#')] {
            assert_eq!(self::octet(bits, length), Some(octet));
        }
        assert_eq!(octet(0x3fff_fffe, 30), Some(22));
        assert_eq!(octet(0x3fff_ffff, 30), None, "the end-of-string symbol");
    }

    #[test]
    fn endings() {
        assert_eq!(decoded(&[0xff]), None, "eight bits of padding");
        assert_eq!(decoded(&[0xf3, 0xff]), None, "x, one bit and eight of padding");
        assert_eq!(decoded(&[0x00]), None, "0 padded with zeros");
        assert_eq!(decoded(&[0x07]), Some(b"0".to_vec()));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None, "the end-of-string symbol");
    }
}
