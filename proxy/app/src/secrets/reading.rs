//! What is read: every file that a configuration speaks of, and what of it can be used.

use super::now;
use crate::workload_api::{Came, Told};
use pillion_config::model::{
    CertificateFiles, ClusterTlsMode, Config, IdentitySource, ListenerTls, ListenerTlsMode, ServerVerification,
    TrustBundle,
};
use pillion_core::{
    identity::{Bundles, Certificate, MaterialError, Refusal, Roots, Secrets, Side, Svid, believable},
    telemetry::metrics::IdentityOrigin,
};
use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// Bytes of a file: all the roots of the Web are 220 KiB.
const MAX_FILE: u64 = 4 << 20;

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    /// Everything that can be used, what was known before included.
    pub secrets: Arc<Secrets>,
    /// What cannot, and why.
    pub problems: Vec<Problem>,
    /// Every file looked at.
    pub files: Vec<PathBuf>,
    /// When the first of what is not valid yet becomes so, in seconds since 1970.
    pub(super) due: Option<u64>,
    /// When reading began.
    pub(super) began: Option<SystemTime>,
}

/// Why a file, or a pair of files, cannot be used.
#[derive(Debug)]
pub struct Problem {
    what: String,
    why: Why,
    pub(super) origin: IdentityOrigin,
    /// What is in use instead.
    pub(super) kept: Kept,
}

/// What is in use instead of what cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing: nothing of its kind was known before.
    Nothing,
    /// What was before.
    Before,
    /// Of an identity the certificate that was before, with the roots that are told now.
    Certificate,
}

#[derive(Debug)]
enum Why {
    Read(io::Error),
    Material(MaterialError),
    TooLarge,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.what)?;
        match &self.why {
            Why::Read(error) => write!(f, "cannot be read: {error}"),
            Why::Material(error) => error.fmt(f),
            Why::TooLarge => write!(f, "is larger than {MAX_FILE} bytes"),
        }
    }
}

impl Problem {
    /// It, and what is in use instead.
    #[must_use]
    pub fn words(&self) -> String {
        let instead = match self.kept {
            Kept::Nothing => "there is no other yet",
            Kept::Before => "what was in use before stays",
            Kept::Certificate => "the certificate in use before stays, the roots told are in use",
        };
        format!("{self}; {instead}")
    }
}

impl Kept {
    fn of(known: bool) -> Self {
        if known { Self::Before } else { Self::Nothing }
    }
}

/// Reads what a configuration speaks of; what cannot be read stays as it is `known`. `told` is the identity that an agent
/// told. Blocks on the file system.
#[must_use]
pub fn read(config: &Config, known: &Secrets, told: Option<Told>) -> Read {
    let mut reading = Reading { problems: Vec::new(), files: BTreeSet::new(), due: None };
    let began = SystemTime::now();
    let mut secrets = Secrets { identity: reading.identity(config, known, told), ..Secrets::default() };
    for tls in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        for files in &tls.certificates {
            let before = known.certificates.get(files);
            if let Some(certificate) = reading.certificate(files, before) {
                secrets.certificates.insert(files.clone(), certificate);
            }
        }
        if let Some(path) = &tls.client_roots {
            reading.roots_into(path, known, &mut secrets);
        }
    }
    for tls in config.clusters.iter().filter_map(|cluster| cluster.tls.as_ref()) {
        match &tls.verification {
            ServerVerification::Names { roots, .. } | ServerVerification::DangerAnyName { roots } => {
                reading.roots_into(roots, known, &mut secrets);
            }
            ServerVerification::SpiffeIds(_) | ServerVerification::DangerAnyone => {}
        }
    }
    Read {
        secrets: Arc::new(secrets),
        problems: reading.problems,
        files: reading.files.into_iter().collect(),
        due: reading.due,
        began: Some(began),
    }
}

struct Reading {
    problems: Vec<Problem>,
    files: BTreeSet<PathBuf>,
    due: Option<u64>,
}

