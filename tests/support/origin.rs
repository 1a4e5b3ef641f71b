//! A server that speaks HTTP/1.1 and HTTP/2 on one port and tells what it saw.
//!
//! | path | answer |
//! |---|---|
//! | `/echo` | the body as it came, with its trailers |
//! | `/sink` | JSON with the length and a checksum of the body |
//! | `/bytes/N` | N bytes of [`pattern`] |
//! | `/slow/MS` | the default answer after so many milliseconds |
//! | `/stall/MS` | the head at once, the body after so many milliseconds |
//! | `/hold` | the default answer once [`Origin::release`] was called |
//! | `/status/N` | that status, no body |
//! | `/early` | 413 at once, the body unread |
//! | `/trailers` | `hello` and the trailer `x-checksum: 5` |
//! | with `Upgrade`, or CONNECT | switches and echoes bytes |
//! | anything else | JSON: method, target, version, headers, authority |

use bytes::Bytes;
use futures_util::{StreamExt, future::poll_fn, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use pillion_core::tunnel::websocket;
use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    time::sleep,
};

type Body = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// A running origin; stops on drop.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Seen>,
    _stop: oneshot::Sender<Infallible>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    ids: Mutex<HashMap<String, usize>>,
    released: watch::Sender<bool>,
}

impl Origin {
    /// Starts it on a port of its own.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts it at an address.
    #[must_use]
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(address).expect("the address is free");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let seen = Arc::new(Seen::default());
        let server = Arc::clone(&seen);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime can be built");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a socket can be registered");
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(connection(stream, Arc::clone(&server)));
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { address, seen, _stop: stop }
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Requests whose head arrived so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Lets every request to `/hold` be answered, those to come as well.
    pub fn release(&self) {
        self.seen.released.send_replace(true);
    }

    /// How often each `X-Test-Id` arrived.
    #[must_use]
    pub fn ids(&self) -> HashMap<String, usize> {
        self.seen.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `count` bytes that tell their own place, so that loss, repetition and mixing show.
#[must_use]
pub fn pattern(from: u64, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let piece = pattern_piece(from + bytes.len() as u64);
        bytes.extend_from_slice(&piece[..piece.len().min(count - bytes.len())]);
    }
    bytes
}

/// Bytes of one piece, and of what an origin sends at once.
const PIECE: usize = 64 << 10;

/// The pattern from here on, without copying: it is computed once, since a server that computes is slower than the
/// proxy it serves. It repeats after a prime number of bytes, which no chunk, frame or buffer is as long as.
fn pattern_piece(from: u64) -> &'static [u8] {
    const PERIOD: usize = 1_000_003;
    static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let byte = |at: usize| ((at % PERIOD) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
        (0..PERIOD + PIECE).map(|at| byte(at) as u8).collect()
    });
    let at = (from % PERIOD as u64) as usize;
    &TABLE[at..at + PIECE]
}

/// FNV-1a over a body, as `/sink` tells it.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    fold(0xcbf2_9ce4_8422_2325, bytes)
}

fn fold(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

async fn connection(stream: TcpStream, seen: Arc<Seen>) {
    seen.connections.fetch_add(1, Ordering::SeqCst);
    seen.open.fetch_add(1, Ordering::SeqCst);
    drop(stream.set_nodelay(true));
    // HTTP/2 announces itself with a preface no HTTP/1 request begins with.
    let mut first = [0; 4];
    let is_h2 = loop {
        match stream.peek(&mut first).await {
            Ok(4) => break &first == b"PRI ",
            Ok(1..=3) => sleep(Duration::from_millis(1)).await,
            Ok(_) | Err(_) => break false,
        }
    };
    if is_h2 {
        serve_h2(stream, &seen).await;
    } else {
        serve_h1(stream, &seen).await;
    }
    seen.open.fetch_sub(1, Ordering::SeqCst);
}

async fn serve_h1(stream: TcpStream, seen: &Arc<Seen>) {
    let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
        let seen = Arc::clone(seen);
        async move {
            if request.headers().contains_key(header::UPGRADE) {
                return Ok::<_, Infallible>(upgrade(request, &seen));
            }
            Ok(answer(request.map(|body| body.map_err(Into::into).boxed_unsync()), &seen).await)
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    // A connection that ends badly is the test's business, seen by the client.
    drop(connection.await);
}

fn upgrade(mut request: Request<hyper::body::Incoming>, seen: &Seen) -> Response<Body> {
    count(request.headers(), seen);
    let protocol = request.headers()[header::UPGRADE].clone();
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let (mut from, mut to) = split(TokioIo::new(upgraded));
            drop(copy(&mut from, &mut to).await);
            drop(to.shutdown().await);
        }
    });
    let mut response = Response::new(Empty::new().map_err(Into::into).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    if let Some(key) = key {
        response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, websocket::accept(key.as_bytes()));
    }
    response.headers_mut().insert(header::UPGRADE, protocol);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

