//! A listener's side of TLS: what it presents and whom it lets in, as rustls wants it.
//!
//! Made on the control thread whenever its certificates or its trust change; workers take what is there when a
//! connection comes. Connections made before go on.

use super::{
    material::{Bundles, Certificate, Roots, Secrets},
    provider::provider,
    tickets::Tickets,
    verifier::Clients,
    verify::{Judge, Refusal, Side, verify_again},
};
use crate::telemetry::TrustVersion;
use pillion_config::model::{Alpn, ListenerTls, SpiffeId, TlsVersions, TrustDomain};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A listener's TLS.
#[derive(Debug)]
pub struct TlsServer {
    model: ListenerTls,
    /// A lock because the control thread replaces it; looked at once for each handshake, which costs a thousand times more.
    now: Mutex<Option<Arc<Serving>>>,
}

/// What is presented now, and to whom.
#[derive(Debug)]
pub struct Serving {
    /// For rustls.
    pub config: Arc<ServerConfig>,
    /// Who we are, where the identity is presented.
    pub own: Option<Arc<SpiffeId>>,
    /// Changes whenever whom it trusts does.
    pub trust: TrustVersion,
    judge: Option<Judge>,
    made_of: Inputs,
}

/// What a configuration is made of: while these are the same it stays, and with it the key of its tickets.
#[derive(Debug)]
struct Inputs {
    certificates: Vec<Arc<Certificate>>,
    trust: Trust,
}

#[derive(Debug)]
enum Trust {
    Nobody,
    Mesh(Arc<Bundles>),
    Roots(Arc<Roots>),
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// Something is not there yet; what was there before stays.
    Missing,
    /// Nothing changed.
    Same,
    /// New handshakes see the new state.
    Renewed,
    /// They do, and others are trusted than before, or we are somebody else: what lives is looked at again.
    Retrusted,
}

impl TlsServer {
    /// Has nothing to present yet.
    #[must_use]
    pub fn new(model: &ListenerTls) -> Self {
        Self { model: model.clone(), now: Mutex::default() }
    }

    /// What it was made from.
    #[must_use]
    pub fn model(&self) -> &ListenerTls {
        &self.model
    }

    /// What is presented now; `None`: nothing yet.
    #[must_use]
    pub fn now(&self) -> Option<Arc<Serving>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes new certificates and roots into use, if they are all there.
    ///
    /// # Errors
    ///
    /// When rustls or the system refuses them; what was there before stays.
    pub fn update(&self, secrets: &Secrets) -> Result<Updated, rustls::Error> {
        let Some(inputs) = Inputs::of(&self.model, secrets) else { return Ok(Updated::Missing) };
        let before = self.now();
        if before.as_ref().is_some_and(|now| now.made_of.same_as(&inputs)) {
            return Ok(Updated::Same);
        }
        let kept = before.as_ref().filter(|before| before.made_of.trust.same_as(&inputs.trust));
        let own = self.model.certificates.is_empty().then(|| inputs.certificates[0].id().cloned()).flatten();
        let renewed = before.as_ref().is_none_or(|before| kept.is_some() && before.own.as_deref() == own.as_ref());
        let updated = if renewed { Updated::Renewed } else { Updated::Retrusted };
        let judge = inputs.trust.judge();
        let serving = Serving {
            trust: kept.map_or_else(next_trust, |before| before.trust),
            config: Arc::new(config(&self.model, &inputs, judge.clone())?),
            judge,
            own: own.map(Arc::new),
            made_of: inputs,
        };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(serving));
        Ok(updated)
    }

    /// Whether we are still who we were to a peer that was shown this ID.
    #[must_use]
    pub fn still_is(&self, shown: Option<&SpiffeId>) -> bool {
        self.now().is_none_or(|now| now.own.as_deref() == shown)
    }

    /// Judges a client once more, if others are trusted than when it was `judged`. That its time is over since is no
    /// matter: a connection may outlive a certificate.
    ///
    /// # Errors
    ///
    /// Why it would be refused now.
    pub fn still_trusts(&self, chain: &[CertificateDer<'_>], judged: &Cell<TrustVersion>) -> Result<(), Refusal> {
        let Some(now) = self.now() else { return Ok(()) };
        if judged.get() == now.trust {
            return Ok(());
        }
        let (Some(judge), [leaf, above @ ..]) = (&now.judge, chain) else { return Ok(()) };
        let algorithms = provider().signature_verification_algorithms.all;
        verify_again(judge, Side::Client, (leaf, above), None, algorithms)?;
        judged.set(now.trust);
        Ok(())
    }
}

impl Serving {
    /// The trust domain of this ID, if it is one of those that are believed here.
    #[must_use]
    pub fn believed(&self, id: &SpiffeId) -> Option<&TrustDomain> {
        let Trust::Mesh(bundles) = &self.made_of.trust else { return None };
        bundles.iter().map(|(domain, _)| domain).find(|domain| *domain == id.domain())
    }

    /// What a client is shown that asks for this name.
    #[must_use]
    pub fn presented(&self, asked: Option<&str>) -> Option<Arc<CertifiedKey>> {
        choose(&self.made_of.certificates, asked).map(|certificate| Arc::clone(certificate.key()))
    }
}

