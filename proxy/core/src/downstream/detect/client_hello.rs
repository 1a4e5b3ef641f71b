//! The name a TLS client asks for, read from its ClientHello without answering it. Pure.
//!
//! RFC 8446 §4.1.2 (the message), RFC 8446 §5.1 (records, which may cut it anywhere), RFC 6066 §3 (server_name). Lengths
//! that do not fit each other make it malformed; what the extensions mean beside the name is not judged.

use crate::identity::is_of_the_mesh;

/// Bytes of a ClientHello at most. Browsers with post-quantum key shares send 2 KiB.
pub const MAX_BYTES: usize = 16 * 1024;

/// What a prefix of a TLS connection says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// A whole ClientHello.
    Whole(Asked),
    /// One longer than any client's.
    TooLarge,
    /// One whose lengths do not fit each other, or another message of TLS in its place.
    Malformed,
    /// The beginning of one.
    More,
    /// Something else.
    Not,
}

/// What a ClientHello asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The host name, if it asks for one; in lower case.
    pub name: Option<String>,
    /// Who it comes from.
    pub speaker: Speaker,
    /// Whether it offers no version since TLS 1.2.
    pub old: bool,
}

/// Who a ClientHello comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Speaker {
    /// A peer of the mesh, by the application protocols it offers (RFC 7301).
    Mesh,
    /// Anybody.
    #[default]
    Other,
}

/// Content type of a handshake record.
const HANDSHAKE: u8 = 22;
/// Type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Bytes of a record's head, and of a handshake message's.
const RECORD_HEAD: usize = 5;
const MESSAGE_HEAD: usize = 4;
/// Bytes of a record's content at most (RFC 8446 §5.1).
const MAX_RECORD: usize = 1 << 14;
/// The extension's number, and the type of a name in it that is a DNS host name.
const SERVER_NAME: u16 = 0;
/// The extension of application protocols.
const ALPN: u16 = 16;
/// The extension of versions, in which a client of TLS 1.3 says what it speaks.
const SUPPORTED_VERSIONS: u16 = 43;
const TLS12: u16 = 0x0303;
const HOST_NAME: u8 = 0;
/// Bytes of a DNS name at most (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// Whether `prefix` is the beginning of a ClientHello whose rest is still to come.
#[must_use]
pub fn has_begun(prefix: &[u8]) -> bool {
    !prefix.is_empty() && prefix.len() <= MAX_BYTES && read(prefix) == Hello::More
}

/// Reads `prefix`, the first bytes of a connection. What it says of a prefix it says of every longer one, [`Hello::More`]
/// excepted.
#[must_use]
pub fn read(prefix: &[u8]) -> Hello {
    let mut message = Vec::new();
    let mut rest = prefix;
    loop {
        match record(rest) {
            Record::Not if message.is_empty() => return Hello::Not,
            Record::Not | Record::Malformed => return Hello::Malformed,
            Record::Head => return Hello::More,
            Record::Part(content) => {
                message.extend_from_slice(content);
                return finish(&message).unwrap_or(Hello::More);
            }
            Record::Whole(content, behind) => {
                message.extend_from_slice(content);
                rest = behind;
            }
        }
        if let Some(hello) = finish(&message) {
            return hello;
        }
    }
}

enum Record<'a> {
    /// Not a handshake record.
    Not,
    /// One of a length that none has.
    Malformed,
    /// Its head is incomplete.
    Head,
    /// Its content is incomplete.
    Part(&'a [u8]),
    /// Its content, and what follows.
    Whole(&'a [u8], &'a [u8]),
}

fn record(bytes: &[u8]) -> Record<'_> {
    // 3.0 to 3.4: the version of a record is legacy, and some write the one they mean.
    let plausible = match bytes {
        [] => true,
        [kind] => *kind == HANDSHAKE,
        [kind, major] => *kind == HANDSHAKE && *major == 3,
        [kind, major, minor, ..] => *kind == HANDSHAKE && *major == 3 && *minor <= 4,
    };
    if !plausible {
        return Record::Not;
    }
    let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD>() else { return Record::Head };
    let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
    // A handshake record is never empty (RFC 8446 §5.1).
    if len == 0 || len > MAX_RECORD {
        return Record::Malformed;
    }
    match rest.split_at_checked(len) {
        Some((content, behind)) => Record::Whole(content, behind),
        None => Record::Part(rest),
    }
}

