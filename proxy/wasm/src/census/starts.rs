//! What machines take that start beside others that serve: those that are [tried](Trial), and then one on each worker.
//!
//! They may have what is free below a line that lies a margin before where somebody is refused, or a machine given back, for want of memory:
//! nobody who is served pays for a start. Of what all machines may grow by, which is half of what is free, a start takes at half the
//! price: it may have the other half as well, since it is over soon.
//!
//! ```text
//!  trial: room for what its module's machines were seen to touch, or for what it declares ─► its growth ─► gone
//!                                     └─ not there: waits, two seconds in all ─► −1, or refused
//!  workers: as much as the trial took is promised to each ─► each starts, and takes it
//! ```
//!
//! At the process's first start nothing is served, and nobody counts.

use super::{AGAIN, Before, IN_ALL, ROOM, Room, Unasked, anew, give, take, touched::Range};
use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Bytes that may be taken until memory is looked at again.
static STARTABLE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Machines that a filter has: one on each worker.
static MACHINES: AtomicUsize = AtomicUsize::new(1);

/// Bytes of promises that are not kept yet.
static PROMISED: AtomicUsize = AtomicUsize::new(0);

/// What may be promised though it is not there: to machines of all filters on all workers that start with a configuration, or again.
static UNASKED: Unasked = Unasked::new();

static TRIALS: Mutex<Vec<Weak<Trial>>> = Mutex::new(Vec::new());

static DEBTS: Mutex<Vec<Weak<Debt>>> = Mutex::new(Vec::new());

/// How long a trial waits for memory in all, however often it asks: memory is looked at once a second at least.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How often it asks meanwhile.
pub(crate) const ASKS: Duration = Duration::from_millis(20);

/// What a machine touches of what its module declares is had up to here though it is not there: as much as a small one of an SDK declares, of
/// which none is denied a start. One that starts again has it of what all who take little have together.
const SMALL: usize = 1 << 20;

/// What it grows by is up to here, too: the allocators of SDKs ask for one or two pages as a guest starts.
pub(crate) const LITTLE: usize = 256 * 1024;

/// Whether a start that grew by so much that was not there may grow by more that is not.
pub(crate) fn is_little(unasked: usize, more: usize) -> bool {
    unasked.saturating_add(more) <= LITTLE
}

/// A machine that is tried, or will be. Shared by the thread that tries it, by whoever wants it tried and by the control thread, which may
/// both [`end`](Self::end) it.
#[derive(Debug)]
pub struct Trial {
    /// What it took.
    debt: Arc<Debt>,
    /// Bytes that it grew by though they were not there.
    unasked: AtomicUsize,
    /// When it waits for memory no more.
    until: OnceLock<Instant>,
    /// An [`Ending`].
    ended: AtomicU8,
}

/// What a machine took that starts, for what its module declares and for growth, until it serves: whoever measures does not find what it
/// has not touched yet.
#[derive(Debug, Default)]
pub(crate) struct Debt {
    /// Bytes.
    taken: AtomicUsize,
    /// Where its memory is, as its module declares it.
    memory: OnceLock<Range>,
}

impl Debt {
    /// Of nothing yet.
    pub(crate) fn new() -> Arc<Self> {
        let debt = Arc::default();
        enter(&DEBTS, &debt);
        debt
    }

    /// So many bytes were taken.
    pub(crate) fn grows(&self, more: usize) {
        self.taken.fetch_add(more, Relaxed);
    }

    /// Its memory is there.
    pub(crate) fn is_at(&self, memory: Range) {
        // One machine starts once.
        let _ = self.memory.set(memory);
    }

    /// There is none any more: how large it was.
    pub(crate) fn settle(&self) -> usize {
        self.taken.swap(0, Relaxed)
    }

    /// What of it is not touched.
    fn owed(&self) -> usize {
        let taken = self.taken.load(Relaxed);
        let memory = self.memory.get().map(|memory| Range { length: memory.length.saturating_add(taken), ..*memory });
        taken.saturating_sub(memory.map_or(0, Range::touched))
    }
}

/// Enters one that leaves when it is dropped.
fn enter<T>(all: &Mutex<Vec<Weak<T>>>, one: &Arc<T>) {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|known| known.strong_count() > 0);
    all.push(Arc::downgrade(one));
}

