//! The words of HTTP/2 framing: types, flags, a frame's header, and the first field of a header block.

// Frame types (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

// Flags.
pub(crate) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(super) const HAS_PRIORITY: u8 = 0x20;

/// A frame's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    #[inline]
    pub(crate) fn parse(b: &[u8; 9]) -> Self {
        Self {
            length: u32::from_be_bytes([0, b[0], b[1], b[2]]),
            kind: b[3],
            flags: b[4],
            // The reserved bit is ignored (RFC 9113 §4.1).
            stream: u32::from_be_bytes([b[5], b[6], b[7], b[8]]) & 0x7fff_ffff,
        }
    }

    /// Whether it is DATA that neither brings a byte nor ends its stream.
    #[inline]
    pub(crate) fn is_empty_data(self) -> bool {
        self.kind == DATA && self.length == 0 && self.flags & END_STREAM == 0
    }
}

/// Whether the first field of a block is a pseudo-header field, as far as the static table and a literal name tell
/// (RFC 7541 §6, appendix A: entries 1 to 14). A name in the dynamic table is not seen.
pub(super) fn begins_with_pseudo(field: &[u8]) -> bool {
    let Some(&first) = field.first() else {
        return false;
    };
    let (index, literal) = match first {
        0x80.. => (first & 0x7f, false),
        0x40..=0x7f => (first & 0x3f, true),
        // A table size update; the field after it is not looked at.
        0x20..=0x3f => return false,
        0x00..=0x1f => (first & 0x0f, true),
    };
    match (index, field.get(1), field.get(2)) {
        (1..=14, _, _) => true,
        // A literal name: length and, if Huffman-coded, the seven bits of ':' (RFC 7541 appendix B).
        (0, Some(length), Some(name)) if literal => {
            if length & 0x80 == 0 {
                *name == b':'
            } else {
                name >> 1 == 0b101_1100
            }
        }
        _ => false,
    }
}
