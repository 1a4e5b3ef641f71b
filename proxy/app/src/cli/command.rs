//! What can be asked of the program, in types that cannot be contradictory.

use super::rules::Rules;
use crate::{admin::client::Address, inject, injector, log};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

/// A command with all it needs.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Run(Run),
    Check { config: PathBuf },
    Schema,
    Demo { exit_after: Option<Duration> },
    Wait(Remote),
    Quit(Quit),
    Drain(Remote),
    Redirect(super::redirect::Redirect),
    Rules(Rules),
    Inject(Box<inject::command::Request>),
    Injector(Box<injector::Request>),
}

/// Where the configuration of `run` is from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Run {
    File { config: PathBuf, log_level: log::Level },
    Addresses { listen: SocketAddr, upstream: String, admin: Option<String>, log_level: log::Level },
}

impl Run {
    pub(super) fn log_level(&self) -> log::Level {
        match self {
            Self::File { log_level, .. } | Self::Addresses { log_level, .. } => *log_level,
        }
    }
}

/// Which running proxy, and how long to wait for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remote {
    /// Its admin address; none: what the environment says.
    pub admin: Option<Address>,
    pub timeout: Duration,
}

/// Asks a running proxy to leave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Quit {
    pub remote: Remote,
    /// Processes that it is not to wait for, beside this one, its ancestors and who reads what these write.
    pub except: BTreeSet<u32>,
}

impl Default for Remote {
    fn default() -> Self {
        Self { admin: None, timeout: Duration::from_secs(60) }
    }
}
