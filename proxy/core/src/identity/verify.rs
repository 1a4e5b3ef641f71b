//! Whether a peer is who it says: the decision, pure over certificates, roots and the time.
//!
//! webpki builds the chain (RFC 5280 §6) and judges extended key usage and names. What it leaves out is judged here:
//! bounds of the chain, key usage, and the SPIFFE ID (X509-SVID §4, §5): which roots may vouch for a peer follows from the trust domain
//! it claims, never from all the roots there are.

use super::{
    certificate::{Authority, Facts},
    material::{Bundles, Roots},
};
use pillion_config::model::{SpiffeId, SpiffeMatch};
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use std::{fmt, sync::Arc, time::Duration};
use webpki::{EndEntityCert, KeyUsage};

/// Certificates of a chain, leaf included. Three are usual.
const MAX_CERTIFICATES: usize = 8;
/// Bytes of all of them: eight with RSA keys of 4096 bits fit.
const MAX_BYTES: usize = 32 * 1024;

/// What makes a peer the right one.
#[derive(Debug, Clone)]
pub enum Judge {
    /// A SPIFFE ID that its trust domain's roots vouch for.
    Spiffe {
        /// Roots by trust domain.
        bundles: Arc<Bundles>,
        /// IDs of which it must have one; empty: any.
        ids: Box<[SpiffeMatch]>,
    },
    /// Whatever these roots vouch for.
    Roots(Arc<Roots>),
    /// What these roots vouch for, if it has one of these names; none: the one asked for.
    Names(Arc<Roots>, Box<[ServerName<'static>]>),
}

/// Which side of the handshake the peer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It connected to us.
    Client,
    /// We connected to it.
    Server,
}

/// Why a peer's certificate is refused. The names are label values of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// More certificates than any chain needs.
    ChainTooLong,
    /// More bytes than any chain needs.
    ChainTooLarge,
    /// A certificate is none.
    Malformed,
    /// No name of kind URI: no SPIFFE ID.
    NoSpiffeId,
    /// Several names of kind URI (X509-SVID §2).
    SeveralUris,
    /// A URI that is no SPIFFE ID of a workload.
    BadSpiffeId,
    /// No bundle of its trust domain.
    UnknownTrustDomain,
    /// It is not the ID expected.
    UnexpectedId,
    /// It has not the name expected.
    NameMismatch,
    /// No root vouches for it.
    UnknownIssuer,
    /// Its time, or that of a certificate above it, is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Its key, or one above it, may not be used so.
    KeyUsage,
    /// It is not for this side of TLS.
    ExtendedKeyUsage,
    /// A signature in the chain is wrong.
    BadSignature,
    /// An authority's own certificate, or a constraint of one above it broken, or what else webpki refuses.
    BadChain,
}

impl Refusal {
    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ChainTooLong => "chain_too_long",
            Self::ChainTooLarge => "chain_too_large",
            Self::Malformed => "certificate_malformed",
            Self::NoSpiffeId => "no_spiffe_id",
            Self::SeveralUris => "several_uris",
            Self::BadSpiffeId => "bad_spiffe_id",
            Self::UnknownTrustDomain => "unknown_trust_domain",
            Self::UnexpectedId => "unexpected_id",
            Self::NameMismatch => "name_mismatch",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Expired => "certificate_expired",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::KeyUsage => "key_usage",
            Self::ExtendedKeyUsage => "extended_key_usage",
            Self::BadSignature => "certificate_signature",
            Self::BadChain => "bad_chain",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Refusal {}

/// The SPIFFE ID a certificate claims (X509-SVID §2, §4.1): exactly one URI, and that a workload's ID, read strictly.
///
/// # Errors
///
/// Why it has none.
pub fn spiffe_id(facts: &Facts<'_>) -> Result<SpiffeId, Refusal> {
    match facts.uris.as_slice() {
        [] => Err(Refusal::NoSpiffeId),
        // SPIFFE IDs are ASCII without control characters: an embedded NUL or a character of another script ends here.
        [uri] => {
            let id = std::str::from_utf8(uri).ok().and_then(SpiffeId::parse);
            id.filter(SpiffeId::names_a_workload).ok_or(Refusal::BadSpiffeId)
        }
        [_, _, ..] => Err(Refusal::SeveralUris),
    }
}

/// Judges a peer's chain at a time. `asked` is the server name asked for, where that matters.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn verify(
    judge: &Judge,
    side: Side,
    (leaf, above): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    asked: Option<&ServerName<'_>>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> Result<(), Refusal> {
    if above.len() >= MAX_CERTIFICATES {
        return Err(Refusal::ChainTooLong);
    }
    if leaf.len() + above.iter().map(|der| der.len()).sum::<usize>() > MAX_BYTES {
        return Err(Refusal::ChainTooLarge);
    }
    let facts = Facts::read(leaf).ok_or(Refusal::Malformed)?;
    let parsed = EndEntityCert::try_from(leaf).map_err(|error| refusal(&error))?;
    let (roots, id) = match judge {
        Judge::Spiffe { bundles, .. } => {
            let id = spiffe_id(&facts)?;
            (bundles.of(id.domain()).ok_or(Refusal::UnknownTrustDomain)?, Some(id))
        }
        Judge::Roots(roots) | Judge::Names(roots, _) => (&**roots, None),
    };
    key_usage(&facts, judge)?;
    let usage = match side {
        Side::Client => KeyUsage::client_auth(),
        Side::Server => KeyUsage::server_auth(),
    };
    let path = parsed
        .verify_for_usage(algorithms, roots.anchors(), above, now, usage, None, None)
        .map_err(|error| refusal(&error))?;
    for authority in path.intermediate_certificates() {
        let der = authority.der();
        let facts = Facts::read(&der).ok_or(Refusal::Malformed)?;
        if facts.key_usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(Refusal::KeyUsage);
        }
    }
    let named = |name: &ServerName<'_>| parsed.verify_is_valid_for_subject_name(name).is_ok();
    match (judge, id) {
        (Judge::Spiffe { ids, .. }, Some(id)) => {
            let expected = ids.is_empty() || ids.iter().any(|wanted| wanted.meets(&id));
            if expected { Ok(()) } else { Err(Refusal::UnexpectedId) }
        }
        (Judge::Names(_, names), _) => {
            let good = if names.is_empty() { asked.is_some_and(named) } else { names.iter().any(named) };
            if good { Ok(()) } else { Err(Refusal::NameMismatch) }
        }
        (Judge::Roots(_) | Judge::Spiffe { .. }, _) => Ok(()),
    }
}

