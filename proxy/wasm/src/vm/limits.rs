//! How much a machine may hold.

use crate::{
    census::{
        Entry, Number,
        starts::{self, Ending, NoRoom as NoRoomToStart},
        touched::Range,
    },
    vm::{start::Starts, taker::Taker},
};
use pillion_core::exchange::filter::{Bound, Holds, NoRoom};
use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use wasmtime::ResourceLimiter;

/// Bytes that no configuration can exceed: Envoy's bound of a linear memory.
pub const MOST_MEMORY: usize = 1 << 30;

/// Entries of a table: functions that can be called indirectly. The largest real filters have some ten thousand.
const MOST_TABLE: usize = 200_000;

/// Bytes of a table's entry: a pointer to what it refers to.
const ENTRY: usize = size_of::<usize>();

/// Bytes of a table that a module may declare without asking for them: those of real filters have some hundred entries to some thousand.
const SMALL_TABLE: usize = 64 * 1024;

/// Bounds what one machine takes: its linear memory and its tables together, of which a module may have a hundred. A growth
/// beyond answers −1 to the guest, as the specification of WebAssembly has it.
#[derive(Debug)]
pub struct Limiter {
    account: Arc<Account>,
    denied: u64,
    /// Why growth was denied last.
    why: Denial,
    /// It was given memory, and nobody was told yet.
    grown: bool,
    /// It was denied memory that it might have had, since the process has none.
    short: bool,
    /// Its linear memory is made.
    has_memory: bool,
}

/// By what growth is denied.
#[derive(Debug, Clone, Copy)]
enum Denial {
    /// What the machine may have.
    Most,
    /// What a table may have.
    Table,
    /// What the process has.
    Short,
}

/// What a machine holds: its own memory, and beside it what its calls hold, as much again at most. Neither is taken from the
/// other: a guest that has filled its memory may still call, and none is denied growth, of which many die, for what a server
/// leaves unread.
///
/// Shared with the bytes that calls hold, which are let go wherever they are written; taken from by the machine's worker alone.
#[derive(Debug)]
pub struct Account {
    most: usize,
    /// Bytes of linear memories and tables.
    own: AtomicUsize,
    /// Bytes that calls hold.
    calls: AtomicUsize,
    /// Where it is told how large the machine is.
    told: Mutex<Told>,
}

/// Where it is told how large a machine is.
#[derive(Debug)]
enum Told {
    /// Nowhere: it takes nothing yet, or is dead.
    Nowhere,
    /// Nowhere: it is being made of what its module declares, for which it asked before. What the module's start function adds is counted.
    Made(Taker),
    /// Nowhere, but what it takes is counted.
    Starting(Taker),
    /// It serves.
    Census(Arc<Entry>),
}

/// What a machine holds is told in whole parts of so many bytes of calls, so that short ones change nothing.
const TOLD_IN: usize = 64 * 1024;

impl Account {
    /// Bytes that it holds, those of calls rounded down to whole parts of 64 KiB.
    #[must_use]
    pub fn told(&self) -> usize {
        self.own.load(Relaxed) + self.calls.load(Relaxed) / TOLD_IN * TOLD_IN
    }

    fn total(&self) -> usize {
        self.own.load(Relaxed) + self.calls.load(Relaxed)
    }

    /// What its requests may hold is half of it all, so that answers to others find room.
    fn most(&self, what: Holds) -> usize {
        match what {
            Holds::Request => self.most / 2,
            Holds::Answer => self.most,
        }
    }

    fn where_told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A plugin is put into the machine, or that is over: [`Entry::is_joined`], where it serves.
    pub fn is_joined(&self, joined: bool) {
        if let Told::Census(entry) = &*self.where_told() {
            entry.is_joined(joined);
        }
    }

    /// Whether it is being made of what its module declares.
    fn is_made(&self) -> bool {
        matches!(*self.where_told(), Told::Made(_))
    }

    /// Whether memory is there for so many bytes more; then they are counted.
    fn is_there(&self, more: usize) -> bool {
        match &mut *self.where_told() {
            Told::Nowhere => true,
            Told::Made(taker) | Told::Starting(taker) => taker.take(more),
            Told::Census(entry) => entry.grow(more),
        }
    }
}

