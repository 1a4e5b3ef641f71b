//! Certificates, keys and roots as they are used: parsed, checked, shared.
//!
//! Reads no file: the control thread does, and hands the bytes over. A private key is nowhere printed.

use super::{
    certificate::{Authority, Facts},
    own::remedy,
    provider::provider,
    verify::{Refusal, spiffe_id},
};
use crate::telemetry::utc;
use pillion_config::model::{CertificateFiles, SpiffeId, TrustDomain};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor, pem::PemObject},
    sign::CertifiedKey,
};
use std::{collections::HashMap, fmt, ops::RangeInclusive, path::PathBuf, sync::Arc};

/// A certificate, what leads from it to a root, and its key.
pub struct Certificate {
    key: Arc<CertifiedKey>,
    not_after: u64,
    /// When all of its chain is valid: from the first second to the last, since 1970.
    valid: RangeInclusive<u64>,
    id: Option<SpiffeId>,
}

/// Roots that vouch for others.
pub struct Roots {
    anchors: Box<[TrustAnchor<'static>]>,
    /// As they came, to tell whether they changed.
    der: Box<[CertificateDer<'static>]>,
    not_after: u64,
}

/// Roots by trust domain.
#[derive(Debug, Default)]
pub struct Bundles(Vec<(TrustDomain, Arc<Roots>)>);

/// Who we are to peers of the mesh, and whom we believe.
#[derive(Debug, Clone)]
pub struct Svid {
    /// What we show.
    pub certificate: Arc<Certificate>,
    /// Whom we believe.
    pub bundles: Arc<Bundles>,
}

/// Everything secret or trusted that a configuration speaks of, as far as it can be had now. Shared by all workers: immutable.
#[derive(Debug, Default)]
pub struct Secrets {
    /// The identity; `None` until there is one.
    pub identity: Option<Svid>,
    /// Certificates by their files.
    pub certificates: HashMap<CertificateFiles, Arc<Certificate>>,
    /// Roots by their file.
    pub roots: HashMap<PathBuf, Arc<Roots>>,
}

/// Why bytes are no certificate, key or roots. Says nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// The PEM text is broken.
    #[error("not valid PEM")]
    Pem,
    /// No certificate in it.
    #[error("no certificate in it (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// No key in it.
    #[error("no private key in it (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// A certificate is none.
    #[error("certificate {0} in it is malformed")]
    Malformed(usize),
    /// The key is of no kind we know.
    #[error("the private key is of a kind that is not supported; use ECDSA (P-256, P-384), RSA or Ed25519")]
    Key,
    /// They do not belong together, as when one was renewed and the other not yet.
    #[error("the private key is not that of the certificate")]
    Mismatch,
    /// What should vouch for others may not.
    #[error("certificate {0} in it is no authority's (CA:TRUE)")]
    NotAuthority(usize),
    /// Its time has not come: the second since 1970 at which it does.
    #[error("the certificate, or one of its chain, is not valid before {0} (seconds since 1970; {utc})", utc = utc(*.0))]
    NotYetValid(u64),
    /// Its time is over: the last second since 1970 at which it was valid.
    #[error("the certificate, or one of its chain, was valid until {0} (seconds since 1970; {utc})", utc = utc(*.0))]
    Expired(u64),
    /// It says nothing of who we are.
    #[error("the certificate has no SPIFFE ID (exactly one URI, spiffe://…): {0}")]
    NoSpiffeId(Refusal),
    /// Whoever it is shown to must refuse it.
    #[error("peers would refuse the certificate ({0}): {words}", words = remedy(*.0))]
    Refused(Refusal),
}

impl Certificate {
    /// Reads a chain and its key, both DER, the key in PKCS#8.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(chain: Vec<&[u8]>, key: &[u8]) -> Result<Self, MaterialError> {
        let chain = chain.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        Self::new(chain, PrivateKeyDer::Pkcs8(key.to_vec().into()))
    }

