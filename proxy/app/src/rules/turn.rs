//! Who changes rules takes turns with others that do so in the same network namespace.
//!
//! What an installation finds is what it decides by: of two at once each would put its rules beside the other's, find more than it
//! gave, and take everything out again. The lock is on the namespace itself, so that it needs no directory that could be written to
//! and is gone with whoever holds it, however that ends. Whoever is in the namespace can hold it, though, the captured application too, which
//! must not keep its capture from being mended or taken away: after half a minute nobody is waited for any more.

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

/// How long it is ours: until it is dropped. `None`: there is nothing to lock here, as in sandboxes that have a kernel of their own, or
/// who has it keeps it.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is held")] Option<File>);

/// Whether rules are looked at or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Look,
    Change,
}

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Ours,
    InVain,
    NoLockHere,
}

/// Waits for our turn, and goes on without it, saying so, where that does not come.
pub(super) fn turn(to: To) -> Turn {
    let Ok(namespace) = File::open(NAMESPACE) else { return Turn(None) };
    match wait(&namespace, to, PATIENCE) {
        Waited::Ours => Turn(Some(namespace)),
        Waited::InVain => {
            eprintln!(
                "pillion: somebody has held the lock of {NAMESPACE} for half a minute (flock; /proc/locks tells who): this goes on without \
                 it; look again with `pillion redirect rules check` once whoever that is has ended"
            );
            Turn(None)
        }
        Waited::NoLockHere => Turn(None),
    }
}

fn wait(lock: &File, to: To, patience: Duration) -> Waited {
    let began = Instant::now();
    loop {
        let locked = match to {
            To::Look => lock.try_lock_shared(),
            To::Change => lock.try_lock(),
        };
        match locked {
            Ok(()) => return Waited::Ours,
            Err(TryLockError::WouldBlock) if began.elapsed() > patience => return Waited::InVain,
            Err(TryLockError::WouldBlock) => sleep(LOOK),
            Err(TryLockError::Error(_)) => return Waited::NoLockHere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of its own: others take their turns at the namespace meanwhile.
    #[test]
    fn who_keeps_the_lock_is_not_waited_for_for_ever() {
        let path = std::env::temp_dir().join(format!("pillion-turn-{}", std::process::id()));
        let open = || File::options().create(true).truncate(false).write(true).open(&path).unwrap();
        let (theirs, ours) = (open(), open());
        theirs.lock().unwrap();
        let short = Duration::from_millis(50);
        for to in [To::Look, To::Change] {
            assert_eq!(wait(&ours, to, short), Waited::InVain, "{to:?}");
        }
        drop(theirs);
        assert_eq!(wait(&ours, To::Look, short), Waited::Ours);
        assert_eq!(wait(&open(), To::Look, short), Waited::Ours, "who looks is in nobody's way who looks");
        assert_eq!(wait(&open(), To::Change, short), Waited::InVain);
        std::fs::remove_file(path).unwrap();
    }
}
