//! connect: a socket to an address, in time.
//!
//! After balance, before the handshake. It makes one attempt at one address; which address comes next after a failure
//! is the spine's to say.

use super::error::ConnectError;
use crate::{
    io::{Dial, DialOptions, Socket},
    telemetry::metrics::ClusterMetrics,
};
use std::{future::Future, net::SocketAddr, rc::Rc, time::Duration};
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

/// Dials `to`, and says first what is to be said before anything else.
pub(super) async fn connect(
    dial: &dyn Dial,
    to: SocketAddr,
    options: &DialOptions,
    announced: Option<&Rc<[u8]>>,
) -> Result<Socket, ConnectError> {
    let mut socket = dial.dial(to, options).await.map_err(|error| ConnectError::from_io(&error))?;
    if let Some(announced) = announced {
        // Boxed: a cluster that announces nobody does not carry the room for it.
        Box::pin(socket.write_all(announced)).await.map_err(|error| ConnectError::from_io(&error))?;
    }
    Ok(socket)
}
