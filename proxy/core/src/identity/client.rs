//! A cluster's side of TLS: what it shows and which servers are the right ones, as rustls wants it.
//!
//! Made on the control thread whenever the identity or the roots change. Connections made before know what they were made
//! by ([`Dialling`]): where we show another certificate since, or others are believed, requests find them no more. Tunnels
//! outlive a renewal: only where others are believed, or we are somebody else, are they looked at again.

use super::{
    certificate::Facts,
    material::{Bundles, Certificate, Roots, Secrets},
    provider::provider,
    server::{H2, HTTP1, MESH_H2, MESH_HTTP1, MESH_TCP, Updated, is_of_the_mesh, next_trust, versions},
    verifier::Servers,
    verify::{Judge, Refusal, Side, spiffe_id, verify_again},
};
use crate::telemetry::TrustVersion;
use pillion_config::model::{
    ClusterTls, ClusterTlsMode, EndpointAddress, ServerVerification, SpiffeId, without_final_dot,
};
use rustls::{
    ClientConfig, NamedGroup, SignatureScheme,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
        Tls12Resumption, Tls13ClientSessionValue,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Servers whose sessions are kept, for each cluster.
const SESSIONS: usize = 32;

/// A cluster's TLS.
#[derive(Debug)]
pub struct TlsClient {
    model: ClusterTls,
    /// A lock because the control thread replaces it; looked at once for each handshake.
    now: Mutex<Option<Arc<Dialling>>>,
    /// Of what is there now. What it guards is a connection's own, so no order is needed.
    version: AtomicU64,
    /// The same, of what changes with renewals, too. Read for each request.
    renewal: AtomicU64,
}

/// What is shown, and whom we believe, from one change to the next.
#[derive(Debug)]
pub struct Dialling {
    /// The same through renewals: it changes with whom we believe and with who we are.
    version: TrustVersion,
    /// Changes with each update.
    renewal: u64,
    judge: Option<Judge>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    opaque: Arc<ClientConfig>,
    made_of: Inputs,
}

/// What a connection to a cluster will speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Anything: what is carried nobody knows.
    Opaque,
}

#[derive(Debug)]
struct Inputs {
    shown: Option<Arc<Certificate>>,
    trust: Trust,
}

#[derive(Debug)]
enum Trust {
    Anyone,
    Mesh(Arc<Bundles>),
    Roots(Arc<Roots>),
}

impl TlsClient {
    /// Believes nobody yet.
    #[must_use]
    pub fn new(model: &ClusterTls) -> Self {
        Self {
            model: model.clone(),
            now: Mutex::default(),
            version: AtomicU64::default(),
            renewal: AtomicU64::default(),
        }
    }

    /// What a handshake with a server begins with, and what that is made of; `None`: what it needs is not there yet.
    #[must_use]
    pub fn now(&self, speaks: Speaks) -> Option<(Arc<ClientConfig>, Arc<Dialling>)> {
        let now = self.dialling()?;
        let config = match speaks {
            Speaks::Http1 => &now.http1,
            Speaks::Http2 => &now.http2,
            Speaks::Opaque => &now.opaque,
        };
        Some((Arc::clone(config), now))
    }

    fn dialling(&self) -> Option<Arc<Dialling>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a request may go on a connection made by this. Where we show another certificate by now it goes on one that
    /// was made with that: the server may have ceased to believe the old one's issuer already, and would tell us so by the
    /// request's failure.
    #[must_use]
    pub fn is_latest(&self, made_by: &Dialling) -> bool {
        self.renewal.load(Ordering::Relaxed) == made_by.renewal
    }

    /// Whether others are believed, or we are somebody else, since a connection was made by this.
    #[must_use]
    pub fn is_current(&self, made_by: &Dialling) -> bool {
        self.version.load(Ordering::Relaxed) == made_by.version.0
    }

