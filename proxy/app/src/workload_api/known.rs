//! What an agent has said so far: its messages, judged one by one.
//!
//! Pure, over bytes. A message that lacks what the Workload API demands (§4.5) is reported and changes nothing. Kept from one
//! connection to the next: what a stream tells again when it is opened anew is no news, and takes nothing back that the other
//! stream has told since.

use super::{
    Trouble,
    wire::{self, BundlesResponse, SvidResponse, X509Svid},
};
use pillion_config::model::{SpiffeId, TrustDomain, WorkloadApi};
use pillion_core::identity::{Bundles, Certificate, Roots, Svid};
use std::sync::Arc;

/// Who we are and whom we believe, by what an agent told last.
#[derive(Debug, Clone)]
pub struct Told {
    /// It.
    pub svid: Svid,
    /// What the roots came with.
    pub roots: Came,
}

/// What roots came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The certificate, in one message: both are good, or neither.
    Together,
    /// No certificate: they are what is believed, whatever becomes of the certificate told before.
    Alone,
}

/// What an agent has said so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// As the stream of identities told last.
    identity: Option<Svid>,
    /// As the stream of roots told last.
    roots: Option<Arc<Bundles>>,
    /// The operator was told that a federated bundle is of our own domain.
    said_own: bool,
}

impl Known {
    /// Whether there is an identity.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The identity told last, and when its certificate, or one of its chain, ends.
    pub(super) fn identity_ends(&self) -> Option<(&SpiffeId, u64)> {
        let certificate = &self.identity.as_ref()?.certificate;
        Some((certificate.id()?, certificate.ends()))
    }

    /// Reads what the stream of identities told; `None`: nothing new.
    pub(super) fn identity(&mut self, message: &[u8], api: &WorkloadApi) -> Result<Option<Told>, Trouble> {
        let response = SvidResponse::read(message)?;
        let svid = choose(&response.svids, api.spiffe_id.as_ref())?;
        mandatory(svid)?;
        let chain = wire::elements(svid.chain).ok_or(Trouble::Der("a certificate"))?;
        let certificate = Certificate::from_der(chain, svid.key)?;
        let id = certificate.id().filter(|id| id.as_str() == svid.id);
        let own = id.ok_or_else(|| Trouble::OtherId(svid.id.to_owned()))?.domain().clone();
        let mut bundles = Vec::with_capacity(1 + response.federated.len());
        for (id, der) in response.federated {
            add(&mut bundles, id, der)?;
        }
        // They are those of foreign domains (§5.1): our own has a field of its own, which is not to be had by another way.
        let federated = bundles.len();
        bundles.retain(|(domain, _)| *domain != own);
        let says_own = bundles.len() != federated;
        bundles.push((own.clone(), roots(svid.bundle)?));
        let svid = Svid::new(Arc::new(certificate), Arc::new(sorted(bundles)))?;
        if says_own && !self.said_own {
            tracing::warn!(trust_domain = %own, "federated_bundles has an entry of our own trust domain, which is not taken");
        }
        self.said_own = says_own;
        if self.identity.as_ref().is_some_and(|before| {
            before.certificate.same_as(&svid.certificate) && before.bundles.same_as(&svid.bundles)
        }) {
            return Ok(None);
        }
        self.identity = Some(svid.clone());
        Ok(Some(Told { svid, roots: Came::Together }))
    }

    /// Reads what the stream of roots told; `None`: nothing new, or no identity to go with it yet.
    pub(super) fn roots(&mut self, message: &[u8]) -> Result<Option<Told>, Trouble> {
        let response = BundlesResponse::read(message)?;
        if response.bundles.is_empty() {
            return Err(Trouble::Empty("bundles"));
        }
        let mut bundles = Vec::with_capacity(response.bundles.len());
        for (id, der) in response.bundles {
            add(&mut bundles, id, der)?;
        }
        let bundles = sorted(bundles);
        self.has_own(&bundles)?;
        if self.roots.as_ref().is_some_and(|before| before.same_as(&bundles)) {
            return Ok(None);
        }
        let bundles = Arc::new(bundles);
        self.roots = Some(Arc::clone(&bundles));
        let Some(Svid { certificate, .. }) = &self.identity else { return Ok(None) };
        Ok(Some(Told { svid: Svid::new(Arc::clone(certificate), bundles)?, roots: Came::Alone }))
    }

