//! [`ClusterState`]: what all workers know of a cluster, and what outlives a reload.
//!
//! Beside the path. The control thread writes resolved addresses, workers read them when the version changed; the
//! counters of the circuit and of requests in flight are atomics. It never dials, resolves or waits.

use super::{
    circuit::{InUse, Row},
    error::{Cause, Limit},
};
use crate::{downstream::original_dst::Captured, identity::TlsClient, telemetry::metrics::ClusterMetrics};
use pillion_config::model::{Circuit, Cluster, EndpointAddress, Metadata};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering, fence},
    },
};

/// A cluster as all workers share it. Kept across reloads while its model is equal.
#[derive(Debug)]
pub struct ClusterState {
    id: ClusterId,
    model: Arc<Cluster>,
    metrics: Arc<ClusterMetrics>,
    tls: Option<Box<TlsClient>>,
    version: AtomicU64,
    in_use: InUse,
    /// Made when a connection first rests or somebody waits.
    row: OnceLock<Box<Row>>,
    /// A lock because the control thread replaces it and workers look only when `version` says so.
    places: Mutex<Places>,
    /// Of a cluster that lives wherever captured connections were going: the addresses that workers know of now.
    original: OnceLock<Box<Mutex<Original>>>,
}

/// Tells clusters of one process apart, those of an earlier configuration included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId(u64);

/// One address of one endpoint.
#[derive(Debug)]
pub struct Member {
    /// Its endpoint's place in the model.
    pub endpoint: usize,
    /// Where it is.
    pub address: SocketAddr,
    /// Requests in flight. Atomic because least-request compares over all workers.
    active: AtomicUsize,
    /// Connections on which neither side has said anything, where [`ClusterState::silent`] counts them by address.
    silent: AtomicUsize,
}

/// A member and its part of the traffic.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) member: Arc<Member>,
    /// The endpoint's weight divided among its addresses, in units that are the same throughout the cluster.
    pub(super) share: u64,
}

/// A cluster for an operator to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its model.
    pub model: Arc<Cluster>,
    /// Connections open, over all workers.
    pub connections: usize,
    /// Requests waiting for a connection.
    pub pending: usize,
    /// Requests in flight.
    pub requests: usize,
    /// Its addresses; an endpoint whose name is not resolved has none.
    pub members: Vec<MemberDescription>,
}

/// One address of a cluster for an operator to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its endpoint's place in the model.
    pub endpoint: usize,
    /// Where it is.
    pub address: SocketAddr,
    /// Requests in flight.
    pub active: usize,
}

/// Addresses that nobody wrote down, as long as some worker has them.
#[derive(Debug, Default)]
struct Original {
    members: HashMap<SocketAddr, Weak<Member>>,
    /// How many there may be before those that are gone are forgotten.
    prune_at: usize,
}

/// Resolved names and what follows from them; nothing is built before somebody asks.
#[derive(Debug, Default)]
struct Places {
    resolved: Vec<(EndpointAddress, Arc<[SocketAddr]>)>,
    seats: Option<Arc<[Seat]>>,
}

/// The addresses of one name that are used; more tell nothing new and cost memory.
const MAX_ADDRESSES: usize = 256;

/// Original destinations that are remembered before those that nobody has any more are forgotten.
const PRUNE_AT: usize = 64;

/// The addresses of one service that are used: what a proxy beside one application can hold pools for.
pub const MAX_DISCOVERED: usize = 4096;

/// Shares are whole numbers: an endpoint's weight times this, divided by its addresses.
const SHARE_UNITS: u64 = 2_520;