/// Judges a chain once more that was judged before, by what is believed now. That its time is over since is no matter: a
/// connection may outlive a certificate.
///
/// # Errors
///
/// Why it would be refused now.
pub(super) fn verify_again(
    judge: &Judge,
    side: Side,
    (leaf, above): (&CertificateDer<'_>, &[CertificateDer<'_>]),
    asked: Option<&ServerName<'_>>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Refusal> {
    let chain = [leaf].into_iter().chain(above);
    let ends = chain.filter_map(|der| Facts::read(der)).map(|facts| facts.not_after).min();
    let at = UnixTime::now().as_secs().min(ends.unwrap_or(u64::MAX));
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
    verify(judge, side, (leaf, above), asked, algorithms, at)
}

/// Whether every certificate of a chain that was judged before is within its time still: what a resumed session
/// restores is not judged again by rustls.
///
/// # Errors
///
/// Which end of it was missed.
pub fn still_valid(chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Refusal> {
    for der in chain {
        let facts = Facts::read(der).ok_or(Refusal::Malformed)?;
        if now.as_secs() > facts.not_after {
            return Err(Refusal::Expired);
        }
        if now.as_secs() < facts.not_before {
            return Err(Refusal::NotYetValid);
        }
    }
    Ok(())
}

/// X509-SVID §4.3: a workload's key signs handshakes and nothing else. Others may leave the extension out.
fn key_usage(facts: &Facts<'_>, judge: &Judge) -> Result<(), Refusal> {
    let svid = matches!(judge, Judge::Spiffe { .. });
    if svid && facts.authority == Authority::Yes {
        return Err(Refusal::BadChain);
    }
    match facts.key_usage {
        None if svid => Err(Refusal::KeyUsage),
        None => Ok(()),
        Some(usage) if !usage.digital_signature() => Err(Refusal::KeyUsage),
        Some(usage) if usage.key_cert_sign() || usage.crl_sign() => Err(Refusal::KeyUsage),
        Some(_) => Ok(()),
    }
}

fn refusal(error: &webpki::Error) -> Refusal {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => Refusal::Expired,
        Error::CertNotValidYet { .. } => Refusal::NotYetValid,
        Error::UnknownIssuer => Refusal::UnknownIssuer,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Refusal::ExtendedKeyUsage,
        Error::InvalidSignatureForPublicKey | Error::SignatureAlgorithmMismatch => Refusal::BadSignature,
        Error::BadDer
        | Error::BadDerTime
        | Error::MalformedExtensions
        | Error::ExtensionValueInvalid
        | Error::InvalidCertValidity
        | Error::InvalidSerialNumber
        | Error::TrailingData(_)
        | Error::UnsupportedCertVersion => Refusal::Malformed,
        // webpki's list is open: what it adds is a fault of the chain.
        _ => Refusal::BadChain,
    }
}
