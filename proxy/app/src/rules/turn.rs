//! Who changes rules takes turns with others that do so in the same network namespace.
//!
//! What an installation finds is what it decides by: of two at once each would put its rules beside the other's, find more than it
//! gave, and take everything out again. The lock is on the namespace itself, so that it needs no directory that could be written to
//! and is gone with whoever holds it, however that ends.

use super::Failure;
use std::{
    fs::{File, TryLockError},
    thread::sleep,
    time::{Duration, Instant},
};

/// This process's network namespace.
const NAMESPACE: &str = "/proc/self/ns/net";
/// Time for those before us: an installation takes some tens of milliseconds, with the older programs and on a busy node a second.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// How long it is ours: until it is dropped. `None`: there is nothing to lock here, as in sandboxes that have a kernel of their own.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is held")] Option<File>);

/// Whether rules are looked at or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Look,
    Change,
}

/// Waits for our turn.
///
/// # Errors
///
/// [`Failure::Busy`].
pub(super) fn turn(to: To) -> Result<Turn, Failure> {
    let Ok(namespace) = File::open(NAMESPACE) else { return Ok(Turn(None)) };
    let began = Instant::now();
    loop {
        let locked = match to {
            To::Look => namespace.try_lock_shared(),
            To::Change => namespace.try_lock(),
        };
        match locked {
            Ok(()) => return Ok(Turn(Some(namespace))),
            Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => return Err(Failure::Busy),
            Err(TryLockError::WouldBlock) => sleep(LOOK),
            Err(TryLockError::Error(_)) => return Ok(Turn(None)),
        }
    }
}
