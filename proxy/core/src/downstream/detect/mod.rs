//! detect: which protocol a connection speaks, told from its first bytes.
//!
//! The decision is a pure function of a prefix, [`decide`]; [`first_bytes`] reads until it is made. No byte is
//! lost: what was read is handed on with the verdict. Nothing is answered here. A listener that takes only HTTP leaves
//! what is none to the HTTP/1 guard; one that takes only opaque connections reads nothing, unless it tells TLS clients
//! apart by the name they ask for.

pub mod client_hello;

use super::unfinished::Room;
use crate::{drain::Control, io::Socket};
use bytes::{Bytes, BytesMut};
use client_hello::Hello;
use pillion_config::model::{Alpn, Http, ListenerProtocol};
use std::{future::poll_fn, io, pin::Pin, task::Poll, time::Duration};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::timeout,
};

/// What a client with prior knowledge of HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How every TLS handshake begins: a record of type handshake, of legacy version 3.x (RFC 8446 §5.1). No method of HTTP
/// begins with a control byte.
const CLIENT_HELLO: &[u8] = &[0x16, 0x03];

/// Bytes read at once: a usual request's head comes whole, and the stack bears it.
pub(crate) const READ: usize = 4096;

/// The methods of HTTP/1.1 (RFC 9110 §9.3, RFC 5789). With a path behind one, the version need not be waited for.
const METHODS: [&[u8]; 9] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

/// Schemes of protocols whose requests read like HTTP's: RTSP's (RFC 7826) and ICAP's (RFC 3507) share OPTIONS with it.
const LIKE_HTTP: [&[u8]; 5] = [b"rtsp", b"rtsps", b"rtspu", b"icap", b"icaps"];

/// What servers split a request line at that read it as Latin-1 and take all white space of Unicode for space.
const WHITE: &[u8] = b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0";

/// Bytes of a request line that are looked at before it is left to the HTTP/1 guard, which refuses long ones.
const MAX_LINE: usize = 8 * 1024;

/// Time for the rest of a ClientHello that has begun, where it is read and not answered: as long as `handshake_timeout`
/// gives one that is. Were it cut off by the time for silence, a segment lost on the way would choose the cluster.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection may turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// HTTP, or what is refused as HTTP is.
    Http,
    /// HTTP, TLS, or anything else.
    Any,
    /// TLS by the name it asks for, or anything else.
    Names,
}

/// Whether rules look at the name that a client asks for in TLS which is not ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// They do.
    Matter,
    /// They do not.
    DoNot,
}

/// How the first bytes of a connection are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Not at all: the connection is opaque.
    Unread,
    /// Until what it is among these is known, at most for so long.
    Read(Among, Duration),
}

/// What the first bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// HTTP/2 with prior knowledge.
    Http2,
    /// HTTP/1, or what the HTTP/1 guard will refuse with an answer that every client understands.
    Http1,
    /// TLS, and the name its client asks for, if it does (RFC 6066 §3).
    Tls(Option<String>),
    /// None of those.
    Opaque,
    /// Not decided by so few bytes.
    More,
}

/// How detection ended.
#[derive(Debug)]
pub enum Detected {
    /// HTTP/1; the bytes read so far.
    Http1(Bytes),
    /// HTTP/2; the bytes read so far, the preface among them.
    Http2(Bytes),
    /// TLS that is not ended here; the bytes read so far, and the name it asks for where names are looked at.
    Tls(Bytes, Option<String>),
    /// Something else; the bytes read so far.
    Opaque(Bytes, Heard),
    /// The client closed without a byte.
    Closed,
    /// The client was silent where only HTTP is spoken, or stopped within the preface or a ClientHello, beyond the deadline.
    TimedOut,
    /// The connection failed.
    Failed(io::Error),
}

/// Whether an opaque connection may ask for a server name that was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It asks for none, or nobody wants to know.
    Enough,
    /// It said too little in time, or began with TLS that cannot be read.
    TooLittle,
}

