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
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// Shared because the thread of the signals kills what the main thread starts.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Begins to listen for signals.
pub fn install() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
                INTERRUPTED.store(true, Ordering::SeqCst);
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

/// Whether a signal came.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// From now on a signal kills this group. One that came while the group was being started kills it here.
pub(super) fn register(group: i32) {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
    if interrupted() {
        kill(group);
    }
}

/// A signal kills this group no longer: its number may be given to others once its leader has been waited for.
pub(super) fn forget(group: i32) {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).remove(&group);
}

/// Kills every process of the group.
pub(super) fn kill(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        // Already gone is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
