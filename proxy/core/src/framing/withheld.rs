//! Bytes kept back from the codec, for the two shells.

/// A queue of bytes of which the front part has been found good: `given | good | unjudged`.
///
/// Holds no memory while empty: most connections never withhold a byte.
#[derive(Debug, Default)]
pub struct Withheld {
    bytes: Vec<u8>,
    given: usize,
    good: usize,
}

impl Withheld {
    /// Whether nothing is kept.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether there is something to [`give`](Self::give).
    #[must_use]
    #[inline]
    pub fn has_good(&self) -> bool {
        self.good > self.given
    }

    /// The bytes that no verdict covers yet.
    #[must_use]
    pub fn unjudged(&self) -> &[u8] {
        &self.bytes[self.good..]
    }

    /// Adds unjudged bytes at the end.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next `len` unjudged bytes are good.
    ///
    /// # Panics
    ///
    /// When there are not so many: a verdict covers only bytes that were shown.
    pub fn approve(&mut self, len: usize) {
        assert!(len <= self.bytes.len() - self.good, "a verdict over bytes that were not shown");
        self.good += len;
    }

    /// Forgets the unjudged bytes.
    pub fn drop_unjudged(&mut self) {
        self.bytes.truncate(self.good);
        self.tidy();
    }

    /// Puts as many good bytes into `into` as fit.
    pub fn give(&mut self, into: &mut tokio::io::ReadBuf<'_>) {
        let len = into.remaining().min(self.good - self.given);
        into.put_slice(&self.bytes[self.given..self.given + len]);
        self.given += len;
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.given < self.good {
            return;
        }
        if self.good == self.bytes.len() {
            *self = Self::default();
        } else {
            self.bytes.drain(..self.good);
            (self.given, self.good) = (0, 0);
        }
    }
}
