//! TLS on both sides, from PEM files: rustls with aws-lc-rs, X25519 alone unless a client is told to begin with ML-KEM.
//!
//! One key exchange that every peer has keeps the work the same whoever is measured.

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files or names that TLS cannot be set up with.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A PEM file.
    #[error("{}: {error}; PEM is wanted", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// A file without a certificate in it.
    #[error("{}: no certificate in it", .0.display())]
    Empty(PathBuf),
    /// What rustls says of certificates and keys together.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// Authorities that clients cannot be verified with.
    #[error("TLS: authorities of clients: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// What servers are to prove is no name.
    #[error("--server-name {0}: neither a DNS name nor an address")]
    Name(String),
    /// TLS is spoken and nobody said whom to trust.
    #[error("TLS needs --ca FILE: the authority that the server's certificate comes from")]
    NoAuthority,
}

/// A certificate chain and its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) cert: &'a Path,
    pub(crate) key: &'a Path,
}

/// How keys are exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Groups {
    /// X25519 alone.
    #[default]
    X25519,
    /// X25519MLKEM768, and X25519 where the peer has it not.
    MlKem,
}

fn provider(groups: Groups) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = match groups {
        Groups::X25519 => vec![aws_lc_rs::kx_group::X25519],
        Groups::MlKem => vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
    };
    Arc::new(provider)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let wrong = |error| TlsSetupError::Pem { path: path.into(), error };
    let certificates = CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(wrong)?;
    if certificates.is_empty() { Err(TlsSetupError::Empty(path.into())) } else { Ok(certificates) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsSetupError::Pem { path: path.into(), error })
}

fn roots(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// A client that trusts `ca` and speaks `alpn`.
pub(crate) fn client(
    ca: &Path,
    identity: Option<Identity<'_>>,
    alpn: &[u8],
    resume: bool,
    groups: Groups,
) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let builder = ClientConfig::builder_with_provider(provider(groups)).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots(ca)?);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(certificates(identity.cert)?, key(identity.key)?)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// A server of HTTP/2 and HTTP/1.1, as the client prefers.
pub(crate) fn server(identity: Identity<'_>, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, TlsSetupError> {
    let provider = provider(Groups::X25519);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        Some(ca) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider).build()?,
        ),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates(identity.cert)?, key(identity.key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
