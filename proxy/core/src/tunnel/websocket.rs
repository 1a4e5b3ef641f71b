//! The WebSocket handshake, where HTTP/1 and HTTP/2 differ: HTTP/1 proves it with a key and a digest (RFC 6455
//! §4.2.2), extended CONNECT needs neither (RFC 8441 §5). A tunnel from one to the other supplies what is missing.

use super::upgrade::UpgradeError;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use sha1::{Digest, Sha1};

/// What RFC 6455 §1.3 appends to the key.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The proof that a server has understood this key.
#[must_use]
pub fn accept(key: &[u8]) -> HeaderValue {
    let mut digest = Sha1::new();
    digest.update(key);
    digest.update(MAGIC);
    value(&STANDARD.encode(digest.finalize()))
}

/// A key made of chance.
#[must_use]
pub fn key(random: u128) -> HeaderValue {
    value(&STANDARD.encode(random.to_be_bytes()))
}

/// Whether the server's proof belongs to the key.
///
/// # Errors
///
/// [`UpgradeError::BadAccept`] when it does not.
pub fn verify(key: &[u8], response: &HeaderMap) -> Result<(), UpgradeError> {
    match response.get(header::SEC_WEBSOCKET_ACCEPT) {
        Some(proof) if *proof == accept(key) => Ok(()),
        Some(_) | None => Err(UpgradeError::BadAccept),
    }
}

fn value(base64: &str) -> HeaderValue {
    HeaderValue::from_str(base64).expect("invariant: base64 is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_section_1_3() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes_and_its_proof_is_checked() {
        let key = key(7);
        assert_eq!(STANDARD.decode(&key).unwrap().len(), 16);
        let mut response = HeaderMap::new();
        assert_eq!(verify(key.as_bytes(), &response), Err(UpgradeError::BadAccept));
        response.insert(header::SEC_WEBSOCKET_ACCEPT, accept(b"another"));
        assert_eq!(verify(key.as_bytes(), &response), Err(UpgradeError::BadAccept));
        response.insert(header::SEC_WEBSOCKET_ACCEPT, accept(key.as_bytes()));
        assert_eq!(verify(key.as_bytes(), &response), Ok(()));
    }
}
