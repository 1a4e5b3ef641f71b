//! The header from every side: each prefix, each rule, what is written is read, and no byte of the stream is taken.

use super::{header::V2_START, *};
use pillion_config::model::{AnnouncedField, Announcement, AnnouncementVersion};
use proptest::prelude::*;
use std::net::SocketAddr;

const MOST: usize = 1024;

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [V2_START, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

const BLOCK: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];

fn tcp4(fields: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&BLOCK, fields].concat())
}

fn whole(bytes: &[u8]) -> Header {
    match read(bytes, MOST) {
        Read::Whole(header, len) => {
            assert_eq!(len, bytes.len(), "{}", bytes.escape_ascii());
            header
        }
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

/// Every proper prefix asks for more; what follows the header is not looked at.
fn every_prefix(bytes: &[u8]) {
    let expected = read(bytes, MOST);
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end], MOST), Read::More, "{end} of {}", bytes.escape_ascii());
    }
    for behind in [&b"GET / HTTP/1.1\r\n"[..], &[0; 40], &[0x02, 0xff, 0xff], V2_START, b"PROXY "] {
        assert_eq!(read(&[bytes, behind].concat(), MOST), expected);
    }
}

#[test]
fn version_1_is_read() {
    for (line, expected) in [
        ("TCP4 192.0.2.1 198.51.100.7 56324 443", Some(ends("192.0.2.1:56324", "198.51.100.7:443"))),
        ("TCP4 255.255.255.255 0.0.0.0 65535 0", Some(ends("255.255.255.255:65535", "0.0.0.0:0"))),
        ("TCP6 2001:db8::1 ::1 1 2", Some(ends("[2001:db8::1]:1", "[::1]:2"))),
        ("TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2", Some(ends("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2"))),
        ("UNKNOWN", None),
        ("UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535", None),
    ] {
        let bytes = format!("PROXY {line}\r\n").into_bytes();
        assert_eq!(whole(&bytes), Header { ends: expected, ..Header::default() }, "{line}");
        every_prefix(&bytes);
    }
    let longest = "TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535";
    every_prefix(format!("PROXY {longest}\r\n").as_bytes());
    assert_eq!(whole(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; V1_MAX - 16], b"\r\n"].concat()).ends, None);
}

#[test]
fn version_1_is_held_to_its_words() {
    for (line, fault) in [
        ("TCP4 192.0.2.1 198.51.100.7 56324 443\n", Fault::Line),
        ("TCP4 192.0.2.1 198.51.100.7 56324\r\n", Fault::Line),
        ("TCP4 192.0.2.1 198.51.100.7 56324 443 1\r\n", Fault::Line),
        ("TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n", Fault::Line),
        ("TCP4  192.0.2.1 198.51.100.7 56324 443\r\n", Fault::Address),
        ("TCP4\t192.0.2.1 198.51.100.7 56324 443\r\n", Fault::Line),
        ("TCP4 192.0.2.1 198.51.100.7 56324 443\r\r\n", Fault::Line),
        ("TCP4 192.0.2.1\r 198.51.100.7 1 443\r\n", Fault::Line),
        ("TCP4 192.0.2.01 198.51.100.7 1 443\r\n", Fault::Address),
        ("TCP4 192.0.2 198.51.100.7 1 443\r\n", Fault::Address),
        ("TCP4 ::1 198.51.100.7 1 443\r\n", Fault::Address),
        ("TCP6 192.0.2.1 198.51.100.7 1 443\r\n", Fault::Address),
        ("TCP6 fe80::1%eth0 ::1 1 443\r\n", Fault::Address),
        ("TCP6 [::1] ::1 1 443\r\n", Fault::Address),
        ("TCP4 192.0.2.1 198.51.100.7 65536 443\r\n", Fault::Address),
        ("TCP4 192.0.2.1 198.51.100.7 +1 443\r\n", Fault::Address),
        ("TCP4 192.0.2.1 198.51.100.7 01 443\r\n", Fault::Address),
        ("TCP4 192.0.2.1 198.51.100.7  443\r\n", Fault::Address),
        ("tcp4 192.0.2.1 198.51.100.7 1 443\r\n", Fault::Line),
        ("UDP4 192.0.2.1 198.51.100.7 1 443\r\n", Fault::Line),
        ("UNKNOWN caf\u{e9}\r\n", Fault::Line),
        ("\r\n", Fault::Line),
    ] {
        assert_eq!(read(format!("PROXY {line}").as_bytes(), MOST), Read::Bad(fault), "{line:?}");
    }
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    assert_eq!(read(&long[..V1_MAX - 1], MOST), Read::More);
    assert_eq!(read(&long[..V1_MAX], MOST), Read::Bad(Fault::LineTooLong));
    let late = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; V1_MAX - 15], b"\r\n"].concat();
    assert_eq!(read(&late, MOST), Read::Bad(Fault::LineTooLong), "one byte too long");
}

