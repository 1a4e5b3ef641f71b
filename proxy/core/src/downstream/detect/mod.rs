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

/// Whether `prefix` begins with an HTTP/1 request line (RFC 9112 §3). Its version tells: `EHLO mail.example` reads like
/// a method and a target. What a lenient server would take for a request all the same, with white space before it or between its
/// parts or without a version, is HTTP, too: the guard refuses it, and nobody gets round the routes with it.
fn request_line(prefix: &[u8]) -> Verdict {
    const VERSION: &[u8] = b"HTTP/1.";
    let Some(start) = prefix.iter().position(|byte| !b"\r\n\t ".contains(byte)) else {
        return if prefix.len() <= MAX_LINE { Verdict::More } else { Verdict::Http1 };
    };
    let prefix = &prefix[start..];
    let line = prefix.split(|&byte| byte == b'\n').next().unwrap_or(prefix);
    let method_ends = line.iter().position(|byte| b" \t".contains(byte)).unwrap_or(line.len());
    if METHODS.contains(&&line[..method_ends]) && method_ends < line.len() {
        match line[method_ends..].iter().find(|byte| !b" \t".contains(byte)) {
            Some(b'/') => return Verdict::Http1,
            None if line.len() == prefix.len() && line.len() <= MAX_LINE => return Verdict::More,
            None if line.len() == prefix.len() => return Verdict::Http1,
            Some(_) | None => {}
        }
    }
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let method = words.next().unwrap_or_default();
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    // Of any length: no server need have a limit of its own.
    if method.is_empty() || !method.iter().all(token) {
        return Verdict::Opaque;
    }
    let target = words.next().unwrap_or_default();
    if target.iter().any(|byte| byte.is_ascii_control()) {
        return Verdict::Opaque;
    }
    match words.next() {
        Some(version) if version.starts_with(VERSION) => Verdict::Http1,
        Some(version) if VERSION.starts_with(version) && line.len() == prefix.len() => Verdict::More,
        Some(_) => Verdict::Opaque,
        // The line goes on.
        None if line.len() == prefix.len() && line.len() <= MAX_LINE => Verdict::More,
        None if line.len() == prefix.len() => Verdict::Http1,
        None => Verdict::Opaque,
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn every_proper_prefix_of_the_preface_asks_for_more() {
        for end in 0..PREFACE.len() {
            assert_eq!(decide(&PREFACE[..end], Among::Http), Verdict::More, "{end} bytes");
            assert_eq!(decide(&PREFACE[..end], Among::Any), Verdict::More, "{end} bytes");
        }
        assert_eq!(decide(PREFACE, Among::Http), Verdict::Http2);
        assert_eq!(decide(PREFACE, Among::Any), Verdict::Http2);
    }

    #[test]
    fn one_byte_that_differs_is_http1() {
        for at in 0..PREFACE.len() {
            let mut bytes = PREFACE.to_vec();
            bytes[at] ^= 1;
            assert_eq!(decide(&bytes, Among::Http), Verdict::Http1, "byte {at}");
            assert_eq!(decide(&bytes[..=at], Among::Http), Verdict::Http1, "byte {at}, cut behind it");
        }
        assert_eq!(decide(b"PUT / HTTP/1.1\r\n", Among::Http), Verdict::Http1);
    }

    #[test]
    fn where_only_http_is_spoken_two_bytes_tell_tls() {
        let http = |bytes: &[u8]| decide(bytes, Among::Http);
        assert_eq!(http(&[0x16]), Verdict::More);
        for version in 0..=4 {
            assert_eq!(http(&[0x16, 0x03, version, 0x02, 0x00, 0x01]), Verdict::Tls(None));
        }
        assert_eq!(http(&[0x16, 0x04]), Verdict::Http1);
        assert_eq!(http(b"\x16GET / HTTP/1.1\r\n"), Verdict::Http1);
    }

    #[test]
    fn http1_is_told_from_protocols_that_look_like_it() {
        for (http, known) in [
            ("OPTIONS * HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1."),
            ("M-SEARCH http://a/ HTTP/1.1\r\n", "M-SEARCH http://a/ HTTP/1."),
            ("REPORT /a HTTP/1.1\r\n", "REPORT /a HTTP/1."),
            ("GET / HTTP/1.1\r\n", "GET /"),
            // What the guard refuses, and lenient servers would not.
            ("\r\n\n \tPOST\t/a\tHTTP/1.1\r\n", "\r\n\n \tPOST\t/"),
            ("GET /\r\n", "GET /"),
            ("GET \t /a HTTP/1.1\r\n", "GET \t /"),
            ("GET / http/1.1\r\n", "GET /"),
            ("GET / HTTP/2.0\r\n", "GET /"),
            ("XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX / HTTP/1.1\r\n", "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX / HTTP/1."),
            (
                "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ * HTTP/1.0\r\n",
                "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ * HTTP/1.",
            ),
        ] {
            assert_eq!(decide(http.as_bytes(), Among::Any), Verdict::Http1, "{http}");
            for end in 0..known.len() {
                assert_eq!(decide(&http.as_bytes()[..end], Among::Any), Verdict::More, "{:?}", &http[..end]);
            }
            assert_eq!(decide(known.as_bytes(), Among::Any), Verdict::Http1, "{known}");
        }
        for other in [
            &b"EHLO mail.example.com\r\n"[..],
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"USER anonymous\r\n",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"*3\r\n$3\r\nSET\r\n",
            b"\r\n\r\n\0\r\nQUIT\n",
            b"OPTIONS rtsp://a/ RTSP/1.0\r\n",
            b"OPTIONS * RTSP/1.0\r\n",
            b"GET key\r\n",
            b"get /\r\n",
            b"REPORT /a HTTP/2.0\r\n",
            b"PURGE /a\0b HTTP/1.1\r\n",
            // iperf3's cookie, and git's first line: longer than most methods, and no request's.
            b"q2xkz6wvmbpjgnr3htcydf5aslu4e7oi6qxv\0",
            b"003egit-upload-pack-of-a-very-long-name /site.git\0host=example.com\0",
            b"SSH-2.0-OpenSSH_9.6p1.of.a.very.long.name Ubuntu-3ubuntu13.5\r\n",
            b"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\r\n",
            b"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX / RTSP/1.0\r\n",
        ] {
            assert_eq!(decide(other, Among::Any), Verdict::Opaque, "{}", other.escape_ascii());
        }
        let long = [&b"REPORT /"[..], &[b'a'; MAX_LINE]].concat();
        assert_eq!(decide(&long, Among::Any), Verdict::Http1, "the guard says that it is too long");
        let method = [&[b'X'; MAX_LINE - 1][..], b" / HTTP/1.1\r\n"].concat();
        assert_eq!(decide(&method[..MAX_LINE], Among::Any), Verdict::More);
        assert_eq!(decide(&method, Among::Any), Verdict::Http1);
        assert_eq!(decide(&[b'X'; MAX_LINE], Among::Any), Verdict::More);
        assert_eq!(decide(&[b'X'; MAX_LINE + 1], Among::Any), Verdict::Http1, "so is this");
        assert_eq!(decide(&[b'\n'; MAX_LINE], Among::Any), Verdict::More);
        assert_eq!(decide(&[b'\n'; MAX_LINE + 1], Among::Any), Verdict::Http1);
    }

    #[test]
    fn what_has_begun_is_no_silence_and_may_still_become_something() {
        let hello = client_hello::tests::named("api.example.com");
        for (whole, known) in [
            (&b"GET / HTTP/1.1\r\n"[..], "GET /".len()),
            (b"\r\nREPORT /a HTTP/1.1\r\n", "\r\nREPORT /a HTTP/1.".len()),
            (PREFACE, PREFACE.len()),
            (&hello, hello.len()),
        ] {
            assert!(!has_begun(b""));
            for end in 1..=whole.len() {
                assert_eq!(has_begun(&whole[..end]), end < known, "{} of {}", end, whole.escape_ascii());
            }
        }
        assert!(!has_begun(b"\x01") && !has_begun(b"EHLO a\r\n"));
    }

    proptest! {
        #[test]
        fn a_token_a_target_and_a_version_are_a_request_whatever_their_length(
            method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}",
            target in "[!-~]{1,40}",
        ) {
            let line = format!("{method} {target} HTTP/1.1\r\n");
            let known = line.len() - "1\r\n".len();
            prop_assert_eq!(decide(line.as_bytes(), Among::Any), Verdict::Http1);
            prop_assert_eq!(decide(&line.as_bytes()[..known], Among::Any), Verdict::Http1);
            for end in 0..known {
                let early = decide(&line.as_bytes()[..end], Among::Any);
                // With a known method and a path behind it the version need not be waited for.
                prop_assert!(early == Verdict::More || early == Verdict::Http1, "{end}: {early:?}");
            }
        }

        #[test]
        fn a_decision_stands(start in 0u8..6, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let long: &[u8] = b"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX";
            let start: &[u8] =
                [&b""[..], b"\r\nGET ", b"TRACED /x", b"PRI * HT", &[22, 3, 1, 0, 9, 1], long][usize::from(start)];
            let bytes = [start, &bytes].concat();
            for among in [Among::Http, Among::Any, Among::Names] {
                let whole = decide(&bytes, among);
                for end in 0..bytes.len() {
                    let early = decide(&bytes[..end], among);
                    prop_assert!(early == Verdict::More || early == whole, "{among:?} {end}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_hello_that_has_begun_is_waited_for_and_silence_is_not() {
        let deadline = Duration::from_millis(200);
        let hello = client_hello::tests::named("api.example.com");
        for (among, cut) in [(Among::Names, 1), (Among::Names, 100), (Among::Any, 3), (Among::Any, hello.len() - 1)] {
            let (mut client, server) = tokio::io::duplex(4096);
            let mut socket = Socket::Memory(server);
            let control = Control::default();
            let reading = async { first_bytes(&mut socket, Bytes::new(), among, deadline, &control).await };
            let writing = async {
                client.write_all(&hello[..cut]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
                client.write_all(&hello[cut..]).await.unwrap();
            };
            let (detected, ()) = tokio::join!(reading, writing);
            let name = Some("api.example.com");
            assert!(
                matches!(&detected, Detected::Tls(bytes, asked) if bytes == &hello && asked.as_deref() == name),
                "{among:?}, cut behind {cut}: {detected:?}"
            );
            // One whose rest never comes goes nowhere; one that says nothing is opaque, the sooner the longer it was waited for before.
            client.write_all(&hello[..cut]).await.unwrap();
            let began = tokio::time::Instant::now();
            let detected = first_bytes(&mut socket, Bytes::new(), among, deadline, &control).await;
            assert!(matches!(detected, Detected::TimedOut), "{detected:?}");
            assert!(began.elapsed() >= HELLO_TIMEOUT);
            for left in [deadline, Duration::ZERO] {
                let began = tokio::time::Instant::now();
                let detected = first_bytes(&mut socket, Bytes::new(), among, left, &control).await;
                assert!(matches!(detected, Detected::Opaque(_, Heard::TooLittle)), "{detected:?}");
                assert!(began.elapsed() <= deadline + Duration::from_millis(1));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_in_pieces_are_kept_and_silence_ends() {
        let (mut client, server) = tokio::io::duplex(256);
        let mut socket = Socket::Memory(server);
        let reading = async {
            first_bytes(&mut socket, Bytes::new(), Among::Http, Duration::from_secs(10), &Control::default()).await
        };
        let writing = async {
            for piece in PREFACE.chunks(5) {
                client.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (detected, ()) = tokio::join!(reading, writing);
        assert!(matches!(detected, Detected::Http2(bytes) if bytes == PREFACE));

        let silent =
            first_bytes(&mut socket, Bytes::new(), Among::Http, Duration::from_secs(10), &Control::default()).await;
        assert!(matches!(silent, Detected::TimedOut));
        drop(client);
        assert!(matches!(
            first_bytes(&mut socket, Bytes::new(), Among::Http, Duration::from_secs(10), &Control::default()).await,
            Detected::Closed
        ));
    }
}
