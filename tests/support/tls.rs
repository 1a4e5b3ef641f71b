//! A TLS client that shows what a test wants shown, and believes whoever has the key of the certificate that he shows: whether
//! it is the right one is judged by others.

use crate::{pki::Issued, response::Response, wait::SOON};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, NamedGroup, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    io::{self, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

/// What a client shows and offers.
#[derive(Debug, Clone, Default)]
pub struct Offer<'a> {
    /// Its certificate.
    pub certificate: Option<&'a Issued>,
    /// Certificates to append to its chain.
    pub ballast: usize,
    /// Application protocols.
    pub alpn: &'a [&'a str],
    /// Versions; none: all.
    pub versions: &'a [&'static SupportedProtocolVersion],
}

/// Judges a server's proof that it has the key, and nothing else.
#[derive(Debug)]
struct HasItsKey(Arc<CryptoProvider>);

impl ServerCertVerifier for HasItsKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection.
pub struct TlsClient {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Offer<'_> {
    /// rustls' configuration for it; kept by a test that resumes.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        });
        let versions = if self.versions.is_empty() { rustls::ALL_VERSIONS } else { self.versions };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("the versions go with the suites")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(HasItsKey(provider)));
        let mut config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some(Issued { chain, key }) => {
                let mut chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
                    .collect::<Result<_, _>>()
                    .expect("a chain made by a test is PEM");
                let more = vec![chain[0].clone(); self.ballast];
                chain.extend(more);
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key made by a test is PEM");
                builder.with_client_auth_cert(chain, key).expect("a key goes with its certificate")
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Connects.
    pub fn connect(&self, address: SocketAddr) -> io::Result<TlsClient> {
        TlsClient::connect(self.config(), address)
    }
}

impl TlsClient {
    /// Connects, asking for `localhost`.
    pub fn connect(config: Arc<ClientConfig>, address: SocketAddr) -> io::Result<Self> {
        Self::over(config, TcpStream::connect_timeout(&address, SOON)?)
    }

    /// Shakes hands on a connected stream, asking for `localhost`.
    pub fn over(config: Arc<ClientConfig>, socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(SOON))?;
        socket.set_write_timeout(Some(SOON))?;
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// One request and its answer.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        let stream = self.stream.get_mut();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        stream.flush()?;
        Response::read(&mut self.stream, "GET")
    }

    /// The stream, for what is not HTTP.
    pub fn stream(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        self.stream.get_mut()
    }

    /// The session.
    pub fn session(&self) -> &ClientConnection {
        &self.stream.get_ref().conn
    }

    /// The group the keys were exchanged in.
    #[must_use]
    pub fn group(&self) -> Option<NamedGroup> {
        self.session().negotiated_key_exchange_group().map(|group| group.name())
    }
}