/// `None`: the message is incomplete.
fn finish(message: &[u8]) -> Option<Hello> {
    if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
        return Some(Hello::Malformed);
    }
    let (head, rest) = message.split_first_chunk::<MESSAGE_HEAD>()?;
    let len = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
    if len + MESSAGE_HEAD > MAX_BYTES {
        return Some(Hello::TooLarge);
    }
    let (body, _) = rest.split_at_checked(len)?;
    Some(asked(body).map_or(Hello::Malformed, Hello::Whole))
}

/// `None`: lengths do not fit.
fn asked(body: &[u8]) -> Option<Asked> {
    let mut body = Cursor(body);
    let version = body.u16()?;
    body.take(32)?;
    let session = body.u8()?;
    body.take(usize::from(session))?;
    let suites = body.u16()?;
    body.take(usize::from(suites))?;
    let compressions = body.u8()?;
    body.take(usize::from(compressions))?;
    // A client of old has no extensions.
    if body.0.is_empty() {
        return Some(Asked { old: version < TLS12, ..Asked::default() });
    }
    let len = body.u16()?;
    let mut extensions = Cursor(body.take(usize::from(len))?);
    if !body.0.is_empty() {
        return None;
    }
    let mut asked = Asked { old: version < TLS12, ..Asked::default() };
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let len = extensions.u16()?;
        let content = extensions.take(usize::from(len))?;
        if kind == SERVER_NAME {
            // Twice the same extension is an error (RFC 8446 §4.2): which one the server reads is not known.
            if asked.name.is_some() {
                return None;
            }
            asked.name = Some(host_name(content)?);
        }
        if kind == ALPN {
            asked.speaker = speaker(content)?;
        }
        if kind == SUPPORTED_VERSIONS {
            asked.old = false;
        }
    }
    Some(asked)
}

fn speaker(list: &[u8]) -> Option<Speaker> {
    let mut list = Cursor(list);
    let len = list.u16()?;
    let mut names = Cursor(list.take(usize::from(len))?);
    let mut speaker = Speaker::Other;
    while !names.0.is_empty() {
        let len = names.u8()?;
        if is_of_the_mesh(names.take(usize::from(len))?) {
            speaker = Speaker::Mesh;
        }
    }
    Some(speaker)
}

