//! Whether peers will believe us: our own certificate, judged by exactly what theirs are judged by.
//!
//! Pure. Asked before a certificate takes the place of one that was good: shown to peers it would cost every handshake.

use super::{
    material::{Bundles, Certificate, Roots},
    provider::provider,
    verify::{Judge, Refusal, Side, verify},
};
use rustls::pki_types::UnixTime;
use std::{sync::Arc, time::Duration};

/// Judges a certificate of ours as peers do to whom it is shown on these sides of a handshake, by the roots of its own trust
/// domain. Where there are none nobody here can say who vouches for it, and the rest is judged. Its time is no matter:
/// [`Certificate::valid_at`] tells.
///
/// # Errors
///
/// Why peers would refuse it.
pub fn believable(certificate: &Certificate, bundles: &Arc<Bundles>, sides: &[Side]) -> Result<(), Refusal> {
    let [leaf, above @ ..] = &certificate.key().cert[..] else { return Err(Refusal::Malformed) };
    // Without one it is refused below, before its trust domain is asked for.
    let domain = certificate.id().map(|id| id.domain());
    let unknown = domain.filter(|domain| bundles.of(domain).is_none());
    let bundles = match unknown {
        None => Arc::clone(bundles),
        Some(domain) => Arc::new(Bundles::new(vec![(domain.clone(), Arc::new(Roots::none()))])),
    };
    let judge = Judge::Spiffe { bundles, ids: Box::default() };
    let at = UnixTime::since_unix_epoch(Duration::from_secs(certificate.moment(UnixTime::now().as_secs())));
    for side in sides {
        let algorithms = provider().signature_verification_algorithms.all;
        match verify(&judge, *side, (leaf, above), None, algorithms, at) {
            // A chain of which no moment is all within its time.
            Ok(()) | Err(Refusal::Expired | Refusal::NotYetValid) => {}
            Err(Refusal::UnknownIssuer) if unknown.is_some() => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

/// What to do about it, for the operator.
pub(super) fn remedy(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::KeyUsage => {
            "issue it with keyUsage digitalSignature, without keyCertSign and cRLSign; authorities above it need keyCertSign"
        }
        Refusal::ExtendedKeyUsage => {
            "issue it with extendedKeyUsage serverAuth and clientAuth, or without that extension"
        }
        Refusal::BadChain => "issue it as a workload's (CA:FALSE), within the constraints of the authorities above it",
        Refusal::UnknownTrustDomain => {
            "there is no bundle of its trust domain, as there was of the one before: correct its SPIFFE ID, or add the bundle"
        }
        Refusal::UnknownIssuer | Refusal::BadSignature => {
            "no root in the bundle of its trust domain vouches for it: put that root into the bundle, and what leads to it \
             behind the certificate"
        }
        Refusal::NoSpiffeId | Refusal::SeveralUris | Refusal::BadSpiffeId => {
            "issue it with exactly one URI among its names, spiffe://…"
        }
        Refusal::ChainTooLong | Refusal::ChainTooLarge => "leave out what does not lead to a root",
        Refusal::Malformed
        | Refusal::UnexpectedId
        | Refusal::NameMismatch
        | Refusal::Expired
        | Refusal::NotYetValid => "issue another",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_config::model::TrustDomain;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose as Purpose, IsCa, KeyPair,
        KeyUsagePurpose as Usage, SanType, date_time_ymd,
    };

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Usage::KeyCertSign];
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Judged with these roots of `example.org`.
    fn judged(
        issuer: &CertifiedIssuer<'static, KeyPair>,
        roots: &CertifiedIssuer<'static, KeyPair>,
        sides: &[Side],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<(), Refusal> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI("spiffe://example.org/web".try_into().unwrap())];
        params.key_usages = vec![Usage::DigitalSignature];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, issuer).unwrap().pem();
        let certificate = Certificate::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let roots = Arc::new(Roots::from_pem(roots.pem().as_bytes()).unwrap());
        let bundles = Bundles::new(vec![(TrustDomain::parse("example.org").unwrap(), roots)]);
        believable(&certificate, &Arc::new(bundles), sides)
    }

    #[test]
    fn what_peers_refuse_is_refused_here() {
        type Change = fn(&mut CertificateParams);
        let (root, both) = (authority(), &[Side::Client, Side::Server][..]);
        let cases: &[(&[Side], Change, Result<(), Refusal>)] = &[
            (both, |_| {}, Ok(())),
            (both, |p| p.extended_key_usages = vec![Purpose::ServerAuth, Purpose::ClientAuth], Ok(())),
            (both, |p| p.extended_key_usages = vec![Purpose::ServerAuth], Err(Refusal::ExtendedKeyUsage)),
            (both, |p| p.extended_key_usages = vec![Purpose::ClientAuth], Err(Refusal::ExtendedKeyUsage)),
            // One side is enough where it is shown on that side alone.
            (&[Side::Server], |p| p.extended_key_usages = vec![Purpose::ServerAuth], Ok(())),
            (&[Side::Client], |p| p.extended_key_usages = vec![Purpose::ClientAuth], Ok(())),
            (
                &[Side::Server],
                |p| p.extended_key_usages = vec![Purpose::EmailProtection],
                Err(Refusal::ExtendedKeyUsage),
            ),
            (both, |p| p.key_usages = vec![], Err(Refusal::KeyUsage)),
            (both, |p| p.key_usages = vec![Usage::KeyAgreement], Err(Refusal::KeyUsage)),
            (both, |p| p.key_usages = vec![Usage::DigitalSignature, Usage::KeyCertSign], Err(Refusal::KeyUsage)),
            (both, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), Err(Refusal::BadChain)),
            // Its time is another question, whatever else is asked.
            (both, |p| p.not_after = date_time_ymd(2001, 1, 1), Ok(())),
            (both, |p| p.not_before = date_time_ymd(2090, 1, 1), Ok(())),
            (
                both,
                |p| {
                    p.not_after = date_time_ymd(2001, 1, 1);
                    p.extended_key_usages = vec![Purpose::EmailProtection];
                },
                Err(Refusal::ExtendedKeyUsage),
            ),
            // Of a trust domain without roots everything but who vouches for it.
            (both, |p| p.subject_alt_names = vec![SanType::URI("spiffe://other.org/x".try_into().unwrap())], Ok(())),
            (
                both,
                |p| {
                    p.subject_alt_names = vec![SanType::URI("spiffe://other.org/x".try_into().unwrap())];
                    p.extended_key_usages = vec![Purpose::EmailProtection];
                },
                Err(Refusal::ExtendedKeyUsage),
            ),
        ];
        for (number, (sides, change, wanted)) in cases.iter().enumerate() {
            assert_eq!(judged(&root, &root, sides, change), *wanted, "case {number}");
        }
    }

    #[test]
    fn one_that_no_root_of_its_domain_vouches_for_is_refused() {
        let (root, other) = (authority(), authority());
        let refused = judged(&root, &other, &[Side::Client, Side::Server], |_| {}).unwrap_err();
        // Roots of one name, as rcgen's default is, differ by their signatures.
        assert!(matches!(refused, Refusal::UnknownIssuer | Refusal::BadSignature), "{refused}");
        assert!(remedy(refused).contains("put that root into the bundle"));
    }
}