impl Reading {
    fn identity(&mut self, config: &Config, known: &Secrets, told: Option<Told>) -> Option<Svid> {
        let sides = shown(config);
        let before = known.identity.as_ref();
        let files = match &config.identity.as_ref()?.source {
            IdentitySource::Files(files) => files,
            IdentitySource::WorkloadApi(api) => {
                let Some(told) = told else { return before.cloned() };
                return self.told(told, before, &sides, &api.socket.display().to_string());
            }
        };
        let certificate = self.certificate(&files.certificate, before.map(|svid| &svid.certificate));
        let mut bundles = Vec::with_capacity(files.trust_bundles.len());
        for TrustBundle { domain, path } in &files.trust_bundles {
            let known = before.and_then(|svid| svid.bundles.iter().find(|(known, _)| known == domain));
            let roots = self.roots(path, known.map(|(_, roots)| roots));
            bundles.extend(roots.map(|roots| (domain.clone(), roots)));
        }
        let whole = bundles.len() == files.trust_bundles.len();
        let bundles = Bundles::new(bundles);
        let bundles = match before {
            Some(before) if before.bundles.same_as(&bundles) => Arc::clone(&before.bundles),
            Some(_) | None => Arc::new(bundles),
        };
        let certificate = match certificate {
            Some(certificate) if whole => {
                let origin = (IdentityOrigin::Files, files.certificate.chain.display().to_string());
                self.believed(certificate, &bundles, before, &sides, origin)
            }
            Some(_) | None => return before.cloned(),
        };
        certificate.map(|certificate| Svid { certificate, bundles })
    }

    /// What becomes of what an agent told. What came in one message goes together, both or neither: roots that do not vouch for
    /// the certificate they came with are not what peers have.
    fn told(&mut self, told: Told, before: Option<&Svid>, sides: &[Side], socket: &str) -> Option<Svid> {
        let Told { svid: Svid { certificate: new, bundles }, roots } = told;
        let since = self.problems.len();
        let origin = IdentityOrigin::WorkloadApi;
        let mut certificate = Arc::clone(&new);
        if let Some(before) = before {
            certificate = self.valid(certificate, &before.certificate, origin, || socket.to_owned());
        }
        if Arc::ptr_eq(&certificate, &new) || roots == Came::Alone {
            certificate = self.believed(certificate, &bundles, before, sides, (origin, socket.to_owned()))?;
        }
        match (self.problems.get_mut(since..), roots) {
            (None | Some([]), _) => {}
            (Some(_), Came::Together) => return before.cloned(),
            (Some(problems), Came::Alone) => problems.iter_mut().for_each(|problem| problem.kept = Kept::Certificate),
        }
        Some(Svid { certificate, bundles })
    }

    /// What becomes of a certificate of ours that may be new: one that peers would refuse, who believe these roots, takes the
    /// place of none, and is no identity.
    fn believed(
        &mut self,
        new: Arc<Certificate>,
        bundles: &Arc<Bundles>,
        before: Option<&Svid>,
        sides: &[Side],
        (origin, what): (IdentityOrigin, String),
    ) -> Option<Arc<Certificate>> {
        let judged = Svid::new(Arc::clone(&new), Arc::clone(bundles)).and_then(|svid| {
            let known = |of: &Svid| of.certificate.id().is_some_and(|id| bundles.of(id.domain()).is_some());
            // Where there never were roots of our own domain, as where peers are of others alone, there is nothing to miss.
            if before.is_some_and(known) && !known(&svid) {
                return Err(MaterialError::Refused(Refusal::UnknownTrustDomain));
            }
            believable(&new, bundles, sides).map_err(MaterialError::Refused)
        });
        match judged {
            Ok(()) => Some(new),
            Err(error) => {
                self.problems.push(Problem {
                    what,
                    why: Why::Material(error),
                    origin,
                    kept: Kept::of(before.is_some()),
                });
                before.map(|svid| Arc::clone(&svid.certificate))
            }
        }
    }

    /// What becomes of a certificate that is `new`, where there is one `before` it: one that is not valid now takes the place of
    /// none that is.
    fn valid(
        &mut self,
        new: Arc<Certificate>,
        before: &Arc<Certificate>,
        origin: IdentityOrigin,
        what: impl FnOnce() -> String,
    ) -> Arc<Certificate> {
        let now = now();
        match new.valid_at(now) {
            Err(error) if before.valid_at(now).is_ok() => {
                if let MaterialError::NotYetValid(from) = error {
                    self.due = Some(self.due.map_or(from, |due| due.min(from)));
                }
                self.problems.push(Problem { what: what(), why: Why::Material(error), origin, kept: Kept::Before });
                Arc::clone(before)
            }
            Ok(()) | Err(_) => new,
        }
    }

    /// Notes of the problems since the one of this number whether there is something that stays.
    fn kept(&mut self, since: usize, kept: bool) {
        for problem in self.problems.iter_mut().skip(since) {
            problem.kept = Kept::of(kept);
        }
    }

