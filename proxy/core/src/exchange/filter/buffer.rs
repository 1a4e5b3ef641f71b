//! [`Buffer`]: bytes of a body while a filter looks at them or holds them back.
//!
//! One chunk passes through it without a copy. Of several, small ones are put together: each would pin the read buffer
//! it is part of, so that a body sent in single bytes would hold many times its own size. What is long, which only filters make, is
//! cut into parts that keep nothing of each other: what has been given on of it holds no memory any more.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Chunks smaller than this are copied together. Half of what a codec reads at once at most, so that what is held
/// is at most twice what was sent.
const SMALL: usize = 16 * 1024;

/// Bytes in order, in as few pieces as can be had without copying large ones.
///
/// Nearly always one piece, which then is all there is: nothing is allocated for it.
#[derive(Debug, Default)]
pub struct Buffer {
    /// The first piece, if it is not empty; before all others.
    first: Bytes,
    more: Option<Box<More>>,
    len: usize,
}

/// What comes after the first piece.
#[derive(Debug, Default)]
struct More {
    pieces: VecDeque<Bytes>,
    /// What is being put together; comes after the pieces.
    tail: BytesMut,
}

impl Buffer {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes from `start` on, at most `length`, in their pieces; both are clipped to what there is.
    pub fn range(&self, start: usize, length: usize) -> impl Iterator<Item = &[u8]> {
        let end = start.saturating_add(length).min(self.len);
        let mut at = 0;
        let more = self.more.iter().flat_map(|more| more.pieces.iter().map(|piece| &piece[..]).chain([&more.tail[..]]));
        std::iter::once(&self.first[..]).chain(more).filter_map(move |piece| {
            let (from, to) = (at, at + piece.len());
            at = to;
            let (from, to) = (start.max(from) - from, end.min(to).saturating_sub(from));
            (from < to).then(|| &piece[from..to])
        })
    }

    /// All of it in one piece, copied.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.range(0, self.len).collect::<Vec<_>>().concat()
    }

    /// At the end, in place.
    pub fn append(&mut self, bytes: &[u8]) {
        parts(bytes).for_each(|part| self.put_piece(Bytes::copy_from_slice(part)));
    }

    /// At the beginning.
    pub fn prepend(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        for part in parts(bytes).rev() {
            let second = std::mem::replace(&mut self.first, Bytes::copy_from_slice(part));
            if !second.is_empty() {
                self.more.get_or_insert_default().pieces.push_front(second);
            }
        }
    }

    /// This in place of everything.
    pub fn replace(&mut self, bytes: &[u8]) {
        self.clear();
        self.append(bytes);
    }

    /// Takes the first `length` bytes away.
    pub fn drop_front(&mut self, length: usize) {
        let mut left = length.min(self.len);
        self.len -= left;
        let of_first = left.min(self.first.len());
        self.first.advance(of_first);
        left -= of_first;
        let Some(more) = &mut self.more else { return };
        while let Some(piece) = more.pieces.front_mut().filter(|_| left > 0) {
            let taken = left.min(piece.len());
            piece.advance(taken);
            left -= taken;
            if piece.is_empty() {
                more.pieces.pop_front();
            }
        }
        more.tail.advance(left);
    }

    /// Takes everything away.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// A chunk as it came.
    pub(super) fn put(&mut self, chunk: Bytes) {
        // A codec gives none that is longer: it is an answer that a filter gave.
        if chunk.len() > LONG { self.append(&chunk) } else { self.put_piece(chunk) }
    }

    fn put_piece(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let alone = self.len == 0;
        self.len += chunk.len();
        if alone {
            self.first = chunk;
            return;
        }
        let More { pieces, tail } = &mut **self.more.get_or_insert_default();
        if chunk.len() >= SMALL {
            if !tail.is_empty() {
                pieces.push_back(tail.split().freeze());
            }
            return pieces.push_back(chunk);
        }
        // A first small chunk was kept as it came; now it is clear that more follows.
        if tail.is_empty() {
            if let Some(last) = pieces.pop_back_if(|last| last.len() < SMALL) {
                tail.extend_from_slice(&last);
            } else if pieces.is_empty() && self.first.len() < SMALL {
                tail.extend_from_slice(&std::mem::take(&mut self.first));
            }
        }
        tail.extend_from_slice(&chunk);
        if tail.len() >= SMALL {
            pieces.push_back(tail.split().freeze());
        }
    }

    /// Everything of another, at the end.
    pub(super) fn put_all(&mut self, mut other: Self) {
        // Nearly always one of them is empty.
        if self.len == 0 {
            *self = other;
            return;
        }
        while let Some(piece) = other.pop() {
            self.put(piece);
        }
    }

    /// The first piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let piece = if self.first.is_empty() { self.more.as_mut()?.pop()? } else { std::mem::take(&mut self.first) };
        self.len -= piece.len();
        Some(piece)
    }
}

