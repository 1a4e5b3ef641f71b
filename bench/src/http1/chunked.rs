//! Where a chunked body ends (RFC 9112 §7.1), its data counted and forgotten.

use super::Malformed;

/// The state between two reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Chunked {
    at: At,
    /// Bytes of data left in this chunk, or the size read so far.
    size: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    SizeStart,
    Size,
    /// The rest of the size's line.
    Extension,
    Data,
    /// The CR LF behind the data.
    DataEnd,
    /// The first byte of a line of trailers, or of the empty line.
    TrailerStart,
    Trailer,
    /// The LF of the empty line.
    LastLf,
}

/// What became of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Eaten {
    /// How many belong to the body.
    pub(crate) bytes: usize,
    /// How many of them are data.
    pub(crate) data: u64,
    /// The body ends behind them.
    pub(crate) ended: bool,
}

impl Chunked {
    /// Takes bytes, up to the body's end; `see` gets those that are data.
    ///
    /// # Errors
    ///
    /// When they are no chunked body.
    pub(crate) fn eat(&mut self, bytes: &[u8], mut see: impl FnMut(&[u8])) -> Result<Eaten, Malformed> {
        let (mut i, mut data) = (0, 0);
        while let Some(&byte) = bytes.get(i) {
            if self.at == At::Data {
                let take = self.size.min((bytes.len() - i) as u64);
                see(&bytes[i..i + take as usize]);
                (self.size, data, i) = (self.size - take, data + take, i + take as usize);
                if self.size == 0 {
                    self.at = At::DataEnd;
                }
                continue;
            }
            i += 1;
            self.at = match (self.at, byte) {
                (At::SizeStart | At::Size, b) if b.is_ascii_hexdigit() => {
                    let digit = (b as char).to_digit(16).map_or(0, u64::from);
                    self.size = self.size.checked_mul(16).ok_or(Malformed)? + digit;
                    At::Size
                }
                (At::SizeStart, _) => return Err(Malformed),
                (At::Size | At::Extension, b'\n') if self.size == 0 => At::TrailerStart,
                (At::Size | At::Extension, b'\n') => At::Data,
                (At::Size | At::Extension, _) => At::Extension,
                (At::DataEnd, b'\r') => At::DataEnd,
                (At::DataEnd, b'\n') => At::SizeStart,
                (At::TrailerStart, b'\r') => At::LastLf,
                (At::TrailerStart, _) | (At::Trailer, 0..b'\n' | 0x0b..) => At::Trailer,
                (At::Trailer, b'\n') => At::TrailerStart,
                (At::LastLf, b'\n') => return Ok(Eaten { bytes: i, data, ended: true }),
                (At::DataEnd | At::LastLf | At::Data, _) => return Err(Malformed),
            };
        }
        Ok(Eaten { bytes: i, data, ended: false })
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunked, Eaten};

    #[test]
    fn a_body_ends_at_the_same_byte_however_it_is_cut() {
        let body = b"5\r\nhello\r\n0A;x=y\r\n0123456789\r\n0\r\nServer-Timing: a\r\n\r\n";
        let stream = [&body[..], b"HTTP/1.1"].concat();
        let whole = Chunked::default().eat(&stream, |_| {});
        assert_eq!(whole, Ok(Eaten { bytes: body.len(), data: 15, ended: true }));
        for cut in 0..body.len() {
            let mut chunked = Chunked::default();
            let first = chunked.eat(&stream[..cut], |_| {}).unwrap();
            assert_eq!((first.bytes, first.ended), (cut, false));
            let second = chunked.eat(&stream[cut..], |_| {}).unwrap();
            assert_eq!((second.bytes + cut, first.data + second.data, second.ended), (body.len(), 15, true), "{cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        for bad in ["\r\n", "x\r\n", "1\r\nab\r\n", "ffffffffffffffffff\r\n"] {
            assert!(Chunked::default().eat(bad.as_bytes(), |_| {}).is_err(), "{bad:?}");
        }
    }
}
