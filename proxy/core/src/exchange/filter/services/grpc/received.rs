//! Messages out of a body, and what a status says.

use bytes::{Buf, Bytes, BytesMut};

/// What stands before a message: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

/// Takes messages out of a body.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) held: BytesMut,
}

/// Why a body is no sequence of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoMessage {
    Compressed,
    TooLarge,
}

impl Messages {
    /// The next whole message.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Bytes>, NoMessage> {
        let Some((prefix, rest)) = self.held.split_at_checked(PREFIX) else { return Ok(None) };
        if prefix[0] != 0 {
            return Err(NoMessage::Compressed);
        }
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if length > most {
            return Err(NoMessage::TooLarge);
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.held.advance(PREFIX);
        Ok(Some(self.held.split_to(length).freeze()))
    }
}

/// `grpc-message` without its percent signs; what is no escape stays.
pub(super) fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(escape.unwrap_or(byte));
        rest = if escape.is_some() { &after[2..] } else { after };
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_their_bytes_come() {
        let sent = [&b"\0\0\0\0\x03abc"[..], b"\0\0\0\0\0", b"\0\0\0\0\x02de"].concat();
        for step in 1..=sent.len() {
            let mut messages = Messages::default();
            let mut got = Vec::new();
            for piece in sent.chunks(step) {
                messages.held.extend_from_slice(piece);
                while let Some(message) = messages.next(10).unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, ["abc", "", "de"]);
        }
        let mut messages = Messages { held: (&b"\x01\0\0\0\0"[..]).into() };
        assert_eq!(messages.next(10), Err(NoMessage::Compressed));
        let mut messages = Messages { held: (&b"\0\0\0\0\x0b"[..]).into() };
        assert_eq!(messages.next(10), Err(NoMessage::TooLarge));
    }

    #[test]
    fn messages_of_a_status_are_decoded() {
        for (value, decoded) in [("a%20b", "a b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%A4", "ä")] {
            assert_eq!(percent_decoded(value.as_bytes()), decoded.as_bytes());
        }
    }
}
