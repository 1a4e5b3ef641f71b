//! How far the machines of all workers have grown, for whoever must find the one whose end gives back the most memory.
//!
//! What its calls hold counts as its own, since that goes with it.
//!
//! A machine is its worker's alone, but memory is the process's: where it is short, the control thread asks here for
//! [`the one that has grown most`](most_grown) and has its worker [give it back](crate::worker::give_back). What a machine had
//! when it was started does not count: it would have it again at once. But what its module declares is only had once it is touched,
//! of which nobody is told: so the kernel is asked, where memory is short ([`touched`]).
//!
//! A guest can fill what is left of a small container before memory is looked at again. So the control thread also says by
//! how much all of them [may grow](allow) until then, and how much more they may store in data and queues that they
//! share, which no end of a machine gives back. Machines that start beside those that serve, to be tried or to serve, take from it,
//! too, and are bounded before those ([`starts`]).
//!
//! Written where a machine starts, ends or grows, which is seldom, and where its calls begin and end; never by a request that does
//! neither.

pub mod starts;
pub mod touched;

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use touched::Range;

/// Tells machines of this process apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(u64);

/// A machine that serves.
#[derive(Debug)]
pub struct Entry {
    number: Number,
    at_first: usize,
    now: AtomicUsize,
    /// Its memory as it was at first.
    memory: Range,
    /// Bytes of that which were touched at first.
    touched: usize,
    /// Bytes that a plugin which is being put into it has grown it by though they were not there; [`NOBODY`]: none is.
    joined: AtomicUsize,
}

const NOBODY: usize = usize::MAX;

/// Bytes by which machines may grow until memory is looked at again.
static ROOM: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Bytes that may be stored until memory is looked at again.
static STORABLE: AtomicUsize = AtomicUsize::new(usize::MAX);

static ENTRIES: Mutex<Vec<Weak<Entry>>> = Mutex::new(Vec::new());

impl Entry {
    /// Enters a machine that has been started and has so many bytes, with its memory among them. It leaves when this is dropped.
    #[must_use]
    pub fn new(bytes: usize, memory: Range) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = Number(NEXT.fetch_add(1, Ordering::Relaxed));
        // Where nobody counts nobody will ask.
        let touched = if ROOM.load(Ordering::Relaxed) == usize::MAX { 0 } else { memory.touched() };
        let entry = Arc::new(Self {
            number,
            at_first: bytes,
            now: AtomicUsize::new(bytes),
            memory,
            touched,
            joined: AtomicUsize::new(NOBODY),
        });
        let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.strong_count() > 0);
        entries.push(Arc::downgrade(&entry));
        entry
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> Number {
        self.number
    }

    /// It is to have so many bytes more. `false`: there is no memory for that, and it has what it had.
    #[must_use]
    pub fn grow(&self, more: usize) -> bool {
        let taken = match self.joined.load(Ordering::Relaxed) {
            NOBODY => take(&ROOM, more),
            _ if starts::take_both(more) => true,
            joined if starts::is_little(joined, more) => {
                self.joined.store(joined + more, Ordering::Relaxed);
                true
            }
            _ => false,
        };
        if taken {
            self.now.fetch_add(more, Ordering::Relaxed);
        }
        taken
    }

    /// A plugin is put into it: what it grows by meanwhile it takes as one that starts does.
    pub fn is_joined(&self, joined: bool) {
        self.joined.store(if joined { 0 } else { NOBODY }, Ordering::Relaxed);
    }

    /// It has so many bytes less: others may have them.
    pub fn shrink(&self, less: usize) {
        self.now.fetch_sub(less, Ordering::Relaxed);
        give(&ROOM, less);
    }

    fn grown(&self) -> usize {
        let declared = self.memory.touched().saturating_sub(self.touched);
        self.now.load(Ordering::Relaxed).saturating_sub(self.at_first).saturating_add(declared)
    }
}

/// Takes so many bytes of what is allowed, if there are as many.
fn take(room: &AtomicUsize, more: usize) -> bool {
    let taken = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| match room {
        usize::MAX => Some(room),
        _ => room.checked_sub(more),
    });
    taken.is_ok()
}

/// Gives so many bytes back to what is allowed. Where nobody counts there is nothing to give back to.
fn give(room: &AtomicUsize, less: usize) {
    let given = |room| (room != usize::MAX).then(|| usize::saturating_add(room, less));
    let _ = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, given);
}

/// What machines may take until memory is looked at again, in bytes; [`u64::MAX`]: nobody counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// By how much all of them may grow: half of what is free.
    pub growth: u64,
    /// How much those of them may take that start beside others that serve.
    pub starts: u64,
    /// How many machines a filter has: one on each worker.
    pub machines: usize,
}

/// What was allowed and owed before memory is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before {
    growth: usize,
    starts: usize,
    storage: usize,
    /// What machines that start have taken and not touched yet: who measures does not find it.
    owed: usize,
}

/// Memory is about to be looked at: what is taken from now on the look may not find.
#[must_use]
pub fn before_look() -> Before {
    let owed = starts::owed();
    let now = |room: &AtomicUsize| room.load(Ordering::Relaxed);
    Before { growth: now(&ROOM), starts: starts::left(), storage: now(&STORABLE), owed }
}

