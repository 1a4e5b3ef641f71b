//! [`Blocks`]: the header blocks that h2 may not have looked at yet, kept for the case that it refuses one.

use super::{
    head::{ACK, HAS_PRIORITY, HEADERS, Head, PADDED, SETTINGS},
    hpack::{self, Block},
};

/// The header blocks of the bytes read last, as they came: h2 decodes all that it has before it reads more.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    heads: Vec<Kept>,
    /// Whether another frame that h2 may refuse came since the last block.
    others: bool,
    /// Whether our SETTINGS are acknowledged.
    acknowledged: bool,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Where in the bytes it begins, with padding and priority.
    start: usize,
    head: Head,
    /// Whether it asks for a new stream.
    opens: bool,
    /// Whether another frame, which h2 may have refused instead, came before it.
    others: bool,
    /// Whether its last byte came.
    whole: bool,
}

/// Bytes that a connection keeps between two requests.
const KEPT_BYTES: usize = 2_048;

impl Blocks {
    /// More bytes are read: h2 is through with all blocks but the one that is not whole, if `open`.
    #[inline]
    pub(super) fn turn(&mut self, open: bool) {
        self.others = false;
        match (open, self.heads.last().copied()) {
            (_, None) => {}
            (true, Some(last)) => {
                self.bytes.drain(..last.start);
                let last = Kept { start: 0, others: false, ..last };
                self.heads.clear();
                self.heads.push(last);
            }
            (false, Some(_)) => {
                self.heads.clear();
                self.bytes.clear();
                if self.bytes.capacity() > KEPT_BYTES {
                    self.bytes = Vec::new();
                }
            }
        }
    }

    /// A frame begins.
    #[inline]
    pub(super) fn frame(&mut self, head: Head, opens: bool) {
        if head.kind == HEADERS {
            self.heads.push(Kept { start: self.bytes.len(), head, opens, others: self.others, whole: false });
            self.others = false;
        } else if !self.acknowledged && head.kind == SETTINGS && head.flags & ACK != 0 {
            // The one acknowledgement that a client owes, which it often sends together with its first request.
            self.acknowledged = true;
        } else {
            self.others = true;
        }
    }

    /// The next bytes of HEADERS or of a CONTINUATION that belongs to it.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The last byte of a block came.
    #[inline]
    pub(super) fn finish(&mut self) {
        if let Some(last) = self.heads.last_mut() {
            last.whole = true;
        }
    }

    /// Whether h2's PROTOCOL_ERROR comes of a block that cannot be decoded. `processed` is the last stream it names.
    #[cold]
    pub(super) fn undecodable(&self, processed: u32) -> bool {
        for (at, kept) in self.heads.iter().enumerate() {
            let end = self.heads.get(at + 1).map_or(self.bytes.len(), |next| next.start);
            let Some(block) = unpadded(&self.bytes[kept.start..end], kept.head) else {
                return false;
            };
            match hpack::walk(block) {
                Block::Undecodable => return true,
                Block::Cut => return kept.whole,
                Block::BadField => return false,
                // The block of the first stream that h2 did not get to, with nothing before it to refuse and nothing
                // wrong in its frame: what is left is an index that the table does not have.
                Block::Referring if kept.opens && kept.head.stream > processed => {
                    return !kept.others && kept.head.stream % 2 == 1;
                }
                Block::Referring | Block::Sound => {}
            }
        }
        false
    }
}

/// The block within HEADERS and its CONTINUATIONs (RFC 9113 §6.2); `None` if the padding is longer than the frame.
fn unpadded(bytes: &[u8], head: Head) -> Option<&[u8]> {
    let first = bytes.get(..head.length as usize)?;
    if head.flags & PADDED == 0 {
        return bytes.get(if head.flags & HAS_PRIORITY == 0 { 0 } else { 5 }..);
    }
    // Padding stands between the frame's part and its continuations: only a block of one frame can be told apart.
    if bytes.len() > first.len() {
        return None;
    }
    let (&padding, rest) = first.split_first()?;
    let rest = rest.get(if head.flags & HAS_PRIORITY == 0 { 0 } else { 5 }..)?;
    rest.get(..rest.len().checked_sub(usize::from(padding))?)
}
