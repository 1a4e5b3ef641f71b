//! One HTTP/1.1 request on a connection of its own, for what the control thread asks of others: the application's probes and
//! the API server. Never for traffic.
//!
//! Every call is bounded by whoever makes it: nothing here waits for ever on purpose, and nothing has a deadline of its own.

use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::{JoinHandle, spawn_local},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Bytes of an answer's head.
const HEAD: usize = 64 * 1024;
/// Fields of an answer at most; hyper's own bound of 100 is less than what kubelets and browsers bear.
const FIELDS: usize = 1024;

/// A connection, with TLS or without.
#[derive(Debug)]
pub enum Stream {
    /// Without.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

/// How TLS is spoken, and to whom.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What is offered, and how the server is judged.
    pub config: Arc<ClientConfig>,
    /// Who it must be, or at least is called.
    pub name: ServerName<'static>,
}

/// An answer; its connection lives as long.
#[derive(Debug)]
pub struct Answer {
    /// Status and fields.
    pub head: Parts,
    /// What follows.
    pub body: Incoming,
    _driver: Driver,
}

/// What moves a connection's bytes; it ends with the answer.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects.
///
/// # Errors
/// What the kernel says, or what is wrong with the server's TLS.
pub async fn connect(address: SocketAddr, tls: Option<&Tls>) -> io::Result<Stream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    match tls {
        None => Ok(Stream::Plain(socket)),
        Some(Tls { config, name }) => {
            let connector = TlsConnector::from(Arc::clone(config));
            Ok(Stream::Tls(Box::new(connector.connect(name.clone(), socket).await?)))
        }
    }
}

/// Sends a request and waits for the head of its answer. Within a `LocalSet`.
///
/// # Errors
/// A connection that broke, or an answer that is no HTTP.
pub async fn send(stream: Stream, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD).max_headers(FIELDS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let driver = Driver(spawn_local(async move {
        // Its end is told to whoever reads the answer.
        connection.await.ok();
    }));
    let response: Response<Incoming> = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    Ok(Answer { head, body, _driver: driver })
}

/// TLS towards servers that nobody vouches for: kubelets do not look at the certificates of what they probe.
#[must_use]
pub fn unverified() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap_or_else(|error| unreachable!("the provider has suites of every version: {error}"));
    let config = builder.dangerous().with_custom_certificate_verifier(anybody(provider));
    Arc::new(config.with_no_client_auth())
}

/// Believes every server, as long as it has the key of the certificate that it shows.
#[must_use]
pub fn anybody(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Anybody(provider))
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Stream {
    /// Has the kernel find out, within 30 s, that a peer which says nothing is not there any more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn keep_alive(&self) -> io::Result<()> {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let probes = TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
        SockRef::from(socket).set_tcp_keepalive(&probes.with_retries(3))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
