//! Whether a token is good, and what upstream is told of it. Pure but for the clock.
//!
//! Form, signature, time, issuer and audience are judged by `jsonwebtoken`; here it is said which algorithms are let in
//! at all, which key may have signed, what a header must not have, and what follows from a failure.

use super::keys::KeySet;
use http::{HeaderName, HeaderValue, StatusCode};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, errors::ErrorKind};
use pillion_config::model::{Jwt, JwtAlgorithm, JwtPresence};
use serde_json::{Map, Value};
use std::time::Duration;

/// Bytes of a token at most: larger than any head that is let in by default.
const MAX_TOKEN: usize = 16 * 1024;
/// Keys that are tried on a token which names none.
const MAX_TRIED: usize = 8;
/// Bytes of a claim that becomes a header's value.
const MAX_VALUE: usize = 4 * 1024;

/// What a token must be.
#[derive(Debug)]
pub(super) struct Verifier {
    /// By the algorithm that a token names.
    by_algorithm: Box<[(Algorithm, Validation)]>,
    scopes: Box<[Box<str>]>,
    claims: Box<[(HeaderName, Vec<String>)]>,
    skew: u64,
}

/// A good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    /// What upstream is told of it.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Seconds since 1970 from which it is good no more.
    pub(super) until: u64,
}

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is no token, or says what nobody understands.
    Malformed,
    /// Signed in a way that is not let in.
    Algorithm,
    /// No key of that name, or of that kind, is known.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// Somebody else has issued it.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// A claim that must be there is not.
    MissingClaim,
    /// It does not allow this.
    Scope,
}

impl Unfit {
    /// For the access log.
    pub(super) fn details(self) -> &'static str {
        match self {
            Self::Malformed => "jwt_malformed",
            Self::Algorithm => "jwt_algorithm_not_allowed",
            Self::UnknownKey => "jwt_unknown_key",
            Self::Signature => "jwt_bad_signature",
            Self::Expired => "jwt_expired",
            Self::NotYet => "jwt_not_yet_valid",
            Self::Issuer => "jwt_issuer_not_allowed",
            Self::Audience => "jwt_audience_not_allowed",
            Self::MissingClaim => "jwt_claim_missing",
            Self::Scope => "jwt_scope_missing",
        }
    }

    /// The answer's status: a good token that is not for this is no reason to fetch another one (RFC 6750 §3.1).
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Audience | Self::Scope => StatusCode::FORBIDDEN,
            Self::Malformed
            | Self::Algorithm
            | Self::UnknownKey
            | Self::Signature
            | Self::Expired
            | Self::NotYet
            | Self::Issuer
            | Self::MissingClaim => StatusCode::UNAUTHORIZED,
        }
    }

    /// The error code of RFC 6750 §3.1 and a word about it.
    pub(super) fn challenge(self) -> (&'static str, &'static str) {
        match self {
            Self::Scope => ("insufficient_scope", "the token does not allow this"),
            Self::Audience => ("invalid_token", "the token is for another audience"),
            Self::Malformed => ("invalid_token", "the token is malformed"),
            Self::Algorithm => ("invalid_token", "the token's algorithm is not allowed"),
            Self::UnknownKey => ("invalid_token", "the token's key is unknown"),
            Self::Signature => ("invalid_token", "the token's signature is wrong"),
            Self::Expired => ("invalid_token", "the token has expired"),
            Self::NotYet => ("invalid_token", "the token is not valid yet"),
            Self::Issuer => ("invalid_token", "the token's issuer is not allowed"),
            Self::MissingClaim => ("invalid_token", "a claim is missing"),
        }
    }
}

fn algorithm(model: JwtAlgorithm) -> Algorithm {
    match model {
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
    }
}

