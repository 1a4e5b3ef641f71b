//! Certificates, keys and roots: read from their files, kept while they are good, looked at again when a file changes.
//!
//! Beside the path, on the control thread. The last good one of each stays in use when a new one cannot be read, and
//! what cannot be read is told and counted. Nothing of a key is ever told.

mod reading;
mod standing;

pub use reading::{Problem, Read, read, refused_anew};
pub use standing::{amiss, has_ended, serves_by_identity_alone};

use self::{
    reading::Kept,
    standing::{lost_roots, without_own_roots},
};
use crate::{
    reload::{Reason, Watcher},
    workload_api::{Follower, TakenBack},
};
use pillion_config::model::{Config, IdentitySource};
use pillion_core::{
    identity::Secrets,
    telemetry::{
        metrics::{IdentityMetrics, IdentityOrigin},
        utc,
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The secrets of the configuration in force.
#[derive(Debug)]
pub struct Keeper {
    secrets: Arc<Secrets>,
    watcher: Watcher,
    metrics: IdentityMetrics,
    /// Who tells the identity, where it is no file that does.
    follower: Option<Follower>,
    /// What that says of an identity that is in use all the same.
    taken_back: TakenBack,
    /// What could not be used when that was last looked at.
    told: Vec<String>,
    /// When the identity ends, as far as the operator was warned of it.
    warned: Option<u64>,
    /// When it ended, as far as the operator was told.
    ended: Option<u64>,
    /// When something that was read and not taken becomes valid, in seconds since 1970.
    due: Option<u64>,
}

/// Whether what is wrong differs from what was told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It does, or the operator has changed something and wants to hear of it.
    Some,
    /// It does not.
    None,
}

impl Keeper {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            secrets: Arc::default(),
            watcher: Watcher::default(),
            metrics: IdentityMetrics::default(),
            follower: None,
            taken_back: TakenBack::default(),
            told: Vec::new(),
            warned: None,
            ended: None,
            due: None,
        }
    }

    /// Reads what a configuration speaks of. What cannot be read stays as it is known.
    #[must_use]
    pub fn read(&self, config: &Config) -> Read {
        read(config, &self.secrets, self.follower.as_ref().and_then(Follower::latest))
    }

    /// Keeps what was read, tells and counts what is wrong with it, and watches its files from now on. What was told before is
    /// nobody's news where files are read again in doubt.
    pub fn keep(&mut self, read: Read, config: &Config, reason: Reason) -> News {
        let told: Vec<String> = read.problems.iter().map(Problem::to_string).collect();
        let before = std::mem::replace(&mut self.told, told);
        let news = if reason == Reason::Doubt && self.told == before { News::None } else { News::Some };
        for problem in &read.problems {
            if reason == Reason::Doubt && before.contains(&problem.to_string()) {
                continue;
            }
            match problem.kept {
                Kept::Nothing => tracing::error!(%problem, "not usable, and there is no other yet"),
                Kept::Before => tracing::error!(%problem, "not usable; what was in use before stays"),
                Kept::Certificate => {
                    tracing::error!(%problem, "not usable; the certificate in use before stays, the roots told are in use");
                }
            }
            self.metrics.failure(problem.origin);
        }
        self.due = read.due;
        let before = std::mem::replace(&mut self.secrets, read.secrets);
        if let Some(svid) = &self.secrets.identity {
            let before = before.identity.as_ref();
            let renewed = before.is_none_or(|before| !before.certificate.same_as(&svid.certificate));
            let believed = before.is_none_or(|before| !before.bundles.same_as(&svid.bundles));
            if let Some(id) = svid.certificate.id().filter(|_| renewed || believed) {
                if renewed {
                    let not_after = svid.certificate.not_after();
                    tracing::info!(%id, not_after, ends = utc(not_after), "identity in use");
                } else {
                    let domains = svid.bundles.iter().map(|(domain, _)| domain.as_str()).collect::<Vec<_>>().join(" ");
                    tracing::info!(domains, "roots in use");
                }
                for domain in lost_roots(before.map(|before| &*before.bundles), &svid.bundles) {
                    tracing::info!(trust_domain = %domain, "this trust domain has no roots: its peers are refused");
                }
                if let Some(words) = without_own_roots(&self.secrets) {
                    tracing::warn!("{words}");
                }
                self.metrics.refresh(match config.identity.as_ref().map(|identity| &identity.source) {
                    Some(IdentitySource::WorkloadApi(_)) => IdentityOrigin::WorkloadApi,
                    Some(IdentitySource::Files(_)) | None => IdentityOrigin::Files,
                });
            }
        }
        for (files, certificate) in &self.secrets.certificates {
            if before.certificates.get(files).is_some_and(|before| !before.same_as(certificate)) {
                let not_after = certificate.not_after();
                let file = files.chain.display();
                tracing::info!(%file, not_after, ends = utc(not_after), "renewed certificate in use");
            }
        }
        for (path, roots) in &self.secrets.roots {
            if before.roots.get(path).is_some_and(|before| !before.same_as(roots)) {
                tracing::info!(file = %path.display(), "changed roots in use");
            }
        }
        let identity = self.secrets.identity.as_ref().map(|svid| ("identity".into(), svid.certificate.not_after()));
        let others = self.secrets.certificates.iter();
        let others = others.map(|(files, certificate)| (files.chain.to_string_lossy(), certificate.not_after()));
        for (name, not_after) in identity.into_iter().chain(others) {
            self.metrics.expires(&name, not_after);
        }
        self.watcher.watch(&read.files, read.began.unwrap_or(UNIX_EPOCH));
        self.look_at_expiry(config);
        match config.identity.as_ref().map(|identity| &identity.source) {
            Some(IdentitySource::WorkloadApi(api)) => {
                if self.follower.as_ref().is_none_or(|follower| follower.api() != api) {
                    self.follower = Some(Follower::start(api.clone(), self.taken_back.clone()));
                }
            }
            Some(IdentitySource::Files(_)) | None => self.follower = None,
        }
        news
    }

    /// Whether the agent has taken the identity in use back.
    #[must_use]
    pub fn taken_back(&self) -> &TakenBack {
        &self.taken_back
    }

    /// What is known now.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Waits until a file changed, an agent told another identity, or the time of one has come that was told early. Never
    /// ready without any of them. Cancel-safe.
    pub async fn changed(&mut self) -> Reason {
        let due = self.due;
        let time_has_come = async {
            match due {
                None => std::future::pending().await,
                Some(due) => tokio::time::sleep(Duration::from_secs(due.saturating_sub(now()))).await,
            }
        };
        let told = async {
            match &mut self.follower {
                None => std::future::pending().await,
                Some(follower) => follower.changed().await,
            }
        };
        tokio::select! {
            reason = self.watcher.changed() => return reason,
            () = told => {}
            () = time_has_come => self.due = None,
        }
        Reason::Changed
    }

    /// In what time the identity's end is to be told of next: before it, then when it is there.
    #[must_use]
    pub fn expiry_due(&self, config: &Config) -> Option<Duration> {
        let (svid, identity) = (self.secrets.identity.as_ref()?, config.identity.as_ref()?);
        let ends = svid.certificate.ends();
        let until = |moment: u64| Duration::from_secs(moment.saturating_sub(now()));
        if self.ended == Some(ends) {
            None
        } else if self.warned == Some(ends) {
            // It is valid up to that second, inclusive.
            Some(until(ends.saturating_add(1)))
        } else {
            Some(until(ends).saturating_sub(identity.expiry_warning))
        }
    }

    /// Tells the operator, once for each certificate, that the identity is about to end, and once that it has ended.
    pub fn look_at_expiry(&mut self, config: &Config) {
        if self.expiry_due(config) != Some(Duration::ZERO) {
            return;
        }
        let Some(svid) = &self.secrets.identity else { return };
        let ends = svid.certificate.ends();
        self.warned = Some(ends);
        if has_ended(&self.secrets) {
            self.ended = Some(ends);
            let id = svid.certificate.id().map(tracing::field::display);
            tracing::error!(
                id,
                ended = ends,
                at = utc(ends),
                "the identity's certificate has ended and was not renewed: peers refuse it"
            );
        } else {
            let left = ends.saturating_sub(now());
            tracing::warn!(seconds_left = left, "the identity's certificate is about to end and was not renewed");
        }
    }
}

impl Default for Keeper {
    fn default() -> Self {
        Self::new()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
