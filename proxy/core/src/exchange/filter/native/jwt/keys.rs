//! Keys that vouch for tokens: a JWK Set (RFC 7517) or a secret, as the library wants them. Pure.
//!
//! Only keys that verify signatures are taken, each for the algorithms of its own kind: a public key is never a secret
//! (the confusion of HS256 with RS256). Keys that cannot be used are passed over, as RFC 7517 §5 asks, and the others serve;
//! the operator is told which and why, but of those that say themselves that they are for something else.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use serde_json::Value;
use std::fmt;

/// Keys taken of a set; issuers have two or three.
const MAX_KEYS: usize = 64;
/// Keys passed over that are named: whoever looks at one sees what the others have.
const MAX_NAMED: usize = 8;
/// Characters of a key's own words that are repeated.
const MAX_WORDS: usize = 64;

/// Who vouches for tokens.
pub(super) struct KeySet {
    keys: Vec<Key>,
    passed_over: Vec<String>,
}

struct Key {
    id: Option<Box<str>>,
    /// What it may sign with.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeysError {
    #[error("it is no JWK Set (RFC 7517 §5): an object with \"keys\"")]
    NoSet,
    #[error(
        "none of its {count} keys can verify a signature: RSA, EC P-256 or P-384, or Ed25519, for \"sig\"{}",
        .passed_over.iter().map(|words| format!("; {words}")).collect::<String>()
    )]
    NoKey { count: usize, passed_over: Vec<String> },
}

/// Why a key of a set is passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    /// It says so itself, and nobody is told.
    #[error("it is not for signatures")]
    Other,
    #[error("it has no \"kty\"")]
    NoKind,
    #[error("its \"kty\" {0:?} is not understood, only RSA, EC and OKP")]
    Kind(String),
    #[error("it is a secret, which is none in a set that others may read; write `secret_file`")]
    Secret,
    #[error("its \"crv\" {0:?} is not understood, only P-256, P-384 and Ed25519")]
    Curve(String),
    #[error("it has not the members that its \"kty\" asks for (RFC 7518 §6), or not as text in base64url")]
    Form,
    #[error("its \"alg\" {0:?} is none that it could sign with")]
    Algorithm(String),
    #[error("an RSA key has 2048 to 8192 bits, this one {0}")]
    Size(usize),
    #[error("its numbers are no public key")]
    Numbers,
}

impl KeySet {
    /// A shared secret.
    pub(super) fn secret(secret: &[u8]) -> Self {
        let algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        let keys = vec![Key { id: None, algorithms, key: DecodingKey::from_secret(secret) }];
        Self { keys, passed_over: Vec::new() }
    }

    /// Reads a JWK Set.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let set: Value = serde_json::from_slice(bytes).map_err(|_| KeysError::NoSet)?;
        let list = set.get("keys").and_then(Value::as_array).ok_or(KeysError::NoSet)?;
        let (mut keys, mut passed_over, mut unnamed) = (Vec::new(), Vec::new(), 0);
        for (at, value) in list.iter().enumerate() {
            let why = match Key::read(value) {
                Ok(_) if keys.len() == MAX_KEYS => format!("{MAX_KEYS} keys of a set are taken"),
                Ok(key) => {
                    keys.push(key);
                    continue;
                }
                Err(Unusable::Other) => continue,
                Err(why) => why.to_string(),
            };
            if passed_over.len() < MAX_NAMED {
                passed_over.push(format!("{}: {why}", Named(value, at)));
            } else {
                unnamed += 1;
            }
        }
        if unnamed > 0 {
            passed_over.push(format!("and {unnamed} more"));
        }
        match keys.is_empty() {
            true => Err(KeysError::NoKey { count: list.len(), passed_over }),
            false => Ok(Self { keys, passed_over }),
        }
    }

    /// The keys that cannot be used, and why each cannot.
    pub(super) fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The keys that may have signed with this algorithm. A token that names a key is that key's alone.
    pub(super) fn candidates<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let named = move |key: &&Key| match (id, key.id.as_deref()) {
            (Some(id), Some(own)) => own == id,
            // A set of one key need not name it.
            (Some(_) | None, None) | (None, Some(_)) => true,
        };
        self.keys.iter().filter(named).filter(move |key| key.algorithms.contains(&algorithm)).map(|key| &key.key)
    }
}

