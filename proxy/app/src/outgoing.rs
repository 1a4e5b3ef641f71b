//! One request on a connection of its own, for what the control thread asks of others: the application's probes and the API
//! server. HTTP/1.1, or HTTP/2 where TLS agreed on it. Never for traffic.
//!
//! Every call is bounded by whoever makes it: nothing here waits for ever on purpose, and nothing has a deadline of its own.

use bytes::Bytes;
use http::{HeaderName, Request, Uri, header, response::Parts, uri};
use http_body::{Body as _, Frame};
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
    task::{Context, Poll, ready},
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
/// HTTP/2, as ALPN names it.
const H2: &[u8] = b"h2";
/// Fields that HTTP/2 does not have (RFC 9113 §8.2.2), and the one that it writes otherwise.
const OF_HTTP1: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];

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
    pub body: Body,
    _driver: Driver,
}

/// What follows an answer's head; without its trailers over HTTP/2.
#[derive(Debug)]
pub enum Body {
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// Over HTTP/2.
    Http2(h2::RecvStream),
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The HTTP/1.1 connection broke, or what came is none.
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    /// The same of HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// HTTP/2 wants a host in each request.
    #[error("{0:?} is no host that can be asked for by HTTP/2")]
    Host(String),
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

/// Sends a request, whose target is a path and which has a `Host`, and waits for the head of its answer. Within a `LocalSet`.
///
/// # Errors
/// A connection that broke, or an answer that is no HTTP.
pub async fn send(stream: Stream, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
    if stream.speaks_http2() {
        return send_http2(stream, request).await;
    }
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD).max_headers(FIELDS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let driver = Driver(spawn_local(async move {
        // Its end is told to whoever reads the answer.
        connection.await.ok();
    }));
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Answer { head, body: Body::Http1(body), _driver: driver })
}

async fn send_http2(stream: Stream, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
    let (mut head, mut body) = request.into_parts();
    let host = head.headers.get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
    let authority = uri::Authority::try_from(host);
    let authority = authority.map_err(|_| SendError::Host(String::from_utf8_lossy(host).into_owned()))?;
    let mut target = head.uri.into_parts();
    target.scheme = Some(uri::Scheme::HTTPS);
    target.authority = Some(authority);
    head.uri = Uri::from_parts(target).map_err(|_| SendError::Host(String::from_utf8_lossy(host).into_owned()))?;
    for name in OF_HTTP1 {
        head.headers.remove(name);
    }
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX));
    let (sender, connection) = builder.handshake(stream).await?;
    let driver = Driver(spawn_local(async move {
        // As above.
        connection.await.ok();
    }));
    // All that there is of it: it was in memory.
    let data = match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        None => Bytes::new(),
    };
    let mut sender = sender.ready().await?;
    let (response, mut upload) = sender.send_request(Request::from_parts(head, ()), data.is_empty())?;
    if !data.is_empty() {
        upload.send_data(data, true)?;
    }
    let (head, body) = response.await?.into_parts();
    Ok(Answer { head, body: Body::Http2(body), _driver: driver })
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(SendError::Http1),
            Self::Http2(body) => {
                let data = ready!(body.poll_data(cx));
                if let Some(Ok(data)) = &data {
                    // The window is given back, or a long answer would stop. Where the stream has ended nothing is lost.
                    body.flow_control().release_capacity(data.len()).ok();
                }
                Poll::Ready(data.map(|data| data.map(Frame::data).map_err(SendError::Http2)))
            }
        }
    }
}

/// TLS towards servers that nobody vouches for: kubelets do not look at the certificates of what they probe. They speak
/// HTTP/2 to who wants it, and so does this.
#[must_use]
pub fn unverified() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap_or_else(|error| unreachable!("the provider has suites of every version: {error}"));
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Believes every server, whatever it shows.
///
/// Not even the proof that it has the certificate's key is judged: who may show any certificate may show one of his own, so
/// that the proof says nothing. And it cannot be judged of many servers that kubelets ask with success, since webpki reads no
/// certificates of X.509 version 1 and none with critical extensions that it does not know, and takes no RSA keys below
/// 2048 bits.
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Stream {
    fn speaks_http2(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(H2))
    }

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