    fn certificate(&mut self, files: &CertificateFiles, known: Option<&Arc<Certificate>>) -> Option<Arc<Certificate>> {
        let since = self.problems.len();
        let certificate = self.certificate_now(files, known);
        self.kept(since, known.is_some());
        certificate
    }

    fn certificate_now(
        &mut self,
        files: &CertificateFiles,
        known: Option<&Arc<Certificate>>,
    ) -> Option<Arc<Certificate>> {
        let what = || format!("{} with {}", files.chain.display(), files.key.display());
        let mut read = || {
            let chain = self.file(&files.chain);
            let key = self.file(&files.key);
            Some(Certificate::from_pem(&chain?, &key?))
        };
        let made = match read() {
            // Both were swapped at once, as Kubernetes does it, between the two reads.
            Some(Err(MaterialError::Mismatch)) => read(),
            made => made,
        };
        let Some(made) = made else { return known.cloned() };
        match made {
            Ok(certificate) => match known {
                Some(known) if known.same_as(&certificate) => Some(Arc::clone(known)),
                Some(known) => Some(self.valid(Arc::new(certificate), known, IdentityOrigin::Files, what)),
                None => Some(Arc::new(certificate)),
            },
            Err(error) => {
                self.push(what(), Why::Material(error));
                known.cloned()
            }
        }
    }

    fn roots_into(&mut self, path: &Path, known: &Secrets, secrets: &mut Secrets) {
        if secrets.roots.contains_key(path) {
            return;
        }
        if let Some(roots) = self.roots(path, known.roots.get(path)) {
            secrets.roots.insert(path.to_owned(), roots);
        }
    }

    fn roots(&mut self, path: &Path, known: Option<&Arc<Roots>>) -> Option<Arc<Roots>> {
        let since = self.problems.len();
        let roots = self.roots_now(path, known);
        self.kept(since, known.is_some());
        roots
    }

    fn roots_now(&mut self, path: &Path, known: Option<&Arc<Roots>>) -> Option<Arc<Roots>> {
        let Some(pem) = self.file(path) else { return known.cloned() };
        match Roots::from_pem(&pem) {
            Ok(roots) => match known {
                Some(known) if known.same_as(&roots) => Some(Arc::clone(known)),
                Some(_) | None => Some(Arc::new(roots)),
            },
            Err(error) => {
                self.push(path.display().to_string(), Why::Material(error));
                known.cloned()
            }
        }
    }

    fn file(&mut self, path: &Path) -> Option<Vec<u8>> {
        self.files.insert(path.to_owned());
        let why = match pillion_config::read_referenced(path) {
            Ok(bytes) if bytes.len() as u64 <= MAX_FILE => return Some(bytes),
            Ok(_) => Why::TooLarge,
            Err(error) => Why::Read(error),
        };
        self.push(path.display().to_string(), why);
        None
    }

    fn push(&mut self, what: String, why: Why) {
        self.problems.push(Problem { what, why, origin: IdentityOrigin::Files, kept: Kept::Nothing });
    }
}

/// On which sides of handshakes the identity is shown to peers.
fn shown(config: &Config) -> Vec<Side> {
    let identity = |tls: &ListenerTls| {
        let modes = tls.exceptions.iter().map(|(_, mode)| *mode).chain([tls.mode]);
        tls.certificates.is_empty() && modes.into_iter().any(|mode| mode != ListenerTlsMode::Off)
    };
    let serves = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()).any(identity);
    let clusters = config.clusters.iter().filter_map(|cluster| cluster.tls.as_ref());
    let dials = clusters.into_iter().any(|tls| match tls.mode {
        ClusterTlsMode::Mutual | ClusterTlsMode::MutualIfIdentity => true,
        ClusterTlsMode::Tls => false,
    });
    [(serves, Side::Server), (dials, Side::Client)].into_iter().filter(|(is, _)| *is).map(|(_, side)| side).collect()
}

/// Why peers would refuse our identity where this configuration shows it and the one before it does not: as a client's, say, where
/// it was issued for servers alone. At a start nobody would be ready with it; a reload need not take that from those who are served.
#[must_use]
pub fn refused_anew(config: &Config, before: &Config, secrets: &Secrets) -> Option<String> {
    let svid = secrets.identity.as_ref()?;
    let known = shown(before);
    let anew: Vec<Side> = shown(config).into_iter().filter(|side| !known.contains(side)).collect();
    let refusal = believable(&svid.certificate, &svid.bundles, &anew).err()?;
    Some(format!("identity: {}", MaterialError::Refused(refusal)))
}
