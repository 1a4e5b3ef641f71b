//! How much of a range of addresses is really in memory: a module may declare megabytes that its guest touches later, or never.
//!
//! Told by `mincore` ([mincore(2)](https://man7.org/linux/man-pages/man2/mincore.2.html)), which asks for no right: what
//! `/proc/self` says is root's where the program has capabilities by its file. Nothing there is looked at, so that a range which is gone by
//! now does no harm.

use rustix::param::page_size;

/// Pages that are asked for at once.
const AT_ONCE: usize = 4_096;

/// Addresses of this process, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// The first byte's.
    pub start: usize,
    /// How many bytes.
    pub length: usize,
}

impl Range {
    /// Bytes of the pages there that are in memory; a module's own data, which the kernel can read again, may be among them. None where there is
    /// no memory.
    #[must_use]
    pub fn touched(self) -> usize {
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
    fn where_nothing_is_there_is_nothing() {
        assert_eq!(Range::default().touched(), 0);
        assert_eq!(Range { start: 0, length: 1 << 20 }.touched(), 0);
        assert_eq!(Range { start: usize::MAX - 10, length: 1 << 20 }.touched(), 0);
        assert_eq!(Range { start: 1 << 40, length: usize::MAX }.touched(), 0);
    }
}