impl Detected {
    fn opaque(prefix: Bytes) -> Self {
        let heard = if prefix.starts_with(CLIENT_HELLO) { Heard::TooLittle } else { Heard::Enough };
        Self::Opaque(prefix, heard)
    }

    /// What TLS agreed upon stands; the guard refuses a client that then speaks another protocol.
    #[must_use]
    pub fn agreed(self, protocol: Option<Alpn>) -> Self {
        match (self, protocol) {
            (Self::Http1(prefix) | Self::Http2(prefix) | Self::Tls(prefix, _), Some(Alpn::Http2)) => {
                Self::Http2(prefix)
            }
            (Self::Http1(prefix) | Self::Http2(prefix) | Self::Tls(prefix, _), Some(Alpn::Http1)) => {
                Self::Http1(prefix)
            }
            (detected, _) => detected,
        }
    }

    /// A stable name in snake case: a metric's label value.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http1(_) => "http1",
            Self::Http2(_) => "http2",
            Self::Tls(..) => "tls",
            Self::Opaque(..) => "opaque",
            Self::Closed => "closed",
            Self::TimedOut => "timeout",
            Self::Failed(_) => "failed",
        }
    }
}

impl Plan {
    /// How a listener looks at a connection that reached this port of it, and agreed in TLS upon a protocol, if it did.
    #[must_use]
    pub fn of(protocol: &ListenerProtocol, http: &Http, port: u16, names: Names, agreed: Option<Alpn>) -> Self {
        match protocol {
            ListenerProtocol::Http => Self::Read(Among::Http, http.timeouts.header),
            // It is spoken then, whatever the port; silence makes it nothing else.
            ListenerProtocol::Detect(_) if agreed.is_some() => Self::Read(Among::Http, http.timeouts.header),
            // There is nowhere else to go: giving up early brings nobody anything.
            ListenerProtocol::Opaque(tcp) if tcp.names_alone() => {
                Self::Read(Among::Names, tcp.detect_timeout.max(HELLO_TIMEOUT))
            }
            ListenerProtocol::Opaque(tcp) if !tcp.server_names.is_empty() => {
                Self::Read(Among::Names, tcp.detect_timeout)
            }
            ListenerProtocol::Opaque(tcp) if names == Names::Matter && !tcp.server_first.contains(&port) => {
                Self::Read(Among::Names, tcp.detect_timeout)
            }
            ListenerProtocol::Opaque(_) => Self::Unread,
            ListenerProtocol::Detect(tcp) if tcp.server_first.contains(&port) => Self::Unread,
            ListenerProtocol::Detect(tcp) => Self::Read(Among::Any, tcp.detect_timeout),
        }
    }
}

/// Decides by a prefix of the stream. Deciding on a prefix and on any longer one gives the same answer, once
/// it is not [`Verdict::More`].
#[must_use]
pub fn decide(prefix: &[u8], among: Among) -> Verdict {
    if among != Among::Names {
        if prefix.starts_with(PREFACE) {
            return Verdict::Http2;
        }
        if PREFACE.starts_with(prefix) {
            return Verdict::More;
        }
    }
    match among {
        // Where no name is asked for, two bytes are enough.
        Among::Http if prefix.starts_with(CLIENT_HELLO) => Verdict::Tls(None),
        Among::Http if CLIENT_HELLO.starts_with(prefix) => Verdict::More,
        Among::Http => Verdict::Http1,
        Among::Any | Among::Names => match client_hello::read(prefix) {
            Hello::Whole(asked) => Verdict::Tls(asked.name),
            Hello::More if prefix.len() <= client_hello::MAX_BYTES => Verdict::More,
            Hello::More => Verdict::Opaque,
            Hello::TooLarge | Hello::Malformed => Verdict::Opaque,
            Hello::Not if among == Among::Any => request_line(prefix),
            Hello::Not => Verdict::Opaque,
        },
    }
}

