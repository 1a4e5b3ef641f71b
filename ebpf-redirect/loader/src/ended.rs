//! What is known of connections that ended: gathered by whoever takes the events, kept in a map for everybody else.
//!
//! The ring of events has one reader at a time. What it makes of them stands in the pinned map `ENDED`, of one entry and bounded
//! size, which programs know nothing of: `status --watch` shows the same beside a proxy or an agent as alone, and whoever takes
//! the events next goes on from there.

use crate::{histogram::Histogram, pins::Pins, sys};
use aya::maps::{Array, Map, MapData, MapError};
use redirect_common::{CLIENT, Closed, Event};
use std::{io, os::fd::AsFd};

/// What connections that ended had been like, since the instance was attached.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ended {
    /// Ends of connections, by how they ended: in order, aborted, half closed.
    pub by_reason: [u64; 3],
    /// From connect(2) to established, seconds.
    pub connecting: Histogram,
    /// Smoothed round trip over TCP, seconds, of ends that sent something that way.
    pub round_trip: Histogram,
    /// From established to closed, seconds.
    pub lived: Histogram,
    /// Bytes redirected from an end.
    pub redirected: Histogram,
    /// Segments that TCP sent again.
    pub retransmits: u64,
    /// Events that were not of a form that is known.
    pub malformed: u64,
}

/// Histograms in [`Ended`].
const HISTOGRAMS: usize = 4;
/// Words of an entry: whether there is anything, three reasons, the histograms, two counts.
const WORDS: usize = 1 + 3 + HISTOGRAMS * Histogram::WORDS + 2;
/// Begins an entry that was written.
const WRITTEN: u64 = 1;

type Words = [u64; WORDS];

