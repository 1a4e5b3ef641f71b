//! The kit's own server: HTTP/1.1, HTTP/2 and gRPC on one port, and a record of each request that reached it.
//!
//! | path | answer |
//! |---|---|
//! | `/echo` | 200, the body as it came, its trailers |
//! | `/status/N` | that status, body `status` |
//! | `/trailers` | `hello`, then the trailer `x-kit-checksum: 5` |
//! | `/twice` | `x-kit-rep: one` and `x-kit-rep: two` |
//! | `/again/NAME` | that field twice: `one` and `two` |
//! | `/drip` | `one`, a moment later `two` |
//! | `/slow` | nothing for three seconds |
//! | `/cut/head` | none: the connection ends, or the stream is reset |
//! | `/cut/body` | 200, `x-kit-up: cut`, the first 5 of 10 bytes, then the same |
//! | `/stall/body` | as `/cut/body`, but in place of the end nothing for three seconds |
//! | `/kit.Kit/Echo` | gRPC: each message back, status 0 |
//! | `/kit.Kit/First` | gRPC: three messages at once and status 0, whatever is sent |
//! | `/kit.Kit/Refuse` | gRPC: trailers alone, status 7 `not you` |
//! | `/kit.Kit/Slow` | gRPC: nothing for three seconds |
//! | `/kit.Kit/CutHead`, `/kit.Kit/Cut` | gRPC: the stream is reset, at once or behind `x-kit-initial: i` and a message |
//! | `/kit.Kit/Stall` | gRPC: `x-kit-initial: i`, a message, then nothing for three seconds |
//! | `/kit.Kit/Mute` | gRPC: `x-kit-initial: i`, a message, no trailers |
//! | `/kit.Kit/Word`, `/kit.Kit/Minus`, `/kit.Kit/Many` | gRPC: trailers alone, status `x`, `-1`, `99` |
//! | `/kit.Kit/Alone`, `/kit.Kit/Gone` | gRPC: a head alone without a status, HTTP status 200 or 404 |
//! | `/kit.Kit/Absent`, `/kit.Kit/Denied` | 404 without gRPC; trailers alone, HTTP status 403, status 16 `who` |
//! | `/bytes/1` | a byte, even and odd by turns |
//! | `/asked`, `/kit.Kit/Asked` | the authority it was for, as body or message |
//! | `/scheme` | the scheme it came by, where the protocol says one |
//! | anything else | 200, `x-kit-up: yes`, body `hello` |

use super::secure::Secure;
use bytes::Bytes;
use futures_util::{StreamExt, future::poll_fn};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Frame};
use hyper_util::rt::TokioIo;
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A running server; it lives as long as the process.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// For HTTP.
    pub(crate) address: SocketAddr,
    /// For bytes: echoes them in capitals, closes after `bye`.
    pub(crate) bytes: SocketAddr,
    /// For HTTP behind TLS.
    pub(crate) secure: Secure,
    record: Record,
}

/// Requests as lines, each with the authority it was for.
type Record = Arc<Mutex<Vec<(String, String)>>>;
type Body = UnsyncBoxBody<Bytes, Cut>;

/// The answer ends here.
#[derive(Debug)]
struct Cut;

impl Upstream {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let bind = || {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
            listener.set_nonblocking(true).expect("a socket can be made non-blocking");
            let address = listener.local_addr().expect("a bound socket has an address");
            (listener, address)
        };
        let ((http, address), (tcp, bytes)) = (bind(), bind());
        let record = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&record);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(async move {
                let http = TcpListener::from_std(http).expect("a socket can be registered");
                let tcp = TcpListener::from_std(tcp).expect("a socket can be registered");
                loop {
                    tokio::select! {
                        Ok((stream, _)) = http.accept() => { tokio::spawn(connection(stream, Arc::clone(&kept))); }
                        Ok((stream, _)) = tcp.accept() => { tokio::spawn(capitals(stream)); }
                    }
                }
            });
        });
        Self { address, bytes, secure: Secure::start(), record }
    }

    /// What reached it since the last look, in order of the alphabet: requests and calls race each other. Calls that guests
    /// of other cases made from their root contexts are left out.
    pub(crate) fn take(&self, case: &str) -> Vec<String> {
        let own = format!("call-{case}");
        let all = std::mem::take(&mut *self.record.lock().unwrap_or_else(PoisonError::into_inner));
        let ours = all.into_iter().filter(|(host, _)| !host.starts_with("call-") || *host == own);
        let mut lines: Vec<_> = ours.map(|(_, line)| line).collect();
        lines.sort();
        lines
    }
}

async fn capitals(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        let upper = buffer[..n].to_ascii_uppercase();
        if stream.write_all(&upper).await.is_err() || upper.ends_with(b"BYE") {
            break;
        }
    }
}

