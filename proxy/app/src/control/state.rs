//! What the control thread knows and the admin pages show. Lives on the control thread alone.

use crate::{
    app_probes::AppProbes,
    application,
    assembly::ClusterStatus,
    cgroup::{Meter, Pressure},
    proof::Cause,
    reload::History,
};
use bytes::Bytes;
use pillion_config::model::{Config, Name};
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};

/// How far the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Listeners are bound, not served yet.
    Starting,
    /// Listeners are served.
    Live,
    /// Going away, or told to close its listeners.
    Draining,
}

/// Whether listeners and clusters have what they are to present and to believe. What they have they keep; a reload may bring one
/// that has nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificates {
    /// Something that is needed now was never there.
    Awaited,
    /// All is there, or none is needed.
    There,
}

/// Whether connections are known to be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interception {
    /// Nobody asked.
    NotNeeded,
    /// A probe of our own arrived.
    Proven,
    /// It did not.
    Unproven(Unproven),
}

/// What is missing for a proof that connections are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unproven {
    /// No probe was answered or refused yet.
    Untried,
    /// The probe over IPv4 did not arrive.
    Ipv4(Cause),
    /// The probe over IPv6 did not arrive.
    Ipv6(Cause),
}

/// Whether load balancers should send connections here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// They should.
    Ready,
    /// Not yet.
    Starting,
    /// Not yet, or not since a reload: certificates or keys that are needed were never there.
    NoIdentity,
    /// Not yet: nothing proves that connections are captured.
    NotCaptured(Unproven),
    /// Not any more.
    Draining,
    /// An operator said no.
    Failed,
}

/// What the admin port may ask of the control loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Close the listeners, finish connections, stay.
    DrainListeners,
    /// The same for inbound listeners alone, after the drain's delay.
    DrainInbound,
    /// Drain and exit.
    Quit,
    /// Read the configuration again.
    Reload,
    /// Redirect loopback traffic, or leave it to TCP.
    Redirect(bool),
}

/// An [`Action`] under way.
#[derive(Debug)]
pub struct Request {
    /// What.
    pub action: Action,
    /// What is answered: words for the operator.
    pub done: oneshot::Sender<Result<String, String>>,
}

/// What is known.
pub struct State {
    /// When the process began.
    pub started: Instant,
    /// The application's probes, where an injection moved them here.
    pub app_probes: AppProbes,
    /// How far it is.
    pub stage: Cell<Stage>,
    /// `/healthcheck/fail` was called.
    pub failed: Cell<bool>,
    /// The log has said that this is ready, and not that it is no more.
    pub said_ready: Cell<bool>,
    /// Whether everything TLS needs is there.
    pub certificates: Cell<Certificates>,
    /// Told when the admin port first says that this is ready: an injected container's `postStart` hook asks there, and nothing
    /// of the application is started before it has its answer.
    pub application: application::Record,
    /// Whether connections are known to be captured.
    pub interception: Cell<Interception>,
    /// The configuration in force; `None` before the first.
    pub config: RefCell<Option<Arc<Config>>>,
    /// Listeners and the addresses they are bound to.
    pub listeners: RefCell<Vec<(Name, SocketAddr)>>,
    /// How reloads went.
    pub history: RefCell<History>,
    /// The group's memory, where it is limited.
    pub meter: Option<Meter>,
    /// What memory demands now.
    pub pressure: Cell<Pressure>,
    /// Threads that carry traffic.
    pub workers: usize,
    /// The state of each cluster.
    pub clusters: Box<dyn Fn() -> Vec<ClusterStatus>>,
    /// The metrics, in pieces.
    pub metrics: Box<dyn Fn() -> Box<dyn Iterator<Item = Bytes>>>,
    /// Admin answers that are being made: the process does not exit over one of them.
    pub answering: Cell<usize>,
    /// To the control loop.
    pub actions: mpsc::Sender<Request>,
}

impl State {
    /// Whether load balancers should send connections here, and why not.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match self.stage.get() {
            Stage::Starting => Readiness::Starting,
            Stage::Draining => Readiness::Draining,
            Stage::Live if self.failed.get() => Readiness::Failed,
            Stage::Live if self.certificates.get() == Certificates::Awaited => Readiness::NoIdentity,
            Stage::Live => match self.interception.get() {
                Interception::NotNeeded | Interception::Proven => Readiness::Ready,
                Interception::Unproven(unproven) => Readiness::NotCaptured(unproven),
            },
        }
    }

    /// Says in the log that this is ready, when it is for the first time, or again after certificates were missing. Called wherever
    /// something that was missing may have come.
    pub fn note_ready(&self) {
        if self.readiness() == Readiness::Ready && !self.said_ready.replace(true) {
            tracing::info!(after = ?self.started.elapsed(), "ready");
        }
    }

    /// Asks the control loop for something and waits for its words. Dropping the future does not take it back.
    ///
    /// # Errors
    ///
    /// Why it was not done.
    pub async fn ask(&self, action: Action) -> Result<String, String> {
        let (done, words) = oneshot::channel();
        if self.actions.send(Request { action, done }).await.is_err() {
            return Err("the proxy is exiting".to_owned());
        }
        words.await.unwrap_or_else(|_| Err("the proxy is exiting".to_owned()))
    }
}

impl Readiness {
    /// For `/ready`: a word and, where it is no, the reason.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Ready => "LIVE\n",
            Self::Starting => "INITIALIZING: listeners are not served yet (names and services are being resolved)\n",
            Self::NoIdentity => "INITIALIZING: certificates, keys or roots are not there yet; the log says which\n",
            Self::NotCaptured(unproven) => unproven.words(),
            Self::Draining => "DRAINING: the proxy finishes what is in flight and accepts nothing new\n",
            Self::Failed => "FAILED: an operator called /healthcheck/fail; POST /healthcheck/ok undoes it\n",
        }
    }
}

impl Unproven {
    /// What is missing, and the remedy.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Untried => "INITIALIZING: whether connections are captured is being tried\n",
            Self::Ipv4(Cause::Refused) => {
                "INITIALIZING: no rule captured the probe over IPv4; run `pillion redirect rules install`, or write \
                 `capture: { prove: false }`\n"
            }
            Self::Ipv6(Cause::Refused) => {
                "INITIALIZING: no rule captured the probe over IPv6; run `pillion redirect rules install`, or write \
                 `capture: { prove: false }`\n"
            }
            Self::Ipv4(Cause::Other) | Self::Ipv6(Cause::Other) => {
                "INITIALIZING: somebody else answered the probe: the rules send connections to another process, or \
                 capture.probe_port is taken\n"
            }
            Self::Ipv4(Cause::Silent) | Self::Ipv6(Cause::Silent) => {
                "INITIALIZING: the probe was not answered in time: the rules send it somewhere else, or drop it\n"
            }
            Self::Ipv4(Cause::Failed) | Self::Ipv6(Cause::Failed) => {
                "INITIALIZING: the probe could not be sent over loopback: is `lo` up?\n"
            }
        }
    }
}
