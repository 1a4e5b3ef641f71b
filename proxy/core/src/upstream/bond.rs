//! [`Bond`]: a connection to a server that was judged, and whether it may go on when trust or identity have changed.
//!
//! Beside the path. What rests is closed at once, tunnels are cut at once (`downstream/admit/carried.rs`). What carries
//! requests carries nothing new, and has as long as a drain may last: a stream may never end. Then its owner, who alone has
//! the session, judges the server once more, when it is polled next. Connections in the clear have no bond.

use super::{cluster::ClusterState, host_core::HostCore, tls};
use crate::{downstream::admit::Distrust, identity::Dialling, telemetry::TrustVersion};
use rustls::pki_types::CertificateDer;
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A connection to a server, as far as it may have to end because of who is at its ends.
pub(crate) struct Bond {
    core: Rc<HostCore>,
    /// By what the server was judged. Unknown while hands are shaken.
    made_by: OnceCell<Arc<Dialling>>,
    state: RefCell<State>,
    waker: RefCell<Option<Waker>>,
}

enum State {
    /// Nothing is known against it.
    Good,
    /// It will be judged when its time is over.
    Doubted,
    /// Its time is over: it is judged by what this cluster believes.
    Asked(Arc<ClusterState>),
    Broken(Distrust),
}

/// The bonds of a worker, by which those that last can be found.
#[derive(Default)]
pub struct Bonds {
    all: RefCell<Vec<Weak<Bond>>>,
    /// How many there may be before those that are gone are forgotten.
    prune_at: Cell<usize>,
}

/// Bonds remembered before those that are gone are forgotten.
const PRUNE_AT: usize = 64;

impl Bonds {
    /// Enters a connection to a server of a cluster that speaks TLS, before hands are shaken: nobody who is judged by what
    /// held before is missed.
    pub(super) fn enter(&self, core: &Rc<HostCore>) -> Rc<Bond> {
        let bond = Rc::new(Bond {
            core: Rc::clone(core),
            made_by: OnceCell::new(),
            state: RefCell::new(State::Good),
            waker: RefCell::default(),
        });
        let mut all = self.all.borrow_mut();
        if all.len() >= self.prune_at.get().max(PRUNE_AT) {
            all.retain(|known| known.strong_count() > 0);
            let room = 2 * all.len();
            all.shrink_to(room);
            self.prune_at.set(room);
        }
        all.push(Rc::downgrade(&bond));
        bond
    }

    /// Those that were made when others were believed or we were somebody else, and are not doubted already, given the
    /// clusters there are now.
    #[must_use]
    pub fn doubt(&self, clusters: &[Arc<ClusterState>]) -> Doubted {
        let live: Vec<_> = self.all.borrow().iter().filter_map(Weak::upgrade).collect();
        if live.is_empty() {
            return Doubted(Vec::new());
        }
        let clusters = by_name(clusters);
        let doubted = live.iter().filter(|bond| clusters.get(bond.cluster()).is_some_and(|state| bond.doubt(state)));
        Doubted(doubted.map(Rc::downgrade).collect())
    }
}

/// Bonds whose connections have some time left.
#[derive(Debug)]
pub struct Doubted(Vec<Weak<Bond>>);

impl Doubted {
    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their time is over: whoever owns a connection that lasts judges its server by what the cluster of its name believes
    /// now. One that is gone or speaks in the clear by now judges nobody.
    pub fn ask(self, clusters: &[Arc<ClusterState>]) {
        let last: Vec<_> = self.0.iter().filter_map(Weak::upgrade).collect();
        if last.is_empty() {
            return;
        }
        let clusters = by_name(clusters);
        last.iter().for_each(|bond| bond.ask(clusters.get(bond.cluster()).copied()));
    }
}

/// Not kept: there may be thousands, and this is rarely asked.
fn by_name(clusters: &[Arc<ClusterState>]) -> HashMap<&str, &Arc<ClusterState>> {
    clusters.iter().map(|state| (state.model().name.as_str(), state)).collect()
}

impl Bond {
    /// The cluster that the server was one of.
    fn cluster(&self) -> &str {
        self.core.state.model().name.as_str()
    }