impl Bound for Account {
    fn take(&self, bytes: usize, what: Holds) -> Result<(), NoRoom> {
        let calls = self.calls.load(Relaxed).saturating_add(bytes);
        if calls > self.most(what) || !self.is_there(bytes) {
            return Err(NoRoom);
        }
        self.calls.fetch_add(bytes, Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.calls.fetch_sub(bytes, Relaxed);
        if let Told::Census(entry) = &*self.where_told() {
            entry.shrink(bytes);
        }
    }
}

impl Limiter {
    /// At most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let account = Account {
            most: most.min(MOST_MEMORY),
            own: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            told: Mutex::new(Told::Nowhere),
        };
        Self { account: Arc::new(account), denied: 0, why: Denial::Most, grown: false, short: false, has_memory: false }
    }

    /// What the machine holds.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The machine is about to be made, and will touch so many bytes of what its module declares.
    ///
    /// # Errors
    ///
    /// They are not there.
    pub fn asks(&self, starts: &Starts, needs: usize) -> Result<(), NoRoomToStart> {
        let Some(taker) = Taker::of(starts, needs) else { return Err(NoRoomToStart { free: starts::free() }) };
        *self.account.where_told() = Told::Made(taker);
        Ok(())
    }

    /// The machine has what its module declares, with its memory there: what its guest takes beyond it must be there.
    pub fn starts(&self, memory: Range) {
        let mut told = self.account.where_told();
        if let Told::Made(taker) = mem::replace(&mut *told, Told::Nowhere) {
            taker.is_at(memory);
            *told = Told::Starting(taker);
        }
    }

    /// The machine serves: from now on it is told elsewhere how large it is. `memory`: where its linear memory is.
    pub fn enter(&mut self, memory: Range) -> Number {
        let entry = Entry::new(self.account.total(), memory);
        let number = entry.number();
        let before = mem::replace(&mut *self.account.where_told(), Told::Census(entry));
        if let Told::Starting(mut taker) = before {
            taker.keeps();
        }
        number
    }

    /// It does not any more: how large it was is forgotten.
    pub fn leave(&mut self) {
        *self.account.where_told() = Told::Nowhere;
    }

    /// A callback begins: what was denied before is not what ends it, if something does.
    #[inline]
    pub fn begin(&mut self) {
        (self.denied, self.short) = (0, false);
    }

    /// Whether growth within its bound was denied in this callback, since memory was short.
    #[must_use]
    pub fn was_short(&self) -> bool {
        self.short
    }

    /// Why it is to end before its guest has come to an end, if it is tried and that is so.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        match &*self.account.where_told() {
            Told::Made(taker) | Told::Starting(taker) => taker.ending(),
            Told::Nowhere | Told::Census(_) => None,
        }
    }

    /// Whether it was given memory since this was [`told`](Self::tell).
    #[must_use]
    pub fn has_grown(&self) -> bool {
        self.grown
    }

    /// Bytes to be told; nothing new once they are.
    pub fn tell(&mut self) -> usize {
        self.grown = false;
        self.account.told()
    }

    /// Bytes that it may have.
    #[must_use]
    pub fn most(&self) -> usize {
        self.account.most
    }

    /// How often growth was denied in this callback.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied
    }

    /// By what growth was denied last in this callback, and what raises it; `None`: it was not.
    #[must_use]
    pub fn denial(&self) -> Option<String> {
        if self.denied == 0 {
            return None;
        }
        let most = self.account.most;
        Some(match self.why {
            Denial::Most if most == MOST_MEMORY => {
                format!("it asked for more than {}, which is the most that memories and tables may have", size(most))
            }
            Denial::Most => {
                format!("it asked for more than limits.memory of {}: raise that if it needs more", size(most))
            }
            Denial::Table => format!("it asked for a table of more than {MOST_TABLE} entries, which no field raises"),
            Denial::Short => {
                "it asked for more memory than the container has left: raise the container's limit if it needs more"
                    .to_owned()
            }
        })
    }

    /// One of its memories or tables is to have so many bytes in place of so many; those are what its module `declared`, or not. `false`: it
    /// may not.
    fn grow(&mut self, current: usize, desired: usize, declared: bool) -> bool {
        let more = desired.saturating_sub(current);
        if self.account.own.load(Relaxed).saturating_add(more) > self.account.most {
            return self.deny(Denial::Most);
        }
        if !declared && !self.account.is_there(more) {
            self.short = true;
            return self.deny(Denial::Short);
        }
        self.account.own.fetch_add(more, Relaxed);
        self.grown = true;
        true
    }

    fn deny(&mut self, why: Denial) -> bool {
        self.denied += 1;
        self.why = why;
        false
    }
}

