//! What the control thread knows and the admin pages show. Lives on the control thread alone.

use crate::{
    app_probes::AppProbes,
    application::{self, Caller},
    assembly::ClusterStatus,
    cgroup::{Meter, Pressure},
    proof::{Cause, Family, Way},
    reload::History,
    workload_api::TakenBack,
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
    /// All is there, but the identity's certificate is over, and nobody is served without it.
    Ended,
}

/// Whether the listener that a node's agent captures for has told the agent of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// There is none, or it has.
    Made,
    /// Nobody hears it.
    NoAgent,
    /// The agent's programs do not take it.
    Refused,
    /// They have no room for it.
    Full,
    /// Its socket cannot listen, or not be told of.
    Failed,
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
    /// The probe that stands for this way's connections did not arrive over this family.
    Missing(Way, Family, Cause),
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
    /// Not any more: the identity was not renewed in time, and nobody is served without it.
    IdentityEnded,
    /// Not yet: the node's agent does not know of the listener that it shall capture for.
    Unclaimed(Claim),
    /// Not yet: nothing proves that connections are captured.
    NotCaptured(Unproven),
    /// Not any more.
    Draining,
    /// An operator said no.
    Failed,
}

/// What the admin port may ask of the control loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Close the listeners, finish connections, stay.
    DrainListeners,
    /// The same for inbound listeners alone, after the drain's delay.
    DrainInbound,
    /// Drain and exit; who asks, if it says so.
    Quit(Option<Caller>),
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
    /// What is amiss with the identity though it is in use, a line each.
    pub amiss: RefCell<String>,
    /// That the agent has taken the identity in use back, in a line.
    pub taken_back: TakenBack,
    /// What filters in use lack, and what others wait for, a line each.
    pub filters_lack: Box<dyn Fn() -> Vec<String>>,
    /// Told when the admin port first says that this is ready: an injected container's `postStart` hook asks there, and nothing
    /// of the application is started before it has its answer.
    pub application: application::Record,
    /// Whether the node's agent knows of the listener that it captures for.
    pub claim: Cell<Claim>,
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
            Stage::Live if self.certificates.get() == Certificates::Ended => Readiness::IdentityEnded,
            Stage::Live if self.claim.get() != Claim::Made => Readiness::Unclaimed(self.claim.get()),
            Stage::Live => match self.interception.get() {
                Interception::NotNeeded | Interception::Proven => Readiness::Ready,
                Interception::Unproven(unproven) => Readiness::NotCaptured(unproven),
            },
        }
    }

    /// What is amiss though this may well be ready, a line each: that is no reason to send nobody here, but where somebody is
    /// turned away it tells why.
    #[must_use]
    pub fn amiss(&self) -> String {
        let mut words = self.amiss.borrow().clone();
        words.extend(self.taken_back.words().into_iter().chain((self.filters_lack)()).map(|line| line + "\n"));
        words
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
            Self::Starting => {
                "INITIALIZING: listeners are not served yet (names and services are being resolved, filters loaded)\n"
            }
            Self::NoIdentity => "INITIALIZING: certificates, keys or roots are not there yet; the log says which\n",
            Self::IdentityEnded => {
                "ENDED: the identity's certificate is over, and every listener needs it: every handshake fails\n"
            }
            Self::Unclaimed(claim) => claim.words(),
            Self::NotCaptured(unproven) => unproven.words(),
            Self::Draining => "DRAINING: the proxy finishes what is in flight and accepts nothing new\n",
            Self::Failed => "FAILED: an operator called /healthcheck/fail; POST /healthcheck/ok undoes it\n",
        }
    }
}

impl Claim {
    /// What is missing, and the remedy.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            // What says so is not ready for another reason.
            Self::Made => "INITIALIZING\n",
            Self::NoAgent => {
                "INITIALIZING: no agent of this node captures what comes in for this process: run `pillion redirect agent \
                 --capture-inbound` there, with the cgroup of this pod and --proxy-uid of this process, or move the pod to a \
                 node that has one\n"
            }
            Self::Refused => {
                "INITIALIZING: the node's agent refuses: what comes in for the node itself cannot be a proxy's own, as that of \
                 a pod with hostNetwork would be; nor what comes into a network of a user namespace (hostUsers: false)\n"
            }
            Self::Full => {
                "INITIALIZING: the node's agent has no room for another claim: 1,024 network namespaces of a node can be claimed at a \
                 time; it is tried again, or move pods to another node\n"
            }
            Self::Failed => {
                "INITIALIZING: the listener for what the node's agent captures cannot listen; the log says why\n"
            }
        }
    }
}

impl Unproven {
    /// What is missing, and the remedy.
    #[must_use]
    pub fn words(self) -> &'static str {
        let (way, family, cause) = match self {
            Self::Untried => return "INITIALIZING: whether connections are captured is being tried\n",
            Self::Missing(way, family, cause) => (way, family, cause),
        };
        match (cause, way, family) {
            (Cause::Refused, Way::Outbound, Family::Ipv4) => {
                "INITIALIZING: no rule captured the probe over IPv4; run `pillion redirect rules install`, or where the node's agent \
                 captures both ways give this proxy a listener with `capture: agent` (it takes nothing of who has none), or write \
                 `capture: { prove: false }`\n"
            }
            (Cause::Refused, Way::Outbound, Family::Ipv6) => {
                "INITIALIZING: no rule captured the probe over IPv6; run `pillion redirect rules install`, or where the node's agent \
                 captures both ways give this proxy a listener with `capture: agent` (it takes nothing of who has none), or write \
                 `capture: { prove: false }`\n"
            }
            (Cause::Refused, Way::Inbound, Family::Ipv4) => {
                "INITIALIZING: the node's agent does not give this proxy what comes in over IPv4: its log says why (does it \
                 see this network namespace, by --namespaces?); or write `capture: { prove: false }`\n"
            }
            (Cause::Refused, Way::Inbound, Family::Ipv6) => {
                "INITIALIZING: the node's agent does not give this proxy what comes in over IPv6: its log says why (does it \
                 see this network namespace, by --namespaces?); or write `capture: { prove: false }`\n"
            }
            (Cause::Other, Way::Outbound, _) => {
                "INITIALIZING: somebody else answered the probe: the rules send connections to another process, or \
                 capture.probe_port is taken\n"
            }
            (Cause::Other, Way::Inbound, _) => {
                "INITIALIZING: somebody else answered the probe: the agent gives connections to another process, or \
                 capture.inbound_probe_port is taken\n"
            }
            (Cause::Silent, Way::Outbound, _) => {
                "INITIALIZING: the probe was not answered in time: the rules send it somewhere else, or drop it\n"
            }
            (Cause::Silent, Way::Inbound, _) => {
                "INITIALIZING: the probe of what comes in was not answered in time: somebody else has it, or drops it\n"
            }
            (Cause::Failed, _, _) => "INITIALIZING: the probe could not be sent over loopback: is `lo` up?\n",
        }
    }
}