async fn connection(stream: TcpStream, record: Record) {
    drop(stream.set_nodelay(true));
    let mut first = [0; 4];
    let is_h2 = loop {
        match stream.peek(&mut first).await {
            Ok(4) => break &first == b"PRI ",
            Ok(1..=3) => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok(_) | Err(_) => return,
        }
    };
    if is_h2 {
        return h2_connection(stream, record).await;
    }
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let record = Arc::clone(&record);
        async move {
            let (head, body) = request.into_parts();
            let received = body.collect().await.map(|whole| {
                let trailers = whole.trailers().cloned().unwrap_or_default();
                (whole.to_bytes(), trailers)
            });
            answer(head, received.ok(), &record).await
        }
    });
    // Trailers are written for clients that ask for them; proxies do not always say so.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn h2_connection(stream: TcpStream, record: Record) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(h2_stream(request, respond, Arc::clone(&record)));
    }
}

async fn h2_stream(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>, record: Record) {
    let (head, mut body) = request.into_parts();
    if head.uri.path() == "/kit.Kit/Echo" {
        return grpc_echo(head, body, respond, &record).await;
    }
    if head.uri.path() == "/kit.Kit/First" {
        return grpc_first(&head, respond, &record);
    }
    let mut whole = Vec::new();
    let mut received = true;
    while let Some(data) = body.data().await {
        let Ok(data) = data else {
            received = false;
            break;
        };
        drop(body.flow_control().release_capacity(data.len()));
        whole.extend_from_slice(&data);
    }
    let trailers = if received { body.trailers().await.ok().flatten().unwrap_or_default() } else { HeaderMap::new() };
    let Ok(response) = answer(head, received.then(|| (whole.into(), trailers)), &record).await else {
        return respond.send_reset(h2::Reason::INTERNAL_ERROR);
    };
    let (head, mut body) = response.into_parts();
    // A gRPC answer of trailers alone is a head that ends its stream; another is no such answer.
    let alone = body.is_end_stream();
    let Ok(mut send) = respond.send_response(Response::from_parts(head, ()), alone) else { return };
    if alone {
        return;
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return send.send_reset(h2::Reason::INTERNAL_ERROR) };
        match frame.into_data() {
            Ok(data) => drop(send.send_data(data, false)),
            Err(frame) => return drop(send.send_trailers(frame.into_trailers().unwrap_or_default())),
        }
    }
    drop(send.send_data(Bytes::new(), true));
}

/// Messages back as they come, for as long as the caller sends.
async fn grpc_echo(
    head: http::request::Parts,
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    record: &Record,
) {
    note(record, &head, describe(&head, None, &HeaderMap::new()));
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("x-kit-initial", HeaderValue::from_static("i"));
    let Ok(mut send) = respond.send_response(response, false) else { return };
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return };
        drop(body.flow_control().release_capacity(data.len()));
        // The end may come in a frame of its own; there is no capacity to wait for then.
        if !data.is_empty() {
            send.reserve_capacity(data.len());
            drop(poll_fn(|cx| send.poll_capacity(cx)).await);
            drop(send.send_data(data, false));
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-kit-trailing", HeaderValue::from_static("t"));
    drop(send.send_trailers(trailers));
}

/// Says all there is before the caller has.
fn grpc_first(head: &http::request::Parts, mut respond: h2::server::SendResponse<Bytes>, record: &Record) {
    note(record, head, describe(head, None, &HeaderMap::new()));
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let Ok(mut send) = respond.send_response(response, false) else { return };
    drop(send.send_data("\0\0\0\0\x03one\0\0\0\0\x03two\0\0\0\0\x05three".into(), false));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    drop(send.send_trailers(trailers));
}

fn note(record: &Record, head: &http::request::Parts, line: String) {
    let host = String::from_utf8_lossy(asked(head)).into_owned();
    record.lock().unwrap_or_else(PoisonError::into_inner).push((host, line));
}

/// The authority that it was for.
fn asked(head: &http::request::Parts) -> &[u8] {
    let named = || head.headers.get("host").map_or(&b""[..], HeaderValue::as_bytes);
    head.uri.authority().map_or_else(named, |authority| authority.as_str().as_bytes())
}

fn describe(head: &http::request::Parts, body: Option<&[u8]>, trailers: &HeaderMap) -> String {
    let target = head.uri.path_and_query().map_or("?", http::uri::PathAndQuery::as_str);
    let mut line = format!("^ {} {target}", head.method);
    let mut fields: Vec<_> = head.headers.iter().collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in fields {
        if super::drive::is_told(name.as_str()) {
            line.push_str(&format!(" {name}={}", super::drive::shown(value.as_bytes())));
        }
    }
    if let Some(body) = body.filter(|body| !body.is_empty()) {
        line.push_str(&format!(" body {}", super::drive::shown(body)));
    }
    for (name, value) in trailers {
        line.push_str(&format!(" trailer {name}={:?}", String::from_utf8_lossy(value.as_bytes())));
    }
    line
}

