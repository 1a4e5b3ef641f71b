//! Servers behind TLS, and the certificates of both sides.

use pillion_tests::{
    pki::{self, Authority, Leaf},
    tempdir::TempDir,
};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// A server that asks for a certificate and answers each request of HTTP/1.1 with 200, `x-kit-up: tls` and `hello`.
#[derive(Debug, Clone)]
pub(crate) struct Secure {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// `svid.pem`, `svid.key` and `ca.pem` of the proxy, and `other.pem`, which vouches for nobody.
    pub(crate) folder: Arc<TempDir>,
    /// Pillion's section for the first three.
    pub(crate) identity: String,
}

/// Who the server is.
pub(crate) const SERVER: &str = "spiffe://example.org/server";

impl Secure {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let authority = Authority::new("kit");
        let (folder, identity) = pki::identity(&authority, "spiffe://example.org/proxy");
        folder.write("other.pem", Authority::new("other").pem());
        let config = server(&authority);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || serve(stream, config));
            }
        });
        Self { address, folder: Arc::new(folder), identity }
    }
}

fn server(authority: &Authority) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate made by a test is PEM");
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority.pem())).expect("a root made by a test is one");
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let own = authority.issue(&Leaf { uris: &[SERVER], names: &["server.example"], ..Leaf::default() });
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key made by a test is PEM");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the versions go with the suites")
        .with_client_cert_verifier(clients.allow_unauthenticated().build().expect("there is a root"))
        .with_single_cert(vec![der(&own.chain)], key)
        .expect("a key goes with its certificate");
    Arc::new(config)
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..length]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-kit-up: tls\r\ncontent-length: 5\r\n\r\nhello")?;
        }
    }
}
