//! JSON Web Tokens (RFC 7519) as a condition of being served.

use super::Name;
use http::HeaderName;
use std::{fmt, sync::Arc, time::Duration};

/// What a token must be, and what is done with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Jwt {
    /// Whether there must be one.
    pub presence: JwtPresence,
    /// Who may have issued it; empty: anybody who has a key.
    pub issuers: Vec<String>,
    /// Whom it may be for; empty: whoever.
    pub audiences: Vec<String>,
    /// What it must allow, all of these.
    pub scopes: Vec<String>,
    /// How it may be signed; not empty, all by secret or none.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Who vouches for it.
    pub keys: JwtKeys,
    /// Difference of clocks that is borne.
    pub clock_skew: Duration,
    /// Whether it must say when it ends.
    pub expiry: JwtPresence,
    /// Where it is looked for, in this order; not empty.
    pub places: Vec<JwtPlace>,
    /// Whether the upstream gets to see it.
    pub forward: JwtForward,
    /// Headers that tell upstream of its claims: names of a claim, from the outermost in.
    pub claims: Vec<(HeaderName, Vec<String>)>,
    /// Under which name filters behind it are told its claims; `None`: they are not.
    pub payload_in_metadata: Option<Arc<str>>,
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtPresence {
    /// It must.
    Required,
    /// It may; if it is there it must be good.
    Optional,
}

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1). `none` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256 and a secret.
    Hs256,
    /// HMAC with SHA-384 and a secret.
    Hs384,
    /// HMAC with SHA-512 and a secret.
    Hs512,
}

impl JwtAlgorithm {
    /// Whether signer and verifier share a secret.
    #[must_use]
    pub fn is_by_secret(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// Who vouches for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtKeys {
    /// A JWK Set (RFC 7517 §5), as it was read.
    Set(Arc<[u8]>),
    /// A JWK Set to be fetched.
    Url(JwtUrl),
    /// A secret that the issuer has too.
    Secret(Secret),
}

/// Where a JWK Set is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtUrl {
    /// The cluster that is asked; its TLS says how it is spoken to.
    pub cluster: Name,
    /// The host that is asked for.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// How long what was fetched is used before it is fetched again.
    pub refresh: Duration,
    /// Time that one attempt may take.
    pub timeout: Duration,
}

/// Bytes that are shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Arc<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a token may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtPlace {
    /// In this header, behind this word where there is one (`Bearer`, in any case).
    Header(HeaderName, Option<String>),
    /// In this query parameter.
    Query(String),
    /// In this cookie.
    Cookie(String),
}

/// Whether a token goes on to upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtForward {
    /// As it came.
    Keep,
    /// It is taken out.
    Strip,
}
