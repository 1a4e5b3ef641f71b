//! What a thread counts while it sends, and how that becomes an [`Outcome`].

use super::{
    fault::Fault,
    outcome::{Latency, Outcome},
    pacer::Turn,
};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// The run in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Load begins.
    pub(crate) start: Instant,
    /// The warm-up is over.
    pub(crate) measured: Instant,
    /// Nothing is due or begun any more.
    pub(crate) end: Instant,
}

/// Which requests belong to the measured time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    /// Those answered within it.
    Closed,
    /// Those due within it, whenever they are answered.
    Open,
}

/// A whole answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Good {
    /// Bytes of its body.
    pub(crate) received: u64,
    /// Bytes of the request's body.
    pub(crate) sent: u64,
}

/// Counts of a thread.
#[derive(Debug)]
pub(crate) struct Tally {
    window: Window,
    counted: Loop,
    latency: Histogram<u64>,
    send_delay: Histogram<u64>,
    /// From when a request that failed was due to its failure. Apart from the latencies: one that is refused at once would
    /// make those of the others look better.
    failed_after: Histogram<u64>,
    outcome: Outcome,
}

impl Tally {
    pub(crate) fn new(window: Window, counted: Loop) -> Self {
        let (latency, send_delay, failed_after) = (histogram(), histogram(), histogram());
        Self { window, counted, latency, send_delay, failed_after, outcome: Outcome::default() }
    }

    /// A request ended now.
    pub(crate) fn ended(&mut self, turn: Turn, now: Instant, result: Result<Good, Fault>) {
        if !self.counts(turn, now) {
            return;
        }
        match result {
            Ok(good) => {
                self.outcome.requests += 1;
                self.outcome.bytes_received += good.received;
                self.outcome.bytes_sent += good.sent;
                record(&mut self.latency, now.saturating_duration_since(turn.due));
            }
            Err(fault) => {
                self.fault(fault);
                record(&mut self.failed_after, now.saturating_duration_since(turn.due));
            }
        }
        if self.counted == Loop::Open {
            record(&mut self.send_delay, turn.delay);
        }
    }

    /// A request that was due and has no answer at the end: its age is the least its latency can be.
    pub(crate) fn unanswered(&mut self, due: Instant, now: Instant) {
        if self.counts(Turn { due, delay: Duration::ZERO }, now) {
            self.fault(Fault::Unanswered);
            let age = now.saturating_duration_since(due);
            record(&mut self.latency, age);
            record(&mut self.failed_after, age);
        }
    }

    /// A failure outside any request: of the connections made before.
    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.outcome.errors.entry(fault.name().into()).or_default() += 1;
        if let Fault::Status(status) = fault {
            *self.outcome.non_2xx.entry(status.to_string()).or_default() += 1;
        }
    }

    /// Connections made in all.
    pub(crate) fn opened(&mut self, connections: u64) {
        self.outcome.connections_opened = connections;
    }

    /// Bytes of a stream within the measured time.
    pub(crate) fn streamed(&mut self, received: u64, sent: u64) {
        self.outcome.bytes_received += received;
        self.outcome.bytes_sent += sent;
    }

    fn counts(&self, turn: Turn, now: Instant) -> bool {
        match self.counted {
            Loop::Closed => now >= self.window.measured && now <= self.window.end,
            Loop::Open => turn.due >= self.window.measured,
        }
    }

    /// Adds another thread's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        // Histograms made by the same function always add.
        self.latency.add(&other.latency).ok();
        self.send_delay.add(&other.send_delay).ok();
        self.failed_after.add(&other.failed_after).ok();
        let (into, from) = (&mut self.outcome, &other.outcome);
        into.requests += from.requests;
        into.bytes_received += from.bytes_received;
        into.bytes_sent += from.bytes_sent;
        into.connections_opened += from.connections_opened;
        for (kind, count) in &from.errors {
            *into.errors.entry(kind.clone()).or_default() += count;
        }
        for (status, count) in &from.non_2xx {
            *into.non_2xx.entry(status.clone()).or_default() += count;
        }
    }

    /// All of it, written down.
    pub(crate) fn outcome(mut self, cpu: Duration) -> Outcome {
        self.outcome.elapsed_seconds = (self.window.end - self.window.measured).as_secs_f64();
        self.outcome.cpu_seconds = cpu.as_secs_f64();
        self.outcome.latency = Latency::of(&self.latency);
        self.outcome.send_delay = Latency::of(&self.send_delay);
        self.outcome.failed_after = Latency::of(&self.failed_after);
        self.outcome
    }
}

/// Nanoseconds to an hour, three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("constant bounds that the crate takes")
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(time.as_nanos() as u64);
}
