//! How the identity stands: what is amiss with it, in words for the operator.
//!
//! Pure but for the time.

use super::now;
use pillion_config::model::{Config, Direction, ListenerTlsMode, TrustDomain};
use pillion_core::{
    identity::{Bundles, Roots, Secrets},
    telemetry::utc,
};

/// What is amiss with an identity that is in use, for `/ready`, and for `check`.
pub fn amiss(secrets: &Secrets) -> impl Iterator<Item = String> {
    let ended = secrets.identity.as_ref().filter(|_| has_ended(secrets)).map(|svid| {
        let id = svid.certificate.id().map_or("its certificate", |id| id.as_str());
        let ends = svid.certificate.ends();
        let time = utc(ends);
        format!(
            "identity: {id} was valid until {ends} (seconds since 1970; {time}) and was not renewed: peers refuse it"
        )
    });
    let bundles = secrets.identity.as_ref().map(|svid| &*svid.bundles);
    let empty = bundles.into_iter().flat_map(Bundles::iter).filter(|(_, roots)| roots.is_none());
    let empty = empty.map(|(domain, _)| format!("identity: the bundle of {domain} is empty: its peers are refused"));
    ended.into_iter().chain(without_own_roots(secrets)).chain(empty)
}

/// Whether the identity's certificate, or one of its chain, is over.
#[must_use]
pub fn has_ended(secrets: &Secrets) -> bool {
    secrets.identity.as_ref().is_some_and(|svid| svid.certificate.ends() < now())
}

/// Whether nobody who comes in is served without the identity: each inbound listener shows it, and speaks nothing but TLS.
#[must_use]
pub fn serves_by_identity_alone(config: &Config) -> bool {
    let mut inbound = config.listeners.iter().filter(|listener| listener.direction == Direction::Inbound).peekable();
    let strict = |mode| mode == ListenerTlsMode::Strict;
    inbound.peek().is_some()
        && inbound.all(|listener| {
            listener.tls.as_ref().is_some_and(|tls| {
                let exceptions = tls.exceptions.iter().map(|(_, mode)| *mode);
                tls.certificates.is_empty() && exceptions.chain([tls.mode]).all(strict)
            })
        })
}

/// What an operator is to be told of an identity whose own trust domain's roots are not there: peers of that domain are
/// refused.
pub(super) fn without_own_roots(secrets: &Secrets) -> Option<String> {
    let svid = secrets.identity.as_ref()?;
    let id = svid.certificate.id()?;
    svid.bundles.of(id.domain()).is_none().then(|| {
        format!(
            "identity: {id} is of trust domain {0}, of which there is no bundle: peers of {0} are refused; add it to \
             trust_bundles unless all peers are of other domains",
            id.domain()
        )
    })
}

/// The trust domains that have no roots since now: their bundle is empty, or gone.
pub(super) fn lost_roots<'a>(before: Option<&'a Bundles>, now: &'a Bundles) -> Vec<&'a TrustDomain> {
    let has = |bundles: &Bundles, domain| bundles.of(domain).is_some_and(|roots| !roots.is_none());
    let empty = |bundles: &Bundles, domain| bundles.of(domain).is_some_and(Roots::is_none);
    let emptied = now.iter().map(|(domain, _)| domain);
    let emptied = emptied.filter(|domain| empty(now, domain) && !before.is_some_and(|before| empty(before, domain)));
    let gone = before.into_iter().flat_map(Bundles::iter).map(|(domain, _)| domain);
    let gone = gone.filter(|domain| before.is_some_and(|before| has(before, domain)) && now.of(domain).is_none());
    emptied.chain(gone).collect()
}
