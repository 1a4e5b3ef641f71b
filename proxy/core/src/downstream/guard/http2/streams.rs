//! [`Streams`]: which streams the client has finished.

/// Streams that are remembered behind the newest one.
const REMEMBERED: u32 = 512;

/// Which of the last streams the client has ended or reset. A bit for each: what is older is unknown, and so are
/// identifiers that no HEADERS opened.
#[derive(Debug, Default)]
pub(super) struct Streams {
    last: u32,
    ended: Bits,
    reset: Bits,
}

type Bits = [u64; (REMEMBERED / 64) as usize];

/// Where a stream's bit is.
fn place(stream: u32) -> (usize, u64) {
    let place = stream / 2 % REMEMBERED;
    ((place / 64) as usize, 1 << (place % 64))
}

impl Streams {
    /// The highest stream that HEADERS opened.
    #[inline]
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// HEADERS on a stream higher than all before.
    #[inline]
    pub(super) fn open(&mut self, stream: u32) {
        let passed = (stream - self.last).div_ceil(2);
        if passed >= REMEMBERED {
            (self.ended, self.reset) = Default::default();
        } else {
            for back in 0..passed {
                let (word, bit) = place(stream - 2 * back);
                self.ended[word] &= !bit;
                self.reset[word] &= !bit;
            }
        }
        self.last = stream;
    }

    /// The client said END_STREAM.
    #[inline]
    pub(super) fn end(&mut self, stream: u32) {
        if self.remembers(stream) {
            let (word, bit) = place(stream);
            self.ended[word] |= bit;
        }
    }

    /// The client said RST_STREAM; whether it had said so before.
    pub(super) fn reset(&mut self, stream: u32) -> bool {
        let (word, bit) = place(stream);
        let known = self.remembers(stream);
        let again = known && self.reset[word] & bit != 0;
        if known {
            self.reset[word] |= bit;
        }
        again
    }

    /// Whether the client has said END_STREAM before.
    #[inline]
    pub(super) fn is_ended(&self, stream: u32) -> bool {
        let (word, bit) = place(stream);
        self.ended[word] & bit != 0 && self.remembers(stream)
    }

    /// Whether it is remembered, and the client may send DATA on it.
    pub(super) fn is_open(&self, stream: u32) -> bool {
        self.remembers(stream) && !self.is_over(stream)
    }

    /// Whether the client has said END_STREAM or RST_STREAM before.
    pub(super) fn is_over(&self, stream: u32) -> bool {
        let (word, bit) = place(stream);
        (self.ended[word] | self.reset[word]) & bit != 0 && self.remembers(stream)
    }

    fn remembers(&self, stream: u32) -> bool {
        stream % 2 == 1 && stream <= self.last && self.last - stream < 2 * REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_remembered_for_a_while() {
        let mut streams = Streams::default();
        streams.open(1);
        assert!(!streams.is_over(1));
        streams.end(1);
        assert!(streams.is_over(1));
        // Skipped identifiers were never opened.
        streams.open(9);
        streams.end(9);
        assert_eq!([1, 3, 5, 7, 9, 11].map(|stream| streams.is_over(stream)), [true, false, false, false, true, false]);
        // The bit of 1 serves 1025 next.
        streams.open(1023);
        assert_eq!([streams.reset(1023), streams.reset(1023), streams.reset(1025)], [false, true, false]);
        assert!(streams.is_over(1) && streams.is_over(1023) && !streams.is_ended(1023));
        streams.open(1025);
        assert!(!streams.is_over(1) && !streams.is_over(1025) && streams.is_over(9));
        streams.end(1);
        assert!(!streams.is_over(1025));
        // A leap forgets all.
        streams.open(9_999);
        assert!((1..10_000).all(|stream| !streams.is_over(stream)));
        assert_eq!(streams.last(), 9_999);
    }

    #[test]
    fn even_and_idle_streams_are_none_of_the_clients() {
        let mut streams = Streams::default();
        streams.open(7);
        streams.end(2);
        streams.end(9);
        assert!((0..20).all(|stream| !streams.is_over(stream)));
    }
}
