//! Gives back the memory of a machine that died, in pieces.
//!
//! The kernel takes milliseconds to free what a large guest has touched (5.5 for 64 MiB were measured), and
//! would do it all at once where the machine is dropped, on the worker, whose every other connection would wait. Here other
//! work runs after each piece.

use super::{Machine, time};
use crate::census::{starts, touched::Range};
use rustix::mm::{Advice, madvise};
use std::time::Duration;

/// Bytes that are given back at once: some 20 µs of the kernel's work.
const PIECE: usize = 256 * 1024;

impl Machine {
    /// Gives the pages of a dead machine's linear memory back to the kernel, one piece after another. Returns the CPU
    /// time that the pieces took. Nothing is done to a machine that lives.
    ///
    /// Cancel-safe: what is not given back yet goes with the machine.
    pub async fn release(&self) -> Duration {
        let mut took = Duration::ZERO;
        let mut from = 0;
        while self.dead().is_some() {
            let Some((next, piece)) = self.release_piece(from) else { break };
            took += piece;
            from = next;
            tokio::task::yield_now().await;
        }
        took
    }

    /// Gives back what begins there; where the next piece begins, if there is one, and the CPU time that it took: not that of looking what was
    /// there, since what is given back is paid for many times over.
    fn release_piece(&self, from: usize) -> Option<(usize, Duration)> {
        let mut store = self.store.try_borrow_mut().ok()?;
        let memory = store.data().memory?;
        let piece = memory.data_mut(&mut *store).get_mut(from..)?;
        let length = piece.len().min(PIECE);
        if length == 0 {
            return None;
        }
        let there = match starts::is_counted() {
            // Where nobody can tell what was only read, which gives nothing back, it is known once memory is looked at.
            true => Range { start: piece.as_ptr().addr(), length }.written().unwrap_or(0),
            false => 0,
        };
        let begun = time::now();
        // SAFETY: the range is within the memory that is borrowed here for writing. No guest runs in it again, as its machine
        // is dead; afterwards it reads as what it was before it was touched, which any bytes may be.
        unsafe { madvise(piece.as_mut_ptr().cast(), length, Advice::LinuxDontNeed) }.ok()?;
        let took = time::now().saturating_sub(begun);
        // Its next one may need it before memory is looked at again.
        starts::give_both(there);
        Some((from + length, took))
    }
}
