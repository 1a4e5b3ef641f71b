//! Keys that vouch for tokens: a JWK Set (RFC 7517) or a secret, as the library wants them. Pure.
//!
//! Only keys that verify signatures are taken, each for the algorithms of its own kind: a public key is never a secret
//! (the confusion of HS256 with RS256). Keys that are not understood are passed over, as RFC 7517 §5 asks.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

/// Keys taken of a set; issuers have two or three.
const MAX_KEYS: usize = 64;

/// Who vouches for tokens.
pub(super) struct KeySet(Vec<Key>);

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
    #[error("none of its {0} keys can verify a signature: RSA, EC P-256 or P-384, or Ed25519, for \"sig\"")]
    NoKey(usize),
}

impl KeySet {
    /// A shared secret.
    pub(super) fn secret(secret: &[u8]) -> Self {
        let algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        Self(vec![Key { id: None, algorithms, key: DecodingKey::from_secret(secret) }])
    }

    /// Reads a JWK Set.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let set: Value = serde_json::from_slice(bytes).map_err(|_| KeysError::NoSet)?;
        let list = set.get("keys").and_then(Value::as_array).ok_or(KeysError::NoSet)?;
        let keys: Vec<Key> = list.iter().filter_map(Key::read).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeysError::NoKey(list.len())) } else { Ok(Self(keys)) }
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
        self.0.iter().filter(named).filter(move |key| key.algorithms.contains(&algorithm)).map(|key| &key.key)
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|what| *what == PublicKeyUse::Signature);
        let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !signs || !verifies {
            return None;
        }
        let algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                // P-521, and what the library learns next.
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(curve) if curve.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
            // A secret in a set that anybody may read is none; other kinds are not understood.
            _ => return None,
        };
        let own = common.key_algorithm.map(|own| own.to_string());
        let algorithms: Vec<Algorithm> = match own {
            Some(own) => algorithms.into_iter().filter(|known| format!("{known:?}") == own).collect(),
            None => algorithms,
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (!algorithms.is_empty()).then(|| Self { id: common.key_id.as_deref().map(Into::into), algorithms, key })
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}
