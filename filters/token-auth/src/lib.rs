//! Bearer tokens (RFC 6750): static ones, or JSON Web Tokens (RFC 7519) whose claims become headers.
//!
//! ```json
//! {
//!   "realm": "api",
//!   "static": [{ "token": "s3cret", "claims": { "sub": "robot" } }],
//!   "jwt": { "issuer": "https://id.example", "audiences": ["api"], "leeway_seconds": 30,
//!            "keys": [{ "kty": "EC", "crv": "P-256", "kid": "2026", "x": "…", "y": "…" }] },
//!   "claims_to_headers": { "x-auth-subject": "sub", "x-auth-groups": "realm.groups" },
//!   "require_scopes": ["read"],
//!   "public": ["/health"],
//!   "forward": false
//! }
//! ```
//!
//! Keys are those of a JWKS (RFC 7517): `oct` for HS256, `RSA` for RS256, `EC` with P-256 for ES256. The key decides the
//! algorithm, never the token. A token that names no key by `kid` is tried with the first 4 of P-256, the first 6 of RSA with 2048
//! bits, 1 with 4096: where a client could have it tried with more, it could use up the time of a callback. Without a token or with a bad one the answer is 401, without the scopes 403, both with
//! `www-authenticate`. `claims_to_headers` means what it does in the proxy's own
//! filter `jwt`: header by claim, `a.b` for one within another, lists with commas, objects as JSON, and no header of what would not
//! arrive as it is: control characters, white space around it, a list's member with a comma within, more than 4 KiB. Those
//! headers are taken away from what clients send, on public paths too.

mod jwt;
mod keys;

#[cfg(target_arch = "wasm32")]
mod guest;

pub use jwt::{Claims, Rejection};
use keys::{Document as KeyDocument, Key};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The policy, its keys read.
#[derive(Debug)]
pub struct Policy {
    realm: String,
    tokens: Vec<Static>,
    jwt: Option<jwt::Verifier>,
    /// Claims by the headers that tell of them.
    claims_to_headers: BTreeMap<String, String>,
    require_scopes: Vec<String>,
    public: Vec<String>,
    forward: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes; these headers are set.
    Pass(Vec<(String, String)>),
    /// It is answered.
    Refuse(Refusal),
}

/// An answer in place of the application's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 401 or 403.
    pub status: u32,
    /// The value of `www-authenticate`.
    pub challenge: String,
    /// For people.
    pub body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default = "realm")]
    realm: String,
    #[serde(default, rename = "static")]
    tokens: Vec<Static>,
    jwt: Option<JwtDocument>,
    #[serde(default)]
    claims_to_headers: BTreeMap<String, String>,
    #[serde(default)]
    require_scopes: Vec<String>,
    #[serde(default)]
    public: Vec<String>,
    #[serde(default)]
    forward: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Static {
    token: String,
    #[serde(default)]
    claims: Claims,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JwtDocument {
    issuer: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default = "leeway")]
    leeway_seconds: u64,
    keys: Vec<KeyDocument>,
}

fn realm() -> String {
    "proxy".to_owned()
}

/// Clocks of servers differ by seconds.
fn leeway() -> u64 {
    30
}

/// Seconds. With more, tokens that have expired are believed as good as for ever.
const MOST_LEEWAY: u64 = 86_400;

