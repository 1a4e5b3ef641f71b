//! tls: from a connected socket to one whose bytes the right server reads.
//!
//! Between connect and handshake; nothing at all for a cluster in the clear. The cluster's connect timeout bounds it.

use super::{error::ConnectError, host_core::HostCore};
use crate::{
    downstream::admit::Distrust,
    identity::{Cause, Dialling, Facts, Failure, Refusal, Speaks, TlsClient, protocol_of, spiffe_id, still_valid},
    io::{
        Socket,
        tls::{Session, Told, Turns, handshake},
    },
    telemetry::TrustVersion,
};
use pillion_config::model::{Alpn, ClusterTlsMode, EndpointAddress, Name, SpiffeId};
use rustls::{
    HandshakeKind,
    client::UnbufferedClientConnection,
    pki_types::{CertificateDer, UnixTime},
};
use std::{cell::Cell, sync::Arc};

/// Shakes hands with the server, if the cluster wants it.
pub(super) async fn secure(socket: Socket, host: &HostCore, speaks: Speaks) -> Result<Socket, ConnectError> {
    match host.state.tls() {
        None => Ok(socket),
        Some(tls) if tls.model().mode == ClusterTlsMode::MutualIfIdentity && wanted(host).is_none() => Ok(socket),
        // Boxed: a request to a cluster in the clear does not carry the room for it.
        Some(tls) => Box::pin(shake(socket, tls, host, speaks)).await,
    }
}

/// Who must be at the endpoint, where the cluster says so of each.
pub(super) fn wanted(host: &HostCore) -> Option<&SpiffeId> {
    host.state.model().endpoints.get(host.member.endpoint)?.identity.as_ref()
}

/// The server at the other end of a tunnel, as it was judged when hands were shaken.
#[derive(Debug)]
pub struct Server {
    cluster: Name,
    endpoint: EndpointAddress,
    wanted: Option<SpiffeId>,
    made_by: Arc<Dialling>,
    chain: Box<[CertificateDer<'static>]>,
    judged: Cell<TrustVersion>,
}

impl Server {
    pub(super) fn of(host: &HostCore, made_by: Arc<Dialling>, chain: Box<[CertificateDer<'static>]>) -> Self {
        Self {
            cluster: host.state.model().name.clone(),
            endpoint: host.endpoint(),
            wanted: wanted(host).cloned(),
            judged: Cell::new(made_by.version()),
            made_by,
            chain,
        }
    }

    /// The cluster it was one of.
    #[must_use]
    pub fn cluster(&self) -> &Name {
        &self.cluster
    }

    /// Whether nothing has changed for its cluster since it was judged last.
    #[must_use]
    pub fn is_current(&self, tls: &TlsClient) -> bool {
        tls.is_current(&self.made_by)
    }

    /// Why it would not be spoken to now, by what its cluster believes.
    #[must_use]
    pub fn distrust(&self, tls: &TlsClient) -> Option<Distrust> {
        distrust(tls, &self.made_by, &self.chain, (&self.endpoint, self.wanted.as_ref()), &self.judged)
    }
}

/// Why a server that was dialled by this, showed this chain and is at this endpoint would not be spoken to now.
pub(super) fn distrust(
    tls: &TlsClient,
    made_by: &Dialling,
    chain: &[CertificateDer<'_>],
    (endpoint, wanted): (&EndpointAddress, Option<&SpiffeId>),
    judged: &Cell<TrustVersion>,
) -> Option<Distrust> {
    if !tls.still_is(made_by) {
        return Some(Distrust::Identity);
    }
    tls.still_trusts(chain, endpoint, wanted, judged).err().map(Distrust::Server)
}

/// Counts and tells that the server refused us when hands were shaken on our side, as a handshake that failed; the address
/// is passed over for a while.
pub(super) fn refused_late(host: &HostCore, failure: Failure) -> ConnectError {
    host.demote();
    host.state.metrics().connect_failure(failure.upstream_name());
    refused(host, failure)
}

/// The same while the connection is being made, which is counted by who makes it.
pub(super) fn refused(host: &HostCore, failure: Failure) -> ConnectError {
    tell(host, failure, &Turns::of_this_thread());
    ConnectError::Tls(failure)
}

fn tell(host: &HostCore, failure: Failure, turns: &Turns) {
    if turns.tells() == Told::Yes {
        let cluster = &host.state.model().name;
        tracing::info!(%cluster, address = %host.member.address, %failure, "TLS handshake failed");
    }
}

async fn shake(socket: Socket, tls: &TlsClient, host: &HostCore, speaks: Speaks) -> Result<Socket, ConnectError> {
    let turns = Turns::of_this_thread();
    let attempt = async {
        let (config, dialling) = tls.now(speaks).ok_or(Failure::of(Cause::NotReady))?;
        let name = tls.server_name(&host.endpoint()).ok_or(Failure::of(Cause::Internal))?;
        let session = UnbufferedClientConnection::new(config, name).map_err(|error| Failure::from_tls(&error))?;
        let mut stream = handshake(socket, Session::Client(Box::new(session)), Vec::new(), &turns).await?;
        stream.set_made_by(dialling);
        let session = stream.session();
        if session.kind() == Some(HandshakeKind::Resumed) {
            let chain = session.peer_certificates().unwrap_or_default();
            still_valid(chain, UnixTime::now()).map_err(|refusal| Failure::of(Cause::Refused(refusal)))?;
        }
        // The cluster's verification lets in whoever is at any of its endpoints.
        if let Some(wanted) = wanted(host) {
            let leaf = session.peer_certificates().and_then(<[_]>::first);
            let id = leaf.and_then(|leaf| Facts::read(leaf)).and_then(|facts| spiffe_id(&facts).ok());
            if id.as_ref() != Some(wanted) {
                return Err(Failure::of(Cause::Refused(Refusal::UnexpectedId)));
            }
        }
        // A server that names none speaks what the cluster says.
        match (session.alpn().map(protocol_of), speaks) {
            (None, _)
            | (Some(_), Speaks::Opaque)
            | (Some(Some(Alpn::Http1)), Speaks::Http1)
            | (Some(Some(Alpn::Http2)), Speaks::Http2) => Ok(Socket::Tls(Box::new(stream))),
            (Some(_), _) => Err(Failure::of(Cause::NoProtocol)),
        }
    };
    attempt.await.map_err(|failure: Failure| {
        tell(host, failure, &turns);
        ConnectError::Tls(failure)
    })
}
