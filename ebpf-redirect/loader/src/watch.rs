//! watch: reads what the programs count and tell, and pulls the kill switch where that is not as it should be.
//!
//! Judging is a pure function of two readings; [`Watch`] is the thin part that reads and acts.

use crate::{
    AttachError, Counter, Occupancy, Totals,
    histogram::Histogram,
    maps::{self, Maps},
    pins::{Lock, Pins},
};
use aya::maps::{MapData, RingBuf};
use redirect_common::{CLIENT, Closed, Event, mode};
use std::time::{Duration, Instant};

/// How often it should be asked: [`Watch::look`].
pub const EVERY: Duration = Duration::from_secs(1);

/// Events taken at one look. More wait in the ring, or are counted as dropped.
const MOST_EVENTS: usize = 16_384;

/// Messages below which shares say nothing.
const ENOUGH: u64 = 1000;

/// Looks in a row that a leak must show in: connections come and go between two readings.
const PERSISTENT: u32 = 5;

/// What is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// Enrolled sockets send, of which nothing is known.
    Unknown,
    /// Most messages find that their other end, which was enrolled, has left the map: it should have been closed.
    Unpaired,
    /// The map of sockets does not take what it should.
    EnrolFailures,
    /// More ends are in the map than are open.
    Leak,
    /// The map of sockets is nearly full: evidence of a leak, or far more connections than it is made for.
    Full,
}

impl Alarm {
    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_sockets",
            Self::Unpaired => "unpaired",
            Self::EnrolFailures => "enrol_failures",
            Self::Leak => "leak",
            Self::Full => "full",
        }
    }
}

/// What a look saw that one later is compared with.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Counters.
    pub totals: Totals,
    /// How full maps are.
    pub occupancy: Occupancy,
}

/// What connections that ended had been like, since the watch began.
#[derive(Debug, Clone, Default)]
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

/// What a look gives.
#[derive(Debug, Clone)]
pub struct Look {
    /// The reading.
    pub reading: Reading,
    /// What is not as it should be; the kill switch has been pulled.
    pub alarm: Option<Alarm>,
    /// Whether the programs work.
    pub on: bool,
}

/// An instance under watch.
pub struct Watch {
    maps: Maps,
    /// With the lock that makes it the only one to take them.
    events: Option<(RingBuf<MapData>, Lock)>,
    before: Reading,
    leaking: u32,
    /// What is known of connections that ended.
    pub ended: Ended,
    /// When it last looked.
    pub looked: Instant,
}

impl Watch {
    /// Watches an attached instance. The first one to watch takes the events; others see counters only.
    ///
    /// # Errors
    ///
    /// It is not attached.
    pub fn new(instance: &str) -> Result<Self, AttachError> {
        let pins = Pins::of(instance)?;
        let maps = Maps::attached(&pins, instance)?;
        let before = Reading { totals: maps.totals()?, occupancy: maps.occupancy() };
        let events = match pins.lock_events()? {
            Some(lock) => Some((maps::events(&pins)?, lock)),
            None => None,
        };
        Ok(Self { events, maps, before, leaking: 0, ended: Ended::default(), looked: Instant::now() })
    }

    /// Reads and judges nothing.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub fn read_only(&mut self) -> Result<Reading, AttachError> {
        self.take_events(&mut |_| {});
        Ok(Reading { totals: self.maps.totals()?, occupancy: self.maps.occupancy() })
    }

    fn take_events(&mut self, told: &mut dyn FnMut(&Event)) {
        if let Some((events, _lock)) = &mut self.events {
            for _ in 0..MOST_EVENTS {
                let Some(bytes) = events.next() else { break };
                if let Some(event) = self.ended.take(&bytes) {
                    told(&event);
                }
            }
        }
    }

    /// Whether it is this watch that is told of ends of connections.
    #[must_use]
    pub fn takes_events(&self) -> bool {
        self.events.is_some()
    }

    /// Reads, judges, and pulls the kill switch where that is called for. `told` is told of each end that closed.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub fn look(&mut self, mut told: impl FnMut(&Event)) -> Result<Look, AttachError> {
        self.take_events(&mut told);
        let control = self.maps.control()?;
        let on = control.mode == mode::ON;
        let reading = Reading { totals: self.maps.totals()?, occupancy: self.maps.occupancy() };
        let alarm = if on { judge(&self.before, &reading) } else { None };
        self.leaking = if leaks(&reading) { self.leaking + 1 } else { 0 };
        let alarm = alarm.or((on && self.leaking >= PERSISTENT).then_some(Alarm::Leak));
        if alarm.is_some() {
            self.maps.set_mode(false)?;
        }
        self.before = reading.clone();
        self.looked = Instant::now();
        Ok(Look { reading, alarm, on: on && alarm.is_none() })
    }
}