async fn serve_h2(stream: TcpStream, seen: &Arc<Seen>) {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol().initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let seen = Arc::clone(seen);
        tokio::spawn(async move {
            let response = answer(request.map(from_h2), &seen).await;
            let (head, body) = response.into_parts();
            let Ok(send) = respond.send_response(Response::from_parts(head, ()), false) else {
                return;
            };
            pump(body, send).await;
        });
    }
}

fn from_h2(body: h2::RecvStream) -> Body {
    let frames = stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match body.data().await {
            Some(Ok(data)) => {
                drop(body.flow_control().release_capacity(data.len()));
                Some((Ok(Frame::data(data)), Some(body)))
            }
            Some(Err(error)) => Some((Err(error.into()), None)),
            None => match body.trailers().await {
                Ok(Some(trailers)) => Some((Ok(Frame::trailers(trailers)), None)),
                Ok(None) => None,
                Err(error) => Some((Err(error.into()), None)),
            },
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

async fn pump(mut body: Body, mut send: h2::SendStream<Bytes>) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return send.send_reset(h2::Reason::INTERNAL_ERROR);
        };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    send.reserve_capacity(data.len());
                    let Some(Ok(room)) = poll_fn(|cx| send.poll_capacity(cx)).await else {
                        return;
                    };
                    let piece = data.split_to(room.min(data.len()));
                    if send.send_data(piece, false).is_err() {
                        return;
                    }
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                drop(send.send_trailers(trailers));
                return;
            }
        }
    }
    drop(send.send_data(Bytes::new(), true));
}

fn count(headers: &HeaderMap, seen: &Seen) {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    if let Some(id) = headers.get("x-test-id").and_then(|id| id.to_str().ok()) {
        *seen.ids.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default() += 1;
    }
}

async fn answer(request: Request<Body>, seen: &Seen) -> Response<Body> {
    count(request.headers(), seen);
    let path = request.uri().path().to_owned();
    let mut parts = path.split('/').skip(1);
    let (first, number) = (parts.next().unwrap_or(""), parts.next().and_then(|text| text.parse::<u64>().ok()));
    if request.method() == Method::CONNECT || first == "echo" {
        return echo(request);
    }
    let number = number.unwrap_or(0);
    match first {
        "sink" => sink(request).await,
        "bytes" => bytes(number),
        "status" => {
            let status = u16::try_from(number).ok().and_then(|code| StatusCode::from_u16(code).ok());
            let mut response = full(Bytes::new());
            *response.status_mut() = status.unwrap_or(StatusCode::BAD_REQUEST);
            response
        }
        "slow" => {
            sleep(Duration::from_millis(number)).await;
            full(described(&request))
        }
        "hold" => {
            // The sender lives in `seen`, so that waiting cannot fail.
            drop(seen.released.subscribe().wait_for(|released| *released).await);
            full(described(&request))
        }
        "stall" => {
            let late = stream::once(async move {
                sleep(Duration::from_millis(number)).await;
                Ok(Frame::data(Bytes::from_static(b"late")))
            });
            Response::new(StreamBody::new(late).boxed_unsync())
        }
        "early" => {
            let mut response = full(Bytes::from_static(b"too large"));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            response
        }
        "trailers" => trailers(),
        _ => full(described(&request)),
    }
}

fn echo(request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(body);
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRAILER] {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

async fn sink(request: Request<Body>) -> Response<Body> {
    let (mut length, mut sum) = (0, checksum(b""));
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            length += data.len();
            sum = fold(sum, data);
        }
    }
    full(serde_json::json!({ "length": length, "checksum": sum }).to_string().into())
}

fn bytes(count: u64) -> Response<Body> {
    let pieces = stream::iter((0..count.div_ceil(PIECE as u64)).map(move |piece| {
        let from = piece * PIECE as u64;
        let length = (count - from).min(PIECE as u64) as usize;
        Ok(Frame::data(Bytes::from_static(&pattern_piece(from)[..length])))
    }));
    let mut response = Response::new(StreamBody::new(pieces.boxed()).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_LENGTH, count.into());
    response
}

fn trailers() -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("5"));
    let frames = [Ok(Frame::data(Bytes::from_static(b"hello"))), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-checksum"));
    response
}

fn full(body: Bytes) -> Response<Body> {
    Response::new(Full::new(body).map_err(Into::into).boxed_unsync())
}

fn described(request: &Request<Body>) -> Bytes {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    serde_json::json!({
        "method": request.method().as_str(),
        "target": request.uri().path_and_query().map(http::uri::PathAndQuery::as_str),
        "authority": request.uri().authority().map(http::uri::Authority::as_str),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    })
    .to_string()
    .into()
}