impl Ended {
    /// Adds an event as the kernel wrote it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<Event> {
        let Some(event) = read(bytes) else {
            self.malformed += 1;
            return None;
        };
        let reason = match event.closed {
            reason if reason == Closed::InOrder as u32 => 0,
            reason if reason == Closed::Aborted as u32 => 1,
            _ => 2,
        };
        self.by_reason[reason] += 1;
        if event.end == CLIENT && event.connecting > 0 {
            self.connecting.record(seconds(event.connecting));
        }
        if event.passed_bytes > 0 {
            self.round_trip.record(f64::from(event.srtt) / 1e6);
        }
        self.lived.record(seconds(event.lived));
        #[expect(clippy::cast_precision_loss, reason = "a bucket's bounds are far apart")]
        self.redirected.record(event.redirected_bytes as f64);
        self.retransmits += u64::from(event.retransmits);
        Some(event)
    }

    /// What has come since an earlier state; all of it where that is of other maps, which have gone.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let (now, then) = (self.words(), before.words());
        let mut since = now;
        for at in 1..WORDS {
            let is_sum = (4..WORDS - 2).contains(&at) && (at - 4) % Histogram::WORDS == Histogram::WORDS - 1;
            since[at] = if is_sum {
                (f64::from_bits(now[at]) - f64::from_bits(then[at])).max(0.0).to_bits()
            } else {
                match now[at].checked_sub(then[at]) {
                    Some(more) => more,
                    None => return self.clone(),
                }
            };
        }
        Self::of(&since).unwrap_or_default()
    }

    fn words(&self) -> Words {
        let Self { by_reason, connecting, round_trip, lived, redirected, retransmits, malformed } = self;
        let mut words = [WRITTEN; WORDS];
        let histograms = [connecting, round_trip, lived, redirected].map(Histogram::words);
        let all = by_reason.iter().chain(histograms.iter().flatten()).chain([retransmits, malformed]);
        for (word, value) in words[1..].iter_mut().zip(all) {
            *word = *value;
        }
        words
    }

    /// `None`: nothing was written there.
    fn of(words: &Words) -> Option<Self> {
        let (begin, [retransmits, malformed]) = words.split_last_chunk()?;
        let ([WRITTEN, in_order, aborted, half_closed], histograms) = begin.split_first_chunk()? else { return None };
        let mut histograms = histograms.as_chunks().0.iter().map(Histogram::of);
        let mut next = || histograms.next().unwrap_or_default();
        Some(Self {
            by_reason: [*in_order, *aborted, *half_closed],
            connecting: next(),
            round_trip: next(),
            lived: next(),
            redirected: next(),
            retransmits: *retransmits,
            malformed: *malformed,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact to a nanosecond for a hundred days")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// An event as the kernel wrote it.
fn read(bytes: &[u8]) -> Option<Event> {
    let bytes: &[u8; size_of::<Event>()] = bytes.try_into().ok()?;
    // SAFETY: as many bytes as the type has, which is `#[repr(C)]`, of integers only: every pattern is a value.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// Its pin.
pub(crate) const PIN: &str = "ENDED";

/// The map. Who holds the lock of the events writes it; a reader meanwhile may see some counts of before beside some of after.
pub(crate) struct Store(Array<MapData, Words>);

impl Store {
    /// The map of an instance; `None`: it was attached by a version that made none.
    pub(crate) fn open(pins: &Pins) -> Option<Self> {
        Array::try_from(Map::Array(MapData::from_pin(pins.map(PIN)).ok()?)).ok().map(Self)
    }

    /// Makes it where it is not. Only to be called under the instance's lock: whoever removes it must find it.
    pub(crate) fn make(pins: &Pins) -> io::Result<()> {
        if Self::open(pins).is_some() {
            return Ok(());
        }
        let at = pins.map(PIN);
        // Of another size, from a version between: what it knows is of no use.
        match std::fs::remove_file(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let size = u32::try_from(size_of::<Words>()).map_err(io::Error::other)?;
        sys::pin(sys::array(PIN, size)?.as_fd(), &at)
    }

    pub(crate) fn read(&self) -> Result<Ended, MapError> {
        Ok(Ended::of(&self.0.get(&0, 0)?).unwrap_or_default())
    }

    pub(crate) fn write(&mut self, ended: &Ended) -> Result<(), MapError> {
        self.0.set(0, ended.words(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(connecting: u64) -> Ended {
        let mut ended = Ended::default();
        let event =
            Event { connecting, lived: 5_000_000, passed_bytes: 7, srtt: 40, retransmits: 3, ..Event::default() };
        // SAFETY: a structure without padding, read as the bytes that it is.
        let bytes = unsafe { std::mem::transmute::<Event, [u8; size_of::<Event>()]>(event) };
        assert_eq!(ended.take(&bytes), Some(event));
        ended
    }

    #[test]
    fn events_of_another_size_are_counted_and_nothing_else() {
        let mut ended = Ended::default();
        for length in (0..300).filter(|length| *length != size_of::<Event>()) {
            assert_eq!(ended.take(&vec![0xff; length]), None);
        }
        assert_eq!((ended.malformed, ended.by_reason), (299, [0; 3]));
        assert!(ended.take(&vec![0xff; size_of::<Event>()]).is_some());
        assert_eq!(ended.by_reason, [0, 0, 1]);
    }

    #[test]
    fn what_is_kept_in_the_map_comes_out_as_it_went_in() {
        let ended = some(2_000_000);
        assert_eq!(Ended::of(&ended.words()), Some(ended));
        assert_eq!(Ended::of(&Ended::default().words()), Some(Ended::default()));
        assert_eq!(Ended::of(&[0; WORDS]), None, "a map that nobody has written");
    }

    #[test]
    fn what_has_come_since_is_the_difference_or_all_of_other_maps() {
        let (one, mut two) = (some(1_000), some(1_000));
        assert_eq!(one.since(&one).by_reason, [0; 3]);
        two.take(&[]);
        two.by_reason[1] += 4;
        two.lived.record(0.25);
        let since = two.since(&one);
        assert_eq!((since.by_reason, since.malformed, since.retransmits), ([0, 4, 0], 1, 0));
        assert_eq!((since.lived.count(), since.lived.sum), (1, 0.25));
        // Those before have gone with their maps.
        assert_eq!(one.since(&two), one);
    }
}
