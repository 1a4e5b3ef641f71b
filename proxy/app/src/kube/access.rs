//! Where the API server is, and who we are to it: what a pod's service account has.

use crate::outgoing::Tls;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    env, fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Names another place: `http://127.0.0.1:8001`, as `kubectl proxy` has it.
const VARIABLE: &str = "PILLION_KUBERNETES";

/// How the API server is spoken to.
#[derive(Debug, Clone)]
pub struct Access {
    address: SocketAddr,
    tls: Option<Tls>,
    token: Option<PathBuf>,
}

/// Why it cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Not in a pod.
    #[error(
        "there is no API server here: KUBERNETES_SERVICE_HOST is not set, as it is in every pod; outside of one set {VARIABLE}=http://127.0.0.1:8001 and run `kubectl proxy`"
    )]
    Nowhere,
    /// A variable that cannot be read.
    #[error("{0}: {1:?} is no address; write http://ADDRESS:PORT")]
    Address(&'static str, String),
    /// A file that cannot be read.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, String),
    /// A token with characters that no header takes.
    #[error("the service account's token is not one line of ASCII")]
    Token,
}

impl Access {
    /// What the pod this runs in has; `PILLION_KUBERNETES` goes before it.
    ///
    /// # Errors
    /// As [`AccessError`] says.
    pub fn of_environment() -> Result<Self, AccessError> {
        if let Ok(text) = env::var(VARIABLE) {
            let address =
                text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).and_then(|rest| rest.parse().ok());
            let address = address.ok_or(AccessError::Address(VARIABLE, text))?;
            return Ok(Self { address, tls: None, token: None });
        }
        let host = env::var("KUBERNETES_SERVICE_HOST").map_err(|_| AccessError::Nowhere)?;
        let port = env::var("KUBERNETES_SERVICE_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(443);
        let ip: IpAddr = host.parse().map_err(|_| AccessError::Address("KUBERNETES_SERVICE_HOST", host))?;
        Self::with_account((ip, port).into(), Path::new(ACCOUNT))
    }

    fn with_account(address: SocketAddr, folder: &Path) -> Result<Self, AccessError> {
        let file = folder.join("ca.crt");
        let failed = |error: &dyn std::fmt::Display| AccessError::File(file.clone(), error.to_string());
        let text = fs::read(&file).map_err(|error| failed(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap_or_else(|error| unreachable!("the provider has suites of every version: {error}"));
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let tls = Tls { config, name: ServerName::IpAddress(address.ip().into()) };
        Ok(Self { address, tls: Some(tls), token: Some(folder.join("token")) })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The token, read each time: kubelets renew it every hour.
    pub(super) fn token(&self) -> Result<Option<String>, AccessError> {
        let Some(file) = &self.token else { return Ok(None) };
        let text = fs::read_to_string(file).map_err(|error| AccessError::File(file.clone(), error.to_string()))?;
        Ok(Some(text.trim().to_owned()))
    }
}