    /// Reads a chain and its key, both PEM.
    ///
    /// # Errors
    ///
    /// Why they cannot be used. A certificate that is over, or whose time has not come, is none: peers decide about that.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, MaterialError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => MaterialError::NoKey,
            _ => MaterialError::Pem,
        })?;
        Self::new(chain, key)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, MaterialError> {
        let leaf = chain.first().ok_or(MaterialError::NoCertificate)?;
        let facts = Facts::read(leaf).ok_or(MaterialError::Malformed(1))?;
        let not_after = facts.not_after;
        let id = spiffe_id(&facts).ok();
        let all = || chain.iter().filter_map(|der| Facts::read(der));
        let first = all().map(|facts| facts.not_before).max().unwrap_or(facts.not_before);
        let valid = first..=all().map(|facts| facts.not_after).min().unwrap_or(not_after);
        let key = provider().key_provider.load_private_key(key).map_err(|_| MaterialError::Key)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InvalidCertificate(_)) => return Err(MaterialError::Malformed(1)),
            Err(_) => return Err(MaterialError::Mismatch),
        }
        Ok(Self { key: Arc::new(key), not_after, valid, id })
    }

    /// Seconds since 1970 at which it ends.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Whether it and its chain are valid at this second since 1970.
    ///
    /// # Errors
    ///
    /// [`MaterialError::NotYetValid`], [`MaterialError::Expired`].
    pub fn valid_at(&self, now: u64) -> Result<(), MaterialError> {
        match (now < *self.valid.start(), now > *self.valid.end()) {
            (_, true) => Err(MaterialError::Expired(*self.valid.end())),
            (true, false) => Err(MaterialError::NotYetValid(*self.valid.start())),
            (false, false) => Ok(()),
        }
    }

    /// The last second, since 1970, at which it and its chain are valid: peers refuse it from the next one on.
    #[must_use]
    pub fn ends(&self) -> u64 {
        *self.valid.end()
    }

    /// The moment nearest to this one at which it and its chain are valid, in seconds since 1970.
    pub(super) fn moment(&self, now: u64) -> u64 {
        now.max(*self.valid.start()).min(*self.valid.end())
    }

    /// The SPIFFE ID in it.
    #[must_use]
    pub fn id(&self) -> Option<&SpiffeId> {
        self.id.as_ref()
    }

    /// Whether it is the same certificate and chain. A certificate has one key.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// For rustls.
    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether it is valid for this server name (RFC 6125 §6.4).
    pub(super) fn is_for(&self, name: &rustls::pki_types::ServerName<'_>) -> bool {
        let leaf = self.key.cert.first().and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok());
        leaf.is_some_and(|leaf| leaf.verify_is_valid_for_subject_name(name).is_ok())
    }
}

impl Roots {
    /// Reads roots, PEM.
    ///
    /// # Errors
    ///
    /// Why they cannot be used.
    pub fn from_pem(pem: &[u8]) -> Result<Self, MaterialError> {
        Self::new(certificates(pem)?)
    }

    /// Reads roots, DER.
    ///
    /// # Errors
    ///
    /// Why they cannot be used.
    pub fn from_der(roots: Vec<&[u8]>) -> Result<Self, MaterialError> {
        if roots.is_empty() {
            return Err(MaterialError::NoCertificate);
        }
        Self::new(roots.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect())
    }

    fn new(der: Vec<CertificateDer<'static>>) -> Result<Self, MaterialError> {
        let mut anchors = Vec::with_capacity(der.len());
        let mut not_after = 0;
        for (at, root) in der.iter().enumerate() {
            let facts = Facts::read(root).ok_or(MaterialError::Malformed(at + 1))?;
            // Version 1 certificates, which cannot say so, are no authorities here.
            if facts.authority == Authority::No {
                return Err(MaterialError::NotAuthority(at + 1));
            }
            let anchor = webpki::anchor_from_trusted_cert(root).map_err(|_| MaterialError::Malformed(at + 1))?;
            anchors.push(anchor.to_owned());
            not_after = not_after.max(facts.not_after);
        }
        Ok(Self { anchors: anchors.into(), der: der.into(), not_after })
    }

    /// Roots that vouch for nobody: those of a trust domain whose bundle is empty (SPIFFE Trust Domain and Bundle §4.1.3), by
    /// which it takes back all that it issued.
    #[must_use]
    pub fn none() -> Self {
        Self { anchors: Box::default(), der: Box::default(), not_after: 0 }
    }

    /// Whether they vouch for nobody.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Whether they are the same roots.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.der == other.der
    }

    /// Seconds since 1970 at which the last of them ends.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

impl Bundles {
    /// Roots by trust domain, each domain once.
    #[must_use]
    pub fn new(bundles: Vec<(TrustDomain, Arc<Roots>)>) -> Self {
        Self(bundles)
    }

    /// The roots of a trust domain.
    #[must_use]
    pub fn of(&self, domain: &TrustDomain) -> Option<&Roots> {
        self.0.iter().find(|(known, _)| known == domain).map(|(_, roots)| &**roots)
    }

    /// Each domain and its roots.
    pub fn iter(&self) -> impl Iterator<Item = &(TrustDomain, Arc<Roots>)> {
        self.0.iter()
    }

    /// Whether they are the same roots of the same domains.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len() && pairs.all(|(a, b)| a.0 == b.0 && a.1.same_as(&b.1))
    }
}

impl Svid {
    /// Who we are, from a certificate and whom to believe.
    ///
    /// # Errors
    ///
    /// When the certificate has no SPIFFE ID.
    pub fn new(certificate: Arc<Certificate>, bundles: Arc<Bundles>) -> Result<Self, MaterialError> {
        if certificate.id.is_none() {
            let leaf = certificate.key.cert.first().and_then(|leaf| Facts::read(leaf));
            let why = leaf.map_or(Refusal::Malformed, |facts| spiffe_id(&facts).err().unwrap_or(Refusal::Malformed));
            return Err(MaterialError::NoSpiffeId(why));
        }
        Ok(Self { certificate, bundles })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|_| MaterialError::Pem)?;
    if certificates.is_empty() { Err(MaterialError::NoCertificate) } else { Ok(certificates) }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.anchors.len())
    }
}
