//! TLS on listeners and clusters, and the identity of the workload.
//!
//! Certificates and keys are named by their files and never held here: they change without the configuration, and
//! what is here may be shown.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// Who this workload is to its peers, and whom it believes: SPIFFE X.509-SVIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where it comes from.
    pub source: IdentitySource,
    /// Remaining life below which an expiry is warned of.
    pub expiry_warning: Duration,
}

/// Where the identity comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// Files that something else renews.
    Files(IdentityFiles),
    /// The SPIFFE Workload API.
    WorkloadApi(WorkloadApi),
}

/// An agent on this machine that tells workloads who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadApi {
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Which of several identities; `None`: the agent's default.
    pub spiffe_id: Option<SpiffeId>,
}

/// An identity in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate and its key.
    pub certificate: CertificateFiles,
    /// Whom to believe, by trust domain; not empty, each domain once.
    pub trust_bundles: Vec<TrustBundle>,
}

/// A certificate with its chain, and its private key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateFiles {
    /// The leaf first, then what leads to a root.
    pub chain: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// The roots of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustBundle {
    /// Whose.
    pub domain: TrustDomain,
    /// Its roots, PEM.
    pub path: PathBuf,
}

/// How a listener speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Whether connections without TLS are served too.
    pub mode: ListenerTlsMode,
    /// The modes of some ports, in the order of those; each stands once.
    pub exceptions: Vec<(u16, ListenerTlsMode)>,
    /// What is presented, chosen by the server name asked for; empty: the identity.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients show a certificate.
    pub clients: ClientCertificates,
    /// Whose certificates of clients are believed; `None`: those of the identity's trust domains.
    pub client_roots: Option<PathBuf>,
    /// Versions spoken.
    pub versions: TlsVersions,
    /// Application protocols, the preferred one first.
    pub alpn: Vec<Alpn>,
    /// Time from the first byte to the end of the handshake.
    pub handshake_timeout: Duration,
}

impl ListenerTls {
    /// The mode of a port that clients connect to.
    #[must_use]
    pub fn mode_at(&self, port: u16) -> ListenerTlsMode {
        // Most have none.
        let exception = self.exceptions.binary_search_by_key(&port, |(port, _)| *port);
        exception.map_or(self.mode, |place| self.exceptions[place].1)
    }
}

/// Whether a listener serves connections without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerTlsMode {
    /// TLS only.
    Strict,
    /// TLS of the mesh, and anything that is not TLS as it is.
    Permissive,
    /// No TLS: on some ports of a listener that speaks it on others.
    Off,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    Off,
    /// They are asked; what they show must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// The versions of TLS spoken: one of three ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.2 alone.
    Only12,
    /// TLS 1.2 and 1.3.
    Both,
    /// TLS 1.3 alone.
    Only13,
}

/// An application protocol (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`
    Http2,
    /// `http/1.1`
    Http1,
}

/// How a cluster is spoken to by TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTls {
    /// Whether we show the identity.
    pub mode: ClusterTlsMode,
    /// The server name asked for (SNI); `None`: the endpoint's own host name, none for an address.
    pub server_name: Option<Arc<str>>,
    /// What makes a server the right one.
    pub verification: ServerVerification,
    /// Versions spoken.
    pub versions: TlsVersions,
}

/// Whether a cluster's servers get to see a certificate of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterTlsMode {
    /// They do not.
    Tls,
    /// They get the identity's, if they ask.
    Mutual,
    /// The same where the endpoint has an identity, which must be theirs; the others are spoken to in the clear.
    MutualIfIdentity,
}

/// What makes a server the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerVerification {
    /// Its SPIFFE ID is one of these, and its trust domain's roots vouch for it. Not empty.
    SpiffeIds(Vec<SpiffeMatch>),
    /// These roots vouch for it, and it has the name asked for, or the endpoint's address.
    Names {
        /// Roots, PEM.
        roots: PathBuf,
        /// Names of which it must have one, in place of the one asked for; empty: that one.
        names: Vec<Arc<str>>,
    },
    /// These roots vouch for it, whatever its name.
    DangerAnyName {
        /// Roots, PEM.
        roots: PathBuf,
    },
    /// Anything: whoever is on the way can read and change what is said.
    DangerAnyone,
}

/// A SPIFFE trust domain: lower-case letters, digits, dots, hyphens and underscores, 1 to 255 bytes (SPIFFE-ID §2.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// A SPIFFE ID: `spiffe://` trust domain, path; at most 2048 bytes (SPIFFE-ID §2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    domain: TrustDomain,
}