impl ClusterState {
    /// A cluster nobody has used yet.
    #[must_use]
    pub fn new(model: Arc<Cluster>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: ClusterId(NEXT.fetch_add(1, Ordering::Relaxed)),
            metrics: Arc::new(ClusterMetrics::register(&model.name)),
            tls: model.tls.as_ref().map(|tls| Box::new(TlsClient::new(tls))),
            model,
            version: AtomicU64::new(0),
            in_use: InUse::default(),
            row: OnceLock::new(),
            places: Mutex::new(Places::default()),
            original: OnceLock::new(),
        })
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> ClusterId {
        self.id
    }

    /// What it was configured to be.
    #[must_use]
    pub fn model(&self) -> &Arc<Cluster> {
        &self.model
    }

    /// Its TLS; `None`: it is spoken to in the clear.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsClient> {
        self.tls.as_deref()
    }

    /// Its series.
    #[must_use]
    pub fn metrics(&self) -> &Arc<ClusterMetrics> {
        &self.metrics
    }

    /// What is written of the endpoint at this address; of several, of the first that something is written of.
    pub(crate) fn metadata_at(&self, address: SocketAddr) -> Option<Arc<Metadata>> {
        let endpoints = &self.model.endpoints;
        if endpoints.iter().all(|endpoint| endpoint.metadata.is_none()) {
            return None;
        }
        let seats = self.seats();
        let mut here = seats.iter().map(|seat| &seat.member).filter(|member| member.address == address);
        here.find_map(|member| endpoints.get(member.endpoint)?.metadata.clone())
    }

    /// Sets the addresses of a name; no address at all is taken for a failed look-up and keeps what was known.
    pub fn set_resolved(&self, name: &EndpointAddress, mut addresses: Vec<IpAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        let EndpointAddress::Name(_, port) = name else { return };
        if !addresses.is_empty() {
            self.set_addresses(name, addresses.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect());
        }
    }

    /// Sets the addresses of a service, [`MAX_DISCOVERED`] at most: whoever says so knows all of them, so none at all
    /// means that there is none.
    pub fn set_discovered(&self, service: &EndpointAddress, mut addresses: Vec<SocketAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_DISCOVERED);
        self.set_addresses(service, addresses);
    }

    fn set_addresses(&self, endpoint: &EndpointAddress, addresses: Vec<SocketAddr>) {
        if !self.model.endpoints.iter().any(|known| &known.address == endpoint) {
            return;
        }
        let mut places = self.places();
        match places.resolved.iter_mut().find(|(known, _)| known == endpoint) {
            Some((_, known)) if known[..] == addresses[..] => return,
            Some((_, known)) => *known = addresses.into(),
            None => places.resolved.push((endpoint.clone(), addresses.into())),
        }
        let before = places.seats.take();
        places.seats = before.map(|before| build(&self.model, &places.resolved, &before));
        drop(places);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// For an operator to look at.
    #[must_use]
    pub fn describe(&self) -> Description {
        let describe = |member: &Member| MemberDescription {
            endpoint: member.endpoint,
            address: member.address,
            active: member.active(),
        };
        let mut members = Vec::new();
        if let Some(original) = self.original.get() {
            let original = original.lock().unwrap_or_else(PoisonError::into_inner);
            members.extend(original.members.values().filter_map(Weak::upgrade).map(|member| describe(&member)));
        }
        members.sort_unstable_by_key(|member| member.address);
        members.extend(self.seats().iter().map(|seat| describe(&seat.member)));
        Description {
            model: Arc::clone(&self.model),
            connections: self.in_use.get(Limit::Connections),
            pending: self.in_use.get(Limit::Pending),
            requests: self.in_use.get(Limit::Requests),
            members,
        }
    }

    /// The member at the address that a captured connection was going to, the same for all workers.
    pub(super) fn original(&self, address: SocketAddr) -> Arc<Member> {
        let original = self.original.get_or_init(Box::default);
        let mut original = original.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = original.members.get(&address).and_then(Weak::upgrade) {
            return member;
        }
        if original.members.len() >= original.prune_at {
            original.members.retain(|_, member| member.strong_count() > 0);
            original.prune_at = (2 * original.members.len()).max(PRUNE_AT);
        }
        // Such a cluster has no endpoints.
        let member = Member::at(usize::MAX, address);
        original.members.insert(address, Arc::downgrade(&member));
        member
    }

    /// Changes whenever [`seats`](Self::seats) does.
    pub(super) fn version(&self) -> u64 {
        // Relaxed: a worker that sees the change a request later loses nothing, and the lock orders the rest.
        self.version.load(Ordering::Relaxed)
    }

    /// The addresses known now.
    pub(super) fn seats(&self) -> Arc<[Seat]> {
        let places = &mut *self.places();
        let resolved = &places.resolved;
        Arc::clone(places.seats.get_or_insert_with(|| build(&self.model, resolved, &[])))
    }

    pub(super) fn take(&self, limit: Limit) -> Result<(), Limit> {
        let Circuit { connections, pending, requests } = self.model.circuit;
        let max = match limit {
            Limit::Connections => connections,
            Limit::Pending => pending,
            Limit::Requests => requests,
            Limit::Silent => self.most_silent(),
        };
        self.in_use.take(limit, max)
    }

    /// Each has a connection and counts as a request: whoever says nothing leaves half of both to those who do.
    fn most_silent(&self) -> usize {
        let Circuit { connections, requests, .. } = self.model.circuit;
        connections.min(requests).div_ceil(2)
    }

    /// Counts a request that is refused at `limit`.
    pub(super) fn overflow(&self, limit: Limit) -> Cause {
        self.metrics.overflow(limit.name());
        Cause::Overflow(limit)
    }

    pub(super) fn give_back(&self, limit: Limit) {
        self.in_use.give_back(limit);
        if limit == Limit::Connections {
            self.call_next();
        }
    }

    /// Who waits for a connection, in all workers.
    pub(super) fn row(&self) -> &Row {
        self.row.get_or_init(Box::default)
    }

    /// How many wait for a connection, in all workers.
    pub(super) fn in_row(&self) -> usize {
        self.row.get().map_or(0, |row| row.waiting())
    }

    /// A place may be free: the first in the row looks again.
    pub(super) fn call_next(&self) {
        // Whoever is not seen after this sees the place.
        fence(Ordering::SeqCst);
        if let Some(row) = self.row.get() {
            row.call_next();
        }
    }

    /// Whether one more connection may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.in_use.get(Limit::Connections) < self.model.circuit.connections
    }

    /// The place of a connection on which neither side has said anything, as long as that is so. Where the cluster lives wherever
    /// captured connections were going, no destination has more of these places than are left: one whose server hangs takes half
    /// of them and leaves the others to those that do not.
    /// `None`: they have their part.
    pub(crate) fn silent(self: &Arc<Self>, captured: Option<Captured>) -> Option<Silent> {
        let permit = self.permit(Limit::Silent).ok()?;
        let Some((original, captured)) = self.model.original_destination.zip(captured) else {
            return Some(Silent { _permit: permit, at: None });
        };
        let member = self.original(original.address.of(captured.destination));
        let left = self.most_silent().saturating_sub(self.in_use.get(Limit::Silent));
        let before = member.silent.fetch_add(1, Ordering::Relaxed);
        let silent = Silent { _permit: permit, at: Some(member) };
        (before <= left).then_some(silent)
    }

    /// Counts one who was silent for longer than it may wait for a place.
    pub(crate) fn no_place(&self) -> Cause {
        self.overflow(Limit::Silent)
    }

    /// A permit that gives itself back.
    pub(super) fn permit(self: &Arc<Self>, limit: Limit) -> Result<Permit, Limit> {
        self.take(limit)?;
        Ok(Permit { state: Arc::clone(self), limit })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing panics while it is held, and the content is whole between statements.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn at(endpoint: usize, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self { endpoint, address, active: AtomicUsize::default(), silent: AtomicUsize::default() })
    }

    /// Requests in flight, over all workers.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place within a limit, given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    state: Arc<ClusterState>,
    limit: Limit,
}