pub(super) fn next_trust() -> TrustVersion {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    TrustVersion(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Trust {
    fn judge(&self) -> Option<Judge> {
        match self {
            Self::Nobody => None,
            Self::Mesh(bundles) => Some(Judge::Spiffe { bundles: Arc::clone(bundles), ids: Box::default() }),
            Self::Roots(roots) => Some(Judge::Roots(Arc::clone(roots))),
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nobody, Self::Nobody) => true,
            (Self::Mesh(a), Self::Mesh(b)) => Arc::ptr_eq(a, b) || a.same_as(b),
            (Self::Roots(a), Self::Roots(b)) => Arc::ptr_eq(a, b) || a.same_as(b),
            (Self::Nobody | Self::Mesh(_) | Self::Roots(_), _) => false,
        }
    }
}

impl Inputs {
    fn of(model: &ListenerTls, secrets: &Secrets) -> Option<Self> {
        use pillion_config::model::ClientCertificates;
        let mut certificates = Vec::with_capacity(model.certificates.len().max(1));
        for files in &model.certificates {
            certificates.push(Arc::clone(secrets.certificates.get(files)?));
        }
        if certificates.is_empty() {
            certificates.push(Arc::clone(&secrets.identity.as_ref()?.certificate));
        }
        let trust = match (model.clients, &model.client_roots) {
            (ClientCertificates::Off, _) => Trust::Nobody,
            (_, Some(path)) => Trust::Roots(Arc::clone(secrets.roots.get(path)?)),
            (_, None) => Trust::Mesh(Arc::clone(&secrets.identity.as_ref()?.bundles)),
        };
        Some(Self { certificates, trust })
    }

    fn same_as(&self, other: &Self) -> bool {
        let certificates = self.certificates.len() == other.certificates.len()
            && self.certificates.iter().zip(&other.certificates).all(|(a, b)| Arc::ptr_eq(a, b) || a.same_as(b));
        certificates && self.trust.same_as(&other.trust)
    }
}

fn config(model: &ListenerTls, inputs: &Inputs, judge: Option<Judge>) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&versions(model.versions))?
        .with_client_cert_verifier(match judge {
            Some(judge) => Arc::new(Clients { judge, demand: model.clients }),
            None => WebPkiClientVerifier::no_client_auth(),
        });
    let mut config = builder.with_cert_resolver(Arc::new(ByName(inputs.certificates.clone())));
    config.alpn_protocols = alpn(model);
    // Stateless tickets only: a flood of handshakes leaves nothing behind.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let ends = inputs.certificates.iter().map(|certificate| certificate.not_after()).min().unwrap_or(0);
    config.ticketer = Tickets::with_own_key(ends)?;
    // A client keeps its connections; a second ticket costs bytes and an encryption for nothing.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// What a peer of the mesh offers beside the plain names, so that it is told from the application's own TLS.
pub(super) const MESH_H2: &[u8] = b"pillion/h2";
/// See [`MESH_H2`].
pub(super) const MESH_HTTP1: &[u8] = b"pillion/http/1.1";
/// See [`MESH_H2`]; what is carried nobody knows.
pub(super) const MESH_TCP: &[u8] = b"pillion/tcp";
pub(super) const H2: &[u8] = b"h2";
pub(super) const HTTP1: &[u8] = b"http/1.1";

/// The protocol an ALPN name stands for.
#[must_use]
pub fn protocol_of(name: &[u8]) -> Option<Alpn> {
    match name {
        H2 | MESH_H2 => Some(Alpn::Http2),
        HTTP1 | MESH_HTTP1 => Some(Alpn::Http1),
        _ => None,
    }
}

/// Whether this ALPN name is offered by peers of the mesh alone.
#[must_use]
pub fn is_of_the_mesh(name: &[u8]) -> bool {
    matches!(name, MESH_H2 | MESH_HTTP1 | MESH_TCP)
}

fn alpn(model: &ListenerTls) -> Vec<Vec<u8>> {
    let mesh = model.certificates.is_empty();
    let names = model.alpn.iter().flat_map(|protocol| match protocol {
        Alpn::Http2 => [MESH_H2, H2],
        Alpn::Http1 => [MESH_HTTP1, HTTP1],
    });
    names.chain([MESH_TCP]).filter(|name| mesh || !is_of_the_mesh(name)).map(<[u8]>::to_vec).collect()
}

pub(super) fn versions(versions: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    match versions {
        TlsVersions::Only12 => vec![&TLS12],
        TlsVersions::Both => vec![&TLS13, &TLS12],
        TlsVersions::Only13 => vec![&TLS13],
    }
}

/// The first certificate that has the name asked for, otherwise the first of all.
#[derive(Debug)]
struct ByName(Vec<Arc<Certificate>>);

/// Which certificate is for whom asks for this name.
fn choose<'a>(certificates: &'a [Arc<Certificate>], asked: Option<&str>) -> Option<&'a Arc<Certificate>> {
    let asked = asked.filter(|_| certificates.len() > 1).and_then(|name| ServerName::try_from(name).ok());
    let found = asked.and_then(|name| certificates.iter().find(|certificate| certificate.is_for(&name)));
    found.or(certificates.first())
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        choose(&self.0, hello.server_name()).map(|certificate| Arc::clone(certificate.key()))
    }
}
