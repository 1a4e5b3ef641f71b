//! [`Settling`]: the wait until the peer's kernel has what was written, where a reset is to follow: a reset throws away what
//! is still on its way.
//!
//! The kernel tells nobody when that is, so it is asked again, ever less often.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// How long the kernel is not asked again: at first, about the round trip that the last bytes take anyway; and at most,
/// beside which nobody who reads slowly feels the wait.
const ASKED_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

/// What was written to a socket and its peer's kernel has not acknowledged, in bytes: what a reset would throw away. Of TLS
/// they are counted as its records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing {
    /// It may arrive yet.
    OnItsWay(u64),
    /// The connection is over.
    Lost(u64),
}

impl Outgoing {
    /// How much it is.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::OnItsWay(bytes) | Self::Lost(bytes) => bytes,
        }
    }

    /// With so many bytes that have not come to the kernel.
    pub(super) fn and(self, more: u64) -> Self {
        match self {
            Self::OnItsWay(bytes) => Self::OnItsWay(bytes + more),
            Self::Lost(bytes) => Self::Lost(bytes + more),
        }
    }
}

/// A wait of one socket's.
#[derive(Debug, Default)]
pub struct Settling {
    left: u64,
    /// Bytes of which it was seen that they arrived.
    arrived: u64,
    pause: Duration,
    /// Made when there is something to wait for.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Settling {
    /// Ready once nothing is on its way any more of what `outgoing` tells.
    pub fn poll(&mut self, cx: &mut Context<'_>, mut outgoing: impl FnMut() -> Outgoing) -> Poll<()> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
            }
            let left = match outgoing() {
                Outgoing::OnItsWay(0) | Outgoing::Lost(_) => return Poll::Ready(()),
                Outgoing::OnItsWay(left) => left,
            };
            self.arrived += self.left.saturating_sub(left);
            self.left = left;
            self.pause = (self.pause * 2).clamp(ASKED_AGAIN.0, ASKED_AGAIN.1);
            self.sleep = Some(Box::pin(sleep(self.pause)));
        }
    }

    /// Grows with what arrives.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn it_asks_seldom_and_ends_when_nothing_is_left() {
        let mut settling = Settling::default();
        let (mut asked, mut left) = (0, 1_000u64);
        let begun = tokio::time::Instant::now();
        poll_fn(|cx| {
            settling.poll(cx, || {
                asked += 1;
                left = left.saturating_sub(10);
                Outgoing::OnItsWay(left)
            })
        })
        .await;
        assert_eq!((left, asked, settling.arrived()), (0, 100, 980));
        assert!(begun.elapsed() > Duration::from_secs(5), "{:?}", begun.elapsed());
        poll_fn(|cx| Settling::default().poll(cx, || Outgoing::Lost(10))).await;
    }
}