/// SPIFFE IDs that are meant together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpiffeMatch {
    /// This one.
    Exact(SpiffeId),
    /// All whose path lies below this one.
    Below(SpiffeId),
    /// All of a trust domain.
    Domain(TrustDomain),
}

/// The scheme of a SPIFFE ID, which is the only part of it that may be written in capitals; we do not bear that either.
const SCHEME: &str = "spiffe://";
/// SPIFFE-ID §2.3.
const MAX_ID: usize = 2048;
/// SPIFFE-ID §2.1.
const MAX_DOMAIN: usize = 255;

impl TrustDomain {
    /// Reads a trust domain's name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        (!text.is_empty() && text.len() <= MAX_DOMAIN && text.bytes().all(good)).then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SpiffeId {
    /// Reads a SPIFFE ID strictly: what could be read in two ways is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= MAX_ID)?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let domain = TrustDomain::parse(domain)?;
        let segment = |segment: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            !matches!(segment, "" | "." | "..") && segment.bytes().all(good)
        };
        let path_is_good = path.is_empty() || path.split('/').skip(1).all(segment);
        path_is_good.then(|| Self { text: text.into(), domain })
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The ID, shared.
    #[must_use]
    pub fn shared(&self) -> &Arc<str> {
        &self.text
    }

    /// Its trust domain.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Whether it names a workload; an ID without a path names the trust domain itself.
    #[must_use]
    pub fn names_a_workload(&self) -> bool {
        self.text.len() > SCHEME.len() + self.domain.0.len()
    }
}

impl SpiffeMatch {
    /// Whether this ID is meant.
    #[must_use]
    pub fn meets(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Exact(wanted) => id == wanted,
            Self::Below(parent) => id.text.strip_prefix(&*parent.text).is_some_and(|rest| rest.starts_with('/')),
            Self::Domain(domain) => id.domain == *domain,
        }
    }

    /// The trust domain of what is meant.
    #[must_use]
    pub fn domain(&self) -> &TrustDomain {
        match self {
            Self::Exact(id) | Self::Below(id) => &id.domain,
            Self::Domain(domain) => domain,
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

impl fmt::Display for SpiffeMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(id) => id.fmt(f),
            Self::Below(id) => write!(f, "{id}/*"),
            Self::Domain(domain) => write!(f, "{SCHEME}{domain}/*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_strictly() {
        for good in ["spiffe://example.org", "spiffe://example.org/ns/default/sa/web", "spiffe://a_b-c.1/X.y_z-0"] {
            assert_eq!(SpiffeId::parse(good).map(|id| id.to_string()).as_deref(), Some(good));
        }
        let long_domain = format!("spiffe://{}/a", "d".repeat(256));
        let long = format!("spiffe://example.org/{}", "a".repeat(2048));
        let bad = [
            "",
            "spiffe://",
            "spiffe:///web",
            "SPIFFE://example.org/web",
            "spiffe://Example.org/web",
            "spiffe://example.org/",
            "spiffe://example.org//web",
            "spiffe://example.org/web/",
            "spiffe://example.org/./web",
            "spiffe://example.org/../web",
            "spiffe://example.org/web?x",
            "spiffe://example.org/web#x",
            "spiffe://example.org:80/web",
            "spiffe://me@example.org/web",
            "spiffe://example.org/w%65b",
            "spiffe://example.org/web\0.evil",
            "spiffe://ex\0ample.org/web",
            "spiffe://example.org/wéb",
            "https://example.org/web",
            " spiffe://example.org/web",
            &long_domain,
            &long,
        ];
        for bad in bad {
            assert_eq!(SpiffeId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let id = |text| SpiffeId::parse(text).unwrap();
        let below = SpiffeMatch::Below(id("spiffe://example.org/ns/a"));
        assert!(below.meets(&id("spiffe://example.org/ns/a/sa/web")));
        assert!(!below.meets(&id("spiffe://example.org/ns/ab")));
        assert!(!below.meets(&id("spiffe://example.org/ns/a")));
        assert!(SpiffeMatch::Domain(TrustDomain::parse("example.org").unwrap()).meets(&id("spiffe://example.org/x")));
        assert!(!SpiffeMatch::Domain(TrustDomain::parse("example.org").unwrap()).meets(&id("spiffe://example.orgs/x")));
        assert!(!id("spiffe://example.org").names_a_workload());
    }
}
