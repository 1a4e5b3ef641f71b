//! [`Unread`]: what h2 holds of responses for a client whose socket takes no more.
//!
//! h2 takes a head whatever its size, and 64 KiB of each body that its client's windows let out, and holds them until the socket takes them:
//! megabytes for each client that reads nothing, which come in less time than memory is looked at. h2 does not tell how much it
//! is. So what is handed to it counts with what the client has not finished ([`Control::keep`]), from where the socket is full, or much is handed over
//! at once, until it is written: whoever is written to keeps an account of each stream then. While all is written as it comes, nothing is kept but a sum,
//! and nothing counts at all without a limit of memory.

use super::head::{DATA, END_STREAM, HEADERS, Head, RST_STREAM};
use crate::drain::Control;
use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
};

/// What a connection's client has not read. Its socket's guard, its loop and those who carry its streams share it.
#[derive(Debug)]
pub struct Unread {
    /// Told how much it is.
    line: OnceCell<Rc<Control>>,
    /// Bytes that may be handed over before accounts are kept; negative where they are, or would be if anybody counted.
    room: Cell<isize>,
    keeps: Cell<Keeps>,
    /// Bytes that were handed over before that: of which stream is not known.
    loose: Cell<usize>,
    /// By number.
    streams: RefCell<Vec<Account>>,
    /// What they have, together.
    kept: Cell<usize>,
    /// What the line was told last.
    told: Cell<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Nothing,
    Accounts,
}

/// What h2 holds of a stream.
#[derive(Debug)]
struct Account {
    stream: u32,
    /// Interim responses ahead of the head.
    interim: u32,
    head: usize,
    data: usize,
}

/// What may be handed over at once without an account, of a client that takes all.
const FREE: isize = 256 * 1024;

/// So much more or less is told.
const STEP: usize = 16 * 1024;

/// What a head of common size takes, with what is around it.
const HEAD: usize = 2 * 1024;

impl Default for Unread {
    fn default() -> Self {
        Self {
            line: OnceCell::new(),
            room: Cell::new(FREE),
            keeps: Cell::new(Keeps::Nothing),
            loose: Cell::new(0),
            streams: RefCell::default(),
            kept: Cell::new(0),
            told: Cell::new(0),
        }
    }
}

impl Unread {
    /// Whom to tell. Once.
    pub(super) fn tells(&self, line: &Rc<Control>) {
        self.line.set(Rc::clone(line)).ok();
    }

    /// h2 is handed a head, of so many bytes where they are many.
    #[inline]
    pub(crate) fn head(&self, stream: impl FnOnce() -> u32, bytes: Option<usize>) {
        let bytes = HEAD + bytes.unwrap_or(0);
        if !self.passes(bytes) {
            self.keep(stream(), bytes, |account| account.head += bytes);
        }
    }

    /// h2 is handed an interim response.
    pub(crate) fn interim(&self, stream: impl FnOnce() -> u32) {
        if !self.passes(0) {
            self.keep(stream(), 0, |account| account.interim += 1);
        }
    }

    /// h2 is handed so much of a body.
    #[inline]
    pub(crate) fn data(&self, stream: impl FnOnce() -> u32, bytes: usize) {
        if !self.passes(bytes) {
            self.keep(stream(), bytes, |account| account.data += bytes);
        }
    }

    /// Whether it needs no account.
    #[inline]
    fn passes(&self, bytes: usize) -> bool {
        // No part is nearly as large as an `isize`, nor are so many handed over between two turns.
        let room = self.room.get().wrapping_sub(bytes as isize);
        self.room.set(room);
        room >= 0
    }

    #[cold]
    fn keep(&self, stream: u32, bytes: usize, note: impl FnOnce(&mut Account)) {
        if !self.begin(bytes) {
            return;
        }
        let mut streams = self.streams.borrow_mut();
        let at = streams.binary_search_by_key(&stream, |account| account.stream).unwrap_or_else(|at| {
            streams.insert(at, Account { stream, interim: 0, head: 0, data: 0 });
            at
        });
        note(&mut streams[at]);
        drop(streams);
        self.kept.set(self.kept.get() + bytes);
        self.tell();
    }

    /// Accounts are kept from here on, if anybody counts: of what was handed over but for the last bytes no stream is known.
    fn begin(&self, last: usize) -> bool {
        if self.keeps.get() == Keeps::Accounts {
            return true;
        }
        let counts = self.line.get().is_some_and(|line| line.counts());
        if counts {
            self.keeps.set(Keeps::Accounts);
            // Without a limit of memory there was more room than that.
            self.loose.set(((FREE - self.room.get()).max(0) as usize).saturating_sub(last));
        }
        self.room.set(if counts { -1 } else { isize::MAX });
        counts
    }

    /// The socket was written to as far as it takes: what is `left` waits for it, or all is written.
    #[inline]
    pub(crate) fn settle(&self, left: bool) {
        if left || self.keeps.get() == Keeps::Accounts {
            self.stands(left);
        } else {
            self.room.set(FREE);
        }
    }

    #[cold]
    fn stands(&self, left: bool) {
        if left {
            if self.begin(0) {
                self.tell();
            }
            return;
        }
        self.room.set(FREE);
        self.keeps.set(Keeps::Nothing);
        self.loose.set(0);
        self.kept.set(0);
        self.streams.take();
        self.tell();
    }

