//! DER, as far as a certificate's own facts need it (X.690 §8, §10): tag, definite length, content.
//!
//! Pure. What webpki has accepted is read a second time here, for what it does not tell; nothing is judged.

/// Universal and context tags that stand in a certificate.
pub(super) mod tag {
    pub(in crate::identity) const BOOLEAN: u8 = 0x01;
    pub(in crate::identity) const BIT_STRING: u8 = 0x03;
    pub(in crate::identity) const OCTET_STRING: u8 = 0x04;
    pub(in crate::identity) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(in crate::identity) const UTC_TIME: u8 = 0x17;
    pub(in crate::identity) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::identity) const SEQUENCE: u8 = 0x30;
    pub(in crate::identity) const SET: u8 = 0x31;
    /// `version` of a TBSCertificate.
    pub(in crate::identity) const CONTEXT_0: u8 = 0xA0;
    /// `extensions` of a TBSCertificate.
    pub(in crate::identity) const CONTEXT_3: u8 = 0xA3;
    /// `dNSName` of a GeneralName.
    pub(in crate::identity) const DNS_NAME: u8 = 0x82;
    /// `uniformResourceIdentifier` of a GeneralName.
    pub(in crate::identity) const URI: u8 = 0x86;
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element's tag and content; `None`: it is cut short, or its length is not DER.
    pub(super) fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            0x81 => {
                let (&[length], rest) = rest.split_first_chunk::<1>()?;
                (Some(usize::from(length)).filter(|length| *length >= 0x80)?, rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (Some(usize::from(u16::from_be_bytes(*length))).filter(|length| *length > 0xFF)?, rest)
            }
            // A certificate of 64 KiB is refused long before.
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next element's content, if it has this tag.
    pub(super) fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.element().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    /// The next element's content if it has this tag; otherwise nothing is read.
    pub(super) fn optional(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) { self.expect(wanted) } else { None }
    }
}

/// Seconds since 1970 of a UTCTime or GeneralizedTime in the only forms RFC 5280 §4.1.2.5 allows.
pub(super) fn time(tag: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (tag::UTC_TIME, 12) => {
            let (year, rest) = digits.split_at(2);
            let year = number(year);
            (if year >= 50 { 1900 + year } else { 2000 + year }, rest)
        }
        (tag::GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at(4);
            (number(year), rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks_exact(2).map(number);
    let (month, day) = (parts.next()?, parts.next()?);
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let good = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    // A certificate that ended before 1970 ended.
    good.then(|| days_since_1970(year, month, day).map_or(0, |days| ((days * 24 + hour) * 60 + minute) * 60 + second))
}

/// Days in the proleptic Gregorian calendar, years beginning in March (H. Hinnant, "chrono-compatible date algorithms").
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_der_or_nothing() {
        let element = |bytes: &'static [u8]| Reader::new(bytes).element();
        assert_eq!(element(&[0x04, 0x02, 7, 8, 9]), Some((0x04, &[7, 8][..])));
        assert_eq!(element(&[0x04, 0x03, 7, 8]), None, "cut short");
        assert_eq!(element(&[0x04, 0x81, 0x02, 7, 8]), None, "not the shortest form");
        assert_eq!(element(&[0x04, 0x82, 0x00, 0x80]), None, "not the shortest form");
        assert_eq!(element(&[0x04, 0x80, 0, 0]), None, "indefinite");
        assert_eq!(element(&[0x04, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), None);
        assert_eq!(element(&[]), None);
    }

    #[test]
    fn times_are_read_in_the_forms_of_rfc_5280() {
        assert_eq!(time(tag::UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(time(tag::UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(tag::UTC_TIME, b"500101000000Z"), Some(0), "1950: long over");
        assert_eq!(time(tag::GENERALIZED_TIME, b"20000229120000Z"), Some(951_825_600));
        assert_eq!(time(tag::GENERALIZED_TIME, b"99991231235959Z"), Some(253_402_300_799));
        for bad in [&b"7001010000Z"[..], b"700101000000", b"701301000000Z", b"700101240000Z", b"70010100000aZ", b""] {
            assert_eq!(time(tag::UTC_TIME, bad), None);
        }
    }
}
