//! The injector's own certificate: from files that something else renews, or made here and renewed by us.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Life of a certificate made here. It is renewed each third of it.
const LIFE: Duration = Duration::from_secs(30 * 86_400);
/// Life of the authority made here, which lives in this process alone.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Clocks of API servers may be behind ours.
const SKEW: Duration = Duration::from_secs(3600);

/// Where certificates come from.
pub(super) enum Certificates {
    /// A chain and its key, PEM, read again and again.
    Files {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made here, for these names.
    Own {
        /// The authority; API servers are told to believe it.
        authority: Box<CertifiedIssuer<'static, KeyPair>>,
        /// Names of the service.
        names: Vec<String>,
    },
}

/// A certificate ready to be presented.
#[derive(Clone)]
pub(super) struct Presented {
    /// The TLS it is presented with.
    pub(super) config: Arc<ServerConfig>,
    /// What it was made of: equal content is no change.
    pub(super) content: Arc<[u8]>,
    /// When another one should be there.
    pub(super) renew_at: Option<SystemTime>,
}

impl Certificates {
    /// An authority of our own, for the names of a service.
    ///
    /// # Errors
    /// What the key maker says.
    pub(super) fn own(names: Vec<String>) -> Result<Self, String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        // API servers tell authorities apart by name: two replicas' must differ.
        let number = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        params.distinguished_name.push(DnType::CommonName, format!("pillion-injector {number:x}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_life(&mut params, AUTHORITY_LIFE);
        let authority = CertifiedIssuer::self_signed(params, key).map_err(|error| error.to_string())?;
        Ok(Self::Own { authority: Box::new(authority), names })
    }

    /// The authority's certificate, PEM, where it is our own.
    #[must_use]
    pub(super) fn bundle(&self) -> Option<String> {
        match self {
            Self::Files { .. } => None,
            Self::Own { authority, .. } => Some(authority.pem()),
        }
    }

    /// What is to be presented now.
    ///
    /// # Errors
    /// Files that cannot be read or do not belong together, in words with their path.
    pub(super) fn present(&self) -> Result<Presented, String> {
        match self {
            Self::Files { chain, key } => {
                // Not a pipe: it would be waited for, and read once.
                let read = |path: &Path| {
                    pillion_config::read_referenced(path).map_err(|error| format!("{}: {error}", path.display()))
                };
                let (chain_pem, key_pem) = (read(chain)?, read(key)?);
                let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
                let certificates = CertificateDer::pem_slice_iter(&chain_pem).collect::<Result<Vec<_>, _>>();
                let certificates = certificates.map_err(|error| wrong(chain, &error))?;
                if certificates.is_empty() {
                    return Err(wrong(chain, &"no certificate in it"));
                }
                let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| wrong(key, &error))?;
                let config = config(certificates, private).map_err(|words| wrong(key, &words))?;
                Ok(Presented { config, content: [chain_pem, key_pem].concat().into(), renew_at: None })
            }
            Self::Own { authority, names } => {
                let key = KeyPair::generate().map_err(|error| error.to_string())?;
                let mut params = CertificateParams::new(names.clone()).map_err(|error| error.to_string())?;
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                set_life(&mut params, LIFE);
                let leaf = params.signed_by(&key, authority).map_err(|error| error.to_string())?;
                let chain = vec![leaf.der().clone(), authority.as_ref().as_ref().der().clone()];
                let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(str::to_owned)?;
                let config = config(chain, private)?;
                let renew_at = Some(SystemTime::now() + LIFE / 3);
                Ok(Presented { config, content: leaf.der().to_vec().into(), renew_at })
            }
        }
    }
}

fn set_life(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + life).into();
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| error.to_string())?
        .with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        pki_types::{ServerName, UnixTime},
    };

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let pipe = std::env::temp_dir().join(format!("pillion-certificates-{}", std::process::id()));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = Certificates::Files { chain: pipe.clone(), key: pipe.clone() }.present().err().unwrap();
        assert!(error.contains("it is a named pipe; write the path of a regular file"), "{error}");
        std::fs::remove_file(pipe).unwrap();
    }

    /// What is renewed is believed by whoever was told our authority once: nothing need be published again.
    #[test]
    fn each_of_our_own_is_good_for_the_authority_that_was_published_and_for_no_other() {
        let names = ["injector.mesh", "injector.mesh.svc"].map(str::to_owned).to_vec();
        let [own, other] = [(); 2].map(|()| Certificates::own(names.clone()).unwrap());
        let [first, renewed] = [(); 2].map(|()| own.present().unwrap());
        assert_ne!(first.content, renewed.content);
        let due = renewed.renew_at.unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(due < LIFE / 2, "long before it ends: {due:?}");
        for (authority, believed) in [(&own, true), (&other, false)] {
            let mut roots = RootCertStore::empty();
            let bundle = authority.bundle().unwrap();
            for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
                roots.add(certificate.unwrap()).unwrap();
            }
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            for presented in [&first, &renewed] {
                let judge = |name: &'static str| {
                    let (leaf, name) = (CertificateDer::from(&*presented.content), ServerName::try_from(name).unwrap());
                    verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now()).is_ok()
                };
                assert_eq!(judge("injector.mesh.svc"), believed);
                assert!(!judge("injector.shop.svc"));
            }
        }
    }
}
