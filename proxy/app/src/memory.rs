//! What the process gives back to the system once it does not need it any more.
//!
//! The allocator returns freed pages only when it is next asked for some, so that what a burst took would stay resident
//! until the next one. Beside the path.

use std::{hint::black_box, time::Duration};
use tokio::time::sleep;

/// How often a thread gives back what it has freed. Memory that comes back after seconds is soon enough for whoever
/// watches it, and a look costs some ten microseconds.
const EVERY: Duration = Duration::from_secs(10);

/// Nearly as much as mimalloc takes for a size at all (its `MI_MAX_ALLOC_SIZE`), and more than the 2^48 bytes of a process's
/// addresses leave.
const TOO_MUCH: usize = ((1_u64 << 48) - (1 << 18)) as usize;

/// Gives back what this thread has freed, now and then, for ever.
pub async fn keep_small() {
    loop {
        sleep(EVERY).await;
        give_back_heap();
    }
}

/// Gives back every page of this thread's heap that nothing is in. Other threads' heaps are theirs.
pub fn give_back_heap() {
    // Asked for what it does not have, mimalloc first collects the thread's whole heap by force (`_mi_malloc_generic`), which
    // is what its `mi_collect` does, then says no. Unlike that foreign function this takes no unsafe code; another
    // allocator, as in tests, only says no.
    let mut nothing = Vec::<u8>::new();
    // Seen by nobody, the compiler could leave the attempt out.
    black_box(&mut nothing).try_reserve_exact(TOO_MUCH).ok();
    black_box(nothing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_runs_on_after_it_gave_back() {
        give_back_heap();
        let text: Vec<String> = (0..1000).map(|number| format!("{number:x}")).collect();
        assert_eq!(text[255], "ff");
    }
}
