//! How much of a range of addresses is really in memory: a module may declare megabytes that its guest touches later, or never.
//!
//! Told by `/proc/self/pagemap`, eight bytes for each page
//! ([Linux, Documentation/admin-guide/mm/pagemap.rst](https://docs.kernel.org/admin-guide/mm/pagemap.html)), which a process may
//! read of itself: that needs no address to be followed, so that a range which is gone by now does no harm.

use rustix::param::page_size;
use std::{fs::File, os::unix::fs::FileExt};

/// A page is in memory, or was swapped out.
const HERE: u64 = 0b11 << 62;

/// It is a file's, such as a module's data that nobody has written to: the kernel can read it again.
const FILE: u64 = 1 << 61;

/// Bytes of an entry.
const ENTRY: usize = 8;

/// Pages that are asked for at once.
const AT_ONCE: usize = 512;

/// Addresses of this process, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// The first byte's.
    pub start: usize,
    /// How many bytes.
    pub length: usize,
}

impl Range {
    /// Bytes of the pages there that are this process's alone; none where the kernel does not tell.
    #[must_use]
    pub fn touched(self) -> usize {
        File::open("/proc/self/pagemap").map_or(0, |pagemap| self.told_by(&pagemap))
    }

    fn told_by(self, pagemap: &File) -> usize {
        let page = page_size();
        let (mut next, end) = (self.start / page, self.start.saturating_add(self.length).div_ceil(page));
        let mut room = [0; AT_ONCE * ENTRY];
        let mut pages = 0;
        while next < end {
            let wanted = (end - next).min(AT_ONCE);
            let read = pagemap.read_at(&mut room[..wanted * ENTRY], (next * ENTRY) as u64).unwrap_or(0);
            let (entries, _) = room[..read].as_chunks::<ENTRY>();
            pages += entries.iter().filter(|entry| counts(u64::from_ne_bytes(**entry))).count();
            if entries.len() < wanted {
                break;
            }
            next += wanted;
        }
        pages * page
    }
}

fn counts(entry: u64) -> bool {
    entry & HERE != 0 && entry & FILE == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_to_is_told_and_what_was_not_is_not() {
        const BYTES: usize = 8 << 20;
        let mut memory = vec![0_u8; BYTES];
        let range = Range { start: memory.as_ptr().addr(), length: BYTES };
        let before = range.touched();
        assert!(before < BYTES / 8, "{before}");
        memory[BYTES / 4..BYTES / 2].fill(1);
        let more = range.touched() - before;
        assert!((BYTES / 4 - (64 << 10)..BYTES / 4 + (4 << 20)).contains(&more), "{more}");
        assert_eq!(memory[BYTES / 2 - 1], 1);
    }

    #[test]
    fn where_nothing_is_there_is_nothing() {
        assert_eq!(Range::default().touched(), 0);
        assert_eq!(Range { start: 0, length: 1 << 20 }.touched(), 0);
        assert_eq!(Range { start: usize::MAX - 10, length: 1 << 20 }.touched(), 0);
    }
}
