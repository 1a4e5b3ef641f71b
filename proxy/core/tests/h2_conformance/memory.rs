//! An allocator that counts, so that floods can be held to a figure.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

thread_local! {
    /// Bytes held by this thread, and the most it ever held. A test and its server are one thread.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn add(bytes: isize) {
    // During a thread's end the cell is gone, and nothing is measured any more.
    HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    })
    .ok();
}

// SAFETY: every call is passed on unchanged to the system's allocator; only sizes are counted beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Begins to measure: what is held now is the base.
pub(crate) fn begin() -> isize {
    let (now, _) = HELD.get();
    HELD.set((now, now));
    now
}

/// The most held since [`begin`], above its base, in bytes.
pub(crate) fn most_above(base: isize) -> usize {
    (HELD.get().1 - base).max(0) as usize
}