/// Those that are there, for whoever looks at each while others enter.
fn all<T>(all: &Mutex<Vec<Weak<T>>>) -> Vec<Arc<T>> {
    all.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}

/// Why a trial is to end before its guest has come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// Nobody wants it any more.
    Unwanted = 1,
    /// Memory is short.
    Pressure = 2,
}

/// There is no room for what a start needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes that are free for it.
    pub free: usize,
}

/// There is no room for the machines that workers are to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPromise {
    /// Bytes that one takes,
    pub each: usize,
    /// how many there are,
    pub machines: usize,
    /// bytes that are free for them,
    pub free: usize,
    /// and bytes that they may have though they are not there.
    pub unasked: usize,
}

impl fmt::Display for NoPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { each, machines, free, unasked } = self;
        write!(
            f,
            "it takes {each} bytes as it starts, on each worker ({machines}), beside those that serve until they are gone: {free} bytes of the \
             container's memory are free for starts, which may take none that clients or what serves would miss, and of the {} MiB that all \
             filters' starts have beyond that within {} seconds {unasked} bytes are left; raise the container's limit, have fewer workers, or \
             have the filter take less at its start",
            IN_ALL >> 20,
            AGAIN.as_secs()
        )?;
        if each.saturating_mul(*machines) <= IN_ALL {
            write!(
                f,
                "; where all that a reload starts anew takes no more than those {} MiB, it is enough to read the configuration again in {} seconds",
                IN_ALL >> 20,
                AGAIN.as_secs()
            )?;
        }
        Ok(())
    }
}

impl Trial {
    /// One that has taken nothing yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let trial = Arc::new(Self {
            debt: Debt::new(),
            unasked: AtomicUsize::new(0),
            until: OnceLock::new(),
            ended: AtomicU8::new(0),
        });
        enter(&TRIALS, &trial);
        trial
    }

    /// It is to end. What it was told first stands.
    pub fn end(&self, why: Ending) {
        // Told before: it ends anyway.
        let _ = self.ended.compare_exchange(0, why as u8, Relaxed, Relaxed);
    }

    /// Why it is to end, if it is.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        match self.ended.load(Relaxed) {
            0 => None,
            told if told == Ending::Pressure as u8 => Some(Ending::Pressure),
            _ => Some(Ending::Unwanted),
        }
    }

    /// Takes so many bytes; waits for them as long as it has patience left, where others wait for nothing that its thread does. `false`:
    /// they are not there, or it is to end.
    #[must_use]
    pub(crate) fn take(&self, more: usize) -> bool {
        if self.take_now(more) {
            return true;
        }
        let small = |unasked: usize| is_little(unasked, more).then_some(unasked + more);
        if self.ending().is_none() && self.unasked.fetch_update(Relaxed, Relaxed, small).is_ok() {
            return true;
        }
        let until = *self.until.get_or_init(|| Instant::now() + PATIENCE);
        while self.ending().is_none() && Instant::now() < until {
            thread::sleep(ASKS);
            if self.take_now(more) {
                return true;
            }
        }
        false
    }

    /// Takes so many bytes, if they are there and it is not to end.
    pub(crate) fn take_now(&self, more: usize) -> bool {
        let is_there = self.ending().is_none() && take_both(more);
        if is_there {
            self.debt.grows(more);
        }
        is_there
    }

    /// Its memory is there.
    pub(crate) fn is_at(&self, memory: Range) {
        self.debt.is_at(memory);
    }

    /// Its machine is gone.
    pub(crate) fn gone(&self) {
        give_both(self.debt.settle());
    }
}

/// Room that is kept for machines that workers are about to start. Shared by all workers: each takes its part.
#[derive(Debug)]
pub struct Promise {
    each: usize,
    left: AtomicUsize,
    /// It was taken of what is there, and not had though it is not.
    taken: bool,
}

