//! Ctrl-C, SIGTERM, and a terminal that is closed (SIGHUP): whatever was started is ended, then the command ends with an error.
//!
//! A thread waits for the signals and kills every group that is registered; whoever waits for one of them sees it end
//! and finds [`interrupted`] true. The second signal finds nothing in its way: the default action is not restored, but
//! by then only files are written.

use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::BTreeSet,
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal as signals},
};

/// Shared because the thread of the signals kills what the main thread starts.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
/// The signal that came; 0 for none.
static SIGNAL: AtomicU8 = AtomicU8::new(0);

/// Begins to listen for signals.
pub fn install() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?, signals(SignalKind::hangup())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                let which = tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = hangup.recv() => SignalKind::hangup(),
                };
                SIGNAL.store(u8::try_from(which.as_raw_value()).unwrap_or(u8::MAX), Ordering::SeqCst);
                for group in &*GROUPS.lock().unwrap_or_else(PoisonError::into_inner) {
                    kill(*group);
                }
            }
        });
    })?;
    Ok(())
}

/// Runs a command to its end and takes what it writes to pipes; a signal kills it and what it started.
///
/// # Errors
///
/// When it cannot be started, and when a signal came.
pub fn output_of(command: &mut Command) -> io::Result<Output> {
    let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let group = i32::try_from(child.id()).map_err(io::Error::other)?;
    register(group);
    let output = child.wait_with_output();
    forget(group);
    if interrupted() { Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted by a signal")) } else { output }
}

/// The same for a program that should say something at once: one that does not is killed.
///
/// # Errors
///
/// As [`output_of`], and when it takes longer than `limit`.
pub fn output_within(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let group = i32::try_from(child.id()).map_err(io::Error::other)?;
    register(group);
    let (ended, end) = mpsc::channel::<()>();
    // The number is the child's until it is waited for, which the main thread does before it lets `ended` go.
    let overdue = thread::spawn(move || {
        let overdue = end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if overdue {
            kill(group);
        }
        overdue
    });
    let output = child.wait_with_output();
    drop(ended);
    forget(group);
    if overdue.join().unwrap_or(false) {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("still running after {limit:?}")));
    }
    if interrupted() { Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted by a signal")) } else { output }
}

/// Whether a signal came.
#[must_use]
pub fn interrupted() -> bool {
    signal().is_some()
}

/// The signal that came.
#[must_use]
pub fn signal() -> Option<u8> {
    Some(SIGNAL.load(Ordering::SeqCst)).filter(|signal| *signal > 0)
}

/// From now on a signal kills this group. One that came while the group was being started kills it here.
pub(crate) fn register(group: i32) {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
    if interrupted() {
        kill(group);
    }
}

/// A signal kills this group no longer: its number may be given to others once its leader has been waited for.
pub(crate) fn forget(group: i32) {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).remove(&group);
}

/// Kills every process of the group.
pub(super) fn kill(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        // Already gone is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
