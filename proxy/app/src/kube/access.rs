//! Where the API server is, and who we are to it: what a pod's service account has.

use crate::outgoing::Tls;
use pillion_config::model::{ApiServer, EndpointAddress, Kubernetes};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    env, fs,
    io::{self, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Names another place: `http://127.0.0.1:8001`, as `kubectl proxy` has it.
const VARIABLE: &str = "PILLION_KUBERNETES";
/// Bytes of a token, or of the roots: the former have some 1 KiB, the latter are a Secret's field at most.
const MAX_FILE: u64 = 1 << 20;

/// How the API server is spoken to.
#[derive(Debug, Clone)]
pub struct Access {
    server: ApiServer,
    account: Option<PathBuf>,
    /// Shared by clones, so that it is made once.
    roots: Arc<Mutex<Option<Roots>>>,
}

/// What `ca.crt` said, and what was made of it.
#[derive(Debug)]
struct Roots {
    text: Vec<u8>,
    tls: Tls,
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
        Self::new(environment()?, Path::new(ACCOUNT))
    }

    /// What a configuration says; the environment names the server where the configuration does not.
    ///
    /// # Errors
    /// As [`AccessError`] says.
    pub fn of(kubernetes: &Kubernetes) -> Result<Self, AccessError> {
        let server = match &kubernetes.server {
            Some(server) => server.clone(),
            None => environment()?,
        };
        Self::new(server, &kubernetes.service_account)
    }

    fn new(server: ApiServer, account: &Path) -> Result<Self, AccessError> {
        let account = server.secure.then(|| account.to_owned());
        let access = Self { server, account, roots: Arc::default() };
        // What is wrong with them is told at once and not with the first request.
        access.tls()?;
        access.token()?;
        Ok(access)
    }

    /// Where it is.
    #[must_use]
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// Its address; a name is looked up by the system's resolver, on a thread of its own.
    pub(super) async fn address(&self) -> io::Result<SocketAddr> {
        match &self.server.endpoint {
            EndpointAddress::Ip(address) => Ok(*address),
            EndpointAddress::Name(host, port) => {
                let mut found = tokio::net::lookup_host((&**host, *port)).await?;
                found.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
            }
            EndpointAddress::Service(_) => unreachable!("an API server is written as a host and a port"),
        }
    }

    pub(super) fn host(&self) -> String {
        self.server.endpoint.to_string()
    }

    /// The roots, read each time: a cluster's authority is renewed under running pods.
    pub(super) fn tls(&self) -> Result<Option<Tls>, AccessError> {
        let Some(folder) = &self.account else { return Ok(None) };
        let file = folder.join("ca.crt");
        let text = read(&file)?;
        let mut known = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| known.text == text) {
            return Ok(Some(known.tls.clone()));
        }
        let tls = self.believing(&file, &text)?;
        *known = Some(Roots { text, tls: tls.clone() });
        Ok(Some(tls))
    }

    fn believing(&self, file: &Path, text: &[u8]) -> Result<Tls, AccessError> {
        let failed = |error: &dyn std::fmt::Display| AccessError::File(file.to_owned(), error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text) {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
        if roots.is_empty() {
            return Err(failed(&"there is no certificate in it"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap_or_else(|error| unreachable!("the provider has suites of every version: {error}"));
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let name = match &self.server.endpoint {
            EndpointAddress::Ip(address) => ServerName::IpAddress(address.ip().into()),
            other => {
                let host = other.to_string();
                let host = host.rsplit_once(':').map_or(&*host, |(host, _)| host).to_owned();
                ServerName::try_from(host).map_err(|error| failed(&error))?
            }
        };
        Ok(Tls { config, name })
    }

    /// The token, read each time: kubelets renew it every hour.
    pub(super) fn token(&self) -> Result<Option<String>, AccessError> {
        let Some(folder) = &self.account else { return Ok(None) };
        let file = folder.join("token");
        let text = String::from_utf8(read(&file)?).map_err(|_| AccessError::Token)?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// The server that the environment names.
fn environment() -> Result<ApiServer, AccessError> {
    if let Ok(text) = env::var(VARIABLE) {
        let address =
            text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).and_then(|rest| rest.parse().ok());
        let address = address.ok_or(AccessError::Address(VARIABLE, text))?;
        return Ok(ApiServer { secure: false, endpoint: EndpointAddress::Ip(address) });
    }
    const HOST: &str = "KUBERNETES_SERVICE_HOST";
    let host = env::var(HOST).map_err(|_| AccessError::Nowhere)?;
    let port = env::var("KUBERNETES_SERVICE_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(443);
    Ok(ApiServer { secure: true, endpoint: endpoint(&host, port).ok_or(AccessError::Address(HOST, host))? })
}

/// An address as a rule; managed clusters put a name there.
fn endpoint(host: &str, port: u16) -> Option<EndpointAddress> {
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return Some(EndpointAddress::Ip(SocketAddr::new(ip, port)));
    }
    let name = ServerName::try_from(host).is_ok();
    name.then(|| EndpointAddress::Name(host.to_ascii_lowercase().into(), port))
}

fn read(file: &Path) -> Result<Vec<u8>, AccessError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(file).and_then(|open| open.take(MAX_FILE).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| AccessError::File(file.to_owned(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_are_told_is_understood() {
        for (host, written) in [
            ("10.96.0.1", Some("10.96.0.1:443")),
            ("fd00::1", Some("[fd00::1]:443")),
            ("[fd00::1]", Some("[fd00::1]:443")),
            ("Shop-1.hcp.westeurope.azmk8s.io", Some("shop-1.hcp.westeurope.azmk8s.io:443")),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(endpoint(host, 443).map(|endpoint| endpoint.to_string()).as_deref(), written, "{host}");
        }
    }

    #[test]
    fn a_service_account_that_lacks_something_is_refused_with_the_file() {
        let folder = env::temp_dir().join(format!("pillion-account-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let server = || ApiServer { secure: true, endpoint: EndpointAddress::Ip(([127, 0, 0, 1], 1).into()) };
        let words = || Access::new(server(), &folder).unwrap_err().to_string();
        assert!(words().contains("ca.crt: No such file"), "{}", words());
        fs::write(folder.join("ca.crt"), "nothing").unwrap();
        assert!(words().contains("there is no certificate in it"), "{}", words());
        fs::remove_dir_all(&folder).unwrap();
        assert!(Access::new(ApiServer { secure: false, ..server() }, &folder).is_ok());
    }
}