    /// Judges roots that were told before the identity, now that it is known whose they must be.
    pub(super) fn judge_early_roots(&mut self) -> Result<(), Trouble> {
        let judged = self.roots.as_ref().map_or(Ok(()), |roots| self.has_own(roots));
        if judged.is_err() {
            self.roots = None;
        }
        judged
    }

    /// There is no stream of roots (any more): those that came with the identity are what is believed.
    pub(super) fn no_roots_come(&mut self) -> Option<Told> {
        self.roots.take()?;
        Some(Told { svid: self.identity.clone()?, roots: Came::Together })
    }

    /// `bundles` must have that of our own domain (§5.2.2).
    fn has_own(&self, bundles: &Bundles) -> Result<(), Trouble> {
        let Some(own) = self.identity.as_ref().and_then(|svid| svid.certificate.id()).map(SpiffeId::domain) else {
            return Ok(());
        };
        match bundles.of(own) {
            Some(roots) if !roots.is_none() => Ok(()),
            Some(_) | None => Err(Trouble::NoOwnRoots(own.clone())),
        }
    }
}

/// The identity that is wanted, or the agent's default, which comes first.
fn choose<'a, 'm>(svids: &'a [X509Svid<'m>], wanted: Option<&SpiffeId>) -> Result<&'a X509Svid<'m>, Trouble> {
    let chosen = match wanted {
        None => svids.first(),
        Some(id) => svids.iter().find(|svid| svid.id == id.as_str()),
    };
    chosen.ok_or_else(|| Trouble::NoIdentity(wanted.map_or(String::new(), |id| format!(" {id} among {}", svids.len()))))
}

/// Everything but the hint (§5.2.1).
fn mandatory(svid: &X509Svid<'_>) -> Result<(), Trouble> {
    let fields = [
        ("spiffe_id", svid.id.as_bytes()),
        ("x509_svid", svid.chain),
        ("x509_svid_key", svid.key),
        ("bundle", svid.bundle),
    ];
    match fields.into_iter().find(|(_, value)| value.is_empty()) {
        None => Ok(()),
        Some((name, _)) => Err(Trouble::Empty(name)),
    }
}

fn add(bundles: &mut Vec<(TrustDomain, Arc<Roots>)>, id: &str, der: &[u8]) -> Result<(), Trouble> {
    let name = id.strip_prefix("spiffe://").unwrap_or(id);
    let domain = TrustDomain::parse(name).ok_or_else(|| Trouble::NotADomain(id.chars().take(80).collect()))?;
    // A domain that takes back all that it issued; what it says is no fault, and nobody else's loss.
    let roots = if der.is_empty() { Arc::new(Roots::none()) } else { roots(der)? };
    bundles.retain(|(known, _)| *known != domain);
    bundles.push((domain, roots));
    Ok(())
}

fn roots(der: &[u8]) -> Result<Arc<Roots>, Trouble> {
    let elements = wire::elements(der).ok_or(Trouble::Der("roots"))?;
    Ok(Arc::new(Roots::from_der(elements)?))
}