    /// Tells how much it is, where that is another order.
    fn tell(&self) {
        let all = self.loose.get() + self.kept.get();
        let all = if all < STEP { 0 } else { all };
        if (all == 0 || all.abs_diff(self.told.get()) >= STEP)
            && all != self.told.replace(all)
            && let Some(line) = self.line.get()
        {
            line.keep(all);
        }
    }

    /// Whether there are accounts.
    #[inline]
    pub(super) fn keeps(&self) -> bool {
        self.keeps.get() == Keeps::Accounts
    }

    /// A frame begins to be written, by its head and whatever follows: where there are accounts.
    #[cold]
    pub(super) fn sent(&self, bytes: &[u8; 17]) {
        let mut head = [0; 9];
        head.copy_from_slice(&bytes[..9]);
        self.written(Head::parse(&head));
    }

    fn written(&self, head: Head) {
        let length = head.length as usize;
        let ends = head.kind == RST_STREAM || head.flags & END_STREAM != 0;
        let mut streams = self.streams.borrow_mut();
        let Ok(at) = streams.binary_search_by_key(&head.stream, |account| account.stream) else {
            // It was handed over before there were accounts.
            self.loose.set(self.loose.get().saturating_sub(length));
            return;
        };
        let account = &mut streams[at];
        let before = account.head + account.data;
        match head.kind {
            HEADERS if account.interim > 0 => account.interim -= 1,
            HEADERS => account.head = 0,
            DATA => account.data = account.data.saturating_sub(length),
            _ => {}
        }
        let after = if ends { 0 } else { account.head + account.data };
        if after == 0 && (ends || account.interim == 0) {
            streams.remove(at);
        }
        self.kept.set(self.kept.get() - before + after);
    }

    /// The client has reset a stream: h2 holds nothing of it any more.
    pub(super) fn reset(&self, stream: u32) {
        if self.keeps() {
            self.written(Head { length: 0, kind: RST_STREAM, flags: 0, stream });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{downstream::unfinished::Allowance, drain::Register};
    use std::sync::Arc;

    fn frame(kind: u8, stream: u32, length: u32) -> Head {
        Head { length, kind, flags: 0, stream }
    }

    #[test]
    fn what_waits_for_its_client_is_counted_until_it_is_written() {
        let allowance = Arc::<Allowance>::default();
        let register = Register::within(Arc::clone(&allowance), Arc::default());
        let registration = register.enter(0);
        let unread = Unread::default();
        unread.tells(registration.control());
        let hand = || {
            for stream in [1, 3, 5] {
                unread.head(|| stream, Some(60_000));
                unread.data(|| stream, 40_000);
            }
        };
        // Nobody counts.
        hand();
        unread.settle(true);
        assert_eq!(allowance.held(), 0);
        unread.settle(false);
        allowance.allow(10 << 20);
        // All is written as it comes, if it is not too much at once.
        unread.head(|| 1, Some(60_000));
        assert_eq!(allowance.held(), 0);
        unread.settle(false);
        hand();
        assert!((250_000..310_000).contains(&allowance.held()), "{}", allowance.held());
        unread.settle(false);
        assert_eq!(allowance.held(), 0);
        // The socket is full.
        unread.data(|| 1, 20_000);
        unread.settle(true);
        hand();
        assert!((320_000..350_000).contains(&allowance.held()), "{}", allowance.held());
        unread.written(frame(HEADERS, 7, 20_000));
        unread.written(frame(HEADERS, 1, 30_000));
        unread.written(frame(DATA, 1, 16_384));
        unread.reset(3);
        unread.interim(|| 5);
        unread.written(frame(HEADERS, 5, 10));
        unread.settle(true);
        let held = allowance.held();
        assert!((120_000..130_000).contains(&held), "{held}: of 1 what is left, and all of 5");
        for head in [frame(HEADERS, 5, 30_000), frame(DATA, 5, 40_000), frame(RST_STREAM, 1, 4)] {
            unread.written(head);
        }
        unread.settle(true);
        assert_eq!((allowance.held(), unread.kept.get(), unread.loose.get()), (0, 0, 0));
        assert!(unread.streams.borrow().is_empty());
        hand();
        drop(registration);
        assert_eq!(allowance.held(), 0);
    }

    #[test]
    fn who_reads_nothing_goes_where_memory_is_short() {
        let allowance = Arc::<Allowance>::default();
        let register = Register::within(Arc::clone(&allowance), Arc::default());
        allowance.allow(1_000_000);
        let clients = [(); 3].map(|()| (register.enter(0), Unread::default()));
        for (registration, unread) in &clients {
            unread.tells(registration.control());
            unread.settle(true);
        }
        for stream in 0..5 {
            for ((_, unread), times) in clients.iter().zip([1, 2, 3]) {
                (0..times).for_each(|_| unread.head(|| stream, Some(50_000)));
            }
        }
        assert_eq!(clients.each_ref().map(|(registration, _)| registration.control().is_shed()), [false, false, true]);
        // What it sends meanwhile is none of it.
        clients[2].0.control().hold(10);
        clients[2].0.control().release();
        assert!(clients[2].0.control().is_shed());
        clients[2].1.settle(false);
        assert!(!clients[2].0.control().is_shed(), "it has read all");
    }
}