async fn answer(
    head: http::request::Parts,
    received: Option<(Bytes, HeaderMap)>,
    record: &Record,
) -> Result<Response<Body>, Cut> {
    let Some((body, trailers)) = received else {
        note(record, &head, format!("{} cut short", describe(&head, None, &HeaderMap::new())));
        return Ok(full(400, "cut short".into()));
    };
    note(record, &head, describe(&head, Some(&body), &trailers));
    let path = head.uri.path();
    if let Some(status) = path.strip_prefix("/status/").and_then(|text| text.parse().ok()) {
        return Ok(full(status, "status".into()));
    }
    Ok(match path {
        "/cut/head" | "/kit.Kit/CutHead" => return Err(Cut),
        "/cut/body" => begun(BREAK),
        "/stall/body" => begun(STALL),
        "/kit.Kit/Cut" => grpc_begun(Some(BREAK)),
        "/kit.Kit/Stall" => grpc_begun(Some(STALL)),
        "/kit.Kit/Mute" => grpc_begun(None),
        "/kit.Kit/Absent" => full(404, "status".into()),
        "/kit.Kit/Word" => grpc_alone(200, "x", "who"),
        "/kit.Kit/Minus" => grpc_alone(200, "-1", "who"),
        "/kit.Kit/Many" => grpc_alone(200, "99", "who"),
        "/kit.Kit/Alone" => full(200, Bytes::new()),
        "/kit.Kit/Gone" => full(404, Bytes::new()),
        "/kit.Kit/Denied" => grpc_alone(403, "16", "who"),
        "/asked" => full(200, Bytes::copy_from_slice(asked(&head))),
        "/scheme" => full(200, Bytes::copy_from_slice(head.uri.scheme_str().unwrap_or_default().as_bytes())),
        "/kit.Kit/Asked" => {
            let asked = asked(&head);
            let message = [&[0][..], &(asked.len() as u32).to_be_bytes(), asked].concat();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let mut response = streamed(vec![message.into()], trailers);
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            response
        }
        "/echo" => streamed(vec![body], trailers),
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-kit-checksum", HeaderValue::from_static("5"));
            streamed(vec!["hello".into()], trailers)
        }
        "/twice" => {
            let mut response = full(200, "twice".into());
            response.headers_mut().append("x-kit-rep", HeaderValue::from_static("one"));
            response.headers_mut().append("x-kit-rep", HeaderValue::from_static("two"));
            response
        }
        again if again.starts_with("/again/") => {
            let mut response = full(200, "again".into());
            if let Ok(name) = HeaderName::try_from(&again["/again/".len()..]) {
                response.headers_mut().append(name.clone(), HeaderValue::from_static("one"));
                response.headers_mut().append(name, HeaderValue::from_static("two"));
            }
            response
        }
        "/drip" => streamed(vec!["one".into(), "two".into()], HeaderMap::new()),
        "/bytes/1" => {
            static TURN: AtomicU8 = AtomicU8::new(0);
            full(200, vec![TURN.fetch_add(1, Ordering::Relaxed) % 2].into())
        }
        "/slow" | "/kit.Kit/Slow" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            full(200, "late".into())
        }
        "/kit.Kit/Refuse" => grpc_alone(200, "7", "not you"),
        _ => {
            let mut response = full(200, "hello".into());
            response.headers_mut().insert("x-kit-up", HeaderValue::from_static("yes"));
            response
        }
    })
}

/// How long after its beginning an answer breaks off.
const BREAK: Duration = Duration::from_millis(100);
const STALL: Duration = Duration::from_secs(3);

/// A body that begins and breaks off.
fn begun(after: Duration) -> Response<Body> {
    let mut response = Response::new(broken("hello".into(), Some(after)));
    response.headers_mut().insert("content-length", HeaderValue::from_static("10"));
    response.headers_mut().insert("x-kit-up", HeaderValue::from_static("cut"));
    response
}

/// Trailers alone.
fn grpc_alone(http: u16, status: &'static str, message: &'static str) -> Response<Body> {
    let mut response = full(http, Bytes::new());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
    response.headers_mut().insert("grpc-message", HeaderValue::from_static(message));
    response
}

/// A message, and no status behind it.
fn grpc_begun(breaks_off: Option<Duration>) -> Response<Body> {
    let mut response = Response::new(broken("\0\0\0\0\x05hello".into(), breaks_off));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("x-kit-initial", HeaderValue::from_static("i"));
    response
}

fn broken(data: Bytes, breaks_off: Option<Duration>) -> Body {
    let first = futures_util::stream::iter([Ok(Frame::data(data))]);
    let end = futures_util::stream::iter(breaks_off).then(|after| async move {
        tokio::time::sleep(after).await;
        Err(Cut)
    });
    StreamBody::new(first.chain(end)).boxed_unsync()
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

fn full(status: u16, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response
}

/// Pieces with a pause between them, so that a proxy sees them one by one; then trailers.
fn streamed(pieces: Vec<Bytes>, trailers: HeaderMap) -> Response<Body> {
    let mut frames: Vec<Frame<Bytes>> = pieces.into_iter().map(Frame::data).collect();
    if !trailers.is_empty() {
        frames.push(Frame::trailers(trailers));
    }
    let paced = futures_util::stream::iter(frames).enumerate().then(|(number, frame)| async move {
        if number > 0 && frame.is_data() {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        Ok(frame)
    });
    Response::new(StreamBody::new(paced).boxed_unsync())
}
