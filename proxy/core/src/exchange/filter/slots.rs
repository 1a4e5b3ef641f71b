//! [`Slots`]: the filters of a stream, in the order of requests.

use super::stage::Slot;
use std::{cell::OnceCell, ops::Index};

/// The filters of a stream: those of its first route, and behind them what a route has more that filters led to.
pub(super) struct Slots {
    first: Box<[Slot]>,
    more: OnceCell<Box<[Slot]>>,
}

impl Slots {
    pub(super) fn new(first: Box<[Slot]>) -> Self {
        Self { first, more: OnceCell::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.first.len() + self.more.get().map_or(0, |more| more.len())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.first.iter().chain(self.more.get().into_iter().flatten())
    }

    /// Adds filters behind the last one. Once: what comes later is passed over.
    pub(super) fn extend(&self, more: Box<[Slot]>) {
        self.more.get_or_init(|| more);
    }

    #[cold]
    fn later(&self, slot: usize) -> &Slot {
        let more = self.more.get().expect("a slot's number is given by the chain, which has only these");
        &more[slot - self.first.len()]
    }
}

impl Index<usize> for Slots {
    type Output = Slot;

    #[inline]
    fn index(&self, slot: usize) -> &Slot {
        match self.first.get(slot) {
            Some(first) => first,
            None => self.later(slot),
        }
    }
}