#[test]
fn version_2_is_read() {
    let expected = Some(ends("192.0.2.1:56324", "198.51.100.7:443"));
    let plain = tcp4(&[]);
    assert_eq!(whole(&plain), Header { ends: expected, ..Header::default() });
    every_prefix(&plain);
    let fields = [
        field(0x01, b"h2"),
        field(0x02, b"Api.Example.com"),
        field(0x04, &[0; 9]),
        field(0x05, b"id"),
        field(0x20, &[&[1, 0, 0, 0, 0][..], &field(0x21, b"TLSv1.3")].concat()),
        field(0x30, b"ns"),
        field(0xe0, b"own"),
        field(0xe0, b"own again"),
    ];
    let full = tcp4(&fields.concat());
    every_prefix(&full);
    assert_eq!(
        whole(&full),
        Header {
            ends: expected,
            authority: Some("api.example.com".into()),
            alpn: Some((*b"h2").into()),
            tls: Some((*b"\x01\0\0\0\0\x21\0\x07TLSv1.3").into()),
            unique_id: Some((*b"id").into()),
        }
    );
    let mut six = [0; 36];
    (six[15], six[31], six[33], six[35]) = (1, 2, 7, 9);
    assert_eq!(whole(&v2(0x21, 0x21, &six)).ends, Some(ends("[::1]:7", "[::2]:9")));
    for local in [
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x00, b"anything at all"),
        v2(0x20, 0x11, &BLOCK),
        v2(0x20, 0x77, &[0; 3]),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x00, &[0xff; 50]),
        v2(0x21, 0x31, &[b'/'; 216]),
    ] {
        assert_eq!(whole(&local), Header::default(), "the socket's own addresses stand");
        every_prefix(&local);
    }
}

#[test]
fn version_2_is_held_to_its_lengths() {
    for (bytes, fault) in [
        (v2(0x11, 0x11, &BLOCK), Fault::Command),
        (v2(0x22, 0x11, &BLOCK), Fault::Command),
        (v2(0x01, 0x11, &BLOCK), Fault::Command),
        (v2(0x21, 0x12, &BLOCK), Fault::Family),
        (v2(0x21, 0x41, &BLOCK), Fault::Family),
        (v2(0x21, 0x10, &BLOCK), Fault::Family),
        (v2(0x21, 0x11, &BLOCK[..11]), Fault::Short),
        (v2(0x21, 0x11, &[]), Fault::Short),
        (v2(0x21, 0x21, &[0; 35]), Fault::Short),
        (v2(0x21, 0x31, &[0; 215]), Fault::Short),
        (v2(0x21, 0x11, &[0; MOST + 1])[..16].to_vec(), Fault::TooLarge),
        // A field must end within the header; nor may bytes be left over.
        (tcp4(&[0x02]), Fault::Field),
        (tcp4(&[0xe0, 0, 2, 1]), Fault::Field),
        (tcp4(&[0xe0, 0xff, 0xff, 1]), Fault::Field),
        (tcp4(&[&field(0xe0, b"own"), &[0][..]].concat()), Fault::Field),
        (tcp4(&field(0x01, b"")), Fault::Field),
        (tcp4(&field(0x01, &[b'a'; 256])), Fault::Field),
        (tcp4(&field(0x02, b"")), Fault::Field),
        (tcp4(&field(0x02, b"a\0b")), Fault::Field),
        (tcp4(&field(0x02, "caf\u{e9}".as_bytes())), Fault::Field),
        (tcp4(&[field(0x02, b"a"), field(0x02, b"b")].concat()), Fault::Field),
        (tcp4(&field(0x03, &[0; 3])), Fault::Field),
        (tcp4(&field(0x03, &[0; 4])), Fault::Checksum),
        (tcp4(&field(0x05, &[0; 129])), Fault::Field),
        (tcp4(&field(0x20, &[0; 4])), Fault::Field),
        (tcp4(&field(0x20, &[0, 0, 0, 0, 0, 0x21, 0, 9])), Fault::Field),
        (tcp4(&[field(0x20, &[0; 5]), field(0x20, &[1, 0, 0, 0, 0])].concat()), Fault::Field),
        (tcp4(&field(0x30, &[0xff])), Fault::Field),
    ] {
        assert_eq!(read(&bytes, MOST), Read::Bad(fault), "{}", bytes.escape_ascii());
        // What follows in the stream never helps a header that is too short.
        assert_eq!(read(&[&bytes[..], &[0; 300]].concat(), MOST), Read::Bad(fault));
    }
}