/// Whether a client that has said this much may be on its way to HTTP, or to TLS.
#[must_use]
pub(super) fn has_begun(prefix: &[u8]) -> bool {
    !prefix.is_empty() && decide(prefix, Among::Any) == Verdict::More
}

/// Whether what a client has said begins a method that HTTP clients use, HTTP/2's preface or TLS, and not some other word, of which
/// nobody knows whether it will be one.
#[must_use]
pub(crate) fn is_usual(prefix: &[u8]) -> bool {
    let start = prefix.iter().position(|byte| !WHITE.contains(byte)).unwrap_or(prefix.len());
    let mut words = prefix[start..].split(|byte| WHITE.contains(byte));
    let (word, rest) = (words.next().unwrap_or_default(), words.next());
    let begins = |method: &[u8]| if rest.is_some() { method == word } else { method.starts_with(word) };
    client_hello::has_begun(prefix)
        || PREFACE.starts_with(prefix)
        || (!word.is_empty() && METHODS.iter().any(|method| begins(method)))
}

/// Whether `prefix` begins with an HTTP/1 request line (RFC 9112 §3). Its version tells: `EHLO mail.example` reads like
/// a method and a target. What a lenient server would take for a request all the same, with [`WHITE`] space before it or between its
/// parts, without a version or with another protocol's, is HTTP, too: the guard refuses it, and nobody gets round the routes with it.
/// A path or a URL tells behind a word in capitals, as all methods in use are; `get /key` is memcached's.
fn request_line(prefix: &[u8]) -> Verdict {
    let Some(start) = prefix.iter().position(|byte| !WHITE.contains(byte)) else {
        return if prefix.len() <= MAX_LINE { Verdict::More } else { Verdict::Http1 };
    };
    let (before, prefix) = prefix.split_at(start);
    let line = prefix.split(|&byte| byte == b'\n').next().unwrap_or(prefix);
    let method_ends = line.iter().position(|byte| WHITE.contains(byte)).unwrap_or(line.len());
    let (method, rest) = line.split_at(method_ends);
    let usual = METHODS.contains(&method);
    if usual && !rest.is_empty() {
        let target = rest.iter().position(|byte| !WHITE.contains(byte));
        let between = &rest[..target.unwrap_or(rest.len())];
        // No client of another protocol writes such space beside its words.
        let odd =
            before.iter().any(|byte| !b"\r\n\t ".contains(byte)) || between.iter().any(|byte| !b"\t ".contains(byte));
        match target {
            Some(at) if odd || is_requests_alone(method, &rest[at..], line.len() < prefix.len()) => {
                return Verdict::Http1;
            }
            None if line.len() == prefix.len() && line.len() <= MAX_LINE => return Verdict::More,
            None if line.len() == prefix.len() => return Verdict::Http1,
            Some(_) | None => {}
        }
    }
    // Some protocols end their lines with a CR alone: it stands between words only where the method is a usual one.
    let asks = |target: &[u8]| target.starts_with(b"/") || scheme(target).is_some_and(|scheme| !is_like_http(scheme));
    let target = rest.iter().position(|byte| !WHITE.contains(byte)).filter(|&at| asks(&rest[at..]));
    let capitals = !method.is_empty() && method.iter().all(|byte| is_token(byte) && !byte.is_ascii_lowercase());
    if capitals && target.is_some_and(|at| !rest[..at].contains(&b'\r')) {
        return Verdict::Http1;
    }
    let white = |byte: u8| WHITE.contains(&byte) && (usual || byte != b'\r');
    // A byte that is white space in Latin-1 may be a part of a character in UTF-8.
    match (version_told(prefix, line, |byte| byte == b' '), version_told(prefix, line, white)) {
        (Verdict::Http1, _) | (_, Verdict::Http1) => Verdict::Http1,
        (Verdict::More, _) | (_, Verdict::More) => Verdict::More,
        _ => Verdict::Opaque,
    }
}

