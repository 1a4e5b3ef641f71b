//! connect: a socket to an address, in time.
//!
//! After balance, before the handshake. It makes one attempt at one address; which address comes next after a failure
//! is the spine's to say.

use super::{
    RequestBody, circuit_wait::Opened, error::ConnectError, host_core::HostCore, worker_cluster::WorkerCluster,
};
use crate::{
    io::{Dial, DialOptions, Entry, Socket},
    telemetry::metrics::ClusterMetrics,
};
use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    time::{self, Instant},
};

/// Runs the dial and what follows it (the handshake) within the cluster's connect timeout, and counts it.
pub(super) async fn within<T>(
    limit: Duration,
    metrics: &ClusterMetrics,
    attempt: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    metrics.connect_attempt();
    let begun = Instant::now();
    let made = time::timeout(limit, attempt).await.unwrap_or(Err(ConnectError::Timeout(limit)));
    match &made {
        Ok(_) => metrics.connected(begun.elapsed()),
        Err(error) => metrics.connect_failure(error.reason()),
    }
    made
}

/// Dials the host's address for a connection that is being opened, and says first what is to be said before anything else.
pub(super) async fn connect<B: RequestBody>(
    cluster: &WorkerCluster<B>,
    host: &HostCore,
    opened: &Opened,
    announced: Option<&Rc<[u8]>>,
) -> Result<Socket, ConnectError> {
    let (dial, to) = (cluster.dial(), host.member.address);
    let dialled = match (host.source, dial.entry()) {
        (None, None) => dial.dial(to, cluster.dial_options()).await,
        // Boxed: where nothing is captured a request does not carry the room for it.
        (source, entry) => Box::pin(captured(dial, to, cluster.dial_options(), source, entry, opened)).await,
    };
    let mut socket = dialled.map_err(|error| ConnectError::from_io(&error))?;
    if let Some(announced) = announced {
        // Boxed: a cluster that announces nobody does not carry the room for it.
        Box::pin(socket.write_all(announced)).await.map_err(|error| ConnectError::from_io(&error))?;
    }
    Ok(socket)
}

/// Dials while listeners capture: the connection must be known if it comes back.
async fn captured(
    dial: &dyn Dial,
    to: SocketAddr,
    options: &DialOptions,
    source: Option<IpAddr>,
    entry: Option<Rc<Entry>>,
    opened: &Opened,
) -> io::Result<Socket> {
    let options = DialOptions { source, entry, ..options.clone() };
    let socket = dial.dial(to, &options).await?;
    opened.keep(options.entry);
    Ok(socket)
}
