//! What the redirect counts, as series.

use metrics::{
    Counter as Series, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use redirect::{Alarm, CLIENT, Closed, Counter, Event, Look, Occupancy, Reading, Standing, Totals, inbound::Waiting};
use std::{cell::RefCell, collections::BTreeMap, time::Duration};

const ENDS: &str = "pillion_redirect_ends_total";
const MESSAGES: &str = "pillion_redirect_messages_total";
const BYTES: &str = "pillion_redirect_bytes_total";
const CAPTURE: &str = "pillion_redirect_capture_total";
const INBOUND: &str = "pillion_redirect_inbound_total";
const CLAIMS: &str = "pillion_redirect_claims_total";
const NAMESPACES: &str = "pillion_redirect_namespaces";
const DROPPED: &str = "pillion_redirect_events_dropped_total";
const HELD: &str = "pillion_redirect_held_total";
const ENTRIES: &str = "pillion_redirect_map_entries";
const ROOM: &str = "pillion_redirect_map_room";
const ON: &str = "pillion_redirect_on";
const ATTACHES: &str = "pillion_redirect_attaches_total";
const LOAD: &str = "pillion_redirect_load_seconds";
const ALARMS: &str = "pillion_redirect_alarms_total";
const CONNECT: &str = "pillion_redirect_connect_seconds";
const ROUND_TRIP: &str = "pillion_redirect_tcp_round_trip_seconds";
const LIVED: &str = "pillion_redirect_connection_seconds";
const RETRANSMITS: &str = "pillion_redirect_tcp_retransmits_total";
const CLOSED: &str = "pillion_redirect_closed_total";

/// Handles.
pub(super) struct Metrics {
    counters: Vec<(Counter, Series)>,
    no_room: Series,
    room: Gauge,
    sockets: Gauge,
    pairs: Gauge,
    originals: Gauge,
    on: Gauge,
    load: Gauge,
    connect: Histogram,
    round_trip: Histogram,
    lived: Histogram,
    retransmits: Series,
    closed: [Series; 3],
    /// What the programs of each instance had counted when they were looked at last. One that was detached counts on until its
    /// last connection has ended.
    before: RefCell<BTreeMap<String, Totals>>,
}

/// What a counter has grown by: one that is less than it was has begun anew, with its maps.
pub(crate) const fn grown(before: u64, now: u64) -> u64 {
    if now >= before { now - before } else { now }
}

/// Where a counter of the programs is shown.
fn series(of: Counter) -> Series {
    match of {
        Counter::Eligible => counter!(ENDS, "event" => "eligible"),
        Counter::Enrolled => counter!(ENDS, "event" => "enrolled"),
        Counter::EnrolFailed => counter!(ENDS, "event" => "enrol_failed"),
        Counter::SkippedMptcp => counter!(ENDS, "event" => "skipped_mptcp"),
        Counter::Closed => counter!(ENDS, "event" => "closed"),
        Counter::RedirectedMessages => counter!(MESSAGES, "way" => "redirected"),
        Counter::RedirectedBytes => counter!(BYTES, "way" => "redirected"),
        Counter::PassedOff => counter!(MESSAGES, "way" => "off"),
        Counter::PassedNoPeer => counter!(MESSAGES, "way" => "no_peer"),
        Counter::PassedGone => counter!(MESSAGES, "way" => "gone"),
        Counter::PassedOrder => counter!(MESSAGES, "way" => "order"),
        Counter::PassedSlow => counter!(MESSAGES, "way" => "slow"),
        Counter::PassedLarge => counter!(MESSAGES, "way" => "large"),
        Counter::PassedUnready => counter!(MESSAGES, "way" => "unready"),
        Counter::PassedUnknown => counter!(MESSAGES, "way" => "unknown"),
        Counter::Held => counter!(HELD),
        Counter::PassedBytes => counter!(BYTES, "way" => "tcp"),
        Counter::EventsDropped => counter!(DROPPED),
        Counter::Captured => counter!(CAPTURE, "outcome" => "captured"),
        Counter::CaptureExcluded => counter!(CAPTURE, "outcome" => "excluded"),
        Counter::CaptureUnclaimed => counter!(CAPTURE, "outcome" => "unclaimed"),
        Counter::OriginalsTold => counter!(CAPTURE, "outcome" => "destination_told"),
        Counter::Claims => counter!(CLAIMS, "outcome" => "taken"),
        Counter::ClaimsRefused => counter!(CLAIMS, "outcome" => "refused"),
        Counter::ClaimsFull => counter!(CLAIMS, "outcome" => "full"),
        Counter::InboundCaptured => counter!(INBOUND, "outcome" => "captured"),
        Counter::InboundExcluded => counter!(INBOUND, "outcome" => "excluded"),
        Counter::InboundRefused => counter!(INBOUND, "outcome" => "refused"),
    }
}

impl Metrics {
    pub(super) fn register() -> Self {
        describe_counter!(ENDS, "Ends of connections of the proxy on loopback, by what became of them.");
        describe_counter!(MESSAGES, "Messages of enrolled ends: redirected, or why they went through TCP.");
        describe_counter!(BYTES, "Bytes of enrolled ends, by their way.");
        describe_counter!(CAPTURE, "Outbound connections that the connect hook judged.");
        describe_counter!(CLAIMS, "Claims of proxies to what comes into their network namespaces.");
        describe_counter!(
            INBOUND,
            "Inbound connections to claimed network namespaces: given to the proxy, left alone by its claim, or refused since it \
             does not listen."
        );
        describe_gauge!(
            NAMESPACES,
            "Claimed network namespaces: captured, or why not. Of `no_listener` the proxy is about to listen, or has gone."
        );
        describe_counter!(
            HELD,
            "Times that the proxy waited for a peer to read what was redirected before it sent through TCP."
        );
        describe_counter!(DROPPED, "Events of connections that found no room in the ring.");
        describe_gauge!(ENTRIES, "Entries of the redirect's maps.");
        describe_gauge!(ROOM, "Entries that the redirect's maps have room for.");
        describe_gauge!(ON, "1 while the redirect is attached and the kill switch is not pulled.");
        describe_counter!(ATTACHES, "Attempts to attach the programs, by outcome.");
        describe_gauge!(LOAD, "Seconds that loading and verifying the programs took.");
        describe_counter!(ALARMS, "Times the watchdog pulled the kill switch, and why.");
        describe_histogram!(CONNECT, "Seconds from connect to established, of enrolled clients.");
        describe_histogram!(ROUND_TRIP, "Smoothed round trip of TCP, of enrolled ends that sent through it.");
        describe_histogram!(LIVED, "Seconds that enrolled ends lived.");
        describe_counter!(RETRANSMITS, "Segments that TCP sent again for enrolled ends.");
        describe_counter!(CLOSED, "Enrolled ends that closed, by how.");
        Self {
            counters: redirect::COUNTERS.iter().map(|of| (*of, series(*of))).collect(),
            no_room: counter!(ENDS, "event" => "no_room"),
            room: gauge!(ROOM, "map" => "sockets"),
            sockets: gauge!(ENTRIES, "map" => "sockets"),
            pairs: gauge!(ENTRIES, "map" => "pairs"),
            originals: gauge!(ENTRIES, "map" => "originals"),
            on: gauge!(ON),
            load: gauge!(LOAD),
            connect: histogram!(CONNECT),
            round_trip: histogram!(ROUND_TRIP),
            lived: histogram!(LIVED),
            retransmits: counter!(RETRANSMITS),
            closed: ["in_order", "aborted", "half_closed"].map(|how| counter!(CLOSED, "how" => how)),
            before: RefCell::default(),
        }
    }

    pub(super) fn attached(&self, took: Duration) {
        counter!(ATTACHES, "outcome" => "attached").increment(1);
        self.load.set(took.as_secs_f64());
    }

    pub(super) fn declined(&self, reason: &'static str) {
        counter!(ATTACHES, "outcome" => reason).increment(1);
    }

    /// The maps have gone: what is attached next counts from 0.
    pub(super) fn gone(&self, instance: &str) {
        self.before.borrow_mut().remove(instance);
    }

    #[expect(clippy::unused_self, reason = "only who has registered the series counts into them")]
    pub(super) fn alarm(&self, alarm: Alarm) {
        counter!(ALARMS, "alarm" => alarm.word()).increment(1);
    }

    /// What a look at an instance saw.
    pub(super) fn looked(&self, instance: &str, look: &Look) {
        if look.standing == Standing::Anew {
            self.gone(instance);
        }
        // One that was detached by somebody else says the same for as long as it is looked at.
        self.counted(instance, &look.reading, look.no_room);
    }

    fn counted(&self, instance: &str, reading: &Reading, no_room: u64) {
        let before = self.before.borrow_mut().insert(instance.to_owned(), reading.totals.clone());
        for (of, series) in &self.counters {
            // Those of the pinned maps: they go on where a proxy before this one left them.
            let mut by = grown(before.as_ref().map_or(0, |before| before.get(*of)), reading.totals.get(*of));
            if *of == Counter::EnrolFailed {
                let full = no_room.min(by);
                self.no_room.increment(full);
                by -= full;
            }
            series.increment(by);
        }
    }

    /// How it stands with the network namespaces that are claimed.
    #[expect(clippy::unused_self, reason = "only who has registered the series counts into them")]
    #[expect(clippy::cast_precision_loss, reason = "there are some thousand at most")]
    pub(super) fn namespaces<'a>(&self, captured: usize, waiting: impl Iterator<Item = &'a Waiting>) {
        let mut states =
            BTreeMap::from([("captured", captured), ("no_listener", 0), ("no_file", 0), ("own", 0), ("refused", 0)]);
        for why in waiting {
            *states.entry(why.word()).or_default() += 1;
        }
        for (state, namespaces) in states {
            gauge!(NAMESPACES, "state" => state).set(namespaces as f64);
        }
    }

    /// How it stands with all instances together.
    pub(super) fn stands(&self, on: bool, occupancy: impl Iterator<Item = Occupancy>) {
        let [sockets, room, pairs, originals] = occupancy.fold([0; 4], |[sockets, room, pairs, originals], of| {
            [sockets + of.sockets, room + of.room, pairs + of.pairs, originals + of.originals]
        });
        #[expect(clippy::cast_precision_loss, reason = "maps have some ten thousand entries")]
        for (gauge, entries) in
            [(&self.sockets, sockets), (&self.room, room), (&self.pairs, pairs), (&self.originals, originals)]
        {
            gauge.set(entries as f64);
        }
        self.on.set(if on { 1.0 } else { 0.0 });
    }

    #[expect(clippy::cast_precision_loss, reason = "exact to a nanosecond for a hundred days")]
    pub(super) fn ended(&self, event: &Event) {
        if event.end == CLIENT && event.connecting > 0 {
            self.connect.record(event.connecting as f64 / 1e9);
        }
        if event.passed_bytes > 0 {
            self.round_trip.record(f64::from(event.srtt) / 1e6);
        }
        self.lived.record(event.lived as f64 / 1e9);
        self.retransmits.increment(event.retransmits.into());
        let how = match event.closed {
            how if how == Closed::InOrder as u32 => 0,
            how if how == Closed::Aborted as u32 => 1,
            _ => 2,
        };
        self.closed[how].increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::grown;

    #[test]
    fn a_counter_that_begins_anew_goes_on_in_its_series() {
        let shown: u64 = [0, 5, 9, 2, 2, 3].windows(2).map(|readings| grown(readings[0], readings[1])).sum();
        assert_eq!(shown, 9 + 2 + 1);
    }
}