#[test]
fn what_is_no_header_is_told_at_its_first_byte_that_differs() {
    for start in [V2_START, b"PROXY "] {
        for at in 0..start.len() {
            let mut other = start[..=at].to_vec();
            other[at] ^= 0x20;
            assert_eq!(read(&start[..at], MOST), Read::More);
            assert_eq!(read(&other, MOST), Read::Absent);
        }
    }
    for other in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\n", &[22, 3, 1], b"\r\nGET", b"proxy "] {
        assert_eq!(read(other, MOST), Read::Absent, "{}", other.escape_ascii());
    }
}

fn announcement(version: AnnouncementVersion, fields: &[AnnouncedField]) -> Announcement {
    Announcement { version, fields: fields.into() }
}

const ALL: &[AnnouncedField] = &[
    AnnouncedField::Authority,
    AnnouncedField::Checksum,
    AnnouncedField::Alpn,
    AnnouncedField::Tls,
    AnnouncedField::UniqueId,
];

#[test]
fn families_are_not_mixed() {
    for (from, to, text) in [
        ("192.0.2.1:5", "198.51.100.7:443", "PROXY TCP4 192.0.2.1 198.51.100.7 5 443\r\n"),
        ("[::ffff:192.0.2.1]:5", "198.51.100.7:443", "PROXY TCP4 192.0.2.1 198.51.100.7 5 443\r\n"),
        ("[2001:db8::1]:5", "[::1]:443", "PROXY TCP6 2001:db8::1 ::1 5 443\r\n"),
        ("192.0.2.1:5", "[2001:db8::1]:443", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 5 443\r\n"),
    ] {
        let bytes = written(&announcement(AnnouncementVersion::V1, &[]), &ends(from, to), &Said::default());
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }
}

#[test]
fn what_the_proxy_says_for_itself_leaves_the_sockets_addresses() {
    for version in [AnnouncementVersion::V1, AnnouncementVersion::V2] {
        assert_eq!(whole(&local(&announcement(version, &[]))), Header::default());
    }
}

/// CVE-2026-47692: whatever a client makes its fields hold, the header's length is the header's.
#[test]
fn a_field_that_is_too_long_is_left_out_of_header_and_length() {
    let ends = ends("192.0.2.1:5", "198.51.100.7:443");
    for len in [0, 1, 128, 129, 253, 254, 255, 256, 1000, 65_535, 65_536, 200_000] {
        let text = "a".repeat(len);
        let tls = Some(SaidTls::PassedOn(text.as_bytes()));
        let said = Said { authority: Some(&text), alpn: Some(text.as_bytes()), tls, unique_id: Some(text.as_bytes()) };
        let fields: Vec<_> = ALL.iter().copied().filter(|field| *field != AnnouncedField::Tls).collect();
        let all = written(&announcement(AnnouncementVersion::V2, ALL), &ends, &said);
        assert!(all.len() < 1000, "{len}: {}", all.len());
        // What is passed on of TLS has a form of its own, which this has not.
        let bytes = written(&announcement(AnnouncementVersion::V2, &fields), &ends, &said);
        assert!(bytes.len() < 700, "{len}: {}", bytes.len());
        let header = whole(&bytes);
        assert_eq!(header.ends, Some(ends));
        assert_eq!(header.authority.is_some(), (1..=253).contains(&len), "{len}");
        assert_eq!(header.alpn.is_some(), (1..=255).contains(&len), "{len}");
        assert_eq!(header.unique_id.is_some(), (1..=128).contains(&len), "{len}");
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![any::<([u8; 4], u16)>().prop_map(SocketAddr::from), any::<([u8; 16], u16)>().prop_map(SocketAddr::from),]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source in address(),
        destination in address(),
        second: bool,
        authority in "[a-z0-9._-]{1,253}",
        alpn in proptest::collection::vec(any::<u8>(), 1..=255),
        id in proptest::collection::vec(any::<u8>(), 1..=128),
        behind in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let own = SaidTls::Own { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", certificate: second };
        let said = Said { authority: Some(&authority), alpn: Some(&alpn), tls: Some(own), unique_id: Some(&id) };
        let (version, fields) =
            if second { (AnnouncementVersion::V2, ALL) } else { (AnnouncementVersion::V1, &[][..]) };
        let bytes = written(&announcement(version, fields), &Ends { source, destination }, &said);
        let len = bytes.len();
        let Read::Whole(header, taken) = read(&[bytes.clone(), behind].concat(), MOST) else {
            panic!("{}", bytes.escape_ascii());
        };
        prop_assert_eq!(taken, len);
        let read = header.ends.unwrap();
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        prop_assert_eq!(canonical(read.source), canonical(source));
        prop_assert_eq!(canonical(read.destination), canonical(destination));
        if second {
            prop_assert_eq!(header.authority.as_deref(), Some(&*authority));
            prop_assert_eq!(header.alpn.as_deref(), Some(&*alpn));
            prop_assert_eq!(header.unique_id.as_deref(), Some(&*id));
            prop_assert_eq!(header.tls.as_deref(), Some(&b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x23\0\x16TLS_AES_128_GCM_SHA256"[..]));
        }
        for end in 0..len {
            prop_assert_eq!(super::read(&bytes[..end], MOST), Read::More);
        }
    }

    #[test]
    fn one_bit_that_flips_under_a_checksum_is_seen(at in 16usize..60, bit in 0u8..8) {
        let said = Said { authority: Some("api.example.com"), ..Said::default() };
        let ends = ends("192.0.2.1:5", "198.51.100.7:443");
        let fields = [AnnouncedField::Checksum, AnnouncedField::Authority];
        let mut bytes = written(&announcement(AnnouncementVersion::V2, &fields), &ends, &said);
        // Not the checksum's own type: another one makes it a field that nobody knows.
        let at = if at == 28 { 29 } else { at.min(bytes.len() - 1) };
        bytes[at] ^= 1 << bit;
        prop_assert!(!matches!(read(&bytes, MOST), Read::Whole(ref header, _) if header.unique_id.is_none()
            && header.ends == Some(ends) && header.authority.as_deref() == Some("api.example.com")));
    }

    #[test]
    fn a_verdict_stands(start in 0u8..6, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let start = match start {
            0 => V2_START.to_vec(),
            1 => [V2_START, &[0x21, 0x11, 0, 40]].concat(),
            2 => [V2_START, &[0x20, 0x00, 0, 7]].concat(),
            3 => b"PROXY TCP4 ".to_vec(),
            4 => b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n".to_vec(),
            _ => Vec::new(),
        };
        let bytes = [start, bytes].concat();
        let expected = read(&bytes, MOST);
        for end in 0..bytes.len() {
            let early = read(&bytes[..end], MOST);
            prop_assert!(early == Read::More || early == expected, "{} {:?} {:?}", end, early, expected);
        }
    }
}
