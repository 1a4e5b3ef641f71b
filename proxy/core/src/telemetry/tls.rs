//! What is known of a connection that speaks TLS.

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderValue;
use pillion_config::model::{Alpn, SpiffeId};
use std::fmt::Write as _;

/// What was agreed upon in a handshake, and with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: &'static str,
    /// The server name the client asked for.
    pub server_name: Option<Box<str>>,
    /// The application protocol agreed upon.
    pub alpn: Option<Alpn>,
    /// The client, where it showed a certificate.
    pub peer: Option<TlsPeer>,
}

/// A client that showed a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPeer {
    /// Its SPIFFE ID.
    pub id: Option<SpiffeId>,
    /// `X-Forwarded-Client-Cert`, made once for all requests.
    pub forwarded: HeaderValue,
}

impl TlsPeer {
    /// The client with this certificate and ID, as it connected to us.
    #[must_use]
    pub fn new(leaf: &[u8], id: Option<SpiffeId>, own: Option<&SpiffeId>) -> Self {
        // SPIFFE IDs hold none of the characters that would need quotes.
        let mut text = own.map_or_else(String::new, |own| format!("By={own};"));
        text.push_str("Hash=");
        for byte in digest(&SHA256, leaf).as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        if let Some(id) = &id {
            let _ = write!(text, ";URI={id}");
        }
        let forwarded = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { id, forwarded }
    }
}

/// A cipher suite's name as IANA writes it; rustls has a name of its own for those of TLS 1.3.
#[must_use]
pub fn cipher_name(suite: rustls::CipherSuite) -> &'static str {
    use rustls::CipherSuite;
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_forwarded_as_envoy_writes_it() {
        let id = |text| SpiffeId::parse(text).unwrap();
        let peer = TlsPeer::new(b"abc", Some(id("spiffe://a.org/client")), Some(&id("spiffe://a.org/web")));
        assert_eq!(
            peer.forwarded,
            "By=spiffe://a.org/web;Hash=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad;\
             URI=spiffe://a.org/client"
        );
        let stranger = TlsPeer::new(b"abc", None, None);
        assert!(stranger.forwarded.to_str().unwrap().starts_with("Hash=ba7816bf"));
    }
}