    /// Hands were shaken by this. Once.
    pub(super) fn made_by(&self, made_by: &Arc<Dialling>) {
        let _ = self.made_by.set(Arc::clone(made_by));
    }

    fn doubt(&self, state: &ClusterState) -> bool {
        let Some(tls) = state.tls() else { return false };
        let current = self.made_by.get().is_some_and(|made_by| tls.is_current(made_by));
        let state = &mut *self.state.borrow_mut();
        if current || !matches!(state, State::Good) {
            return false;
        }
        *state = State::Doubted;
        true
    }

    /// Its time is over: whoever owns the connection judges by this cluster, if there is one.
    fn ask(&self, cluster: Option<&Arc<ClusterState>>) {
        let asked = cluster.filter(|state| state.tls().is_some()).cloned().map_or(State::Good, State::Asked);
        let state = &mut *self.state.borrow_mut();
        if matches!(state, State::Doubted) {
            *state = asked;
        }
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready when the connection must end. Whoever polls is woken when that has to be looked at; `chain` is what the server
    /// showed.
    pub(super) fn poll_broken<C>(&self, cx: &Context<'_>, chain: impl FnOnce() -> C) -> Poll<Distrust>
    where
        C: AsRef<[CertificateDer<'static>]>,
    {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        let mut state = self.state.borrow_mut();
        if let State::Asked(cluster) = &*state {
            *state = match self.judge(cluster, chain().as_ref()) {
                Some(why) => {
                    cluster.metrics().revoked(why.reason());
                    State::Broken(why)
                }
                None => State::Good,
            };
        }
        match *state {
            State::Broken(why) => Poll::Ready(why),
            State::Good | State::Doubted | State::Asked(_) => Poll::Pending,
        }
    }

    /// Why the server would not be spoken to now.
    fn judge(&self, cluster: &ClusterState, chain: &[CertificateDer<'static>]) -> Option<Distrust> {
        let (tls, made_by) = (cluster.tls()?, self.made_by.get()?);
        let judged: Cell<TrustVersion> = Cell::new(made_by.version());
        tls::distrust(tls, made_by, chain, (&self.core.endpoint(), tls::wanted(&self.core)), &judged)
    }
}

impl fmt::Debug for Bond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bond").field("cluster", &self.cluster()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bonds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bonds").field("places", &self.all.borrow().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{
        tests::{Step, cluster, model},
        worker_cluster::Tried,
    };
    use futures_util::task::noop_waker_ref;
    use pillion_config::model::{
        Cluster, ClusterTls, ClusterTlsMode, ServerVerification, TlsVersions, UpstreamProtocol,
    };

    #[test]
    fn a_doubt_is_told_once_and_ends_well_where_nobody_judges() {
        let tls = ClusterTls {
            mode: ClusterTlsMode::Tls,
            server_name: None,
            verification: ServerVerification::DangerAnyone,
            versions: TlsVersions::Both,
        };
        let model = Cluster { tls: Some(tls), ..model(UpstreamProtocol::Http1, &[1]) };
        let (cluster, _) = cluster(model, |_, _| Step::Hang);
        let host = Rc::clone(&cluster.balance(&Tried::nothing(None)).expect("it has an endpoint").core);
        let states = [Arc::clone(cluster.state())];
        let bonds = Bonds::default();
        let bond = bonds.enter(&host);
        let poll = || bond.poll_broken(&Context::from_waker(noop_waker_ref()), Vec::new);
        // While hands are shaken it is not known what it is made by.
        let doubted = bonds.doubt(&states);
        assert!(!doubted.is_empty());
        assert!(bonds.doubt(&states).is_empty(), "it is doubted already");
        doubted.ask(&states);
        assert!(poll().is_pending(), "nothing speaks against it");
        // Its cluster goes while it is doubted.
        let doubted = bonds.doubt(&states);
        doubted.ask(&[]);
        assert!(poll().is_pending());
        assert!(bonds.doubt(&[]).is_empty(), "nobody judges");
        // What is gone is forgotten.
        drop(bond);
        assert!(bonds.doubt(&states).is_empty());
        for _ in 0..10 * PRUNE_AT {
            drop(bonds.enter(&host));
        }
        assert!(bonds.all.borrow().len() <= PRUNE_AT);
    }
}
