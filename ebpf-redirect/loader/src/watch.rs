//! watch: reads what the programs count and tell, and pulls the kill switch where that is not as it should be.
//!
//! Judging is a pure function of two readings; [`Watch`] is the thin part that reads and acts.

use crate::{
    AttachError, Counter, Occupancy, Totals,
    ended::{Ended, Store},
    instance,
    maps::{self, Maps},
    pins::{Lock, Pins},
};
use aya::maps::{MapData, RingBuf};
use redirect_common::{Event, mode};
use std::{
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

/// How often it should be asked: [`Watch::look`].
pub const EVERY: Duration = Duration::from_secs(1);

/// How long ends of connections are gathered before they are taken, from the first on: [`Watch::take`]. The ring holds some 2,000.
pub const GATHER: Duration = Duration::from_millis(100);

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
    /// The map of sockets does not take what it should, and has room for it.
    EnrolFailures,
    /// More ends are in the map than are open.
    Leak,
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

/// How what is watched stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As before.
    There,
    /// Attached, to nothing but a cgroup that has gone: no connection is enrolled any more.
    Severed,
    /// Its programs have been detached; its maps stay, for connections that go on or for claims.
    Detached,
    /// Its pins have been removed: this is the last that its maps say, and what they say from now on.
    Gone,
    /// It was attached again after it had gone: its counters began anew.
    Anew,
}

/// What a look gives.
#[derive(Debug, Clone)]
pub struct Look {
    /// The reading.
    pub reading: Reading,
    /// What is not as it should be; the kill switch has been pulled.
    pub alarm: Option<Alarm>,
    /// Ends of connections since the look before that the map of sockets had no room for: they go on through TCP.
    pub no_room: u64,
    /// Whether the programs work.
    pub on: bool,
    /// How the instance stands.
    pub standing: Standing,
}

/// Who takes the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// This watch, for good, as soon as nobody else does.
    Always,
    /// This watch at each of its looks, where nobody else does: whoever comes to stay finds them free.
    InPassing,
}

/// An instance under watch.
pub struct Watch {
    instance: String,
    pins: Pins,
    /// Of the pins that the maps were opened by.
    generation: Option<u64>,
    maps: Maps,
    takes: Takes,
    events: Option<Events>,
    before: Reading,
    leaking: u32,
    /// What is known of connections that ended, by whoever takes the events.
    pub ended: Ended,
    /// When it last looked.
    pub looked: Instant,
}

/// The ring of events.
struct Events {
    ring: RingBuf<MapData>,
    /// `None`: the version that attached it made none.
    store: Option<Store>,
    /// Makes this the only one to take them.
    _lock: Lock,
}

impl Events {
    /// `None`: somebody else takes them.
    fn ask(pins: &Pins) -> Result<Option<Self>, AttachError> {
        let Some(lock) = pins.lock_events()? else { return Ok(None) };
        Ok(Some(Self { ring: maps::events(pins)?, store: Store::open(pins), _lock: lock }))
    }
}

impl Watch {
    /// Watches an attached instance, judges it, and takes its events as soon as nobody else does: for the proxy or the agent
    /// that it belongs to.
    ///
    /// # Errors
    ///
    /// It is not attached.
    pub fn new(instance: &str) -> Result<Self, AttachError> {
        Self::begin(instance, Takes::Always)
    }

    /// Watches an attached instance without a say in it: who watches like this takes events where nobody else would, and is in
    /// nobody's way who comes later.
    ///
    /// # Errors
    ///
    /// It is not attached.
    pub fn observe(instance: &str) -> Result<Self, AttachError> {
        Self::begin(instance, Takes::InPassing)
    }

    fn begin(instance: &str, takes: Takes) -> Result<Self, AttachError> {
        let pins = Pins::there(instance)?;
        let generation = pins.generation();
        let maps = Maps::attached(&pins, instance)?;
        let before = Reading { totals: maps.totals()?, occupancy: maps.occupancy() };
        let mut watch = Self {
            instance: instance.into(),
            pins,
            generation,
            maps,
            takes,
            events: None,
            before,
            leaking: 0,
            ended: Ended::default(),
            looked: Instant::now(),
        };
        watch.ask_for_events()?;
        if watch.takes == Takes::InPassing {
            watch.events = None;
        }
        Ok(watch)
    }

    fn ask_for_events(&mut self) -> Result<(), AttachError> {
        if self.events.is_none() {
            self.events = Events::ask(&self.pins)?;
        }
        // What was known before is gone on from.
        let store = match &self.events {
            Some(events) => events.store.as_ref().map(Store::read),
            None => Store::open(&self.pins).map(|store| store.read()),
        };
        if let Some(known) = store {
            self.ended = known?;
        }
        Ok(())
    }

    fn take_events(&mut self, told: &mut dyn FnMut(&Event)) {
        if self.events.is_none() && self.ask_for_events().is_err() {
            // Detached meanwhile, which the next look tells.
            return;
        }
        let Some(events) = &mut self.events else { return };
        let mut taken = 0;
        while taken < MOST_EVENTS
            && let Some(bytes) = events.ring.next()
        {
            taken += 1;
            if let Some(event) = self.ended.take(&bytes) {
                told(&event);
            }
        }
        if taken > 0
            && let Some(store) = &mut events.store
        {
            // Others know less then, and the next time all of it.
            drop(store.write(&self.ended));
        }
        if self.takes == Takes::InPassing {
            self.events = None;
        }
    }

