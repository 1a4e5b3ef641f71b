//! A cluster's side of TLS: what it shows and which servers are the right ones, as rustls wants it.
//!
//! Made on the control thread whenever the identity or the roots change; connections made before go on.

use super::{
    material::{Bundles, Certificate, Roots, Secrets},
    provider::provider,
    server::{H2, HTTP1, MESH_H2, MESH_HTTP1, MESH_TCP, Updated, is_of_the_mesh, versions},
    verifier::Servers,
    verify::Judge,
};
use pillion_config::model::{ClusterTls, ClusterTlsMode, EndpointAddress, ServerVerification};
use rustls::{
    ClientConfig, NamedGroup, SignatureScheme,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
        Tls12Resumption, Tls13ClientSessionValue,
    },
    pki_types::{ServerName, UnixTime},
    sign::CertifiedKey,
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Servers whose sessions are kept, for each cluster.
const SESSIONS: usize = 32;

/// A cluster's TLS.
#[derive(Debug)]
pub struct TlsClient {
    model: ClusterTls,
    /// A lock because the control thread replaces it; looked at once for each handshake.
    now: Mutex<Option<Arc<Dialling>>>,
}

/// What is shown now, and whom we believe.
#[derive(Debug)]
struct Dialling {
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
        Self { model: model.clone(), now: Mutex::default() }
    }

    /// What a handshake with a server begins with; `None`: what it needs is not there yet.
    #[must_use]
    pub fn now(&self, speaks: Speaks) -> Option<Arc<ClientConfig>> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.as_ref().map(|now| match speaks {
            Speaks::Http1 => Arc::clone(&now.http1),
            Speaks::Http2 => Arc::clone(&now.http2),
            Speaks::Opaque => Arc::clone(&now.opaque),
        })
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
            (None, EndpointAddress::Name(name, _)) => ServerName::try_from(name.to_string()).ok(),
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
        let plain = config(&self.model, &inputs)?;
        let mesh = self.model.mode != ClusterTlsMode::Tls;
        let speaking = |names: &[&[u8]]| {
            let mut config = plain.clone();
            let names = names.iter().filter(|name| mesh || !is_of_the_mesh(name));
            config.alpn_protocols = names.map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        let (http1, http2) = (speaking(&[MESH_HTTP1, HTTP1]), speaking(&[MESH_H2, H2]));
        *now = Some(Arc::new(Dialling { http1, http2, opaque: speaking(&[MESH_TCP]), made_of: inputs }));
        Ok(Updated::Renewed)
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

    fn same_as(&self, other: &Self) -> bool {
        let shown = match (&self.shown, &other.shown) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.same_as(b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let trust = match (&self.trust, &other.trust) {
            (Trust::Anyone, Trust::Anyone) => true,
            (Trust::Mesh(a), Trust::Mesh(b)) => Arc::ptr_eq(a, b) || a.same_as(b),
            (Trust::Roots(a), Trust::Roots(b)) => Arc::ptr_eq(a, b) || a.same_as(b),
            (Trust::Anyone | Trust::Mesh(_) | Trust::Roots(_), _) => false,
        };
        shown && trust
    }
}

fn config(model: &ClusterTls, inputs: &Inputs) -> Result<ClientConfig, rustls::Error> {
    let judge = match (&model.verification, &inputs.trust) {
        (ServerVerification::SpiffeIds(ids), Trust::Mesh(bundles)) => {
            Some(Judge::Spiffe { bundles: Arc::clone(bundles), ids: ids.as_slice().into() })
        }
        (ServerVerification::Names { names, .. }, Trust::Roots(roots)) => {
            let names = names.iter().filter_map(|name| ServerName::try_from(name.to_string()).ok()).collect();
            Some(Judge::Names(Arc::clone(roots), names))
        }
        (_, Trust::Roots(roots)) => Some(Judge::Roots(Arc::clone(roots))),
        (_, Trust::Anyone | Trust::Mesh(_)) => None,
    };
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