/// Whether what stands behind a usual method is a request's whatever version follows: a path, a URL, `*`, or with most methods a
/// target with anything behind it, as `RTSP/1.0`, of which some servers answer as if it were theirs. `CONNECT {"user": 1}` is NATS's,
/// `OPTIONS * RTSP/1.0` and `OPTIONS rtsp://a/` RTSP's, and `GET key` Redis's. `ended`: so has the line.
fn is_requests_alone(method: &[u8], target: &[u8], ended: bool) -> bool {
    let begins = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let options = method == b"OPTIONS";
    let shared = method == b"CONNECT" || options;
    let url = || scheme(target).is_some_and(|scheme| !(options && is_like_http(scheme)));
    let star = || !options && target[0] == b'*' && target.get(1).map_or(ended, |byte| WHITE.contains(byte));
    let mut words = target.split(|byte| WHITE.contains(byte)).filter(|word| !word.is_empty());
    let mut followed =
        || words.next().is_some_and(|target| !target.iter().any(u8::is_ascii_control)) && words.next().is_some();
    target.starts_with(b"/") || begins(b"http:") || begins(b"https:") || url() || star() || (!shared && followed())
}

/// The scheme of a URL that has an authority (RFC 3986 §3.1).
fn scheme(target: &[u8]) -> Option<&[u8]> {
    let scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let (scheme, rest) = target.split_at(target.iter().position(|byte| !scheme(byte))?);
    (scheme.first()?.is_ascii_alphabetic() && rest.starts_with(b"://")).then_some(scheme)
}

