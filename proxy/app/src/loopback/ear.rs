//! What the thread waits for: an order, ends of connections in the ring, the time of the next look.
//!
//! A channel of the standard library cannot be waited for together with a descriptor, so each order rings a bell that has one.

use redirect::GATHER;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{self, Read as _, Write as _},
    os::{fd::BorrowedFd, unix::net::UnixStream},
    sync::mpsc::{self, TryRecvError},
    thread,
    time::Instant,
};

/// Who gives orders. Dropped, it lets the thread end.
pub(super) struct Mouth<T> {
    orders: mpsc::Sender<T>,
    // Goes after the sender: who finds it gone finds no sender either.
    bell: UnixStream,
}

/// Who takes them.
pub(super) struct Ear<T> {
    orders: mpsc::Receiver<T>,
    bell: UnixStream,
}

/// What came first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<T> {
    Order(T),
    /// The ring has something.
    Ends,
    /// The time has come.
    Due,
    /// Nobody can give an order any more.
    Nobody,
}

/// Both ends.
///
/// # Errors
///
/// No descriptor is free.
pub(super) fn pair<T>() -> io::Result<(Mouth<T>, Ear<T>)> {
    let (orders, taken) = mpsc::channel();
    let (ringing, rung) = UnixStream::pair()?;
    ringing.set_nonblocking(true)?;
    rung.set_nonblocking(true)?;
    Ok((Mouth { orders, bell: ringing }, Ear { orders: taken, bell: rung }))
}

impl<T> Mouth<T> {
    /// Gives an order, without waiting. `false`: the thread has ended.
    pub(super) fn tell(&self, order: T) -> bool {
        let told = self.orders.send(order).is_ok();
        // One that is full rings already.
        (&self.bell).write_all(&[0]).ok();
        told
    }
}

impl<T> Ear<T> {
    /// Waits until `due`, if there is such a time, or the ring has something, if there is one. Orders go first.
    pub(super) fn listen(&self, ring: Option<BorrowedFd<'_>>, due: Option<Instant>) -> Heard<T> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => return Heard::Order(order),
                Err(TryRecvError::Disconnected) => return Heard::Nobody,
                Err(TryRecvError::Empty) => {}
            }
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Heard::Due;
            }
            let left =
                left.map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
            let bell = PollFd::new(&self.bell, PollFlags::IN);
            let waited = match &ring {
                None => poll(&mut [bell], left.as_ref()).map(|_| false),
                Some(ring) => {
                    let mut both = [bell, PollFd::new(ring, PollFlags::IN)];
                    poll(&mut both, left.as_ref()).map(|_| !both[1].revents().is_empty())
                }
            };
            match waited {
                // The kernel is out of memory, say: what comes is found a little later.
                Err(error) if error != rustix::io::Errno::INTR => thread::sleep(GATHER),
                Ok(true) => return Heard::Ends,
                Ok(false) | Err(_) => {}
            }
            while matches!((&self.bell).read(&mut [0; 64]), Ok(1..)) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::fd::AsFd as _, time::Duration};

    #[test]
    fn orders_go_first_then_the_ring_then_the_time_and_the_end_is_told() {
        let (mouth, ear) = pair().unwrap();
        let (ring, mut writer) = rustix::pipe::pipe().map(|(read, write)| (read, std::fs::File::from(write))).unwrap();
        let now = || Some(Instant::now());
        let later = || Some(Instant::now() + Duration::from_secs(60));
        assert!(mouth.tell(1) && mouth.tell(2));
        writer.write_all(b"x").unwrap();
        assert_eq!(ear.listen(Some(ring.as_fd()), now()), Heard::Order(1));
        assert_eq!(ear.listen(Some(ring.as_fd()), later()), Heard::Order(2));
        assert_eq!(ear.listen(Some(ring.as_fd()), later()), Heard::Ends);
        assert_eq!(ear.listen(None, now()), Heard::Due);
        // Somebody who waits is woken, by each of them.
        let telling = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            mouth.tell(3);
            thread::sleep(Duration::from_millis(20));
        });
        assert_eq!(ear.listen(None, None), Heard::Order(3));
        assert_eq!(ear.listen(None, None), Heard::Nobody);
        telling.join().unwrap();
        // A bell that nobody answered stops nobody from ringing it.
        let (mouth, ear) = pair().unwrap();
        for order in 0..100_000 {
            assert!(mouth.tell(order));
        }
        drop(mouth);
        for order in 0..100_000 {
            assert_eq!(ear.listen(None, None), Heard::Order(order));
        }
        assert_eq!(ear.listen(None, None), Heard::Nobody);
    }
}
