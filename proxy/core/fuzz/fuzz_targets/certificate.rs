//! What a certificate says of itself: never panics, a certificate that is cut short is none, what is told lies within it, and
//! a SPIFFE ID is found only where exactly one name of kind URI is one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_core::identity::{Facts, spiffe_id};

/// An element of DER (X.690 §8.1): tag, definite length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let length = match len {
        0..=0x7f => vec![len as u8],
        0x80..=0xff => vec![0x81, len as u8],
        _ => vec![0x82, (len >> 8) as u8, len as u8],
    };
    [&[tag], &length[..], content].concat()
}

/// A certificate that is whole but for its subject and its extensions.
fn certificate(subject: &[u8], extensions: &[u8]) -> Vec<u8> {
    let validity = [element(0x17, b"200101000000Z"), element(0x18, b"20600101000000Z")].concat();
    let extensions = element(0xa3, &element(0x30, extensions));
    let tbs = [
        element(0xa0, &element(0x02, &[2])),
        element(0x02, &[1]),
        element(0x30, &[]),
        element(0x30, &[]),
        element(0x30, &validity),
        element(0x30, subject),
        element(0x30, &[]),
        extensions,
    ];
    element(0x30, &element(0x30, &tbs.concat()))
}

/// An extension with a value of that tag.
fn extension(id: u8, tag: u8, value: &[u8]) -> Vec<u8> {
    let value = element(0x04, &element(tag, value));
    element(0x30, &[element(0x06, &[0x55, 0x1d, id]), value].concat())
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    if bytes.len() > 0x4000 {
        return;
    }
    let der = match how % 6 {
        0 => bytes.to_vec(),
        1 => certificate(bytes, &[]),
        2 => certificate(&[], bytes),
        // Alternative names; a single one of kind URI; the key's use.
        3 => certificate(&[], &extension(17, 0x30, bytes)),
        4 => certificate(&[], &extension(17, 0x30, &element(0x86, bytes))),
        _ => certificate(&[], &extension(15, 0x03, bytes)),
    };
    let cut = usize::from(how / 6) * der.len() / 43;
    let Some(facts) = Facts::read(&der) else {
        return;
    };
    let within = der.as_ptr_range();
    for name in facts.uris.iter().chain(&facts.dns_names) {
        let name = name.as_ptr_range();
        assert!(within.start <= name.start && name.end <= within.end);
    }
    if let Some(subject) = facts.subject() {
        assert!(subject.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{subject:?}");
    }
    if how % 6 != 0 && cut < der.len() {
        assert_eq!(Facts::read(&der[..cut]), None, "cut at {cut} of {}", der.len());
    }
    if let Ok(id) = spiffe_id(&facts) {
        let [uri] = facts.uris[..] else { panic!("one of several") };
        assert!(uri.is_ascii() && uri.starts_with(b"spiffe://") && !uri.contains(&0));
        assert_eq!(id.to_string().as_bytes(), uri);
    }
});