/// What is wrong between two readings.
fn judge(before: &Reading, now: &Reading) -> Option<Alarm> {
    let since = |counter| now.totals.get(counter).saturating_sub(before.totals.get(counter));
    let sum = |counters: &[Counter]| counters.iter().map(|counter| since(*counter)).sum::<u64>();
    let messages = sum(&[
        Counter::RedirectedMessages,
        Counter::PassedNoPeer,
        Counter::PassedGone,
        Counter::PassedOrder,
        Counter::PassedSlow,
        Counter::PassedLarge,
        Counter::PassedUnready,
        Counter::PassedUnknown,
    ]);
    // That the other end was never enrolled is nothing amiss: it may live in another cgroup.
    let lost = since(Counter::PassedGone);
    let (eligible, failed) = (since(Counter::Eligible), since(Counter::EnrolFailed));
    if since(Counter::PassedUnknown) * 100 > messages && messages > 0 {
        return Some(Alarm::Unknown);
    }
    if now.occupancy.sockets * 20 > redirect_common::MOST_SOCKETS as u64 * 19 {
        return Some(Alarm::Full);
    }
    if failed >= 100 && failed * 10 > eligible {
        return Some(Alarm::EnrolFailures);
    }
    (messages >= ENOUGH && lost * 2 > messages).then_some(Alarm::Unpaired)
}

/// Whether more ends are in the map than were enrolled and not closed, beyond what comes and goes.
fn leaks(now: &Reading) -> bool {
    let open = now.totals.get(Counter::Enrolled).saturating_sub(now.totals.get(Counter::Closed));
    now.occupancy.sockets > open + open / 10 + 256
}

impl Ended {
    fn take(&mut self, bytes: &[u8]) -> Option<Event> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(counts: &[(Counter, u64)], sockets: u64) -> Reading {
        Reading { totals: Totals::of(counts), occupancy: Occupancy { sockets, pairs: 0, originals: 0 } }
    }

    #[test]
    fn only_what_is_not_as_expected_raises_an_alarm() {
        use Counter::*;
        let quiet = reading(&[], 0);
        for (counts, sockets, alarm) in [
            (&[][..], 0, None),
            (&[(RedirectedMessages, 100_000), (PassedNoPeer, 4000), (Enrolled, 100), (Eligible, 100)], 100, None),
            (&[(RedirectedMessages, 10), (PassedNoPeer, 900)], 2, None),
            (&[(RedirectedMessages, 100), (PassedNoPeer, 9000)], 2, None),
            (&[(RedirectedMessages, 100), (PassedGone, 1100)], 2, Some(Alarm::Unpaired)),
            (&[(RedirectedMessages, 100), (PassedUnknown, 50)], 2, Some(Alarm::Unknown)),
            (&[(Eligible, 200), (EnrolFailed, 150)], 2, Some(Alarm::EnrolFailures)),
            (&[(Eligible, 20_000), (EnrolFailed, 150)], 2, None),
            (&[(PassedLarge, 5000), (PassedOrder, 5000), (PassedSlow, 5000), (PassedUnready, 5000)], 2, None),
            (&[], 65_000, Some(Alarm::Full)),
        ] {
            assert_eq!(judge(&quiet, &reading(counts, sockets)), alarm, "{counts:?} {sockets}");
        }
        let later = reading(&[(RedirectedMessages, 1_000_000)], 0);
        assert_eq!(judge(&later, &later), None, "nothing has happened since");
    }

    #[test]
    fn a_leak_is_more_in_the_map_than_is_open() {
        use Counter::*;
        assert!(!leaks(&reading(&[(Enrolled, 1000), (Closed, 900)], 120)));
        assert!(!leaks(&reading(&[(Enrolled, 10_000), (Closed, 0)], 10_100)));
        assert!(leaks(&reading(&[(Enrolled, 10_000), (Closed, 9900)], 400)));
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
}
