//! Counted permissions shared by all workers: how many connections may be open, and how tight memory is.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicUsize, Ordering},
};

/// A number of permits that all workers share. Shared because the bound is the process's, not a thread's.
#[derive(Debug)]
pub struct Limit {
    taken: AtomicUsize,
    most: AtomicUsize,
}

/// One permit, given back on drop.
#[derive(Debug)]
pub struct Permit(Arc<Limit>);

impl Limit {
    /// So many permits.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most: AtomicUsize::new(most) })
    }

    /// A permit, if one is left.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        let most = self.most.load(Ordering::Relaxed);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < most).then_some(taken + 1))
            .ok()
            .map(|_| Permit(Arc::clone(self)))
    }

    /// Permits taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Changes the number; permits already taken beyond it stay valid.
    pub fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How close the process is to its cgroup's memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Far from it.
    Normal,
    /// Idle connections are closed, and nothing is kept in case a request must be sent again.
    Shrink,
    /// New connections are refused too, and so are new requests of those that live.
    Refuse,
}

/// [`Pressure`] as the control thread last saw it, read by every worker at accept and as
/// each request begins.
#[derive(Debug, Default)]
pub struct PressureGauge(AtomicU8);

impl PressureGauge {
    /// Sets it.
    pub fn set(&self, pressure: Pressure) {
        let level = match pressure {
            Pressure::Normal => 0,
            Pressure::Shrink => 1,
            Pressure::Refuse => 2,
        };
        self.0.store(level, Ordering::Relaxed);
    }

    /// Reads it.
    #[must_use]
    pub fn get(&self) -> Pressure {
        match self.0.load(Ordering::Relaxed) {
            0 => Pressure::Normal,
            1 => Pressure::Shrink,
            _ => Pressure::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_and_given_back() {
        let limit = Limit::new(2);
        let first = limit.take().unwrap();
        let _second = limit.take().unwrap();
        assert!(limit.take().is_none());
        drop(first);
        assert!(limit.take().is_some());
        limit.resize(0);
        assert!(limit.take().is_none());
        assert_eq!(limit.taken(), 1);
    }
}
