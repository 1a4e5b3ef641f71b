//! What is known of a connection that speaks TLS.

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderValue;
use metrics::Counter;
use pillion_config::model::{Alpn, SpiffeId};
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};
use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    rc::{Rc, Weak},
    sync::Arc,
};

/// Peers that a worker looks for among those it knows. Those beyond are remembered by each of their connections.
const MAX_PEERS: usize = 64;

thread_local! {
    /// The peers of this worker's connections.
    static PEERS: RefCell<Vec<Weak<TlsPeer>>> = const { RefCell::new(Vec::new()) };
}

/// What was agreed upon in a handshake, and with whom.
#[derive(Debug, Clone)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: &'static str,
    /// The server name the client asked for.
    pub server_name: Option<Box<str>>,
    /// The application protocol agreed upon.
    pub alpn: Option<Alpn>,
    /// The certificate it was shown.
    pub presented: Option<Arc<CertifiedKey>>,
    /// The client, where it showed a certificate. Shared: a peer has many connections and one certificate.
    pub peer: Option<Rc<TlsPeer>>,
    /// Who we were to it.
    pub own: Option<Arc<SpiffeId>>,
    /// What it was judged by, last.
    pub trust: Cell<TrustVersion>,
    /// Counts its requests among those of its trust domain.
    pub requests: Counter,
}

/// Tells apart what listeners and clusters believed, and who they were, in the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrustVersion(pub u64);

/// A client that showed a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPeer {
    /// Its SPIFFE ID.
    pub id: Option<SpiffeId>,
    /// `X-Forwarded-Client-Cert`, made once for all requests.
    pub forwarded: HeaderValue,
    /// Its certificate and those above it: whom to trust may change.
    pub chain: Box<[CertificateDer<'static>]>,
}

impl TlsPeer {
    /// The client with this chain, its own certificate first, and ID, as it connected to us.
    #[must_use]
    pub fn of(chain: &[CertificateDer<'_>], id: Option<SpiffeId>, own: Option<&SpiffeId>) -> Rc<Self> {
        let leaf = chain.first().map_or(&[][..], |leaf| &**leaf);
        let known = |peer: &Rc<Self>| {
            let by = peer.forwarded.as_bytes().strip_prefix(b"By=");
            let by = by.and_then(|by| by.split(|&byte| byte == b';').next());
            *peer.chain == *chain && by == own.map(|own| own.as_str().as_bytes())
        };
        PEERS.with_borrow_mut(|peers| {
            if let Some(peer) = peers.iter().filter_map(Weak::upgrade).find(known) {
                return peer;
            }
            let mut peer = Self::new(leaf, id, own);
            peer.chain = chain.iter().map(|der| der.clone().into_owned()).collect();
            let peer = Rc::new(peer);
            peers.retain(|peer| peer.strong_count() > 0);
            if peers.len() < MAX_PEERS {
                peers.push(Rc::downgrade(&peer));
            }
            peer
        })
    }

    fn new(leaf: &[u8], id: Option<SpiffeId>, own: Option<&SpiffeId>) -> Self {
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
        Self { id, forwarded, chain: Box::default() }
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
