//! [`abort`]: what one side broke off is given to the other, and then broken off there, too.

use super::{Direction, Ends, Failed, Meter, Passage, READ, Stage, silence};
use crate::{io::Settling, tunnel::end::End};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::ReadBuf;

/// How long a side may take nothing of what came before the other's reset. Nobody waits for an answer any more, so it is
/// less than a tunnel may rest; as long as a client may take nothing of a response.
const LAST_BYTES: Duration = Duration::from_secs(30);

/// One side, `from`, broke off. What came of it before goes on to the other at that one's pace; once its kernel has
/// acknowledged all of it that side is reset, too: to close it would say that this was all, and to reset it earlier would
/// throw away what is still on its way. An end in order that was passed on before stands. TLS that ends without
/// close_notify may be the end that its peer meant, so it is given the time that an end in order is given: until nothing has
/// moved for `idle`.
pub(super) async fn abort<F: End, T: End>(
    (direction, back): (&mut Direction<'_>, &mut Direction<'_>),
    failed: Failed,
    idle: Option<Duration>,
    passage: &Passage,
    from: &mut F,
    to: &mut T,
) {
    from.reset_at_close();
    match direction.stage {
        Stage::Ended => return,
        // It has said its end, which is on its way.
        Stage::Ending => {}
        // Whoever cuts this short, cuts.
        Stage::Flowing | Stage::Cut | Stage::ReadOver => to.reset_at_close(),
    }
    let ending = direction.stage;
    if failed == Failed::Writing {
        // It takes nothing any more, and what it said may still be there. Whether its end was meant the kernel has told the
        // write that failed, and nobody else.
        back.read_over();
        if ending == Stage::Flowing {
            direction.ends = Ends::Withheld;
        }
    } else if ending == Stage::Flowing {
        // Whatever it had said was read before.
        direction.stage = Stage::Cut;
    }
    let patience = match failed {
        Failed::Truncated => idle,
        Failed::Reading | Failed::Writing => Some(idle.map_or(LAST_BYTES, |idle| idle.min(LAST_BYTES))),
    };
    let meter = direction.meter;
    let mut settling = Settling::default();
    let told = poll_fn(|cx| {
        // A side whose answers nobody takes might take nothing itself.
        back.poll_past(cx, passage, to, from);
        loop {
            match ready!(direction.poll(cx, passage, from, to)) {
                Ok(()) if ending == Stage::Ending => return Poll::Ready(Told::All),
                Ok(()) => return settle(&mut settling, cx, meter, to),
                Err(Failed::Reading | Failed::Truncated) => direction.stage = Stage::Cut,
                Err(Failed::Writing) => return Poll::Ready(Told::NotAll),
            }
        }
    });
    let told = tokio::select! {
        biased;
        told = told => told,
        () = silence(patience, || meter.moved()) => Told::NotAll,
    };
    if told == Told::NotAll {
        to.reset_at_close();
    }
}

/// Waits until nothing that was written is on its way any more.
fn settle<T: End>(settling: &mut Settling, cx: &mut Context<'_>, meter: &Meter, to: &T) -> Poll<Told> {
    let settled = settling.poll(cx, || to.outgoing());
    meter.arrived.set(settling.arrived());
    settled.map(|()| Told::All)
}

/// Whether the other side has all there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    All,
    NotAll,
}

impl Direction<'_> {
    /// Its other side takes nothing any more.
    fn read_over(&mut self) {
        if self.stage != Stage::Ended {
            self.held.clear();
            self.pipe = None;
            self.stage = Stage::ReadOver;
        }
    }

    /// Moves what can be moved as long as the other side takes it, and throws away what comes from then on.
    fn poll_past<F: End, T: End>(&mut self, cx: &mut Context<'_>, passage: &Passage, from: &mut F, to: &mut T) {
        if self.stage != Stage::ReadOver {
            match self.poll(cx, passage, from, to) {
                Poll::Pending | Poll::Ready(Ok(())) => return,
                Poll::Ready(Err(Failed::Writing)) => self.read_over(),
                Poll::Ready(Err(Failed::Reading | Failed::Truncated)) => self.stage = Stage::Ended,
            }
        }
        let mut buffer = passage.buffer();
        while self.stage == Stage::ReadOver {
            let mut read = ReadBuf::new(&mut buffer[..READ]);
            match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(_) => self.stage = Stage::Ended,
            }
        }
    }
}
