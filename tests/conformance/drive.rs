//! What the client does, and what it sees.
//!
//! A step is one line: `[h2] METHOD /path | name: value | … || body piece || … ||| trailer: value`, where `\xNN` and `*N`
//! at a piece's end (repeat) write odd and long bytes; or one of
//!
//! | step | meaning |
//! |---|---|
//! | `wait WORDS` | until the guest has logged a line with these words |
//! | `tcp PIECE \| PIECE` | a connection; each piece is sent and its answer read; `close` ends our side |
//!
//! A transcript has `# ` step, the guest's lines, `^ ` what reached the upstream, `> ` what the client got. Only what both
//! hosts are meant to agree on is told: fields the kit sends (`x-k…`), and some that guests set ([`is_told`]).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use pillion_tests::client::Client;
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// How long a client waits: long enough for a busy machine, short enough for a case that expects silence.
const PATIENCE: Duration = Duration::from_secs(6);

/// What filters in `modules/` set or take away.
const TOLD: [&str; 17] = [
    "content-type",
    "www-authenticate",
    "authorization",
    "retry-after",
    "ratelimit-limit",
    "ratelimit-remaining",
    "hello",
    "powered-by",
    "custom-header",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "x-auth-subject",
    "x-shadow",
    "x-edge",
    "x-debug",
];

/// Whether a field is part of a transcript.
pub(crate) fn is_told(name: &str) -> bool {
    name.starts_with("x-k") || ["grpc-status", "grpc-message", "location"].contains(&name) || TOLD.contains(&name)
}

/// Bytes as a transcript has them: text in quotes, long ones by length.
pub(crate) fn shown(bytes: &[u8]) -> String {
    if bytes.len() > 200 {
        let sum = bytes.iter().fold(0_u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        return format!("{} bytes, sum {sum:x}", bytes.len());
    }
    format!("\"{}\"", bytes.escape_ascii())
}

/// A request as a step spells it.
#[derive(Debug, Default)]
struct Wish {
    h2: bool,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    pieces: Vec<Vec<u8>>,
    trailers: Vec<(String, String)>,
}

/// Runs one step against the case's listener; `wait` steps are the caller's.
pub(crate) fn run(step: &str, address: SocketAddr) -> Vec<String> {
    if let Some(pieces) = step.strip_prefix("tcp ") {
        return tcp(pieces, address);
    }
    let wish = parse(step);
    if wish.h2 { http2(&wish, address) } else { http1(&wish, address) }
}

fn parse(step: &str) -> Wish {
    let (step, trailers) = step.split_once("|||").unwrap_or((step, ""));
    let mut parts = step.split("||");
    let mut fields = parts.next().unwrap_or("").split('|').map(str::trim);
    let mut words = fields.next().unwrap_or("").split(' ').peekable();
    let h2 = words.next_if_eq(&"h2").is_some();
    let pair = |text: &str| text.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    Wish {
        h2,
        method: words.next().unwrap_or("GET").to_owned(),
        path: words.next().unwrap_or("/").to_owned(),
        headers: fields.filter_map(pair).collect(),
        pieces: parts.map(|piece| bytes(piece.trim())).collect(),
        trailers: trailers.split('|').filter_map(pair).collect(),
    }
}

/// `\xNN` is a byte, `*N` at the end repeats the piece.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let (text, times) = match text.rsplit_once('*') {
        Some((text, times)) => (text, times.parse().unwrap_or(1)),
        None => (text, 1),
    };
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        out.extend(u8::from_str_radix(&rest[at + 2..at + 4], 16));
        rest = &rest[at + 4..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.repeat(times)
}

fn http1(wish: &Wish, address: SocketAddr) -> Vec<String> {
    let Ok(stream) = TcpStream::connect_timeout(&address, PATIENCE) else {
        return vec!["> cannot connect".to_owned()];
    };
    let mut client = Client::over(stream);
    client.patience(PATIENCE);
    let mut head = format!("{} {} HTTP/1.1\r\n", wish.method, wish.path);
    if !wish.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("host: kit\r\n");
    }
    for (name, value) in &wish.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let chunked = wish.pieces.len() > 1 || !wish.trailers.is_empty();
    match wish.pieces.as_slice() {
        _ if chunked => head.push_str("transfer-encoding: chunked\r\n"),
        [whole] => head.push_str(&format!("content-length: {}\r\n", whole.len())),
        _ => {}
    }
    head.push_str("\r\n");
    drop(client.try_send(head));
    for (number, piece) in wish.pieces.iter().enumerate() {
        if number > 0 {
            // The proxy reads the pieces one by one.
            std::thread::sleep(Duration::from_millis(120));
        }
        let framed = if chunked {
            [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
        } else {
            piece.clone()
        };
        drop(client.try_send(framed));
    }
    if chunked {
        let trailers: String = wish.trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        drop(client.try_send(format!("0\r\n{trailers}\r\n")));
    }
    match client.try_receive(&wish.method) {
        Ok(response) => tell(response.status, &response.headers, &response.body, &response.trailers),
        Err(error) => vec![failure(&error)],
    }
}

