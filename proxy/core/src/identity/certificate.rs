//! What a certificate says of itself (RFC 5280 §4): validity, key usage, names of kind URI.
//!
//! Pure, over DER. Whether any of it is to be believed is judged in [`verify`](mod@super::verify).

use super::{
    der::{Reader, tag, time},
    subject,
};

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Seconds since 1970 from which it is valid.
    pub not_before: u64,
    /// Seconds since 1970 up to which it is valid, inclusive.
    pub not_after: u64,
    /// Subject alternative names of kind URI, as they are: not even text yet.
    pub uris: Vec<&'a [u8]>,
    /// Subject alternative names of kind DNS, as they are.
    pub dns_names: Vec<&'a [u8]>,
    /// What its key may do; `None`: nothing is said.
    pub key_usage: Option<KeyUsage>,
    /// Whether it may issue certificates.
    pub authority: Authority,
    /// The subject, as it is.
    subject: &'a [u8],
}

/// What a key may do (RFC 5280 §4.2.1.3): the first bits of the extension, the first one highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage(u8);

/// Whether a certificate's subject is an authority (RFC 5280 §4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// It may issue certificates.
    Yes,
    /// It may not.
    No,
}

/// id-ce-subjectAltName, id-ce-keyUsage, id-ce-basicConstraints.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 17];
const KEY_USAGE: &[u8] = &[0x55, 0x1D, 15];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1D, 19];

impl KeyUsage {
    /// Signing anything but certificates and revocation lists, as TLS does.
    #[must_use]
    pub fn digital_signature(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Signing certificates.
    #[must_use]
    pub fn key_cert_sign(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// Signing revocation lists.
    #[must_use]
    pub fn crl_sign(self) -> bool {
        self.0 & 0x02 != 0
    }
}

impl<'a> Facts<'a> {
    /// Reads a certificate; `None`: it is none.
    #[must_use]
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Reader::new(Reader::new(der).expect(tag::SEQUENCE)?);
        let mut tbs = Reader::new(certificate.expect(tag::SEQUENCE)?);
        tbs.optional(tag::CONTEXT_0);
        // Serial number, signature algorithm, issuer.
        for _ in 0..3 {
            tbs.element()?;
        }
        let mut validity = Reader::new(tbs.expect(tag::SEQUENCE)?);
        let mut moment = || validity.element().and_then(|(tag, text)| time(tag, text));
        let mut facts = Self {
            not_before: moment()?,
            not_after: moment()?,
            uris: Vec::new(),
            dns_names: Vec::new(),
            key_usage: None,
            authority: Authority::No,
            subject: tbs.expect(tag::SEQUENCE)?,
        };
        // The key; identifiers of issuer and subject, which nobody writes, are passed over.
        while !tbs.is_empty() {
            if let (tag::CONTEXT_3, extensions) = tbs.element()? {
                facts.extensions(extensions)?;
            }
        }
        Some(facts)
    }

    /// The subject as RFC 2253 writes it; `None`: it is no name.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        subject::text(self.subject)
    }

    fn extensions(&mut self, bytes: &'a [u8]) -> Option<()> {
        let mut extensions = Reader::new(Reader::new(bytes).expect(tag::SEQUENCE)?);
        while !extensions.is_empty() {
            let mut extension = Reader::new(extensions.expect(tag::SEQUENCE)?);
            let id = extension.expect(tag::OBJECT_IDENTIFIER)?;
            extension.optional(tag::BOOLEAN);
            let mut value = Reader::new(extension.expect(tag::OCTET_STRING)?);
            match id {
                SUBJECT_ALT_NAME => self.names(value.expect(tag::SEQUENCE)?)?,
                KEY_USAGE => {
                    let bits = value.expect(tag::BIT_STRING)?;
                    // The first byte counts the unused bits of the last one.
                    self.key_usage = Some(KeyUsage(bits.get(1).copied().unwrap_or(0)));
                }
                BASIC_CONSTRAINTS => {
                    let ca = Reader::new(value.expect(tag::SEQUENCE)?).optional(tag::BOOLEAN);
                    self.authority = if ca.is_some_and(|ca| ca != [0]) { Authority::Yes } else { Authority::No };
                }
                _ => {}
            }
        }
        Some(())
    }

    fn names(&mut self, bytes: &'a [u8]) -> Option<()> {
        let mut names = Reader::new(bytes);
        while !names.is_empty() {
            match names.element()? {
                (tag::URI, uri) => self.uris.push(uri),
                (tag::DNS_NAME, name) => self.dns_names.push(name),
                _ => {}
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd};

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(2001, 9, 9), date_time_ymd(2060, 1, 1));
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn everything_that_is_judged_is_read() {
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        let der = made(|params| {
            params.subject_alt_names = vec![
                uri("spiffe://example.org/web"),
                SanType::DnsName("web.example.org".try_into().unwrap()),
                uri("https://example.org"),
            ];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        });
        let facts = Facts::read(&der).unwrap();
        assert_eq!(facts.uris, [&b"spiffe://example.org/web"[..], b"https://example.org"]);
        assert_eq!(facts.dns_names, [&b"web.example.org"[..]]);
        assert_eq!((facts.not_before, facts.not_after), (999_993_600, 2_840_140_800));
        assert_eq!(facts.authority, Authority::No);
        let usage = facts.key_usage.unwrap();
        assert!(usage.digital_signature() && usage.crl_sign() && !usage.key_cert_sign());

        let der = made(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
        let facts = Facts::read(&der).unwrap();
        assert_eq!((facts.authority, facts.key_usage), (Authority::Yes, None));
    }

    #[test]
    fn a_certificate_cut_short_or_bent_is_no_reason_to_panic() {
        let der = made(|params| params.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())]);
        for end in 0..der.len() {
            assert_eq!(Facts::read(&der[..end]), None, "{end} bytes");
        }
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut bent = der.clone();
                bent[at] ^= 1 << bit;
                // Whatever it says then, it says it without a panic.
                let _ = Facts::read(&bent);
            }
        }
    }
}