impl Key {
    fn read(value: &Value) -> Result<Self, Unusable> {
        // Looked at first: what is for something else may have any form.
        if !may_verify(value) {
            return Err(Unusable::Other);
        }
        let kind = value.get("kty").and_then(Value::as_str).ok_or(Unusable::NoKind)?;
        match kind {
            "RSA" | "EC" | "OKP" => {}
            "oct" => return Err(Unusable::Secret),
            other => return Err(Unusable::Kind(shortened(other))),
        }
        let curve = value.get("crv").and_then(Value::as_str).unwrap_or_default();
        if kind != "RSA" && !matches!((kind, curve), ("EC", "P-256" | "P-384") | ("OKP", "Ed25519")) {
            return Err(Unusable::Curve(shortened(curve)));
        }
        let jwk: Jwk = serde_json::from_value(value.clone()).map_err(|_| Unusable::Form)?;
        let common = &jwk.common;
        let algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
            AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
            AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
            AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
            // What the library takes it for is not what it says that it is.
            _ => return Err(Unusable::Form),
        };
        let own = common.key_algorithm.map(|own| own.to_string());
        let algorithms: Vec<Algorithm> = match own {
            Some(own) => algorithms.into_iter().filter(|known| format!("{known:?}") == own).collect(),
            None => algorithms,
        };
        let Some(&first) = algorithms.first() else {
            let own = value.get("alg").and_then(Value::as_str).unwrap_or_default();
            return Err(Unusable::Algorithm(shortened(own)));
        };
        let key = sound(DecodingKey::from_jwk(&jwk).map_err(|_| Unusable::Form)?, first)?;
        Ok(Self { id: common.key_id.as_deref().map(Into::into), algorithms, key })
    }
}

/// Whether a key is for verifying signatures, as far as it says what it is for.
fn may_verify(value: &Value) -> bool {
    let is_for = value.get("use").and_then(Value::as_str).is_none_or(|what| what == "sig");
    let operations = value.get("key_ops").and_then(Value::as_array);
    let verifies = operations.is_none_or(|all| all.iter().any(|one| one.as_str() == Some("verify")));
    is_for && verifies
}

/// The key, if its numbers are one. The library looks at them with each token, and then calls the signature wrong.
fn sound(key: DecodingKey, algorithm: Algorithm) -> Result<DecodingKey, Unusable> {
    let by: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
        _ => &ED25519,
    };
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            // Zeros before a number say nothing, and some issuers write one (RFC 7518 §6.3.1.1); the library takes none.
            let (n, e) = (without_zeros(n), without_zeros(e));
            let bits = (8 * n.len()).saturating_sub(n.first().map_or(0, |first| first.leading_zeros() as usize));
            if !(2048..=8192).contains(&bits) {
                return Err(Unusable::Size(bits));
            }
            let parsed = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
            parsed.map(|_| DecodingKey::from_rsa_raw_components(n, e)).map_err(|_| Unusable::Numbers)
        }
        DecodingKeyKind::SecretOrDer(bytes) => match ParsedPublicKey::new(by, bytes) {
            Ok(_) => Ok(key),
            Err(_) => Err(Unusable::Numbers),
        },
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn shortened(words: &str) -> String {
    words.chars().take(MAX_WORDS).collect()
}

/// A key as an operator finds it in its set.
struct Named<'a>(&'a Value, usize);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get("kid").and_then(Value::as_str) {
            Some(id) => write!(f, "the key {:?}", shortened(id)),
            None => write!(f, "the key at place {}, which has no \"kid\"", self.1 + 1),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}
