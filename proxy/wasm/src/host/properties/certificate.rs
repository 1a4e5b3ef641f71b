//! What certificates say, as properties: `connection.subject_peer_certificate`, `upstream.uri_san_peer_certificate`, ….

use super::{Value, text};
use crate::artefact;
use base64::{Engine, engine::general_purpose::STANDARD};
use pillion_core::identity::Facts;

/// Whose certificate a property is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Own,
    Peer,
}

/// What of a certificate a property is about, and of whose: `subject_peer_certificate`.
pub(super) fn asked(path: &[u8]) -> Option<(&[u8], Whose)> {
    if path == b"sha256_peer_certificate_digest" {
        return Some((b"digest", Whose::Peer));
    }
    let peer = path.strip_suffix(b"_peer_certificate").map(|what| (what, Whose::Peer));
    peer.or_else(|| path.strip_suffix(b"_local_certificate").map(|what| (what, Whose::Own)))
}

/// What a certificate says; of several names the first, as in Envoy. Read anew each time: filters seldom ask twice.
pub(super) fn say(der: &[u8], what: &[u8]) -> Option<Value> {
    let facts = Facts::read(der)?;
    match what {
        b"subject" => facts.subject().map(Value::Text),
        b"uri_san" => facts.uris.first().map(|name| text(name)),
        b"dns_san" => facts.dns_names.first().map(|name| text(name)),
        b"digest" => {
            let digest = artefact::hex(&artefact::sha256(der));
            Some(Value::Text(digest))
        }
        _ => None,
    }
}

/// A certificate as text (RFC 7468), with a line's end behind the last line, as OpenSSL writes it.
pub(super) fn pem(der: &[u8]) -> Value {
    let base64 = STANDARD.encode(der);
    let mut text = String::with_capacity(base64.len() + base64.len() / LINE + 64);
    text.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    Value::Text(text)
}

/// Letters of a line of it.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_as_text_is_what_others_read() {
        for length in [1, 47, 48, 49, 500] {
            let der = vec![7; length];
            let Value::Text(text) = pem(&der) else { panic!("text") };
            let lines: Vec<_> = text.lines().collect();
            let [first, within @ .., last] = &lines[..] else { panic!("{text}") };
            assert_eq!((*first, *last), ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"));
            assert_eq!(STANDARD.decode(within.concat()).unwrap(), der);
            let [whole @ .., rest] = within else { panic!("{text}") };
            assert!(whole.iter().all(|line| line.len() == 64) && (1..=64).contains(&rest.len()), "{text}");
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn names_are_envoys() {
        assert_eq!(asked(b"subject_peer_certificate"), Some((&b"subject"[..], Whose::Peer)));
        assert_eq!(asked(b"uri_san_local_certificate"), Some((&b"uri_san"[..], Whose::Own)));
        assert_eq!(asked(b"sha256_peer_certificate_digest"), Some((&b"digest"[..], Whose::Peer)));
        assert_eq!(asked(b"certificate"), None);
        assert!(say(b"no certificate", b"subject").is_none());
    }
}
