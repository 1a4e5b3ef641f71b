//! connect: a socket to an address, in time.
//!
//! After balance, before the handshake. It makes one attempt at one address; which address comes next after a failure
//! is the spine's to say.

use super::error::ConnectError;
use crate::io::{Dial, DialOptions, Socket};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::time;

/// Runs `dial` and what follows it (the handshake) within the cluster's connect timeout.
pub(super) async fn within<T>(
    limit: Duration,
    attempt: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    time::timeout(limit, attempt).await.unwrap_or(Err(ConnectError::Timeout(limit)))
}

/// Dials `to`.
pub(super) async fn connect(dial: &dyn Dial, to: SocketAddr, options: &DialOptions) -> Result<Socket, ConnectError> {
    dial.dial(to, options).await.map_err(|error| ConnectError::from_io(&error))
}
