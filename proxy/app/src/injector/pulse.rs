//! What a connection is at: whoever is silent between two reviews may stay while there is room, whoever has begun one must go on.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Time for a head, from its first byte on.
pub(super) const HEAD: Duration = Duration::from_secs(5);
/// Silence of a kept connection. API servers close after 90 s.
pub(super) const IDLE: Duration = Duration::from_secs(120);

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// TLS is being agreed on.
    Greeting,
    /// Nothing of a review is there.
    Idle,
    /// A part of a head is.
    Head,
    /// A review is being read or answered; it has bounds of its own.
    Review,
    /// It must make room.
    Leaving,
}

/// Why a connection is closed from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It said nothing for long.
    Idle,
    /// A head was begun and not finished.
    Head,
    /// It was silent, and others wanted its place.
    Evicted,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Pulse {
    doing: Cell<Doing>,
    since: Cell<Instant>,
    changed: Notify,
}

impl Pulse {
    fn new() -> Self {
        Self { doing: Cell::new(Doing::Greeting), since: Cell::new(Instant::now()), changed: Notify::new() }
    }

    fn set(&self, doing: Doing) {
        if self.doing.get() != Doing::Leaving {
            self.doing.set(doing);
            self.since.set(Instant::now());
            self.changed.notify_one();
        }
    }

    /// TLS is agreed on, or a review is answered.
    pub(super) fn idle(&self) {
        self.set(Doing::Idle);
    }

    /// A head is complete.
    pub(super) fn review(&self) {
        self.set(Doing::Review);
    }

    /// Something was read.
    fn read(&self) {
        if self.doing.get() == Doing::Idle {
            self.set(Doing::Head);
        }
    }

    /// When the connection has to be closed, and why, unless something happens; `None`: it is not ours to say. Pure.
    fn due(&self) -> Option<(Instant, Ended)> {
        let since = self.since.get();
        match self.doing.get() {
            Doing::Greeting | Doing::Review => None,
            Doing::Idle => Some((since + IDLE, Ended::Idle)),
            Doing::Head => Some((since + HEAD, Ended::Head)),
            Doing::Leaving => Some((since, Ended::Evicted)),
        }
    }

    /// Waits until the connection has to be closed. Cancel-safe.
    pub(super) async fn end(&self) -> Ended {
        loop {
            match self.due() {
                None => self.changed.notified().await,
                Some((due, ended)) if due <= Instant::now() => return ended,
                Some((due, _)) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.changed.notified() => {}
                },
            }
        }
    }
}

/// All connections that hold a place.
#[derive(Debug, Default)]
pub(super) struct Pulses(RefCell<Vec<Rc<Pulse>>>);

/// A place, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    all: Rc<Pulses>,
    pub(super) pulse: Rc<Pulse>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.0.borrow_mut().retain(|pulse| !Rc::ptr_eq(pulse, &self.pulse));
    }
}

impl Pulses {
    /// A place among `most`: a free one, or that of whoever has been idle for longest, who is told to leave (`true`). `None`:
    /// everybody is busy.
    pub(super) fn enter(self: &Rc<Self>, most: usize) -> Option<(Place, bool)> {
        let mut all = self.0.borrow_mut();
        let full = all.len() >= most;
        if full {
            let idle = all.iter().enumerate().filter(|(_, pulse)| pulse.doing.get() == Doing::Idle);
            let (oldest, _) = idle.min_by_key(|(_, pulse)| pulse.since.get())?;
            all.swap_remove(oldest).set(Doing::Leaving);
        }
        let pulse = Rc::new(Pulse::new());
        all.push(Rc::clone(&pulse));
        Some((Place { all: Rc::clone(self), pulse }, full))
    }
}

/// A stream whose reads are noticed.
pub(super) struct Noticed<S>(pub(super) S, pub(super) Rc<Pulse>);

impl<S: AsyncRead + Unpin> AsyncRead for Noticed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.1.read();
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noticed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which time, from now on, and why.
    fn due(pulse: &Pulse) -> Option<(u64, Ended)> {
        pulse.due().map(|(at, ended)| (at.duration_since(pulse.since.get()).as_secs(), ended))
    }

    #[test]
    fn whoever_has_begun_a_head_must_go_on_and_whoever_is_silent_may_stay() {
        let pulse = Pulse::new();
        assert_eq!(due(&pulse), None);
        pulse.read();
        assert_eq!(due(&pulse), None, "the bytes of TLS are no head");
        pulse.idle();
        assert_eq!(due(&pulse), Some((120, Ended::Idle)));
        pulse.read();
        assert_eq!(due(&pulse), Some((5, Ended::Head)));
        // Bytes that trickle in move nothing.
        let first = pulse.due();
        std::thread::sleep(Duration::from_millis(2));
        pulse.read();
        assert_eq!(pulse.due(), first);
        pulse.review();
        pulse.read();
        assert_eq!(due(&pulse), None);
        pulse.idle();
        assert_eq!(due(&pulse), Some((120, Ended::Idle)));
        pulse.set(Doing::Leaving);
        pulse.review();
        assert_eq!(due(&pulse), Some((0, Ended::Evicted)));
    }

    #[test]
    fn who_has_been_idle_for_longest_makes_room() {
        let all = Rc::<Pulses>::default();
        let places: Vec<_> = (0..3).map(|_| all.enter(3).expect("room").0).collect();
        assert!(all.enter(3).is_none(), "nobody is idle");
        for place in &places {
            place.pulse.idle();
            std::thread::sleep(Duration::from_millis(2));
        }
        places[0].pulse.read();
        let (late, evicted) = all.enter(3).expect("somebody is idle");
        assert!(evicted);
        let ends = places.iter().map(|place| due(&place.pulse).map(|(_, ended)| ended));
        assert!(ends.eq([Some(Ended::Head), Some(Ended::Evicted), Some(Ended::Idle)]));
        // The end of the one that left gives no second place back.
        drop(places);
        assert_eq!(all.0.borrow().len(), 1);
        drop(late);
        assert!(all.0.borrow().is_empty());
    }
}
