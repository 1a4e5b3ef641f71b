//! Keys as a JWKS spells them (RFC 7517, RFC 7518 §6), and signatures checked with them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Verifier as _;
use serde::Deserialize;
use sha2::Sha256;

/// A key in a configuration. Fields that a JWKS has beside these (`use`, `key_ops`, `x5c`, …) are ignored, as RFC 7517 §4 wants.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A key that verifies one algorithm's signatures.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Hs256(Vec<u8>),
    /// And the bits of its modulus.
    Rs256(Box<rsa::pkcs1v15::VerifyingKey<Sha256>>, u32),
    Es256(Box<p256::ecdsa::VerifyingKey>),
}

impl Key {
    pub(crate) fn read(document: &Document) -> Result<Self, String> {
        let material = match document.kty.as_str() {
            "oct" => {
                let secret = field("k", document.k.as_deref())?;
                // RFC 7518 §3.2: as long as the hash.
                if secret.len() < 32 {
                    return Err(format!("k: has {} bytes, HS256 needs 32", secret.len()));
                }
                Material::Hs256(secret)
            }
            "RSA" => {
                let (n, e) = (field("n", document.n.as_deref())?, field("e", document.e.as_deref())?);
                let bits = u32::try_from(n.len() * 8).unwrap_or(u32::MAX);
                // A signature of 8192 bits takes all that a callback may.
                if !(2048..=4096).contains(&bits) {
                    return Err(format!("n: has {bits} bits, 2048 to 4096 are taken"));
                }
                let number = |bytes: &[u8]| rsa::BoxedUint::from_be_slice_vartime(bytes);
                let key = rsa::PublicKey::new(number(&n), number(&e)).map_err(|error| format!("n, e: {error}"))?;
                Material::Rs256(Box::new(rsa::pkcs1v15::VerifyingKey::new(key)), bits)
            }
            "EC" => {
                if document.crv.as_deref() != Some("P-256") {
                    return Err("crv: only \"P-256\" is known".to_owned());
                }
                let (x, y) = (field("x", document.x.as_deref())?, field("y", document.y.as_deref())?);
                if x.len() != 32 || y.len() != 32 {
                    return Err("x, y: need 32 bytes each".to_owned());
                }
                // SEC 1 §2.3.3: an uncompressed point.
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| "x, y: no point of P-256")?;
                Material::Es256(Box::new(key))
            }
            other => return Err(format!("kty: {other:?} is none of \"oct\", \"RSA\", \"EC\"")),
        };
        let key = Self { id: document.kid.clone(), material };
        match &document.alg {
            Some(alg) if alg != key.algorithm() => {
                Err(format!("alg: {alg:?} does not go with the key, which is for {}", key.algorithm()))
            }
            _ => Ok(key),
        }
    }

    /// The one algorithm it is for.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.material {
            Material::Hs256(_) => "HS256",
            Material::Rs256(..) => "RS256",
            Material::Es256(_) => "ES256",
        }
    }

    /// What checking a signature takes, in tenths of a millisecond, as WebAssembly on a processor of 2023.
    pub(crate) fn effort(&self) -> u32 {
        match self.material {
            Material::Hs256(_) => 0,
            // It grows with the square of the length.
            Material::Rs256(_, bits) => 6 * (bits / 256).pow(2) / 64,
            Material::Es256(_) => 9,
        }
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Hs256(secret) => Hmac::<Sha256>::new_from_slice(secret).is_ok_and(|mut mac| {
                mac.update(message);
                mac.verify_slice(signature).is_ok()
            }),
            Material::Rs256(key, _) => rsa::pkcs1v15::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Material::Es256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}

fn field(name: &str, value: Option<&str>) -> Result<Vec<u8>, String> {
    let text = value.ok_or_else(|| format!("{name}: is missing"))?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| format!("{name}: no base64url: {error}"))?;
    // Leading zeros are not part of a number.
    let zeros = if name == "n" || name == "e" { bytes.iter().take_while(|&&byte| byte == 0).count() } else { 0 };
    Ok(bytes[zeros..].to_vec())
}

/// Compares in a time that depends on the lengths alone.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    let differ =
        one.iter().zip(other).fold(one.len() ^ other.len(), |all, (one, other)| all | usize::from(one ^ other));
    std::hint::black_box(differ) == 0
}
