//! Where the control thread meets what it controls: the configuration's source and the data path.
//!
//! [`Plane`] is the seam. The control thread knows nothing of requests; whoever implements it knows nothing of
//! signals, reloads or draining.

use crate::{
    cgroup::{Meter, Pressure, Thresholds},
    proof::Token,
    worker::Run,
};
use bytes::Bytes;
use pillion_config::{
    Loaded,
    model::{self, ClusterIndex, Config, EndpointAddress, Name},
};
use pillion_core::{identity::Secrets, snapshot::TlsState};
use pillion_wasm::census::{Before, Number, Room};
use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

/// Filters of a configuration being loaded.
pub type LoadingFilters<T> = Pin<Box<dyn Future<Output = Result<T, NotLoaded>>>>;

/// How long what filters are loaded from is waited for where it cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as the configuration says: without it nothing is served.
    Start,
    /// A few seconds: the configuration before serves, and somebody waits for the answer.
    Reload,
    /// As long as it takes: nobody waits.
    Behind,
}

/// Why filters were not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLoaded {
    /// Every reason.
    pub rejected: Rejected,
    /// All of them are that something could not be fetched.
    pub away: bool,
}

/// What the control thread needs of a data path. Everything here is called on the control thread and must not block.
pub trait Plane: 'static {
    /// The configuration, compiled.
    type Snapshot: Send + Sync + 'static;
    /// What runs on each worker's thread.
    type Run: Run<Snapshot = Self::Snapshot>;

    /// The filters of a configuration, loaded.
    type Filters: 'static;

    /// What builds a worker's part, on the worker's own thread, given its number (from 0).
    fn maker(&self) -> impl FnOnce(usize) -> Self::Run + Send + 'static;

    /// What memory demands from now on: under [`Pressure::Refuse`] new connections are refused. (That connections at
    /// rest are closed is ordered of each worker.)
    fn pressure(&self, pressure: Pressure);

    /// What each worker may hold from now on of what clients have begun and not finished, given what all of them hold now:
    /// both in bytes. Without a limit of memory it is never called.
    fn allow_unfinished(&self, each: &dyn Fn(u64) -> u64);

    /// How many requests may be in flight from now on over all workers, given how many are. Without a limit of memory it is never
    /// called.
    fn allow_requests(&self, most: &dyn Fn(u64) -> u64);

    /// Memory is about to be looked at, for [`allow_growth`](Self::allow_growth).
    fn before_look(&self) -> Before {
        Before::default()
    }

    /// What machines of filters may take, and bytes that they may store beside, until memory is looked at again. Without a limit of
    /// memory it is never called.
    fn allow_growth(&self, room: Room, stored: u64, before: Before) {
        let _ = (room, stored, before);
    }

    /// Ends the trials of filters that hold memory, since it is short. Whether there was one.
    fn end_trials(&self) -> bool {
        false
    }

    /// Compiling a filter's module may take what these thresholds leave of memory, as the meter finds it then. Without a limit of memory,
    /// and before the first configuration serves, it is not called.
    fn leave_room(&self, meter: &Meter, thresholds: Thresholds) {
        let _ = (meter, thresholds);
    }

    /// The machine of a filter that has grown most since it was started; `None` where giving all of them back would not give back
    /// `worth` bytes.
    fn most_grown(&self, worth: u64) -> Option<Number> {
        let _ = worth;
        None
    }

    /// Loads the filters of a configuration, which may take its time: modules are fetched and compiled. `None`: there is
    /// nothing to wait for, and [`compile`](Self::compile) is given none. Dropping the future gives it up.
    fn load_filters(
        &self,
        config: &Arc<Config>,
        in_force: Option<&Arc<Self::Snapshot>>,
        patience: Patience,
    ) -> Option<LoadingFilters<Self::Filters>> {
        let _ = (config, in_force, patience);
        None
    }

    /// What filters that are being loaded wait for, a line each.
    fn filters_await(&self) -> Vec<String> {
        Vec::new()
    }

    /// Compiles a configuration; what did not change by content is taken over from the snapshot in force.
    ///
    /// # Errors
    ///
    /// What the operator must change, as text with line ends.
    fn compile(
        &self,
        config: &Arc<Config>,
        in_force: Option<&Arc<Self::Snapshot>>,
        filters: Option<Self::Filters>,
    ) -> Result<Arc<Self::Snapshot>, Rejected>;

    /// Takes certificates, keys and roots into use; handshakes that begin from now on see them.
    fn update_tls(&self, snapshot: &Self::Snapshot, secrets: &Secrets) -> TlsState;

    /// What a listener answers the proxy's own probe with.
    fn probe_token(&self) -> Token {
        Token::default()
    }

    /// The snapshot is in force in every worker; what only earlier ones had may be forgotten.
    fn in_force(&self, snapshot: &Self::Snapshot);

    /// The addresses of an endpoint that is a name, at first and whenever they change.
    fn resolved(
        &self,
        snapshot: &Self::Snapshot,
        cluster: ClusterIndex,
        endpoint: &EndpointAddress,
        addresses: &[IpAddr],
    );

    /// The addresses of a cluster that is a service, at first and whenever they change; none: it has none.
    fn discovered(&self, snapshot: &Self::Snapshot, cluster: ClusterIndex, addresses: Vec<SocketAddr>) {
        let _ = (snapshot, cluster, addresses);
    }

    /// The state of each cluster, in the order of the configuration.
    fn clusters(&self, snapshot: &Self::Snapshot) -> Vec<ClusterStatus>;

    /// What filters in use lack, a line each.
    fn filters_lack(&self, snapshot: &Self::Snapshot) -> Vec<String> {
        let _ = snapshot;
        Vec::new()
    }

    /// Connections of clients open now, over all workers.
    fn connections(&self) -> usize;

    /// Of what was cut by [`Order::Abort`](crate::worker::Order::Abort): what was somebody's request or tunnel.
    fn lost(&self) -> usize;

    /// The metrics in Prometheus' text format, in pieces of some ten KiB: the control thread does other work between
    /// two of them.
    fn metrics(&self) -> Box<dyn Iterator<Item = Bytes>>;

    /// Opens log files anew (SIGUSR1).
    fn reopen_logs(&self);

    /// Waits, for a bounded time, until every record is written. Called last, when no worker is left.
    fn flush_logs(&self);
}

/// Why a configuration is refused: every reason at once, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(pub String);

impl From<pillion_config::Errors> for Rejected {
    fn from(errors: pillion_config::Errors) -> Self {
        Self(errors.to_string())
    }
}

/// Reads the configuration, at start and for each reload.
pub type Source = Box<dyn Fn() -> Result<Loaded, Rejected>>;

/// A cluster as `/clusters` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Its name.
    pub name: Name,
    /// Its bounds.
    pub circuit: model::Circuit,
    /// Connections open, over all workers.
    pub connections: u64,
    /// Requests waiting for a connection.
    pub pending: u64,
    /// Requests in flight.
    pub requests: u64,
    /// Its endpoints, one for each address.
    pub endpoints: Vec<EndpointStatus>,
}

/// An address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The address.
    pub address: SocketAddr,
    /// As written, where that is a name.
    pub hostname: Option<Arc<str>>,
    /// Its weight.
    pub weight: u32,
    /// Requests in flight.
    pub requests: u64,
}