/// Machines may take so much, and store so many bytes more in all, until this is said anew.
pub fn allow(room: Room, stored: u64, before: Before) {
    anew(&ROOM, room.growth, before.growth, before.owed / 2);
    anew(&STORABLE, stored, before.storage, 0);
    UNASKED.refill(STORABLE.load(Ordering::Relaxed), room.growth);
    starts::allow(room, before);
}

/// So much is there beside what is owed, as it was found, and less by what was taken since.
fn anew(room: &AtomicUsize, bytes: u64, before: usize, owed: usize) {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let there = |now: usize| match bytes {
        usize::MAX => usize::MAX,
        _ if before == usize::MAX => bytes.saturating_sub(owed),
        _ => bytes.saturating_sub(owed).saturating_sub(before.saturating_sub(now)),
    };
    let _ = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(there(now)));
}

/// Bytes that a vm_id has in data, and as much in queues, though they are not there: who holds little is not refused for what others hold,
/// as long as all who hold little take no more than [`IN_ALL`] so.
const SHARE: usize = 256 * 1024;

/// What those who hold little may store though it is not there.
static UNASKED: Unasked = Unasked::new();

/// Bytes that all who take little may have though they are not there: many of them take much.
const IN_ALL: usize = 2 << 20;

/// So many are there for them again after that time, wherever memory stands below where no machine may grow: a filter that is configured
/// anew now and then is not refused for ever.
const AGAIN: Duration = Duration::from_secs(10);

/// What all who take little have left of [`IN_ALL`].
struct Unasked {
    left: AtomicUsize,
    refilled: Mutex<Option<Instant>>,
}

impl Unasked {
    const fn new() -> Self {
        Self { left: AtomicUsize::new(IN_ALL), refilled: Mutex::new(None) }
    }

    /// Takes so many bytes, if as many are left.
    fn take(&self, more: usize) -> bool {
        take(&self.left, more)
    }

    /// Takes so many bytes, if as many are left, and so many of what machines may grow by, so that nobody is refused for them.
    fn take_below_the_line(&self, more: usize, price: usize) -> bool {
        let is_there = take(&ROOM, price);
        let is_little = is_there && self.take(more);
        if is_there && !is_little {
            give(&ROOM, price);
        }
        is_little
    }

    /// Bytes that are left.
    fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Memory was looked at, so many bytes are there, and machines may grow by so many: it is whole again where it is there, or it was not
    /// for a while and something is left.
    fn refill(&self, there: usize, growth: u64) {
        let mut at = self.refilled.lock().unwrap_or_else(PoisonError::into_inner);
        if there >= IN_ALL || (growth > 0 && at.is_none_or(|at| at.elapsed() >= AGAIN)) {
            *at = Some(Instant::now());
            self.left.store(IN_ALL, Ordering::Relaxed);
        }
    }
}

/// A guest is to store so many bytes that grow what its vm_id holds, to so many. Who holds much draws what it writes, though it is written
/// over another, of which not all is to be had again at once. `false`: there is no memory for that, or not for one that holds so much: nobody
/// may hold more than twice what is free (four times what is allowed, which is half of that), so that a third of it is left for those that
/// hold less.
#[must_use]
pub(crate) fn store(grows: usize, writes: usize, holds: usize) -> bool {
    let little = holds <= SHARE;
    let more = if little { grows } else { writes };
    let stored = |room: usize| match room {
        usize::MAX => Some(room),
        _ if !little && holds > room.saturating_mul(4) => None,
        _ => room.checked_sub(more),
    };
    more == 0
        || STORABLE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, stored).is_ok()
        || (little && UNASKED.take_below_the_line(more, more))
}

/// So many bytes are stored no more.
pub(crate) fn unstore(bytes: usize) {
    give(&STORABLE, bytes);
}

/// The machine that has grown most since it was started; `None` where all of them together have grown by less than `worth`
/// bytes: what is given back then helps nobody.
#[must_use]
pub fn most_grown(worth: u64) -> Option<Number> {
    let entries: Vec<_> = {
        let entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter_map(Weak::upgrade).collect()
    };
    // Not while machines wait to be entered: the kernel is asked.
    let grown: Vec<_> = entries.iter().map(|entry| (entry.grown(), entry.number)).collect();
    let all: usize = grown.iter().map(|(grown, _)| grown).sum();
    let most = grown.into_iter().max_by_key(|(grown, _)| *grown).filter(|(grown, _)| *grown > 0);
    most.filter(|_| all as u64 >= worth).map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_little_ones_may_have_is_whole_again_after_a_while_but_not_where_nothing_is_left() {
        let unasked = Unasked::new();
        assert!(unasked.take(IN_ALL) && !unasked.take(1));
        unasked.refill(0, 0);
        assert_eq!(unasked.left(), 0, "nothing is left");
        unasked.refill(0, 1);
        assert_eq!(unasked.left(), IN_ALL);
        assert!(unasked.take(1));
        unasked.refill(0, 1);
        assert_eq!(unasked.left(), IN_ALL - 1, "not so soon again");
        unasked.refill(IN_ALL, 0);
        assert_eq!(unasked.left(), IN_ALL, "it is there");
    }
}