fn failure(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    match error.kind() {
        WouldBlock | TimedOut => "> no answer".to_owned(),
        UnexpectedEof | ConnectionReset => "> connection cut".to_owned(),
        _ => format!("> {error}"),
    }
}

fn tell(status: u16, headers: &[(String, String)], body: &[u8], trailers: &[(String, String)]) -> Vec<String> {
    let mut line = format!("> {status}");
    // The order of fields with different names means nothing (RFC 9110 §5.3).
    let mut told: Vec<_> = headers.iter().filter(|(name, _)| is_told(name)).collect();
    told.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, value) in told {
        line.push_str(&format!(" {name}={}", shown(value.as_bytes())));
    }
    if !body.is_empty() {
        line.push_str(&format!(" body {}", shown(body)));
    }
    for (name, value) in trailers {
        line.push_str(&format!(" trailer {name}={value:?}"));
    }
    vec![line]
}

fn http2(wish: &Wish, address: SocketAddr) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        match tokio::time::timeout(PATIENCE, http2_exchange(wish, address)).await {
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => match error.reason() {
                Some(reason) if error.is_reset() => vec![format!("> reset {reason:?}")],
                _ => vec!["> connection cut".to_owned()],
            },
            Err(_) => vec!["> no answer".to_owned()],
        }
    })
}

async fn http2_exchange(wish: &Wish, address: SocketAddr) -> Result<Vec<String>, h2::Error> {
    let stream =
        tokio::net::TcpStream::connect(address).await.map_err(|_| h2::Error::from(h2::Reason::CONNECT_ERROR))?;
    drop(stream.set_nodelay(true));
    let (client, connection) = h2::client::handshake(stream).await?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::new(());
    *request.method_mut() = wish.method.parse().unwrap_or_default();
    *request.uri_mut() = format!("http://kit{}", wish.path).parse().unwrap_or_default();
    *request.headers_mut() = wish.headers.iter().filter_map(field).collect();
    let mut client = client.ready().await?;
    let ends = wish.pieces.is_empty() && wish.trailers.is_empty();
    let (response, mut send) = client.send_request(request, ends)?;
    for (number, piece) in wish.pieces.iter().enumerate() {
        if number > 0 {
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        let last = number + 1 == wish.pieces.len() && wish.trailers.is_empty();
        drop(send.send_data(Bytes::from(piece.clone()), last));
    }
    if !wish.trailers.is_empty() {
        drop(send.send_trailers(wish.trailers.iter().filter_map(field).collect()));
    }
    let response = response.await?;
    let (head, mut body) = response.into_parts();
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        drop(body.flow_control().release_capacity(data.len()));
        whole.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    driver.abort();
    Ok(tell(head.status.as_u16(), &listed(&head.headers), &whole, &listed(&trailers)))
}

fn field((name, value): &(String, String)) -> Option<(HeaderName, HeaderValue)> {
    Some((name.parse().ok()?, value.parse().ok()?))
}

fn listed(map: &http::HeaderMap) -> Vec<(String, String)> {
    map.iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

fn tcp(pieces: &str, address: SocketAddr) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else {
        return vec!["> cannot connect".to_owned()];
    };
    drop(stream.set_nodelay(true));
    drop(stream.set_read_timeout(Some(PATIENCE)));
    for piece in pieces.split('|').map(str::trim) {
        if piece == "close" {
            drop(stream.shutdown(Shutdown::Write));
        } else if stream.write_all(&bytes(piece)).is_err() {
            lines.push("> closed".to_owned());
            return lines;
        }
        let mut buffer = [0; 65536];
        match stream.read(&mut buffer) {
            Ok(0) => {
                lines.push("> closed".to_owned());
                return lines;
            }
            Ok(n) => lines.push(format!("> {}", shown(&buffer[..n]))),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::ConnectionReset) => {
                lines.push("> closed".to_owned());
                return lines;
            }
            Err(_) => lines.push("> nothing".to_owned()),
        }
    }
    lines
}
