//! `verify_signature` and `sign`: RSA with PKCS #1 v1.5 padding, as Envoy has them.

use super::proto;
use crate::abi::Status;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        self, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
        RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaKeyPair,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};

pub(super) fn verify(arguments: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
    let arguments = proto::checked(arguments)?;
    let field = |number| proto::fields(arguments).find(|field| field.number == number).and_then(|field| field.bytes);
    let key = field(2).filter(|key| !key.is_empty()).ok_or(Status::BadArgument)?;
    let algorithm: &'static dyn VerificationAlgorithm = match field(1).map(<[u8]>::to_ascii_lowercase).as_deref() {
        Some(b"sha1") => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        Some(b"sha256") => &RSA_PKCS1_2048_8192_SHA256,
        Some(b"sha384") => &RSA_PKCS1_2048_8192_SHA384,
        Some(b"sha512") => &RSA_PKCS1_2048_8192_SHA512,
        _ => return fail(out, 2, "unknown hash function"),
    };
    let key = UnparsedPublicKey::new(algorithm, key);
    match key.verify(field(4).unwrap_or_default(), field(3).unwrap_or_default()) {
        Ok(()) => proto::put_true(out, 1),
        Err(_) => return fail(out, 2, "the signature does not verify with this key"),
    }
    Ok(())
}

pub(super) fn sign(arguments: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
    let arguments = proto::checked(arguments)?;
    let field = |number| proto::fields(arguments).find(|field| field.number == number).and_then(|field| field.bytes);
    let key = field(2).filter(|key| !key.is_empty()).ok_or(Status::BadArgument)?;
    let encoding: &'static dyn signature::RsaEncoding = match field(1).map(<[u8]>::to_ascii_lowercase).as_deref() {
        Some(b"sha256") => &RSA_PKCS1_SHA256,
        Some(b"sha384") => &RSA_PKCS1_SHA384,
        Some(b"sha512") => &RSA_PKCS1_SHA512,
        _ => return fail(out, 3, "unknown hash function"),
    };
    let Ok(key) = RsaKeyPair::from_pkcs8(key) else {
        return fail(out, 3, "the private key is no RSA key in PKCS #8");
    };
    let mut made = vec![0; key.public_modulus_len()];
    match key.sign(encoding, &SystemRandom::new(), field(3).unwrap_or_default(), &mut made) {
        Ok(()) => {
            proto::put_true(out, 1);
            proto::put_bytes(out, 2, &made);
            Ok(())
        }
        Err(_) => fail(out, 3, "signing failed"),
    }
}

fn fail(out: &mut Vec<u8>, number: u8, words: &str) -> Result<(), Status> {
    proto::put_bytes(out, number, words.as_bytes());
    Ok(())
}
