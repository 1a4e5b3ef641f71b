//! How much a machine may hold.

use crate::census::Entry;
use std::sync::Arc;
use wasmtime::ResourceLimiter;

/// Bytes that no configuration can exceed: Envoy's bound of a linear memory.
pub const MOST_MEMORY: usize = 1 << 30;

/// Entries of a table: functions that can be called indirectly. The largest real filters have some ten thousand.
const MOST_TABLE: usize = 200_000;

/// Bytes of a table's entry: a pointer to what it refers to.
const ENTRY: usize = size_of::<usize>();

/// Bounds what one machine takes: its linear memories and tables together, of which a module may have a hundred each. A growth
/// beyond answers −1 to the guest, as the specification of WebAssembly has it.
#[derive(Debug)]
pub struct Limiter {
    most: usize,
    now: usize,
    denied: u64,
    /// It was denied memory that it might have had, since the process has none.
    short: bool,
    /// Where it is told how large the machine is; none before it serves, and once it is dead.
    census: Option<Arc<Entry>>,
}

impl Limiter {
    /// At most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.min(MOST_MEMORY), now: 0, denied: 0, short: false, census: None }
    }

    /// Bytes of linear memories and tables now.
    #[must_use]
    pub fn now(&self) -> usize {
        self.now
    }

    /// The machine serves, or does not any more: it is told elsewhere how large it is, or that is forgotten.
    pub fn tell(&mut self, census: Option<Arc<Entry>>) {
        self.census = census;
    }

    /// Whether growth within its bound was denied, since memory was short.
    #[must_use]
    pub fn was_short(&self) -> bool {
        self.short
    }

    /// Bytes that it may have.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// How often growth was denied.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied
    }

    /// One of its memories or tables is to have so many bytes in place of so many. `false`: it may not.
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let total = self.now.saturating_sub(current).saturating_add(desired);
        if total > self.most {
            self.denied += 1;
            return false;
        }
        if self.census.as_ref().is_some_and(|census| !census.grow(total)) {
            self.denied += 1;
            self.short = true;
            return false;
        }
        self.now = total;
        true
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MOST_TABLE {
            self.denied += 1;
            return Ok(false);
        }
        Ok(self.grow(current * ENTRY, desired * ENTRY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together_and_denials_are_counted() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert!(!limiter.memory_growing(100, 101, None).unwrap());
        assert_eq!((limiter.now(), limiter.denied()), (100, 2));
        assert_eq!(Limiter::new(usize::MAX).most, MOST_MEMORY);
    }

    #[test]
    fn tables_count_with_memories() {
        let mut limiter = Limiter::new(64 + 10 * ENTRY);
        assert!(limiter.memory_growing(0, 64, None).unwrap());
        assert!(limiter.table_growing(0, 4, None).unwrap());
        assert!(limiter.table_growing(0, 4, None).unwrap(), "another one");
        assert!(!limiter.table_growing(4, 7, None).unwrap());
        assert!(limiter.table_growing(4, 6, None).unwrap());
        assert_eq!((limiter.now(), limiter.denied()), (64 + 10 * ENTRY, 1));
        assert!(!Limiter::new(usize::MAX).table_growing(0, MOST_TABLE + 1, None).unwrap());
    }
}
