//! An agent that serves the SPIFFE Workload API: gRPC's own library (`peers/workload_api.py`), messages made here.

use crate::{
    pki::{Authority, Issued},
    python::Server,
    tempdir::TempDir,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fs, path::PathBuf};

/// A running agent; killed on drop.
#[derive(Debug)]
pub struct Agent {
    dir: TempDir,
    server: Option<Server>,
}

/// Roots of trust domains: the domain and who vouches for it.
pub type Roots<'a> = &'a [(&'a str, &'a [&'a Authority])];

impl Agent {
    /// Starts one that has no identity to tell yet, or skips loudly.
    #[must_use]
    pub fn start() -> Option<Self> {
        let mut agent = Self { dir: TempDir::new(), server: None };
        agent.restart()?;
        Some(agent)
    }

    /// Starts it again, killing the one that runs.
    pub fn restart(&mut self) -> Option<()> {
        self.stop();
        let (socket, dir) = (self.socket().display().to_string(), self.dir.path().display().to_string());
        self.server = Some(Server::start("workload_api", &[&socket, &dir])?);
        Some(())
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.server = None;
        drop(fs::remove_file(self.socket()));
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    /// The `identity` section that names it.
    #[must_use]
    pub fn section(&self) -> String {
        format!("identity: {{ workload_api: {{ address: \"unix://{}\" }} }}", self.socket().display())
    }

    /// Tells this identity from now on, with these roots of its own domain and of others; a domain may have none.
    pub fn tell(&self, id: &str, issued: &Issued, roots: Roots<'_>) {
        self.tell_identity(id, issued, roots);
        self.tell_roots(roots);
    }

    /// The same of the stream of identities alone.
    pub fn tell_identity(&self, id: &str, issued: &Issued, roots: Roots<'_>) {
        let own = id.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let chain: Vec<u8> = CertificateDer::pem_slice_iter(issued.chain.as_bytes())
            .flat_map(|certificate| certificate.expect("a chain made by a test is PEM").to_vec())
            .collect();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key made by a test is PEM");
        let of = |domain: &str| roots.iter().find(|(known, _)| *known == domain).map_or(&[][..], |(_, roots)| roots);
        let svid =
            [field(1, id.as_bytes()), field(2, &chain), field(3, key.secret_der()), field(4, &der(of(own)))].concat();
        let others = roots.iter().filter(|(domain, _)| *domain != own);
        let message: Vec<u8> =
            [field(1, &svid)].into_iter().chain(others.map(|pair| entry(3, pair))).flatten().collect();
        self.write("svid", &message);
    }

    /// The same of the stream of roots alone.
    pub fn tell_roots(&self, roots: Roots<'_>) {
        let bundles: Vec<u8> = roots.iter().flat_map(|pair| entry(2, pair)).collect();
        self.write("bundles", &bundles);
    }

    /// Tells these bytes instead of an identity.
    pub fn tell_raw(&self, message: &[u8]) {
        self.write("svid", message);
    }

    /// Has no identity to tell any more, to whom asks from now on.
    pub fn forget(&self) {
        for name in ["svid", "bundles"] {
            fs::remove_file(self.dir.path().join(name)).expect("something was told");
        }
    }

    /// Calls that began so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        let words = self.server.as_ref().map_or(String::new(), Server::stdout);
        words.lines().filter(|line| line.starts_with("call")).count()
    }

    fn write(&self, name: &str, message: &[u8]) {
        let new = self.dir.write(&format!(".{name}.new"), message);
        fs::rename(new, self.dir.path().join(name)).expect("a file can be renamed");
    }
}

fn der(roots: &[&Authority]) -> Vec<u8> {
    let one =
        |root: &&Authority| CertificateDer::from_pem_slice(root.pem().as_bytes()).expect("a root is PEM").to_vec();
    roots.iter().flat_map(one).collect()
}

/// An entry of a map from a trust domain to its roots.
fn entry(number: u8, (domain, roots): &(&str, &[&Authority])) -> Vec<u8> {
    field(number, &[field(1, format!("spiffe://{domain}").as_bytes()), field(2, &der(roots))].concat())
}

/// A field of kind bytes (protobuf encoding: key, length, content).
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![(number << 3) | 2];
    let mut length = content.len();
    while length > 0x7F {
        bytes.push(0x80 | (length & 0x7F) as u8);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}
