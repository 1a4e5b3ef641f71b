//! Signals as events of the control thread.
//!
//! Installed before anything else, so that a signal means the same in every state, start-up included. SIGPIPE is
//! ignored by the language's runtime before `main`: a peer that went away is an error of one write, not a death.

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Number};
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT: drain and exit; the second one: exit now.
    Leave,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open log files anew.
    Reopen,
}

/// The signals this process listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    /// Installs the handlers. Call within the control thread's runtime, once, while the process has no other thread.
    ///
    /// Meanwhile the signals are blocked: the library beneath tokio makes its handler known to the kernel before it knows itself
    /// what to do there, so that one that came in between would be lost (`signal-hook-registry` 1.4, `register_unchecked_impl`).
    ///
    /// # Errors
    ///
    /// What `sigaction(2)` or the runtime says.
    pub fn install() -> io::Result<Self> {
        let ours = SigSet::from_iter([Number::SIGTERM, Number::SIGINT, Number::SIGHUP, Number::SIGUSR1]);
        let before = ours.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let installed = Self::install_blocked();
        before.thread_set_mask()?;
        installed
    }

    fn install_blocked() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal. Cancel-safe: a signal that is not returned is returned by the next call.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Leave,
            _ = self.interrupt.recv() => Asked::Leave,
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.user.recv() => Asked::Reopen,
        }
    }
}
