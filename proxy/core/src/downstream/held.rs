//! What requests in flight hold beside their connections, and what of it can be let go.
//!
//! Beside the path. A whole request holds its head until it is answered, and what of its body was sent already, in case it
//! must be sent again. Both count into what clients may hold in all ([`unfinished`](super::unfinished)), as soon as they are
//! large: memory is looked at ten times a second at most, and a flood of them fills a small container in less. What is kept
//! in case is let go first: a request that is then sent once is better off than one that is refused. Nothing here is counted
//! for a request with no body and a head of common size, and nothing at all without a limit of memory.
//!
//! What filters hold back of bodies counts likewise ([`Held::back`]), but nobody can do without it: where there is no room for
//! more, whoever would hold more is refused, or waits.

use super::{limit::Pressure, unfinished::Room};
use crate::worker::Worker;
use http::HeaderMap;
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::{Rc, Weak},
};

/// A head, or what filters hold back, counts from here on. A request in flight takes more than that in any case.
pub(crate) const LARGE: usize = 8 * 1024;

/// Places whose room is given back when none of them is taken.
const MANY: usize = 64;

/// What a field takes beside its bytes: its place in the map.
const FIELD: usize = 64;

/// Something that keeps bytes which it can do without.
pub(crate) trait Spare {
    /// Lets go of them.
    fn let_go(&self);
}

/// Those of a worker who keep such bytes.
#[derive(Default)]
pub(crate) struct Spares {
    holders: RefCell<Vec<Option<Weak<dyn Spare>>>>,
    free: RefCell<Vec<usize>>,
}

/// Bytes that count into what a worker's clients hold, until this is dropped.
pub(crate) struct Held {
    worker: Rc<Worker>,
    bytes: Cell<u32>,
    /// Its place among the spares.
    place: Cell<Option<usize>>,
}

impl Spares {
    fn enter(&self, holder: Weak<dyn Spare>) -> usize {
        let mut holders = self.holders.borrow_mut();
        if let Some(place) = self.free.borrow_mut().pop() {
            holders[place] = Some(holder);
            return place;
        }
        holders.push(Some(holder));
        holders.len() - 1
    }

    fn leave(&self, place: usize) {
        let mut holders = self.holders.borrow_mut();
        holders[place] = None;
        let mut free = self.free.borrow_mut();
        free.push(place);
        if free.len() == holders.len() && free.len() > MANY {
            // The room a burst took is given back.
            *holders = Vec::new();
            *free = Vec::new();
        }
    }

    /// All let go of what they keep.
    pub(crate) fn let_go(&self) {
        // From a copy: whoever lets go leaves.
        let holders: Vec<_> = self.holders.borrow().iter().flatten().filter_map(Weak::upgrade).collect();
        holders.iter().for_each(|holder| holder.let_go());
    }
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares").field("places", &self.holders.borrow().len()).finish_non_exhaustive()
    }
}

impl Held {
    /// Nothing yet.
    pub(crate) fn nothing(worker: &Rc<Worker>) -> Self {
        Self { worker: Rc::clone(worker), bytes: Cell::new(0), place: Cell::new(None) }
    }

    /// Whose clients they are.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// A request's head. `None`: it is too small to count, or nobody counts.
    ///
    /// # Errors
    ///
    /// There is no room for it, whatever is let go.
    pub(crate) fn head(worker: &Rc<Worker>, headers: &HeaderMap) -> Result<Option<Self>, NoRoom> {
        if !worker.register.held().is_bounded() {
            return Ok(None);
        }
        let weight = weight(headers);
        if weight < LARGE {
            return Ok(None);
        }
        let held = Self::nothing(worker);
        // It is there a second time while it is written.
        held.set(weight.saturating_mul(2));
        match held.room() {
            Room::Left => Ok(Some(held)),
            Room::None => Err(NoRoom),
        }
    }

    /// So many bytes more of what its holder can do without. With [`Room::None`] it must keep nothing; all others have let go.
    pub(crate) fn keep(&self, more: usize, holder: impl FnOnce() -> Weak<dyn Spare>) -> Room {
        if !self.worker.register.held().is_bounded() {
            return Room::Left;
        }
        if self.worker.process.pressure.get() != Pressure::Normal {
            return Room::None;
        }
        if self.place.get().is_none() {
            self.place.set(Some(self.worker.register.spares().enter(holder())));
        }
        self.set((self.bytes.get() as usize).saturating_add(more));
        let room = self.worker.register.held().room_for_requests();
        if room == Room::None {
            // Its holder is asked no more: it is at work.
            self.release();
            self.worker.register.spares().let_go();
        }
        room
    }

    /// So many bytes, which filters hold back and nobody can do without. With [`Room::None`] it must not be more.
    pub(crate) fn back(&self, bytes: usize) -> Room {
        let (before, after) = (self.bytes.get() as usize, if bytes < LARGE { 0 } else { bytes });
        if before == after || !self.worker.register.held().is_bounded() {
            return Room::Left;
        }
        self.set(after);
        if after < before { Room::Left } else { self.room() }
    }

    /// Whether there is room for more, once what can be spared has been let go.
    pub(crate) fn room(&self) -> Room {
        let held = self.worker.register.held();
        if held.room_for_requests() == Room::None {
            self.worker.register.spares().let_go();
        }
        held.room_for_requests()
    }

    /// As [`room`](Self::room), of what comes though nobody asks for it.
    pub(crate) fn room_for_what_comes(&self) -> Room {
        self.worker.register.held().room_for_what_comes()
    }

    /// Whether anything is counted.
    #[inline]
    pub(crate) fn counts(&self) -> bool {
        self.bytes.get() != 0
    }

    /// Nothing any more.
    pub(crate) fn release(&self) {
        if let Some(place) = self.place.take() {
            self.worker.register.spares().leave(place);
        }
        if self.bytes.get() != 0 {
            self.set(0);
        }
    }

    fn set(&self, bytes: usize) {
        let after = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.worker.register.held().requests_changed(self.bytes.replace(after), after);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("bytes", &self.bytes.get()).finish_non_exhaustive()
    }
}

/// Memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// Bytes that fields take.
pub(crate) fn weight(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum()
}
