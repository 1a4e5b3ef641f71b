//! By which numbers a machine knows metrics: those it defined itself, as in Envoy. What another machine has numbers of is not
//! there for its guest, which could else read and change whatever others count.
//!
//! A machine has a table of its own, so that counting needs no look-up in what all share.

use super::{GuestMetrics, Series};
use crate::abi::{MetricType, Status};
use std::{collections::HashMap, sync::Arc};

/// Numbers of one series in a machine: some guests define theirs in each stream.
const MOST_NUMBERS: u32 = 4;

/// The metrics that a machine's guest defined, by number.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Of each kind, in the order of their numbers.
    known: [Vec<Arc<Series>>; 3],
    /// How many numbers each series has, and the last one, by the place in memory that it keeps.
    given: HashMap<usize, (u32, u32)>,
    /// What there was no room for: no other machine adds to it.
    beyond: [Option<Arc<Series>>; 3],
}

impl Numbers {
    /// Defines a metric of `filter`; Envoy's numbers: counters 4, 8, …; gauges 5, 9, …; histograms 6, 10, …. One defined again gets another
    /// number for the same series, the first few times.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] for a name that is too long or not text.
    pub fn define(
        &mut self,
        metrics: &GuestMetrics,
        filter: &str,
        kind: MetricType,
        name: &[u8],
    ) -> Result<u32, Status> {
        let class = class(kind);
        let series = match metrics.define(filter, kind, name)? {
            Some(series) => series,
            None => Arc::clone(self.beyond[class].get_or_insert_with(|| Arc::new(Series::unseen(kind)))),
        };
        let (numbers, last) = self.given.entry(Arc::as_ptr(&series).addr()).or_default();
        if *numbers < MOST_NUMBERS {
            self.known[class].push(series);
            let number = self.known[class].len() * 4 + class;
            (*numbers, *last) = (*numbers + 1, u32::try_from(number).map_err(|_| Status::InternalFailure)?);
        }
        Ok(*last)
    }

    /// Adds to a counter or gauge.
    ///
    /// # Errors
    ///
    /// [`Status::NotFound`]: it has no such metric. [`Status::BadArgument`]: the number is not one of a counter or gauge, or a counter would
    /// not grow.
    #[inline]
    pub fn increment(&self, number: u32, by: i64) -> Result<(), Status> {
        self.counted(number)?.increment(by)
    }

    /// Sets a gauge, adds to a counter, puts a value into a histogram.
    ///
    /// # Errors
    ///
    /// [`Status::NotFound`].
    #[inline]
    pub fn record(&self, number: u32, value: u64) -> Result<(), Status> {
        self.find(number).ok_or(Status::NotFound)?.record(value);
        Ok(())
    }

    /// A counter's or gauge's value.
    ///
    /// # Errors
    ///
    /// [`Status::NotFound`]: it has no such metric. [`Status::BadArgument`]: the number is not one of a counter or gauge.
    #[inline]
    pub fn get(&self, number: u32) -> Result<u64, Status> {
        self.counted(number)?.value()
    }

    /// The counter or gauge of this number.
    fn counted(&self, number: u32) -> Result<&Series, Status> {
        match number % 4 {
            0 | 1 => self.find(number).ok_or(Status::NotFound),
            _ => Err(Status::BadArgument),
        }
    }

    fn find(&self, number: u32) -> Option<&Series> {
        let number = usize::try_from(number).ok()?;
        self.known.get(number % 4)?.get((number / 4).checked_sub(1)?).map(Arc::as_ref)
    }
}