fn host_name(list: &[u8]) -> Option<String> {
    let mut list = Cursor(list);
    let len = list.u16()?;
    let mut names = Cursor(list.take(usize::from(len))?);
    if !list.0.is_empty() {
        return None;
    }
    let kind = names.u8()?;
    let len = names.u16()?;
    let name = names.take(usize::from(len))?;
    // One name of each type at most, and only one type was ever defined.
    let alone = names.0.is_empty();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let valid = kind == HOST_NAME && alone && !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(allowed);
    valid.then(|| name.iter().map(|&byte| char::from(byte).to_ascii_lowercase()).collect())
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &sized(content)].concat()
    }

    /// A ClientHello that asks for this name.
    pub(crate) fn named(name: &str) -> Vec<u8> {
        hello(&[sni(name.as_bytes()), extension(51, &[0; 1200])], MAX_RECORD)
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        extension(SERVER_NAME, &sized(&[&[HOST_NAME][..], &sized(name)].concat()))
    }

    /// A ClientHello with these extensions, cut into records of `cut` bytes.
    fn hello(extensions: &[Vec<u8>], cut: usize) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([1, 9]);
        body.extend(sized(&[0x13, 0x01]));
        body.extend([1, 0]);
        if !extensions.is_empty() {
            body.extend(sized(&extensions.concat()));
        }
        let len = (body.len() as u32).to_be_bytes();
        let message = [&[CLIENT_HELLO][..], &len[1..], &body].concat();
        message.chunks(cut).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &sized(part)].concat()).collect()
    }

    #[test]
    fn the_name_is_read_whatever_stands_around_it_and_however_it_is_cut() {
        let named = [extension(43, &[2, 3, 4]), sni(b"Api.Example.com"), extension(51, &[0; 1200])];
        for cut in [1, 3, 100, 1000, MAX_RECORD] {
            let bytes = hello(&named, cut);
            let name = Some("api.example.com".to_owned());
            let expected = Hello::Whole(Asked { name, ..Asked::default() });
            assert_eq!(read(&bytes), expected, "records of {cut}");
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), Hello::More, "records of {cut}, {end} bytes");
            }
            assert_eq!(read(&[&bytes[..], b"more"].concat()), expected);
        }
        assert_eq!(read(&hello(&[extension(43, &[2, 3, 4])], 500)), Hello::Whole(Asked::default()));
        assert_eq!(read(&hello(&[], 500)), Hello::Whole(Asked::default()));
    }

    #[test]
    fn a_peer_of_the_mesh_is_told_by_what_it_offers() {
        let speaker = |names: &[&[u8]]| {
            let list: Vec<u8> = names.iter().flat_map(|name| [&[name.len() as u8], *name].concat()).collect();
            match read(&hello(&[extension(16, &sized(&list))], 500)) {
                Hello::Whole(asked) => asked.speaker,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(speaker(&[b"h2", b"http/1.1"]), Speaker::Other);
        assert_eq!(speaker(&[b"h2", b"pillion/http/1.1"]), Speaker::Mesh);
    }

    #[test]
    fn a_client_of_old_is_known_by_the_one_version_it_names() {
        let old = |version: u8, extensions: &[Vec<u8>]| {
            let mut bytes = hello(extensions, MAX_RECORD);
            bytes[RECORD_HEAD + MESSAGE_HEAD + 1] = version;
            match read(&bytes) {
                Hello::Whole(asked) => asked.old,
                other => panic!("{other:?}"),
            }
        };
        let named = extension(SUPPORTED_VERSIONS, &[2, 3, 4]);
        assert_eq!([1, 2, 3].map(|version| old(version, &[])), [true, true, false]);
        assert_eq!([1, 2, 3].map(|version| old(version, &[sni(b"a.test")])), [true, true, false]);
        assert!(!old(1, &[named]), "TLS 1.3 says it elsewhere");
    }

    #[test]
    fn what_contradicts_itself_is_malformed() {
        let bad = [
            hello(&[sni(b"a"), sni(b"a")], 500),
            hello(&[sni(b"")], 500),
            hello(&[sni(b"a\0b.example.com")], 500),
            hello(&[sni("caf\u{e9}.example".as_bytes())], 500),
            hello(&[sni(&[b'a'; MAX_NAME + 1])], 500),
            hello(&[extension(SERVER_NAME, &[0, 9, 0])], 500),
            hello(&[extension(SERVER_NAME, &sized(&[&[7][..], &sized(b"a")].concat()))], 500),
            // The extensions' own length is one short.
            {
                let mut bytes = hello(&[sni(b"abc")], 500);
                let at = bytes.len() - 13;
                bytes[at] -= 1;
                bytes
            },
        ];
        for bytes in bad {
            assert_eq!(read(&bytes), Hello::Malformed, "{bytes:?}");
        }
        for bytes in [&[22, 3, 1, 0, 0][..], &[22, 3, 1, 0, 1, 2], &[22, 3, 1, 0xff, 0xff], &[22, 3, 1, 0, 1, 1, 23]] {
            assert_eq!(read(bytes), Hello::Malformed, "{bytes:?}");
        }
        for bytes in [&b"GET / HTTP/1.1"[..], &[23, 3, 3], &[22, 2, 0], &[22, 3, 5]] {
            assert_eq!(read(bytes), Hello::Not, "{bytes:?}");
        }
        let huge = [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfd];
        assert_eq!(read(&huge), Hello::TooLarge, "one byte too long");
    }

    proptest! {
        #[test]
        fn a_verdict_stands(bytes in proptest::collection::vec(any::<u8>(), 0..300), tls: bool) {
            let mut bytes = bytes;
            if tls {
                bytes.splice(..0, [22, 3, 1, 1, 0, 1, 0, 0, 200]);
            }
            let whole = read(&bytes);
            for end in 0..bytes.len() {
                let early = read(&bytes[..end]);
                prop_assert!(early == Hello::More || early == whole, "{} {:?} {:?}", end, early, whole);
            }
        }
    }
}
