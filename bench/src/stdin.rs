//! The end of standard input: how a parent that is gone is noticed.

use std::{io, thread};
use tokio::sync::oneshot;

/// Waits until standard input ends. Cancel-safe: what is read is of no use.
pub(crate) async fn ended() {
    let (tell, told) = oneshot::channel();
    // Detached: a blocked read cannot be called off, and the process does not wait for it.
    let reader = thread::Builder::new().name("stdin".into()).spawn(move || {
        io::copy(&mut io::stdin().lock(), &mut io::sink()).ok();
        tell.send(()).ok();
    });
    if reader.is_ok() {
        told.await.ok();
    }
}