/// Whether URLs of this scheme stand in requests that read like HTTP's and are none.
fn is_like_http(scheme: &[u8]) -> bool {
    LIKE_HTTP.iter().any(|like| like.eq_ignore_ascii_case(scheme))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Whether the first line of `prefix` is a token, a target and a version, with this between them: of HTTP, whichever (a server may read
/// `01.1` as a number, and take `9` for one it knows); or of anything, behind a path or the URL of no protocol that has such lines.
fn version_told(prefix: &[u8], line: &[u8], white: impl Fn(u8) -> bool) -> Verdict {
    // A word, and what comes behind the white space that ends it.
    let word = |line: &'_ [u8]| -> (usize, Option<usize>) {
        let ends = line.iter().position(|&byte| white(byte)).unwrap_or(line.len());
        let next = line[ends..].iter().position(|&byte| !white(byte)).map(|at| ends + at);
        (ends, next)
    };
    let (ends, next) = word(line);
    // Of any length: no server need have a limit of its own.
    if ends == 0 || !line[..ends].iter().all(is_token) {
        return Verdict::Opaque;
    }
    let version = next.and_then(|at| {
        let (ends, next) = word(&line[at..]);
        let target = &line[at..at + ends];
        let control = target.iter().any(u8::is_ascii_control);
        if control { Some(None) } else { next.map(|next| Some((target, &line[at + next..]))) }
    });
    match version {
        Some(Some((target, version))) => {
            let any = target.starts_with(b"/") || scheme(target).is_some_and(|scheme| !is_like_http(scheme));
            match (is_http(version), is_version(version)) {
                (Verdict::Http1, _) => Verdict::Http1,
                (_, Verdict::Http1) if any => Verdict::Http1,
                (http, other) if http == Verdict::More || (any && other == Verdict::More) => {
                    if line.len() == prefix.len() { Verdict::More } else { Verdict::Opaque }
                }
                _ => Verdict::Opaque,
            }
        }
        Some(None) => Verdict::Opaque,
        // The line goes on.
        None if line.len() == prefix.len() && line.len() <= MAX_LINE => Verdict::More,
        None if line.len() == prefix.len() => Verdict::Http1,
        None => Verdict::Opaque,
    }
}

/// Whether `version` is one of HTTP.
fn is_http(version: &[u8]) -> Verdict {
    const VERSION: &[u8] = b"HTTP/";
    let len = version.len().min(VERSION.len());
    match version[..len].eq_ignore_ascii_case(&VERSION[..len]) {
        true if len == VERSION.len() => Verdict::Http1,
        true => Verdict::More,
        false => Verdict::Opaque,
    }
}

/// Whether `version` is one of any protocol: a name, a slash, two numbers.
fn is_version(version: &[u8]) -> Verdict {
    /// Bytes of a protocol's name at most.
    const NAME: usize = 32;
    let name = version.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    if name == 0 || name > NAME {
        return Verdict::Opaque;
    }
    match &version[name..] {
        [b'/', first, b'.', second, ..] if first.is_ascii_digit() && second.is_ascii_digit() => Verdict::Http1,
        [] | [b'/'] => Verdict::More,
        [b'/', first] | [b'/', first, b'.'] if first.is_ascii_digit() => Verdict::More,
        _ => Verdict::Opaque,
    }
}

/// Reads until it is known what the connection is among these, at most for `deadline`, but for the rest of a ClientHello
/// that has begun (10 s). `prefix` was read already.
///
/// Dropping the future loses the bytes read: the connection must go with it.
pub async fn first_bytes(
    socket: &mut Socket,
    prefix: Bytes,
    among: Among,
    deadline: Duration,
    line: &Control,
) -> Detected {
    let mut prefix = BytesMut::from(prefix);
    let mut known = timeout(deadline, read_until_known(socket, &mut prefix, among, line)).await;
    if known.is_err() && client_hello::has_begun(&prefix) {
        // What was read before is in `prefix`.
        known = timeout(HELLO_TIMEOUT, read_until_known(socket, &mut prefix, among, line)).await;
    }
    match known {
        Ok(Ok(Verdict::Http1)) => Detected::Http1(prefix.freeze()),
        Ok(Ok(Verdict::Http2)) => Detected::Http2(prefix.freeze()),
        Ok(Ok(Verdict::Tls(name))) => Detected::Tls(prefix.freeze(), name),
        Ok(Ok(Verdict::Opaque)) => Detected::opaque(prefix.freeze()),
        // It ended before it was known. The guard answers a head that was cut short.
        Ok(Ok(Verdict::More)) if prefix.is_empty() => Detected::Closed,
        Ok(Ok(Verdict::More)) if among == Among::Http => Detected::Http1(prefix.freeze()),
        Ok(Ok(Verdict::More)) => Detected::opaque(prefix.freeze()),
        Ok(Err(error)) => Detected::Failed(error),
        Err(_elapsed) if among == Among::Http || client_hello::has_begun(&prefix) => Detected::TimedOut,
        Err(_elapsed) => Detected::Opaque(prefix.freeze(), Heard::TooLittle),
    }
}

/// [`Verdict::More`]: the stream ended first.
async fn read_until_known(
    socket: &mut Socket,
    prefix: &mut BytesMut,
    among: Among,
    line: &Control,
) -> io::Result<Verdict> {
    loop {
        match decide(prefix, among) {
            Verdict::More => {}
            verdict => return Ok(verdict),
        }
        if read_more(socket, |bytes| prefix.extend_from_slice(bytes)).await? == 0 {
            return Ok(Verdict::More);
        }
        held(line, prefix.capacity()).await;
    }
}

/// Notes that the first bytes of a connection wait for more, and lets those go first who must make room.
pub(super) async fn held(line: &Control, bytes: usize) {
    if line.hold(bytes) == Room::None {
        tokio::task::yield_now().await;
    }
}

/// One read. The buffer lives on the stack for the time of a poll: a client that says nothing holds no memory.
pub(super) async fn read_more(socket: &mut Socket, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut bytes = [std::mem::MaybeUninit::uninit(); READ];
        let mut buf = ReadBuf::uninit(&mut bytes);
        match Pin::new(&mut *socket).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => {
                take(buf.filled());
                Poll::Ready(Ok(buf.filled().len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests;
