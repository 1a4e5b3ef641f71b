//! When requests of an open loop are due: a pure sequence, the same for the same numbers.
//!
//! Time is cut in slots of 1/rate and one request is due in each, anywhere in it: the rate is exact, and nothing in the
//! measured program can fall into step with the generator.

use std::time::{Duration, Instant};

/// Moments at which requests are due, in order.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    start: Instant,
    slot: f64,
    count: u64,
    next: u64,
    /// The moment of `next`, which is drawn once.
    due: Option<Instant>,
    random: u64,
}

impl Schedule {
    /// `rate` a second for `length` from `start`: rate × length moments, rounded down.
    pub(crate) fn new(start: Instant, rate: f64, length: Duration, seed: u64) -> Self {
        let count = (rate * length.as_secs_f64() + 1e-6) as u64;
        // Any odd constant spreads small seeds; a generator of this kind must not start from zero.
        let random = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut schedule = Self { start, slot: 1.0 / rate, count, next: 0, due: None, random };
        schedule.due = schedule.draw();
        schedule
    }

    /// The moment the next request is due; `None`: there are no more.
    pub(crate) fn peek(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the next request if it is due by `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due.filter(|due| *due <= now)?;
        self.next += 1;
        self.due = self.draw();
        Some(due)
    }

    fn draw(&mut self) -> Option<Instant> {
        if self.next >= self.count {
            return None;
        }
        // xorshift64: any cheap generator does, nothing here is secret.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let within = (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        Some(self.start + Duration::from_secs_f64((self.next as f64 + within) * self.slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_due_in_each_slot_anywhere_in_it() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000.0, Duration::from_secs(2), 0);
        let far = start + Duration::from_secs(10);
        let mut sum = 0.0;
        for slot in 0..2000 {
            let offset = schedule.take(far).unwrap().duration_since(start).as_secs_f64() * 1000.0;
            let within = offset - f64::from(slot);
            assert!((-1e-3..1.001).contains(&within), "slot {slot}: {offset} ms");
            sum += within;
        }
        assert_eq!(schedule.take(far), None);
        assert!((800.0..1200.0).contains(&sum), "spread over their slots: {sum}");
    }

    #[test]
    fn nothing_is_taken_before_it_is_due() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 10.0, Duration::from_secs(1), 7);
        let due = schedule.peek().unwrap();
        assert_eq!(schedule.take(due - Duration::from_nanos(1)), None);
        assert_eq!(schedule.take(due), Some(due));
        assert!(schedule.peek().unwrap() > due);
    }

    #[test]
    fn a_rate_that_fills_no_slot_asks_for_nothing() {
        assert_eq!(Schedule::new(Instant::now(), 0.5, Duration::from_secs(1), 0).peek(), None);
    }
}