    /// What is readable when an end of a connection waits in the ring (poll(2)), where it is this watch that takes them.
    #[must_use]
    pub fn ring(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(|events| events.ring.as_fd())
    }

    /// Takes what the ring has between two looks, so that it does not overflow; `told` as of [`Self::look`].
    pub fn take(&mut self, mut told: impl FnMut(&Event)) {
        if self.events.is_some() {
            self.take_events(&mut told);
        }
    }

    /// Whether it is this watch that is told of ends of connections, at every look.
    #[must_use]
    pub fn takes_events(&self) -> bool {
        self.events.is_some()
    }

    /// Notices that others have detached the instance, and attached it again.
    fn follow(&mut self) -> Result<Standing, AttachError> {
        let now = self.pins.generation();
        if self.generation.is_some() && now == self.generation {
            return Ok(match &self.pins.links()[..] {
                // The maps are kept by a detach while they are needed, so they say nothing.
                [] => Standing::Detached,
                links if instance::severed(&self.pins, links) => Standing::Severed,
                _ => Standing::There,
            });
        }
        // The maps that are held have counted since they were looked at last.
        if self.generation.take().is_some() || now.is_none() {
            self.events = None;
            return Ok(Standing::Gone);
        }
        // While it is being attached its links are missing, which are there when it has proven itself, and some of its maps.
        if self.pins.links().is_empty() {
            return Ok(Standing::Gone);
        }
        let Ok(maps) = Maps::attached(&self.pins, &self.instance) else { return Ok(Standing::Gone) };
        self.before = Reading { totals: maps.totals()?, occupancy: maps.occupancy() };
        self.maps = maps;
        (self.generation, self.leaking, self.ended) = (now, 0, Ended::default());
        Ok(Standing::Anew)
    }

    /// Reads; where it belongs to who watches, also judges, and pulls the kill switch where that is called for. `told` is told of
    /// each end that closed.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub fn look(&mut self, mut told: impl FnMut(&Event)) -> Result<Look, AttachError> {
        // A ring that is held has what came until it was detached, too.
        let held = self.events.is_some();
        if held {
            self.take_events(&mut told);
        }
        let standing = self.follow()?;
        if !held && standing != Standing::Gone {
            self.take_events(&mut told);
        }
        let attached = matches!(standing, Standing::There | Standing::Severed | Standing::Anew);
        let on = attached && self.maps.control()?.mode == mode::ON;
        let reading = Reading { totals: self.maps.totals()?, occupancy: self.maps.occupancy() };
        let mut alarm = None;
        // An instance that is attached anew has been looked at already.
        let no_room = no_room(&self.before, &reading);
        if self.takes == Takes::Always {
            alarm = if on { judge(&self.before, &reading) } else { None };
            self.leaking = if leaks(&reading) { self.leaking + 1 } else { 0 };
            alarm = alarm.or((on && self.leaking >= PERSISTENT).then_some(Alarm::Leak));
            if alarm.is_some() {
                self.maps.set_mode(false)?;
            }
        }
        self.before = reading.clone();
        self.looked = Instant::now();
        Ok(Look { reading, alarm, no_room, on: on && alarm.is_none() && standing != Standing::Severed, standing })
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
    // Where there is no room, those that found some are as good as ever.
    if failed - no_room(before, now) >= 100 && failed * 10 > eligible {
        return Some(Alarm::EnrolFailures);
    }
    (messages >= ENOUGH && lost * 2 > messages).then_some(Alarm::Unpaired)
}

/// Ends that were not taken between two readings of a map that is full. What the kernel said of each is counted nowhere.
fn no_room(before: &Reading, now: &Reading) -> u64 {
    let failed = |of: &Reading| of.totals.get(Counter::EnrolFailed);
    let full = before.occupancy.is_full() || now.occupancy.is_full();
    if full { failed(now).saturating_sub(failed(before)) } else { 0 }
}

/// Whether more ends are in the map than were enrolled and not closed, beyond what comes and goes.
fn leaks(now: &Reading) -> bool {
    let open = now.totals.get(Counter::Enrolled).saturating_sub(now.totals.get(Counter::Closed));
    now.occupancy.sockets > open + open / 10 + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(counts: &[(Counter, u64)], sockets: u64) -> Reading {
        Reading { totals: Totals::of(counts), occupancy: Occupancy { sockets, room: 65_536, pairs: 0, originals: 0 } }
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
            (&[(Eligible, 200), (EnrolFailed, 200)], 62_000, Some(Alarm::EnrolFailures)),
            // There is no room: that is no failure.
            (&[(Eligible, 200), (EnrolFailed, 200)], 65_000, None),
        ] {
            assert_eq!(judge(&quiet, &reading(counts, sockets)), alarm, "{counts:?} {sockets}");
        }
        let later = reading(&[(RedirectedMessages, 1_000_000)], 0);
        assert_eq!(judge(&later, &later), None, "nothing has happened since");
        let full = |failed| reading(&[(Eligible, 200), (EnrolFailed, failed)], 65_000);
        assert_eq!((no_room(&full(50), &full(200)), no_room(&quiet, &later)), (150, 0));
    }

    #[test]
    fn a_leak_is_more_in_the_map_than_is_open() {
        use Counter::*;
        assert!(!leaks(&reading(&[(Enrolled, 1000), (Closed, 900)], 120)));
        assert!(!leaks(&reading(&[(Enrolled, 10_000), (Closed, 0)], 10_100)));
        assert!(leaks(&reading(&[(Enrolled, 10_000), (Closed, 9900)], 400)));
    }
}
