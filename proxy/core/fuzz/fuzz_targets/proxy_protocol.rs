//! The PROXY protocol's reader: never panics, a verdict on a prefix stands, and what is written is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_config::model::{AnnouncedField, Announcement, AnnouncementVersion};
use pillion_core::downstream::proxy_protocol::{Read, Said, SaidTls, V1_MAX, V2_HEAD, read, written};

const START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const MOST: usize = 600;

fuzz_target!(|input: &[u8]| {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    let bytes = match how % 4 {
        0 => bytes.to_vec(),
        1 => [b"PROXY ", bytes].concat(),
        2 => [START, bytes].concat(),
        _ => [START, &[0x21, 0x11], &(bytes.len().min(MOST) as u16).to_be_bytes(), bytes].concat(),
    };
    let whole = read(&bytes, MOST);
    let cut = usize::from(how / 4) * bytes.len() / 64;
    let early = read(&bytes[..cut], MOST);
    assert!(early == Read::More || early == whole, "{early:?} {whole:?}");
    let Read::Whole(header, len) = whole else {
        return;
    };
    assert!(len <= bytes.len() && len <= V1_MAX.max(V2_HEAD + MOST));
    // What comes behind is somebody else's.
    assert_eq!(read(&bytes[..len], MOST), read(&bytes, MOST));
    let Some(ends) = header.ends else {
        return;
    };
    let fields = [
        AnnouncedField::Authority,
        AnnouncedField::Alpn,
        AnnouncedField::Tls,
        AnnouncedField::UniqueId,
        AnnouncedField::Checksum,
    ];
    let announcement = Announcement { version: AnnouncementVersion::V2, fields: fields.to_vec() };
    let said = Said {
        authority: header.authority.as_deref(),
        alpn: header.alpn.as_deref(),
        tls: header.tls.as_deref().map(SaidTls::PassedOn),
        unique_id: header.unique_id.as_deref(),
    };
    let again = written(&announcement, &ends, &said);
    let Read::Whole(read_again, all) = read(&again, 1024) else {
        panic!("what was written is no header");
    };
    assert_eq!(all, again.len());
    assert_eq!((read_again.authority, read_again.alpn), (header.authority, header.alpn));
    assert_eq!(read_again.tls, header.tls);
    // An empty name is no name.
    assert_eq!(read_again.unique_id, header.unique_id.filter(|id| !id.is_empty()));
});