    /// Judges a server once more, if others are believed than when it was `judged`: a tunnel to it is more than what it
    /// carries now. That its time is over since is no matter.
    ///
    /// # Errors
    ///
    /// Why it would be refused now.
    pub fn still_trusts(
        &self,
        chain: &[CertificateDer<'_>],
        endpoint: &EndpointAddress,
        wanted: Option<&SpiffeId>,
        judged: &Cell<TrustVersion>,
    ) -> Result<(), Refusal> {
        let Some(now) = self.dialling() else { return Ok(()) };
        if judged.get() == now.version {
            return Ok(());
        }
        let (Some(judge), [leaf, above @ ..]) = (&now.judge, chain) else { return Ok(()) };
        let asked = self.server_name(endpoint);
        let algorithms = provider().signature_verification_algorithms.all;
        verify_again(judge, Side::Server, (leaf, above), asked.as_ref(), algorithms)?;
        if let Some(wanted) = wanted
            && Facts::read(leaf).and_then(|facts| spiffe_id(&facts).ok()).as_ref() != Some(wanted)
        {
            return Err(Refusal::UnexpectedId);
        }
        judged.set(now.version);
        Ok(())
    }

    /// Whether we are still who we were to a server that was dialled by this.
    #[must_use]
    pub fn still_is(&self, made_by: &Dialling) -> bool {
        self.dialling().is_none_or(|now| now.made_of.own() == made_by.made_of.own())
    }

    /// What it was made from.
    #[must_use]
    pub fn model(&self) -> &ClusterTls {
        &self.model
    }

    /// The name an endpoint is asked for, and must have where names are judged.
    #[must_use]
    pub fn server_name(&self, endpoint: &EndpointAddress) -> Option<ServerName<'static>> {
        match (&self.model.server_name, endpoint) {
            (Some(name), _) => ServerName::try_from(name.to_string()).ok(),
            (None, EndpointAddress::Name(name, _)) => ServerName::try_from(without_final_dot(name).to_owned()).ok(),
            (None, EndpointAddress::Service(service)) => ServerName::try_from(service.host()).ok(),
            (None, EndpointAddress::Ip(address)) => Some(ServerName::IpAddress(address.ip().to_canonical().into())),
        }
    }

    /// Takes a new identity and new roots into use, if they are all there.
    ///
    /// # Errors
    ///
    /// When rustls refuses them; what was there before stays.
    pub fn update(&self, secrets: &Secrets) -> Result<Updated, rustls::Error> {
        let Some(inputs) = Inputs::of(&self.model, secrets) else { return Ok(Updated::Missing) };
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref().is_some_and(|now| now.made_of.same_as(&inputs)) {
            return Ok(Updated::Same);
        }
        let before = now.as_ref();
        let kept = before.filter(|now| now.made_of.trust.same_as(&inputs.trust) && now.made_of.own() == inputs.own());
        let updated = if before.is_some() && kept.is_none() { Updated::Retrusted } else { Updated::Renewed };
        let renewal = next_trust();
        let version = kept.map_or(renewal, |now| now.version);
        let renewal = renewal.0;
        let judge = judge(&self.model, &inputs);
        let plain = config(&self.model, &inputs, judge.clone())?;
        let mesh = self.model.mode != ClusterTlsMode::Tls;
        let speaking = |names: &[&[u8]]| {
            let mut config = plain.clone();
            let names = names.iter().filter(|name| mesh || !is_of_the_mesh(name));
            config.alpn_protocols = names.map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        let (http1, http2) = (speaking(&[MESH_HTTP1, HTTP1]), speaking(&[MESH_H2, H2]));
        let opaque = speaking(&[MESH_TCP]);
        *now = Some(Arc::new(Dialling { version, renewal, judge, http1, http2, opaque, made_of: inputs }));
        self.version.store(version.0, Ordering::Relaxed);
        self.renewal.store(renewal, Ordering::Relaxed);
        Ok(updated)
    }
}

impl Inputs {
    fn of(model: &ClusterTls, secrets: &Secrets) -> Option<Self> {
        let shown = match model.mode {
            ClusterTlsMode::Tls => None,
            ClusterTlsMode::Mutual | ClusterTlsMode::MutualIfIdentity => {
                Some(Arc::clone(&secrets.identity.as_ref()?.certificate))
            }
        };
        let trust = match &model.verification {
            ServerVerification::SpiffeIds(_) => Trust::Mesh(Arc::clone(&secrets.identity.as_ref()?.bundles)),
            ServerVerification::Names { roots, .. } | ServerVerification::DangerAnyName { roots } => {
                Trust::Roots(Arc::clone(secrets.roots.get(roots)?))
            }
            ServerVerification::DangerAnyone => Trust::Anyone,
        };
        Some(Self { shown, trust })
    }