impl Policy {
    /// Reads a configuration and its keys.
    ///
    /// # Errors
    ///
    /// What is wrong, where, and what would be right.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("token-auth: {error}"))?;
        if document.tokens.is_empty() && document.jwt.is_none() {
            return Err("token-auth: neither `static` nor `jwt` is there: no request could pass".to_owned());
        }
        if document.realm.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\' || byte > b'~') {
            return Err("token-auth: realm: quotes, backslashes and control characters cannot be in it".to_owned());
        }
        if let Some(number) = document.tokens.iter().position(|token| token.token.len() < 4) {
            return Err(format!("token-auth: static[{number}].token: is shorter than four characters"));
        }
        if let Some(number) = document.tokens.iter().position(|token| !is_token(&token.token)) {
            return Err(format!(
                "token-auth: static[{number}].token: no request can present it: bearer tokens have letters, digits and -._~+/= \
                 (RFC 6750 §2.1)"
            ));
        }
        if let Some(scope) = document.require_scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(format!(
                "token-auth: require_scopes: {scope:?} is no scope: spaces, quotes, backslashes and control characters cannot be \
                 in one (RFC 6749 §3.3)"
            ));
        }
        if let Some(path) = document.public.iter().find(|path| !path.starts_with('/')) {
            return Err(format!("token-auth: public: {path:?} does not begin with a slash"));
        }
        let mut claims_to_headers = BTreeMap::new();
        for (header, claim) in document.claims_to_headers {
            claim_to_header(&header, &claim).map_err(|what| format!("token-auth: claims_to_headers: {what}"))?;
            if claims_to_headers.insert(header.to_ascii_lowercase(), claim).is_some() {
                return Err(format!(
                    "token-auth: claims_to_headers: {header:?}: the same header is there in other letters"
                ));
            }
        }
        let jwt = document.jwt.map(|jwt| {
            if jwt.keys.is_empty() {
                return Err("token-auth: jwt.keys: is empty".to_owned());
            }
            if jwt.leeway_seconds > MOST_LEEWAY {
                let leeway = jwt.leeway_seconds;
                return Err(format!("token-auth: jwt.leeway_seconds: {leeway} is more than {MOST_LEEWAY}, a day"));
            }
            let keys =
                jwt.keys.iter().enumerate().map(|(number, key)| {
                    Key::read(key).map_err(|what| format!("token-auth: jwt.keys[{number}]: {what}"))
                });
            Ok(jwt::Verifier {
                issuer: jwt.issuer,
                audiences: jwt.audiences,
                leeway: jwt.leeway_seconds,
                keys: keys.collect::<Result<_, _>>()?,
            })
        });
        Ok(Self {
            realm: document.realm,
            tokens: document.tokens,
            jwt: jwt.transpose()?,
            claims_to_headers,
            require_scopes: document.require_scopes,
            public: document.public,
            forward: document.forward,
        })
    }

    /// Headers that clients may not send themselves.
    pub fn own_headers(&self) -> impl Iterator<Item = &str> {
        self.claims_to_headers.keys().map(String::as_str)
    }

    /// What whoever wrote the configuration should know of it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let many = self.jwt.iter().flat_map(jwt::Verifier::many);
        let words = |algorithm| {
            format!(
                "token-auth: jwt.keys: a token that names no key by `kid` is tried with the first of {algorithm} alone: have \
                 tokens name theirs, or put keys that are used first"
            )
        };
        many.map(words).collect()
    }

    /// Whether the application sees the token.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.forward
    }

    /// Decides about a request. `path` is its target with the query, `authorization` that field's values, `now` seconds
    /// since 1970.
    #[must_use]
    pub fn decide(&self, path: &str, authorization: &[&[u8]], now: u64) -> Verdict {
        if self.is_public(path) {
            return Verdict::Pass(Vec::new());
        }
        let token = match authorization {
            [] => return self.refuse(401, None, "a bearer token is needed"),
            [one] => match bearer(one) {
                Some(token) => token,
                None => return self.refuse(401, None, "a bearer token is needed"),
            },
            _ => return self.refuse(401, Some("invalid_request"), "more than one authorization field"),
        };
        let claims = match self.claims(token, now) {
            Ok(claims) => claims,
            Err(rejection) => return self.refuse(401, Some("invalid_token"), rejection.words()),
        };
        let scopes: Vec<&str> = claims.scopes();
        if self.require_scopes.iter().any(|wanted| !scopes.contains(&wanted.as_str())) {
            return self.refuse(403, Some("insufficient_scope"), "the token lacks a scope");
        }
        let headers = self.claims_to_headers.iter();
        Verdict::Pass(headers.filter_map(|(header, claim)| Some((header.clone(), claims.text(claim)?))).collect())
    }

    /// A prefix by whole segments: `/health` is public, `/healthy` and `/health/../admin` are not, nor is what some server reads as
    /// the latter: `/health/..;/admin`, `/health/%2e%2e/admin`, `/health\\..\\admin`.
    fn is_public(&self, path: &str) -> bool {
        let path = path.split(['?', '#']).next().unwrap_or("");
        let up = |segment: &str| segment.split(';').next() == Some("..");
        if path.split('/').any(|segment| up(segment) || segment.contains(['%', '\\'])) {
            return false;
        }
        self.public.iter().any(|prefix| {
            path.strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
        })
    }

    fn claims(&self, token: &str, now: u64) -> Result<Claims, Rejection> {
        // Every token is compared, each in the same time whatever it holds.
        let mut known = None;
        for candidate in &self.tokens {
            if keys::same(candidate.token.as_bytes(), token.as_bytes()) {
                known = Some(&candidate.claims);
            }
        }
        match (known, &self.jwt) {
            (Some(claims), _) => Ok(claims.clone()),
            (None, Some(jwt)) => jwt.verify(token, now),
            (None, None) => Err(Rejection::Unknown),
        }
    }

    fn refuse(&self, status: u32, error: Option<&str>, words: &str) -> Verdict {
        let mut challenge = format!("Bearer realm=\"{}\"", self.realm);
        if let Some(error) = error {
            challenge.push_str(&format!(", error=\"{error}\", error_description=\"{words}\""));
        }
        if status == 403 {
            challenge.push_str(&format!(", scope=\"{}\"", self.require_scopes.join(" ")));
        }
        Verdict::Refuse(Refusal { status, challenge, body: format!("{words}\n") })
    }
}

/// Claims that every reader knows (RFC 7519 §4.1, RFC 8693 §4.2): no header is called so.
const CLAIMS: [&str; 9] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp"];

/// Fields that frame a message, are of one connection (RFC 9110 §7.6.1), or are read by others: no header is called so either.
const OWN: [&str; 10] = [
    "authorization",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header may tell of a claim. That they are written the wrong way round must not pass: the header would be the
/// client's to choose.
fn claim_to_header(header: &str, claim: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if CLAIMS.contains(&header) || claim.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-")) {
        return Err(format!("{header:?}: {claim:?}: the header comes first, then the claim: {{\"x-user\": \"sub\"}}"));
    }
    if header.is_empty() || !header.bytes().all(token) {
        return Err(format!("{header:?} is no header name"));
    }
    if OWN.iter().any(|own| header.eq_ignore_ascii_case(own)) {
        return Err(format!("{header:?} means something else to who reads it"));
    }
    if claim.split('.').any(str::is_empty) {
        return Err(format!("{header:?}: expected a claim such as sub or realm.groups, found {claim:?}"));
    }
    Ok(())
}

/// The token of an `authorization` value: the scheme in any case, one space or more, then RFC 6750's `b64token`.
fn bearer(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let token = rest.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(token)
}

/// RFC 6750's `b64token`, with `=` anywhere.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

/// RFC 6749's `scope-token`.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests;