/// A kind's place in Envoy's numbers.
fn class(kind: MetricType) -> usize {
    match kind {
        MetricType::Counter => 0,
        MetricType::Gauge => 1,
        MetricType::Histogram => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::MOST_METRICS, super::MOST_OF_ONE, *};
    use MetricType::{Counter, Gauge, Histogram};

    #[test]
    fn numbers_and_statuses_are_envoys() {
        let (metrics, mut numbers) = (GuestMetrics::default(), Numbers::default());
        let counter = numbers.define(&metrics, "f", Counter, b"c").unwrap();
        let again = numbers.define(&metrics, "f", Counter, b"c").unwrap();
        let gauge = numbers.define(&metrics, "f", Gauge, b"g").unwrap();
        let histogram = numbers.define(&metrics, "f", Histogram, b"h").unwrap();
        assert_eq!((counter, again, gauge, histogram), (4, 8, 5, 6));
        numbers.increment(counter, 2).unwrap();
        numbers.record(again, 3).unwrap();
        assert_eq!(numbers.get(counter), Ok(5), "record adds to a counter, and both numbers are one series");
        assert_eq!(numbers.increment(counter, -1), Err(Status::BadArgument));
        assert_eq!(numbers.increment(counter, 0), Err(Status::BadArgument));
        numbers.record(gauge, 3).unwrap();
        numbers.increment(gauge, -10).unwrap();
        assert_eq!(numbers.get(gauge), Ok(18_446_744_073_709_551_609));
        numbers.record(histogram, 3).unwrap();
        assert_eq!(numbers.increment(histogram, 1), Err(Status::BadArgument));
        assert_eq!(numbers.get(histogram), Err(Status::BadArgument));
    }

    #[test]
    fn a_number_that_the_machine_did_not_get_is_of_nothing() {
        let (metrics, mut numbers) = (GuestMetrics::default(), Numbers::default());
        for kind in [Counter, Gauge, Histogram] {
            numbers.define(&metrics, "f", kind, b"m").unwrap();
        }
        let other = Numbers::default();
        for (number, mine) in
            [(0, &numbers), (1, &numbers), (4, &other), (5, &other), (8, &numbers), (u32::MAX - 3, &numbers)]
        {
            let all = (mine.get(number), mine.increment(number, 1), mine.record(number, 1));
            assert_eq!(all, (Err(Status::NotFound), Err(Status::NotFound), Err(Status::NotFound)), "{number}");
        }
        for (number, mine) in
            [(2, &numbers), (3, &numbers), (6, &other), (7, &numbers), (10, &numbers), (u32::MAX, &numbers)]
        {
            let all = (mine.get(number), mine.increment(number, 1), mine.record(number, 1));
            assert_eq!(all, (Err(Status::BadArgument), Err(Status::BadArgument), Err(Status::NotFound)), "{number}");
        }
    }

    #[test]
    fn each_machine_counts_from_the_first_and_shares_by_name() {
        let (metrics, mut one, mut other) = (GuestMetrics::default(), Numbers::default(), Numbers::default());
        one.define(&metrics, "f", Gauge, b"mine").unwrap();
        let (ours, theirs) =
            (one.define(&metrics, "f", Gauge, b"ours").unwrap(), other.define(&metrics, "g", Gauge, b"ours").unwrap());
        assert_eq!((ours, theirs), (9, 5));
        one.increment(ours, 7).unwrap();
        assert_eq!(other.get(theirs), Ok(7));
    }

    #[test]
    fn what_is_defined_again_and_again_takes_no_room() {
        let (metrics, mut numbers) = (GuestMetrics::default(), Numbers::default());
        let first = numbers.define(&metrics, "f", Counter, b"c").unwrap();
        let last = (0..3 * MOST_METRICS).map(|_| numbers.define(&metrics, "f", Counter, b"c").unwrap()).last().unwrap();
        numbers.increment(last, 1).unwrap();
        assert_eq!(numbers.get(first), Ok(1), "all numbers are one series");
        assert_eq!(numbers.known[0].len(), 4);
    }

    #[test]
    fn what_there_is_no_room_for_is_one_metric_of_the_machines_own() {
        let (metrics, mut one, mut other) = (GuestMetrics::default(), Numbers::default(), Numbers::default());
        let define = |numbers: &mut Numbers, number: usize| {
            numbers
                .define(&metrics, "f", Counter, format!("requests_{number}").as_bytes())
                .expect("it is given a number")
        };
        let known = define(&mut one, 0);
        let all: Vec<_> = (1..3 * MOST_OF_ONE).map(|number| define(&mut one, number)).collect();
        let (last, theirs) = (*all.last().unwrap(), define(&mut other, 2 * MOST_OF_ONE));
        assert_eq!(last, all[all.len() - 2], "what is beyond is one");
        assert_eq!(one.known[0].len(), MOST_OF_ONE + 4);
        one.increment(last, 1).expect("it can be added to");
        one.increment(known, 2).unwrap();
        assert_eq!((one.get(known), one.get(last), other.get(theirs)), (Ok(2), Ok(1), Ok(0)));
    }
}