/// Maps come in any order.
fn sorted(mut bundles: Vec<(TrustDomain, Arc<Roots>)>) -> Bundles {
    bundles.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
    Bundles::new(bundles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose as Usage, SanType,
    };
    use std::path::Path;

    const WEB: &str = "spiffe://example.org/web";

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Usage::KeyCertSign];
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        let length = [0x80 | (length & 0x7F) as u8, 0x80 | ((length >> 7) & 0x7F) as u8, (length >> 14) as u8];
        [&[(number << 3) | 2], &length[..], content].concat()
    }

    fn entry(number: u8, id: &str, roots: &[u8]) -> Vec<u8> {
        field(number, &[field(1, id.as_bytes()), field(2, roots)].concat())
    }

    /// The fields of an `X509SVID`, in their order.
    fn issued(issuer: &Authority) -> [Vec<u8>; 4] {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(WEB.try_into().unwrap())];
        params.key_usages = vec![Usage::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, issuer).unwrap().der().to_vec();
        [WEB.as_bytes().to_vec(), chain, key.serialize_der(), issuer.der().to_vec()]
    }

    fn svid(fields: &[Vec<u8>; 4]) -> Vec<u8> {
        field(1, &(1..).zip(fields).flat_map(|(number, content)| field(number, content)).collect::<Vec<_>>())
    }

    fn api() -> WorkloadApi {
        WorkloadApi { socket: Path::new("agent.sock").into(), spiffe_id: None }
    }

    /// Domains, and how many roots vouch for whom in each.
    fn believed(told: &Told) -> Vec<(&str, bool)> {
        told.svid.bundles.iter().map(|(domain, roots)| (domain.as_str(), !roots.is_none())).collect()
    }

    #[test]
    fn an_empty_federated_bundle_is_a_domain_without_roots_and_no_fault() {
        let (root, other) = (authority(), authority());
        let (mut known, mine) = (Known::default(), svid(&issued(&root)));
        let other = entry(3, "spiffe://other.org", other.der());
        let empty = entry(3, "spiffe://empty.org", &[]);
        let told = known.identity(&[&mine[..], &other, &empty].concat(), &api()).unwrap().unwrap();
        assert_eq!(believed(&told), [("empty.org", false), ("example.org", true), ("other.org", true)]);
        let message = [entry(2, "spiffe://example.org", root.der()), entry(2, "spiffe://other.org", &[])].concat();
        let told = known.roots(&message).unwrap().unwrap();
        assert_eq!((believed(&told), told.roots), (vec![("example.org", true), ("other.org", false)], Came::Alone));
    }

    #[test]
    fn a_message_without_what_is_mandatory_is_named_and_changes_nothing() {
        let root = authority();
        let (fields, own) = (issued(&root), entry(2, "spiffe://example.org", root.der()));
        let mut known = Known::default();
        known.identity(&svid(&fields), &api()).unwrap().unwrap();
        known.roots(&own).unwrap().unwrap();
        for (at, name) in ["spiffe_id", "x509_svid", "x509_svid_key", "bundle"].into_iter().enumerate() {
            let mut without = fields.clone();
            without[at].clear();
            let trouble = known.identity(&svid(&without), &api()).unwrap_err().to_string();
            assert_eq!(trouble, format!("sent a message whose mandatory field `{name}` is empty"));
        }
        let (foreign, empty) = (entry(2, "spiffe://other.org", root.der()), entry(2, "spiffe://example.org", &[]));
        for (message, words) in [
            (&[][..], "mandatory field `bundles` is empty"),
            (&foreign, "mandatory field `bundles` has no roots of example.org, our own trust domain"),
            (&empty, "mandatory field `bundles` has no roots of example.org, our own trust domain"),
        ] {
            let trouble = known.roots(message).unwrap_err().to_string();
            assert!(trouble.contains(words), "{trouble}");
        }
        // What was told before is told still, and so no news.
        assert!(known.identity(&svid(&fields), &api()).unwrap().is_none() && known.roots(&own).unwrap().is_none());
    }

    #[test]
    fn roots_that_came_before_the_identity_are_judged_when_it_is_there() {
        let root = authority();
        let mine = svid(&issued(&root));
        for (domain, good) in [("spiffe://example.org", true), ("spiffe://other.org", false)] {
            let mut known = Known::default();
            assert!(known.roots(&entry(2, domain, root.der())).unwrap().is_none());
            known.judge_early_roots().unwrap();
            assert!(known.identity(&mine, &api()).unwrap().is_some());
            assert_eq!(known.judge_early_roots().is_ok(), good, "{domain}");
        }
    }

    #[test]
    fn our_own_domain_is_not_among_the_federated() {
        let (root, other) = (authority(), authority());
        let message = [svid(&issued(&root)), entry(3, "spiffe://example.org", other.der())].concat();
        let told = Known::default().identity(&message, &api()).unwrap().unwrap();
        let own = Roots::from_der(vec![root.der()]).unwrap();
        assert!(told.svid.bundles.of(&TrustDomain::parse("example.org").unwrap()).unwrap().same_as(&own));
        assert_eq!(told.svid.bundles.iter().count(), 1);
    }

    #[test]
    fn what_a_new_connection_tells_again_takes_nothing_back() {
        let root = authority();
        let mine = [svid(&issued(&root)), entry(3, "spiffe://other.org", root.der())].concat();
        let mut known = Known::default();
        known.identity(&mine, &api()).unwrap().unwrap();
        let own = entry(2, "spiffe://example.org", root.der());
        assert_eq!(believed(&known.roots(&own).unwrap().unwrap()), [("example.org", true)]);
        assert!(known.identity(&mine, &api()).unwrap().is_none(), "it would bring other.org back");
        // Without a stream of roots what came with the identity is all there is.
        let told = known.no_roots_come().unwrap();
        assert_eq!((believed(&told).len(), told.roots), (2, Came::Together));
        assert!(known.no_roots_come().is_none());
    }
}