impl Verifier {
    pub(super) fn new(model: &Jwt) -> Self {
        let skew = model.clock_skew.as_secs();
        let validation = |algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.leeway = skew;
            validation.validate_nbf = true;
            validation.validate_aud = !model.audiences.is_empty();
            let mut required = Vec::new();
            if model.expiry == JwtPresence::Required {
                required.push("exp");
            }
            if !model.issuers.is_empty() {
                validation.set_issuer(&model.issuers);
                required.push("iss");
            }
            if !model.audiences.is_empty() {
                validation.set_audience(&model.audiences);
                required.push("aud");
            }
            validation.set_required_spec_claims(&required);
            validation
        };
        let by_algorithm = model.algorithms.iter().map(|model| algorithm(*model));
        Self {
            by_algorithm: by_algorithm.map(|algorithm| (algorithm, validation(algorithm))).collect(),
            scopes: model.scopes.iter().map(|scope| scope.as_str().into()).collect(),
            claims: model.claims.clone().into(),
            skew,
        }
    }

    /// The headers that tell of claims: a client's own must go.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.claims.iter().map(|(name, _)| name)
    }

    /// Judges a token.
    pub(super) fn verify(&self, keys: &KeySet, token: &str) -> Result<Verified, Unfit> {
        let head = self.head(token)?;
        let allowed = self.by_algorithm.iter().find(|(known, _)| *known == head.alg);
        let (algorithm, validation) = allowed.ok_or(Unfit::Algorithm)?;
        let mut last = Unfit::UnknownKey;
        for key in keys.candidates(head.kid.as_deref(), *algorithm).take(MAX_TRIED) {
            match decode::<Map<String, Value>>(token, key, validation) {
                Ok(read) => return self.accept(read.claims),
                Err(error) => last = unfit(error.kind()),
            }
            // Another key could only help where this one did not sign.
            if last != Unfit::Signature {
                return Err(last);
            }
        }
        Err(last)
    }

    fn head(&self, token: &str) -> Result<Header, Unfit> {
        if token.len() > MAX_TOKEN || token.bytes().filter(|&byte| byte == b'.').count() != 2 {
            return Err(Unfit::Malformed);
        }
        let head = decode_header(token).map_err(|error| unfit(error.kind()))?;
        // RFC 7515 §4.1.11: what must be understood and is not makes the token none. We understand no extension.
        if head.crit.is_some() || head.enc.is_some() { Err(Unfit::Malformed) } else { Ok(head) }
    }

    fn accept(&self, claims: Map<String, Value>) -> Result<Verified, Unfit> {
        // RFC 7519 §4.1.1: one, who is a string. The library is content with a list where one of them is known.
        if claims.get("iss").is_some_and(|issuer| !issuer.is_string() && !issuer.is_null()) {
            return Err(Unfit::Malformed);
        }
        let granted = scopes(&claims);
        if !self.scopes.iter().all(|wanted| granted.contains(&&**wanted)) {
            return Err(Unfit::Scope);
        }
        let told = self.claims.iter().filter_map(|(name, path)| Some((name.clone(), value(at(&claims, path)?)?)));
        let headers = told.collect();
        let until = claims.get("exp").and_then(Value::as_f64).map_or(u64::MAX, |exp| exp as u64);
        Ok(Verified { headers, until: until.saturating_add(self.skew) })
    }
}

/// What the library's word means here. It grows with its versions.
fn unfit(kind: &ErrorKind) -> Unfit {
    match kind {
        ErrorKind::InvalidSignature => Unfit::Signature,
        ErrorKind::ExpiredSignature => Unfit::Expired,
        ErrorKind::ImmatureSignature => Unfit::NotYet,
        ErrorKind::InvalidIssuer => Unfit::Issuer,
        ErrorKind::InvalidAudience => Unfit::Audience,
        ErrorKind::MissingRequiredClaim(_) => Unfit::MissingClaim,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::MissingAlgorithm
        | ErrorKind::UnsupportedAlgorithm => Unfit::Algorithm,
        _ => Unfit::Malformed,
    }
}

/// `scope` (RFC 8693 §4.2, words between spaces) and `scp`, a list or words, as some issuers write it.
fn scopes(claims: &Map<String, Value>) -> Vec<&str> {
    let mut all = Vec::new();
    for name in ["scope", "scp"] {
        match claims.get(name) {
            Some(Value::String(words)) => all.extend(words.split(' ').filter(|word| !word.is_empty())),
            Some(Value::Array(list)) => all.extend(list.iter().filter_map(Value::as_str)),
            Some(_) | None => {}
        }
    }
    all
}

fn at<'a>(claims: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, name| value.get(name))
}

/// A claim as a header's value; a list as its members with commas between them. What does not arrive as it is makes no header
/// (`arrives`), nor does a list with a member in which there is a comma: it would be read as several, one of which its name forges.
fn value(claim: &Value) -> Option<HeaderValue> {
    let text = match claim {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => claim.to_string(),
        Value::Array(list) => {
            let member = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let members: Vec<_> = list.iter().map(member).collect();
            if members.iter().any(|member| member.contains(',') || !arrives(member)) {
                return None;
            }
            members.join(",")
        }
    };
    let fits = !text.is_empty() && text.len() <= MAX_VALUE && arrives(&text);
    fits.then(|| HeaderValue::try_from(text).ok())?
}

/// Whether a text is, as a header's value, what it was. A control character no header may hold, or each reader makes something else of
/// it; white space around it is not part of the value (RFC 9110 §5.5), so that `" admin"` would become `admin`. Letters beyond
/// ASCII stay, as UTF-8.
fn arrives(text: &str) -> bool {
    text.trim().len() == text.len() && !text.contains(char::is_control)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
