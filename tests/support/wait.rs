//! Waiting for a thing to become true, never for a fixed time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a thing that should happen at once may take on a machine that is busy with other tests and other work. Only a
/// test that fails ever waits for it.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks until there is an answer. Panics with `what` after `limit`.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until it is so. Panics with `what` after [`SOON`].
pub fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, SOON, || ask().then_some(()));
}