/// Bytes as a configuration has them.
pub(crate) fn size(bytes: usize) -> String {
    pillion_config::write_size(bytes as u64)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // A module has one; made of nothing it may grow from nothing.
        let declared = !mem::replace(&mut self.has_memory, true) && self.account.is_made();
        Ok(self.grow(current, desired, declared))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MOST_TABLE {
            return Ok(self.deny(Denial::Table));
        }
        let declared = current == 0 && desired * ENTRY <= SMALL_TABLE && self.account.is_made();
        Ok(self.grow(current * ENTRY, desired * ENTRY, declared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::census;

    #[test]
    fn memories_count_together_and_denials_are_counted() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert!(!limiter.memory_growing(100, 101, None).unwrap());
        assert_eq!((limiter.account.total(), limiter.denied()), (100, 2));
        assert_eq!(Limiter::new(usize::MAX).most(), MOST_MEMORY);
    }

    #[test]
    fn what_denied_growth_is_named_with_what_raises_it() {
        let mut limiter = Limiter::new(3 << 20);
        assert_eq!(limiter.denial(), None);
        assert!(!limiter.memory_growing(0, 4 << 20, None).unwrap());
        let words = limiter.denial();
        assert!(words.as_ref().is_some_and(|words| words.contains("limits.memory of 3MiB: raise")), "{words:?}");
        assert!(!limiter.table_growing(0, MOST_TABLE + 1, None).unwrap());
        assert!(limiter.denial().is_some_and(|words| words.contains("200000 entries")));
        let mut largest = Limiter::new(usize::MAX);
        assert!(!largest.memory_growing(0, MOST_MEMORY + 1, None).unwrap());
        assert!(largest.denial().is_some_and(|words| words.contains("1GiB") && !words.contains("raise")));
    }

    #[test]
    fn tables_count_with_memories() {
        let mut limiter = Limiter::new(64 + 10 * ENTRY);
        assert!(limiter.memory_growing(0, 64, None).unwrap());
        assert!(limiter.table_growing(0, 4, None).unwrap());
        assert!(limiter.table_growing(0, 4, None).unwrap(), "another one");
        assert!(!limiter.table_growing(4, 7, None).unwrap());
        assert!(limiter.table_growing(4, 6, None).unwrap());
        assert_eq!((limiter.account.total(), limiter.denied()), (64 + 10 * ENTRY, 1));
        assert!(!Limiter::new(usize::MAX).table_growing(0, MOST_TABLE + 1, None).unwrap());
    }

    #[test]
    fn what_calls_hold_is_as_much_as_the_memory_and_taken_from_none_of_it() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        let account = Arc::clone(limiter.account());
        assert_eq!(account.take(51, Holds::Request), Err(NoRoom));
        assert_eq!(account.take(50, Holds::Request), Ok(()));
        assert_eq!(account.take(1, Holds::Request), Err(NoRoom), "half of it");
        assert_eq!(account.take(50, Holds::Answer), Ok(()));
        assert_eq!(account.take(1, Holds::Answer), Err(NoRoom));
        assert_eq!((account.total(), limiter.denied()), (200, 0));
        account.give_back(100);
        assert_eq!(account.take(50, Holds::Request), Ok(()));
    }

    #[test]
    fn what_calls_hold_makes_a_machine_one_that_has_grown() {
        const MUCH: usize = 40 << 20;
        let mut limiter = Limiter::new(100 << 20);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        let number = limiter.enter(Range::default());
        assert_eq!(census::most_grown(MUCH as u64), None);
        let account = Arc::clone(limiter.account());
        assert_eq!(account.take(MUCH, Holds::Request), Ok(()));
        assert_eq!(census::most_grown(MUCH as u64), Some(number));
        assert_eq!(account.told(), 60 + MUCH);
        account.give_back(MUCH - 1);
        assert_eq!(account.told(), 60, "what is short changes nothing");
        assert_eq!(census::most_grown(MUCH as u64), None);
        // The machine is dead; what was on its way is let go later.
        limiter.leave();
        account.give_back(1);
        assert_eq!(account.total(), 60);
    }
}
