//! How much of a range of addresses is really in memory: a module may declare megabytes that its guest touches later, or never.
//!
//! Told by `/proc/self/pagemap` ([proc_pid_pagemap(5)](https://man7.org/linux/man-pages/man5/proc_pid_pagemap.5.html)): a page that was only
//! read is the kernel's page of zeros or one of the module's data, which all of its machines share, and takes nothing. That file is root's
//! where the program has capabilities by its file: there by `mincore` ([mincore(2)](https://man7.org/linux/man-pages/man2/mincore.2.html)),
//! which asks for no right and cannot tell those pages from others. Nothing there is looked at, so that a range which is gone by now does
//! no harm.

use rustix::param::page_size;
use std::{fs::File, os::unix::fs::FileExt, sync::OnceLock};

/// Pages that are asked for at once.
const AT_ONCE: usize = 4_096;

/// Pages of which the file is read at once, and bytes of each.
const READ: usize = 512;
const ENTRY: usize = 8;

/// Bytes of a linear memory at most: the file has entries for addresses where nothing is, too.
const MOST: usize = 1 << 32;

/// Of a page's entry: it is in memory, it is a file's or shared, this process alone has it.
const PRESENT: u64 = 1 << 63;
const OF_A_FILE: u64 = 1 << 61;
const OWN: u64 = 1 << 56;

/// Addresses of this process, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// The first byte's.
    pub start: usize,
    /// How many bytes.
    pub length: usize,
}

impl Range {
    /// Bytes of the pages there that were written to and are in memory; where only `mincore` tells, also of those that were read. None where
    /// there is no memory.
    #[must_use]
    pub fn touched(self) -> usize {
        self.written().unwrap_or_else(|| self.in_memory())
    }

    /// Bytes of the pages there that were written to and are in memory. `None`: nobody can tell.
    #[must_use]
    pub fn written(self) -> Option<usize> {
        static FILE: OnceLock<Option<File>> = OnceLock::new();
        let file = FILE.get_or_init(|| File::open("/proc/self/pagemap").ok());
        file.as_ref().and_then(|file| self.own(file))
    }

    /// By the file; `None`: it says nothing.
    fn own(self, file: &File) -> Option<usize> {
        let page = page_size();
        let length = self.length.min(MOST);
        let (mut next, end) = (self.start / page, self.start.saturating_add(length).div_ceil(page));
        let mut room = [0; READ * ENTRY];
        let mut pages = 0;
        while next < end {
            let wanted = (end - next).min(READ) * ENTRY;
            let Ok(read @ 1..) = file.read_at(&mut room[..wanted], (next * ENTRY) as u64) else {
                // Beyond what a process can have: nothing is there. That no entry at all can be read says nothing.
                return (next > self.start / page).then_some(pages * page);
            };
            let (entries, _) = room[..read].as_chunks::<ENTRY>();
            let is_own =
                |entry: &&[u8; ENTRY]| u64::from_ne_bytes(**entry) & (PRESENT | OF_A_FILE | OWN) == PRESENT | OWN;
            pages += entries.iter().filter(is_own).count();
            next += entries.len().max(1);
        }
        Some(pages * page)
    }

    /// By `mincore`.
    fn in_memory(self) -> usize {
        let page = page_size();
        let (mut next, end) = (self.start / page, self.start.saturating_add(self.length).div_ceil(page));
        let mut room = [0; AT_ONCE];
        let mut pages = 0;
        while next < end {
            let wanted = (end - next).min(AT_ONCE);
            if !tell(next * page, &mut room[..wanted], page) {
                break;
            }
            pages += room[..wanted].iter().filter(|told| **told & 1 == 1).count();
            next += wanted;
        }
        pages * page
    }
}

/// Has the kernel say of each page from there on whether it is in memory. `false`: not all of it is mapped.
fn tell(start: usize, room: &mut [u8], page: usize) -> bool {
    // SAFETY: the kernel writes a byte for each page of the length that is given, which is as many as there is room for; the pages
    // themselves are neither read nor written, whatever they are.
    unsafe { libc::mincore(std::ptr::without_provenance_mut(start), room.len() * page, room.as_mut_ptr()) == 0 }
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
    fn what_was_only_read_takes_nothing() {
        const BYTES: usize = 8 << 20;
        let memory = vec![0_u8; BYTES];
        let range = Range { start: memory.as_ptr().addr(), length: BYTES };
        let before = range.touched();
        assert_eq!(memory.iter().step_by(1_024).map(|byte| u64::from(*std::hint::black_box(byte))).sum::<u64>(), 0);
        assert!(range.touched() <= before + (64 << 10), "{} and {before} before", range.touched());
        assert!(range.in_memory() >= BYTES / 2, "it cannot tell");
    }

    #[test]
    fn where_nothing_is_there_is_nothing() {
        assert_eq!(Range::default().touched(), 0);
        assert_eq!(Range { start: 0, length: 1 << 20 }.touched(), 0);
        assert_eq!(Range { start: usize::MAX - 10, length: 1 << 20 }.touched(), 0);
        assert_eq!(Range { start: 1 << 40, length: usize::MAX }.touched(), 0);
    }
}
