//! What clients have begun and not finished, in bytes, and who must go when it is too much. What requests in flight hold
//! counts into it ([`held`](super::held)), and what clients of HTTP/2 do not read ([`Unread`](super::guard::http2::Unread)); and how many of them there are.
//!
//! Beside the path. A head, a trailer section, a header block or a ClientHello that came in part is held until its rest
//! comes; each has its own limit and deadline, and a thousand clients that leave theirs unfinished hold a thousand times
//! that. Memory is looked at ten times a second at most, and such a flood fills a small container in less. So what is held
//! is counted as it grows, against an allowance that the control thread sets by what it sees of memory; beyond it those
//! who hold the most are told to go, and nobody's part grows until they have. What comes whole with its first read is
//! never counted. It closes nothing itself.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How much clients may leave unfinished, and how much they do. Shared because the memory is the process's: workers add
/// what they hold, the control thread sets what each may.
#[derive(Debug)]
pub struct Allowance {
    held: AtomicUsize,
    each: AtomicUsize,
    requests: AtomicUsize,
    most_requests: AtomicUsize,
}

/// Whether what a client has not finished may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It may.
    Left,
    /// Not before others have gone, or it is itself among those who must: come back when they had their turn.
    None,
}

/// A worker's sum.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    allowance: Arc<Allowance>,
    held: Cell<usize>,
    /// What requests in flight hold.
    requests: Cell<usize>,
    /// How many are in flight.
    in_flight: Cell<usize>,
    /// How many of them the others know of.
    told_of: Cell<usize>,
    /// The part of it whose holders were told to go and have not gone yet.
    leaving: Cell<usize>,
}

/// What each holder takes beside the bytes themselves: its task, its state, its timer, and what the allocator rounds up to.
const ASIDE: usize = 1024;

/// When there is too much, this part of the allowance is made free at once, so that the search for the largest is made
/// once for many who grow.
const FREED: usize = 8;

/// How many more or fewer requests are in flight before a worker tells the others: what is shared is written once for many.
const UNTOLD: usize = 16;

/// This part of the allowance is for what is unfinished, whatever requests hold.
const PART: usize = 4;

