//! JSON Web Tokens: three parts, a signature, claims about time and place (RFC 7515, 7519; RFC 8725 for what to refuse).

use crate::keys::Key;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::Value;

/// More than any honest token; what is longer is not even decoded.
const LONGEST: usize = 16 << 10;

/// The longest value of a header.
const LONGEST_VALUE: usize = 4 << 10;

/// Effort ([`Key::effort`]) spent on one token: 4 ms where a callback may take 10 by default. It is for clients to choose
/// how many keys fit a token, by naming none.
const MOST_EFFORT: u32 = 40;

/// What a token must be.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) issuer: Option<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) leeway: u64,
    pub(crate) keys: Vec<Key>,
}

/// Claims of a token that was believed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Claims(serde_json::Map<String, Value>);

/// Why a token was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// None of the static ones, and no JWT can be checked.
    Unknown,
    /// No JWT.
    Malformed,
    /// It has critical header fields, which nobody here understands (RFC 7515 §4.1.11).
    Critical,
    /// No key has its id and algorithm.
    NoKey,
    /// The signature is wrong.
    Signature,
    /// The signature is of none of the keys that were tried, and more would fit.
    ManyKeys,
    /// `exp` is over.
    Expired,
    /// `exp` is missing: a token for ever is refused.
    NoExpiry,
    /// `nbf` has not come.
    NotYet,
    /// `iss` is another.
    Issuer,
    /// `aud` does not name us.
    Audience,
}

impl Rejection {
    /// For the challenge. Nothing a caller could learn a key from.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "the token is not known",
            Self::Malformed => "the token is malformed",
            Self::Critical => "the token has critical fields that are not understood",
            Self::NoKey => "no key fits the token",
            Self::Signature => "the signature is wrong",
            Self::ManyKeys => "more keys fit the token than are tried, it has to name one",
            Self::Expired => "the token has expired",
            Self::NoExpiry => "the token never expires",
            Self::NotYet => "the token is not valid yet",
            Self::Issuer => "the token has another issuer",
            Self::Audience => "the token is for another audience",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Whether it is there, be it null, which is no list of names either.
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Verifier {
    pub(crate) fn verify(&self, token: &str, now: u64) -> Result<Claims, Rejection> {
        if token.len() > LONGEST {
            return Err(Rejection::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Rejection::Malformed)?;
        if header.crit {
            return Err(Rejection::Critical);
        }
        let signature = decode(signature)?;
        // The token may only choose among keys; what a key is for stands in the configuration.
        let fits = |key: &&Key| {
            key.algorithm() == header.alg && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
        };
        let mut candidates = self.keys.iter().filter(fits).peekable();
        candidates.peek().ok_or(Rejection::NoKey)?;
        let mut left = MOST_EFFORT;
        loop {
            let Some(key) = candidates.next() else { return Err(Rejection::Signature) };
            left = left.checked_sub(key.effort()).ok_or(Rejection::ManyKeys)?;
            if key.verifies(signed.as_bytes(), &signature) {
                break;
            }
        }
        let claims: Claims = serde_json::from_slice(&decode(payload)?).map_err(|_| Rejection::Malformed)?;
        self.check(&claims, now)?;
        Ok(claims)
    }

    /// Algorithms of which a token that names no key is not tried with all.
    pub(crate) fn many(&self) -> Vec<&'static str> {
        let effort =
            |algorithm| self.keys.iter().filter(|key| key.algorithm() == algorithm).map(Key::effort).sum::<u32>();
        ["HS256", "RS256", "ES256"].into_iter().filter(|algorithm| effort(*algorithm) > MOST_EFFORT).collect()
    }

    fn check(&self, claims: &Claims, now: u64) -> Result<(), Rejection> {
        let expires = claims.time("exp")?.ok_or(Rejection::NoExpiry)?;
        if now >= expires.saturating_add(self.leeway) {
            return Err(Rejection::Expired);
        }
        if claims.time("nbf")?.is_some_and(|begins| begins > now.saturating_add(self.leeway)) {
            return Err(Rejection::NotYet);
        }
        if self.issuer.is_some() && claims.0.get("iss").and_then(Value::as_str) != self.issuer.as_deref() {
            return Err(Rejection::Issuer);
        }
        let ours = |value: &Value| value.as_str().is_some_and(|text| self.audiences.iter().any(|ours| ours == text));
        let named = match claims.0.get("aud") {
            Some(Value::Array(several)) => several.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        if !self.audiences.is_empty() && !named {
            return Err(Rejection::Audience);
        }
        Ok(())
    }
}

impl Claims {
    /// A numeric date (RFC 7519 §2), whole seconds.
    fn time(&self, name: &str) -> Result<Option<u64>, Rejection> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match (value.as_u64(), value.as_f64()) {
                (Some(seconds), _) => Ok(Some(seconds)),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a saturating cast is what is meant"
                )]
                (None, Some(seconds)) if seconds >= 0.0 => Ok(Some(seconds as u64)),
                _ => Err(Rejection::Malformed),
            },
        }
    }

    /// `scope` as RFC 8693 §4.2 has it (words), or `scp` as a list or words.
    pub(crate) fn scopes(&self) -> Vec<&str> {
        ["scope", "scp"]
            .iter()
            .filter_map(|name| self.0.get(*name))
            .flat_map(|value| match value {
                Value::String(words) => words.split(' ').filter(|word| !word.is_empty()).collect(),
                Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            })
            .collect()
    }

    /// A claim, or one within another (`realm.groups`), as a header's value: text as it is, a list with commas, anything else as
    /// JSON. What does not arrive as it is makes no header, nor does a list with a member in which there is a comma: it
    /// would be read as several, one of which its name forges. The proxy's own filter `jwt` tells the same (its `verify.rs`).
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let mut names = path.split('.');
        let first = self.0.get(names.next()?)?;
        let text = match names.try_fold(first, |value, name| value.get(name))? {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            value @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => value.to_string(),
            Value::Array(several) => {
                let member = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                let members: Vec<String> = several.iter().map(member).collect();
                if members.iter().any(|member| member.contains(',') || !arrives(member)) {
                    return None;
                }
                members.join(",")
            }
        };
        (!text.is_empty() && text.len() <= LONGEST_VALUE && arrives(&text)).then_some(text)
    }
}

/// Whether a text is, as a header's value, what it was: control characters are not, and white space around it is no part of it
/// (RFC 9110 §5.5). Letters beyond ASCII stay, as UTF-8.
fn arrives(text: &str) -> bool {
    text.trim().len() == text.len() && !text.contains(char::is_control)
}
