//! A histogram of bounded size: one bucket for each power of two.

/// Buckets: from 2⁻²⁰ (a microsecond) to 2⁴⁰ (a terabyte), and what is beyond either.
const BUCKETS: usize = 61;
const LOWEST: i32 = -20;

/// Samples by power of two.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    /// All samples added up.
    pub sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum: 0.0 }
    }
}

impl Histogram {
    /// Adds a sample. What is no number or below zero counts as zero.
    pub fn record(&mut self, value: f64) {
        let value = if value.is_finite() { value.max(0.0) } else { 0.0 };
        let at = (0..BUCKETS - 1).find(|at| value <= bound(*at)).unwrap_or(BUCKETS - 1);
        self.buckets[at] += 1;
        self.sum += value;
    }

    /// Words that [`Self::words`] gives.
    pub(crate) const WORDS: usize = BUCKETS + 1;

    /// It as words: its buckets, then the bits of its sum.
    pub(crate) fn words(&self) -> [u64; Self::WORDS] {
        std::array::from_fn(|at| self.buckets.get(at).copied().unwrap_or_else(|| self.sum.to_bits()))
    }

    /// The one that gave these words.
    pub(crate) fn of(words: &[u64; Self::WORDS]) -> Self {
        let sum = f64::from_bits(words[BUCKETS]);
        Self { buckets: std::array::from_fn(|at| words[at]), sum: if sum.is_finite() { sum } else { 0.0 } }
    }

    /// Samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The upper bound of the bucket that a share of all samples is within; `None`: there are no samples.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "of a count"
        )]
        let wanted = (count as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.buckets.iter().enumerate().find_map(|(at, samples)| {
            seen += samples;
            (seen >= wanted).then(|| bound(at))
        })
    }

    /// Upper bounds and the samples of each bucket that has any.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.buckets.iter().enumerate().filter(|(_, samples)| **samples > 0).map(|(at, samples)| (bound(at), *samples))
    }
}

fn bound(at: usize) -> f64 {
    2_f64.powi(LOWEST + i32::try_from(at).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_within_a_factor_of_two() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for value in [0.0, -1.0, f64::NAN, 1e-9, 0.003, 1.5, 1e6, 1e30] {
            histogram.record(value);
        }
        assert_eq!(histogram.count(), 8);
        assert_eq!(histogram.quantile(0.0), Some(2_f64.powi(-20)));
        assert_eq!(histogram.quantile(0.75), Some(2.0));
        assert_eq!(histogram.quantile(1.0), Some(2_f64.powi(40)));
        assert_eq!(histogram.buckets().map(|(_, samples)| samples).sum::<u64>(), 8);
    }
}