impl Default for Allowance {
    /// Without a limit of memory only the limits of each client hold.
    fn default() -> Self {
        Self {
            held: AtomicUsize::new(0),
            each: AtomicUsize::new(usize::MAX),
            requests: AtomicUsize::new(0),
            most_requests: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Allowance {
    /// Bytes held now, by all workers.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes that each worker may hold.
    #[must_use]
    pub fn each(&self) -> usize {
        self.each.load(Ordering::Relaxed)
    }

    /// Sets what each worker may hold.
    pub fn allow(&self, each: usize) {
        self.each.store(each, Ordering::Relaxed);
    }

    /// Requests in flight now, over all workers, but for a few that each has not told of.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Sets how many requests may be in flight, over all workers.
    pub fn allow_requests(&self, most: usize) {
        self.most_requests.store(most, Ordering::Relaxed);
    }

    fn changed(&self, before: u32, after: u32) {
        let (before, after) = (before as usize, after as usize);
        if after > before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

impl Sum {
    pub(crate) fn within(allowance: Arc<Allowance>) -> Self {
        Self { allowance, ..Self::default() }
    }

    /// What holding so many bytes counts for.
    pub(crate) fn weight(bytes: usize) -> u32 {
        u32::try_from(bytes.saturating_add(ASIDE)).unwrap_or(u32::MAX)
    }

    /// One holder's part has changed.
    pub(crate) fn changed(&self, before: u32, after: u32) {
        self.held.set(self.held.get() - before as usize + after as usize);
        self.allowance.changed(before, after);
    }

    /// One request's part has changed.
    pub(crate) fn requests_changed(&self, before: u32, after: u32) {
        self.requests.set(self.requests.get() - before as usize + after as usize);
        self.allowance.changed(before, after);
    }

    /// A request is in flight.
    pub(crate) fn request_begun(&self) {
        let now = self.in_flight.get() + 1;
        self.in_flight.set(now);
        if now >= self.told_of.get() + UNTOLD {
            self.allowance.requests.fetch_add(now - self.told_of.replace(now), Ordering::Relaxed);
        }
    }

    /// It is not any more.
    pub(crate) fn request_ended(&self) {
        let now = self.in_flight.get() - 1;
        self.in_flight.set(now);
        if now + UNTOLD <= self.told_of.get() {
            self.allowance.requests.fetch_sub(self.told_of.replace(now) - now, Ordering::Relaxed);
        }
    }

    /// Whether there is room for the request that began last.
    pub(crate) fn room_for_one_more(&self) -> Room {
        let Allowance { requests, most_requests, .. } = &*self.allowance;
        let others = requests.load(Ordering::Relaxed).saturating_sub(self.told_of.get());
        let all = others + self.in_flight.get();
        if all <= most_requests.load(Ordering::Relaxed) { Room::Left } else { Room::None }
    }

    /// A holder of so much was told to go.
    pub(crate) fn told(&self, held: u32) {
        self.leaving.set(self.leaving.get() + held as usize);
    }

    /// A holder of so much, which was told, holds it no more.
    pub(crate) fn left(&self, held: u32) {
        self.leaving.set(self.leaving.get() - held as usize);
    }

    /// Whether there is an allowance.
    pub(crate) fn is_bounded(&self) -> bool {
        self.allowance.each() != usize::MAX
    }

    /// Whether there is room for what requests hold, beside what is unfinished.
    pub(crate) fn room_for_requests(&self) -> Room {
        let held = self.held.get() + self.requests.get();
        if held <= self.allowance.each() { Room::Left } else { Room::None }
    }

    /// Whether there is room for what clients send though nobody asks for it, an eighth beyond [`room_for_requests`](Self::room_for_requests).
    pub(crate) fn room_for_what_comes(&self) -> Room {
        let (held, each) = (self.held.get() + self.requests.get(), self.allowance.each());
        if held <= each.saturating_add(each / FREED) { Room::Left } else { Room::None }
    }

    /// What may be unfinished beside what requests hold. Nobody is told to go for those alone: whoever is must have a part in it.
    fn bound(&self) -> usize {
        let each = self.allowance.each();
        each.saturating_sub(self.requests.get()).max(each / PART)
    }

    /// Whether there is room for what is unfinished.
    pub(crate) fn room(&self) -> Room {
        if self.held.get() <= self.bound() { Room::Left } else { Room::None }
    }

    /// Bytes whose holders must go, beyond those that were told already; 0: enough go.
    pub(crate) fn excess(&self) -> usize {
        let (staying, each) = (self.held.get() - self.leaving.get(), self.bound());
        if staying <= each { 0 } else { staying - (each - each / FREED) }
    }
}

/// The places of those who must go so that `excess` bytes are free: the largest, and no more than it takes.
pub(crate) fn largest(mut holders: Vec<(u32, usize)>, excess: usize) -> impl Iterator<Item = usize> {
    holders.sort_unstable_by_key(|&(held, _)| std::cmp::Reverse(held));
    let mut freed = 0;
    holders.into_iter().map_while(move |(held, place)| {
        let goes = freed < excess;
        freed += held as usize;
        goes.then_some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn those_who_go_are_the_largest_and_just_enough(
            held in prop::collection::vec(1_u32..100_000, 0..40),
            excess in 0_usize..2_000_000,
        ) {
            let holders: Vec<_> = held.iter().copied().zip(0..).collect();
            let go: Vec<usize> = largest(holders, excess).collect();
            let freed: usize = go.iter().map(|&place| held[place] as usize).sum();
            prop_assert!(freed >= excess || go.len() == held.len());
            if let Some((last, before)) = go.split_last() {
                prop_assert!(freed - (held[*last] as usize) < excess, "one too many");
                prop_assert!(before.iter().all(|place| held[*place] >= held[*last]));
                let stays = (0..held.len()).filter(|place| !go.contains(place));
                prop_assert!(stays.map(|place| held[place]).all(|stays| stays <= held[*last]));
            }
        }
    }

    #[test]
    fn room_ends_at_the_allowance_and_comes_back() {
        let allowance = Arc::<Allowance>::default();
        let sum = Sum::within(Arc::clone(&allowance));
        sum.changed(0, 900);
        assert_eq!((sum.room(), sum.excess()), (Room::Left, 0), "no limit");
        allowance.allow(800);
        assert_eq!((sum.room(), sum.excess()), (Room::None, 200), "an eighth is made free");
        sum.told(300);
        assert_eq!((sum.room(), sum.excess()), (Room::None, 0), "enough go, and are not gone");
        sum.left(300);
        sum.changed(300, 0);
        assert_eq!((sum.room(), sum.excess(), allowance.held()), (Room::Left, 0, 600));
    }

    #[test]
    fn requests_take_of_the_allowance_all_but_a_quarter() {
        let allowance = Arc::<Allowance>::default();
        let sum = Sum::within(Arc::clone(&allowance));
        allowance.allow(800);
        sum.requests_changed(0, 790);
        assert_eq!(sum.room_for_requests(), Room::Left);
        sum.changed(0, 200);
        assert_eq!((sum.room_for_requests(), sum.room(), sum.excess()), (Room::None, Room::Left, 0));
        sum.changed(200, 201);
        assert_eq!((sum.room(), sum.excess()), (Room::None, 26));
        sum.requests_changed(790, 0);
        assert_eq!((sum.room_for_requests(), sum.room(), allowance.held()), (Room::Left, Room::Left, 201));
    }

    #[test]
    fn requests_are_counted_over_all_workers() {
        let allowance = Arc::<Allowance>::default();
        let workers = [(); 2].map(|()| Sum::within(Arc::clone(&allowance)));
        allowance.allow_requests(40);
        for _ in 0..20 {
            workers.iter().for_each(Sum::request_begun);
        }
        // Of four each the other does not know.
        assert_eq!(allowance.requests(), 32);
        (0..4).for_each(|_| workers[0].request_begun());
        assert_eq!(workers[0].room_for_one_more(), Room::Left);
        workers[0].request_begun();
        assert_eq!(workers[0].room_for_one_more(), Room::None);
        for (worker, begun) in workers.iter().zip([25, 20]) {
            (0..begun).for_each(|_| worker.request_ended());
        }
        assert_eq!(allowance.requests(), 0);
        assert_eq!(workers[0].room_for_one_more(), Room::Left);
    }
}
