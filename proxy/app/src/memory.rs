//! What the process gives back to the system once it does not need it any more.
//!
//! The allocator returns freed pages only when it is next asked for some, so that what a burst took would stay resident
//! until the next one. And the kernel maps the program 64 KiB at a time around each place it runs or reads, so that what
//! only a start or a reload needs (relocating, parsing, checks, compiling) would stay resident for ever. Beside the path.

use libmimalloc_sys::mi_collect;
use rustix::mm::{Advice, madvise};
use std::{fs, ops::Range, ptr, time::Duration};
use tokio::time::sleep;

/// How often a thread gives back what it has freed. Memory that comes back after seconds is soon enough for whoever
/// watches it, and a look costs some ten microseconds.
const EVERY: Duration = Duration::from_secs(10);

/// Gives back what this thread has freed, now and then, for ever.
pub async fn keep_small() {
    loop {
        sleep(EVERY).await;
        give_back_heap();
    }
}

/// Gives back every page of this thread's heap that nothing is in. Other threads' heaps are theirs.
pub fn give_back_heap() {
    // SAFETY: it has no precondition; it is declared unsafe because it is foreign. Where another allocator serves the
    // program, as in tests, it finds an empty heap.
    unsafe { mi_collect(true) }
}

/// Takes the program itself, and its libraries, out of memory: their code and constants, not what was relocated or ever
/// written. What is needed again is mapped again, from the page cache and without a copy, as it was at first.
pub fn give_back_program() {
    // Without /proc it stays, which harms nobody.
    let Ok(maps) = fs::read_to_string("/proc/self/smaps") else { return };
    for range in pristine(&maps) {
        let start = ptr::with_exposed_provenance_mut(range.start);
        // SAFETY: the range is a mapping of a file that cannot be written to and of which no page differs from the file:
        // the kernel reads the same bytes again at the next access, so nothing can tell the difference. Nobody unmaps it
        // meanwhile: this thread is the only one that maps files, and no library is ever unloaded.
        let advised = unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) };
        if let Err(error) = advised {
            tracing::debug!(%error, "the program stays resident");
        }
    }
}

/// The mappings in an `smaps` (proc_pid_smaps(5)) that are as their files are and must stay so.
fn pristine(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut of_file = None;
    for line in smaps.lines() {
        if let Some(mapping) = Mapping::read(line) {
            of_file = mapping.is_constant.then_some(mapping.range);
        } else if line.strip_prefix("Anonymous:").is_some_and(|size| size.trim() == "0 kB") {
            found.extend(of_file.take());
        }
    }
    found
}

struct Mapping {
    range: Range<usize>,
    /// Of a file, private, readable, and not writable.
    is_constant: bool,
}

impl Mapping {
    /// Of a mapping's first line: `start-end permissions offset device inode path`.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let range = address(start)?..address(end)?;
        let permissions = words.next()?;
        let path = words.nth(3).unwrap_or_default();
        Some(Self { range, is_constant: matches!(permissions, "r--p" | "r-xp") && path.starts_with('/') })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0-55d9 r--p 00000000 fe:01 42 /usr/bin/pillion
Rss: 8 kB
Anonymous: 0 kB
55d9-56e0 r-xp 00009000 fe:01 42 /usr/bin/pillion
Size: 28 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
56e0-56f0 rw-p 00000000 00:00 0
Anonymous: 4 kB
7f00-7f10 r-xp 00000000 fe:01 7 /usr/lib/patched in memory.so
Anonymous: 4 kB
7f20-7f30 r-xp 00000000 00:00 0
Anonymous: 0 kB
7f40-7f50 r-xp 00000000 00:00 0 [vdso]
Anonymous: 0 kB
7f60-7f70 rwxp 00000000 fe:01 8 /tmp/writable.so
Anonymous: 0 kB
7f70-7f80 r--s 00000000 00:0e 9 /dev/shared with others
Anonymous: 0 kB
7f80-7f90 r-xp 00000000 fe:01 9 /usr/lib/libc.so.6
Anonymous: 0 kB
";

    #[test]
    fn only_what_is_as_its_file_has_it_is_given_back() {
        let expected: Vec<Range<usize>> = vec![0x55d0..0x55d9, 0x55d9..0x56e0, 0x7f80..0x7f90];
        assert_eq!(pristine(SMAPS), expected);
        assert!(pristine("").is_empty());
        assert!(pristine("nonsense\n-\nAnonymous: 0 kB\n").is_empty());
    }

    #[test]
    fn every_prefix_of_a_list_is_read() {
        for end in 0..SMAPS.len() {
            assert!(pristine(&SMAPS[..end]).len() <= 3);
        }
    }

    #[test]
    fn the_program_runs_on_after_it_was_given_back() {
        give_back_program();
        give_back_heap();
        let text: Vec<String> = (0..1000).map(|number| format!("{number:x}")).collect();
        assert_eq!(text[255], "ff");
    }
}