    /// Who we say we are.
    fn own(&self) -> Option<&SpiffeId> {
        self.shown.as_ref().and_then(|shown| shown.id())
    }

    fn same_as(&self, other: &Self) -> bool {
        let shown = match (&self.shown, &other.shown) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.same_as(b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        shown && self.trust.same_as(&other.trust)
    }
}

impl Trust {
    fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anyone, Self::Anyone) => true,
            (Self::Mesh(a), Self::Mesh(b)) => Arc::ptr_eq(a, b) || a.same_as(b),
            (Self::Roots(a), Self::Roots(b)) => Arc::ptr_eq(a, b) || a.same_as(b),
            (Self::Anyone | Self::Mesh(_) | Self::Roots(_), _) => false,
        }
    }
}

impl Dialling {
    /// What its connections were judged by.
    #[must_use]
    pub fn version(&self) -> TrustVersion {
        self.version
    }

    /// What servers that ask are shown.
    #[must_use]
    pub fn shown(&self) -> Option<&Arc<CertifiedKey>> {
        self.made_of.shown.as_ref().map(|certificate| certificate.key())
    }
}

/// Who is the right one; `None`: anybody.
fn judge(model: &ClusterTls, inputs: &Inputs) -> Option<Judge> {
    match (&model.verification, &inputs.trust) {
        (ServerVerification::SpiffeIds(ids), Trust::Mesh(bundles)) => {
            Some(Judge::Spiffe { bundles: Arc::clone(bundles), ids: ids.as_slice().into() })
        }
        (ServerVerification::Names { names, .. }, Trust::Roots(roots)) => {
            let names = names.iter().filter_map(|name| ServerName::try_from(name.to_string()).ok()).collect();
            Some(Judge::Names(Arc::clone(roots), names))
        }
        (_, Trust::Roots(roots)) => Some(Judge::Roots(Arc::clone(roots))),
        (_, Trust::Anyone | Trust::Mesh(_)) => None,
    }
}

fn config(model: &ClusterTls, inputs: &Inputs, judge: Option<Judge>) -> Result<ClientConfig, rustls::Error> {
    let sessions = Arc::new(Sessions::default());
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&versions(model.versions))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Servers { judge, sessions: Arc::clone(&sessions) }));
    let mut config = match &inputs.shown {
        Some(certificate) => builder.with_client_cert_resolver(Arc::new(Shown(Arc::clone(certificate)))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::store(sessions).tls12_resumption(Tls12Resumption::SessionIdOrTickets);
    Ok(config)
}

/// The identity, shown to whoever asks.
#[derive(Debug)]
struct Shown(Arc<Certificate>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.key()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Sessions to resume, up to the end of the first certificate that stood behind one of them: a resumed session
/// restores the server's chain without judging it. Shared by all workers.
pub(super) struct Sessions(Mutex<Kept>);

struct Kept {
    cache: Arc<ClientSessionMemoryCache>,
    until: u64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self(Mutex::new(Kept::new()))
    }
}

impl Kept {
    fn new() -> Self {
        Self { cache: Arc::new(ClientSessionMemoryCache::new(SESSIONS)), until: u64::MAX }
    }
}

impl Sessions {
    /// A server's chain was believed that ends then, in seconds since 1970.
    pub(super) fn seen(&self, not_after: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.until = kept.until.min(not_after);
    }

    fn cache(&self) -> Arc<ClientSessionMemoryCache> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.until < UnixTime::now().as_secs() {
            *kept = Kept::new();
        }
        Arc::clone(&kept.cache)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.cache().set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.cache().kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.cache().set_tls12_session(server, session);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.cache().tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.cache().remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.cache().insert_tls13_ticket(server, session);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.cache().take_tls13_ticket(server)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}
