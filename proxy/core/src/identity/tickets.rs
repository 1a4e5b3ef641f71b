//! Session tickets (RFC 8446 §4.6.1, RFC 5077), with the care that rustls leaves to us.
//!
//! A resumed session restores the client's chain without judging it. So a ticket key lives no longer than what it
//! judged by: each listener has its own, and a new one whenever its certificates, its trust or its rules change. And
//! no ticket outlives the certificate it was given under. (That the client's own has not ended meanwhile is looked
//! at when the session is resumed.)

use rustls::{Error, crypto::aws_lc_rs::Ticketer, pki_types::UnixTime, server::ProducesTickets};
use std::{fmt, sync::Arc};

/// The longest a ticket serves: an hour of sleep of a client, and a stolen key opens no more than that.
const LIFETIME: u32 = 3600;

/// Makes and reads tickets up to the end of a certificate.
pub(super) struct Tickets {
    inner: Arc<dyn ProducesTickets>,
    /// Seconds since 1970.
    not_after: u64,
}

impl Tickets {
    /// With a key of its own. Drawn from the system.
    pub(super) fn with_own_key(not_after: u64) -> Result<Arc<dyn ProducesTickets>, Error> {
        Ok(Arc::new(Self { inner: Ticketer::new()?, not_after }))
    }

    fn left(&self) -> u32 {
        let left = self.not_after.saturating_sub(UnixTime::now().as_secs());
        u32::try_from(left).unwrap_or(u32::MAX).min(LIFETIME)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.left()
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        let ends = UnixTime::now().as_secs() + u64::from(self.left());
        let mut plain = Vec::with_capacity(8 + session.len());
        plain.extend_from_slice(&ends.to_be_bytes());
        plain.extend_from_slice(session);
        self.inner.encrypt(&plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let plain = self.inner.decrypt(ticket)?;
        let (ends, session) = plain.split_first_chunk::<8>()?;
        (UnixTime::now().as_secs() < u64::from_be_bytes(*ends)).then(|| session.to_vec())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_ends_with_the_certificate_and_opens_with_its_own_key_only() {
        let now = UnixTime::now().as_secs();
        let tickets = Tickets::with_own_key(now + 1_000_000).unwrap();
        assert_eq!(tickets.lifetime(), LIFETIME);
        let ticket = tickets.encrypt(b"session").unwrap();
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(Tickets::with_own_key(now + 1_000_000).unwrap().decrypt(&ticket), None, "another key");

        let short = Tickets::with_own_key(now + 100).unwrap();
        assert!(short.lifetime() <= 100);
        let over = Tickets::with_own_key(now).unwrap();
        let ticket = over.encrypt(b"session").unwrap();
        assert_eq!(over.decrypt(&ticket), None, "the certificate is over");
    }
}