/// Bytes of a piece that stays as it is; codecs give none that is longer.
const LONG: usize = 64 * 1024;

/// Bytes of a part of a longer one: a frame of HTTP/2, so that what of it is on its way keeps no more.
const PART: usize = 16 * 1024;

/// What is short as it is, what is long in parts.
fn parts(bytes: &[u8]) -> std::slice::Chunks<'_, u8> {
    bytes.chunks(if bytes.len() > LONG { PART } else { LONG })
}

impl More {
    fn pop(&mut self) -> Option<Bytes> {
        match self.pieces.pop_front() {
            Some(piece) => Some(piece),
            None if self.tail.is_empty() => None,
            None => Some(std::mem::take(&mut self.tail).freeze()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(usize),
        Append(Vec<u8>),
        Prepend(Vec<u8>),
        Replace(Vec<u8>),
        DropFront(usize),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        let some = || proptest::collection::vec(any::<u8>(), 0..20);
        prop_oneof![
            4 => (0usize..20_000).prop_map(Step::Put),
            1 => some().prop_map(Step::Append),
            1 => some().prop_map(Step::Prepend),
            1 => some().prop_map(Step::Replace),
            1 => (0usize..30_000).prop_map(Step::DropFront),
            1 => Just(Step::Pop),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_vector_would(steps in proptest::collection::vec(step(), 0..30), start in 0usize..40_000, length: usize) {
            let (mut buffer, mut model) = (Buffer::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Put(length) => {
                        let chunk: Vec<u8> = (0..length).map(|at| at as u8).collect();
                        model.extend_from_slice(&chunk);
                        buffer.put(chunk.into());
                    }
                    Step::Append(bytes) => {
                        model.extend_from_slice(&bytes);
                        buffer.append(&bytes);
                    }
                    Step::Prepend(bytes) => {
                        model.splice(0..0, bytes.iter().copied());
                        buffer.prepend(&bytes);
                    }
                    Step::Replace(bytes) => {
                        model.clone_from(&bytes);
                        buffer.replace(&bytes);
                    }
                    Step::DropFront(length) => {
                        model.drain(..length.min(model.len()));
                        buffer.drop_front(length);
                    }
                    Step::Pop => {
                        let piece = buffer.pop().unwrap_or_default();
                        prop_assert!(model.starts_with(&piece));
                        model.drain(..piece.len());
                    }
                }
                prop_assert_eq!(buffer.len(), model.len());
            }
            prop_assert_eq!(buffer.to_vec(), &model[..]);
            let part: Vec<u8> = buffer.range(start, length).collect::<Vec<_>>().concat();
            let from = start.min(model.len());
            let to = start.saturating_add(length).min(model.len()).max(from);
            prop_assert_eq!(part, &model[from..to]);
        }
    }

    #[test]
    fn what_is_given_on_of_a_long_piece_keeps_nothing_of_the_rest() {
        let long: Vec<u8> = (0..1_000_000_u32).map(|at| at as u8).collect();
        let ways: [fn(&mut Buffer, &[u8]); 4] =
            [Buffer::append, Buffer::prepend, Buffer::replace, |buffer, long| buffer.put(Bytes::copy_from_slice(long))];
        for fill in ways {
            let mut buffer = Buffer::default();
            fill(&mut buffer, &long);
            let mut given = Vec::new();
            while let Some(piece) = buffer.pop() {
                assert!(piece.len() <= 2 * PART && piece.is_unique(), "{} bytes", piece.len());
                given.extend_from_slice(&piece);
            }
            assert!(given == long && buffer.is_empty());
        }
    }

    #[test]
    fn small_chunks_are_put_together_and_a_single_one_is_not_copied() {
        let mut buffer = Buffer::default();
        let chunk = Bytes::from(vec![1; 100]);
        buffer.put(chunk.clone());
        assert_eq!(buffer.pop().unwrap().as_ptr(), chunk.as_ptr());
        for _ in 0..10_000 {
            buffer.put(Bytes::from_static(b"x"));
        }
        let pieces = buffer.range(0, usize::MAX).count();
        assert!(pieces <= 2, "{pieces} pieces");
    }
}