impl Promise {
    /// Keeps room for a machine on each worker. `None`: nobody counts.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn of(each: usize) -> Result<Option<Self>, NoPromise> {
        if STARTABLE.load(Relaxed) == usize::MAX {
            return Ok(None);
        }
        let machines = MACHINES.load(Relaxed);
        let all = each.saturating_mul(machines);
        let taken = take_both(all);
        if !taken && !UNASKED.take(all) {
            return Err(NoPromise { each, machines, free: free(), unasked: UNASKED.left() });
        }
        PROMISED.fetch_add(all, Relaxed);
        Ok(Some(Self { each, left: AtomicUsize::new(machines), taken }))
    }

    /// A worker starts its machine, which takes what it was promised.
    pub fn keep(&self) {
        let left = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            self.break_off(self.each);
        }
    }

    fn break_off(&self, bytes: usize) {
        PROMISED.fetch_sub(bytes, Relaxed);
        if self.taken {
            give_both(bytes);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.break_off(self.each * self.left.load(Relaxed));
    }
}

/// A machine that had so many bytes is to start again: where they are not there trials end for it, since who served goes before who is
/// tried. Whether there were any: what they give back is to be waited for.
#[must_use]
pub(crate) fn make_room(had: usize) -> bool {
    let short = ROOM.load(Relaxed) < had.div_ceil(2);
    // Those that another worker has ended are there yet, too.
    let hold = short && all(&TRIALS).iter().any(|trial| trial.debt.taken.load(Relaxed) > SMALL);
    if hold {
        let _ = end_trials();
    }
    hold
}

/// Ends the trials that hold memory worth mentioning, since it is short. Whether there was one: what it gives back is to be waited for
/// before a machine that serves is given back.
#[must_use]
pub fn end_trials() -> bool {
    let trials = all(&TRIALS);
    let large = trials.iter().filter(|trial| trial.debt.taken.load(Relaxed) > SMALL && trial.ending().is_none());
    large.map(|trial| trial.end(Ending::Pressure)).count() > 0
}

/// What was taken and promised and cannot be found by measuring.
pub(super) fn owed() -> usize {
    let owed = all(&DEBTS).iter().map(|debt| debt.owed()).fold(0, usize::saturating_add);
    owed.saturating_add(PROMISED.load(Relaxed))
}

pub(super) fn allow(room: Room, before: Before) {
    anew(&STARTABLE, room.starts, before.starts, before.owed);
    // Behind what is promised.
    UNASKED.refill(left(), room.growth);
    MACHINES.store(room.machines.max(1), Relaxed);
}

/// Whether somebody looks at memory.
pub(crate) fn is_counted() -> bool {
    left() != usize::MAX
}

pub(super) fn left() -> usize {
    STARTABLE.load(Relaxed)
}

/// Whether a machine that touches so much of what its module declares starts where that is not there, too.
#[must_use]
pub(crate) fn is_small(needs: usize) -> bool {
    needs <= SMALL
}

/// Bytes that are free for starts.
#[must_use]
pub(crate) fn free() -> usize {
    let starts = STARTABLE.load(Relaxed);
    starts.min(ROOM.load(Relaxed).saturating_mul(2))
}

/// A machine that starts to serve is to have so many bytes. `false`: there is no memory for that.
#[must_use]
pub(crate) fn take_both(more: usize) -> bool {
    if !take(&STARTABLE, more) {
        return false;
    }
    let taken = take(&ROOM, more.div_ceil(2));
    if !taken {
        give(&STARTABLE, more);
    }
    taken
}

/// A machine that starts again in the place of one that had as much may take all that is left to those that serve, at half the price as
/// other starts. Where that is not there, but what the one before it had `touched` of as much is, it takes what is left until memory is
/// looked at again. `false`: there is no memory for that.
#[must_use]
pub(crate) fn take_again(more: usize, touched: usize) -> bool {
    let half = more.div_ceil(2);
    let taken = |room: usize| match room {
        0 if more > 0 => None,
        usize::MAX => Some(room),
        _ if room >= half => Some(room - half),
        _ if room >= touched.div_ceil(2) => Some(0),
        _ => None,
    };
    ROOM.fetch_update(Relaxed, Relaxed, taken).is_ok()
}

/// A machine that starts again is to have so many bytes of what little ones have though they are not there. `false`: there is no memory for
/// that, or they have had enough so.
#[must_use]
pub(crate) fn take_unasked(more: usize) -> bool {
    is_small(more) && UNASKED.take_below_the_line(more, more.div_ceil(2))
}

/// So many bytes that a machine had are free again.
pub(crate) fn give_both(bytes: usize) {
    give(&STARTABLE, bytes);
    give(&ROOM, bytes / 2);
}