/// The place of a silent connection, given back on drop.
#[derive(Debug)]
pub(crate) struct Silent {
    _permit: Permit,
    /// Where it was going, if that counts.
    at: Option<Arc<Member>>,
}

impl Drop for Silent {
    fn drop(&mut self) {
        if let Some(member) = &self.at {
            member.silent.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.state.give_back(self.limit);
    }
}

/// All addresses of a cluster; members that stay keep their identity and their count.
fn build(model: &Cluster, resolved: &[(EndpointAddress, Arc<[SocketAddr]>)], before: &[Seat]) -> Arc<[Seat]> {
    let mut seats = Vec::with_capacity(model.endpoints.len());
    // A service may have thousands: looked up, not searched.
    let before: HashMap<(usize, SocketAddr), &Arc<Member>> =
        before.iter().map(|seat| ((seat.member.endpoint, seat.member.address), &seat.member)).collect();
    for (index, endpoint) in model.endpoints.iter().enumerate() {
        let mut add = |address: SocketAddr, siblings: usize| {
            let member =
                before.get(&(index, address)).map_or_else(|| Member::at(index, address), |member| Arc::clone(member));
            let share = (u64::from(endpoint.weight) * SHARE_UNITS / siblings as u64).max(1);
            seats.push(Seat { member, share });
        };
        match &endpoint.address {
            EndpointAddress::Ip(address) => add(*address, 1),
            EndpointAddress::Name(..) | EndpointAddress::Service(_) => {
                if let Some((_, addresses)) = resolved.iter().find(|(known, _)| known == &endpoint.address) {
                    for address in addresses.iter() {
                        add(*address, addresses.len());
                    }
                }
            }
        }
    }
    seats.into()
}
