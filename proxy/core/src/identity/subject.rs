//! A certificate's subject as text (RFC 2253 §2), as Envoy and OpenSSL write it.

use super::der::{Reader, tag};
use std::fmt::Write as _;

/// The name of an attribute's type, by the DER of its identifier (RFC 2253 §2.3, RFC 4519; what OpenSSL writes).
const NAMES: [(&[u8], &str); 15] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1], "emailAddress"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25], "DC"),
];

/// A distinguished name (the content of its SEQUENCE) as text, the last part first; `None`: it is none.
pub(super) fn text(name: &[u8]) -> Option<String> {
    let (mut sets, mut parts) = (Reader::new(name), Vec::new());
    while !sets.is_empty() {
        let (mut attributes, mut part) = (Reader::new(sets.expect(tag::SET)?), String::new());
        while !attributes.is_empty() {
            let mut attribute = Reader::new(attributes.expect(tag::SEQUENCE)?);
            let id = attribute.expect(tag::OBJECT_IDENTIFIER)?;
            let (kind, value) = attribute.element()?;
            if !part.is_empty() {
                part.push('+');
            }
            let known = NAMES.iter().find(|(known, _)| *known == id);
            match (known, written(kind, value)) {
                (Some((_, name)), Some(text)) => {
                    part.push_str(name);
                    part.push('=');
                    escape(&text, &mut part);
                }
                (known, _) => {
                    part.push_str(&known.map_or_else(|| dotted(id), |(_, name)| (*name).to_owned()));
                    part.push_str("=#");
                    // The value's own DER: tag, length (below 128 here, or nothing is said of it), content.
                    let length = u8::try_from(value.len()).ok().filter(|length| *length < 0x80)?;
                    for byte in [kind, length].iter().chain(value) {
                        let _ = write!(part, "{byte:02X}");
                    }
                }
            }
        }
        parts.push(part);
    }
    parts.reverse();
    Some(parts.join(","))
}

/// The characters of a string type, in UTF-8.
fn written(kind: u8, value: &[u8]) -> Option<Vec<u8>> {
    match kind {
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString.
        0x0C | 0x12 | 0x13 | 0x16 | 0x1A => Some(value.to_vec()),
        // TeletexString, read as Latin-1.
        0x14 => Some(value.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes()),
        // BMPString: UTF-16 without surrogates.
        0x1E => {
            let (pairs, []) = value.as_chunks::<2>() else { return None };
            let units: Option<String> =
                pairs.iter().map(|pair| char::from_u32(u16::from_be_bytes(*pair).into())).collect();
            Some(units?.into_bytes())
        }
        _ => None,
    }
}

/// RFC 2253 §2.4, and what is no printable ASCII as `\XX`.
fn escape(text: &[u8], out: &mut String) {
    for (at, byte) in text.iter().copied().enumerate() {
        let edge = at == 0 || at + 1 == text.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            b' ' if edge => out.push_str("\\ "),
            b'#' if at == 0 => out.push_str("\\#"),
            0x20..=0x7E => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

/// An object identifier in numbers (X.690 §8.19).
fn dotted(id: &[u8]) -> String {
    let (mut out, mut number, mut first) = (String::new(), 0_u64, true);
    for byte in id {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        if std::mem::take(&mut first) {
            let root = (number / 40).min(2);
            let _ = write!(out, "{root}.{}", number - root * 40);
        } else {
            let _ = write!(out, ".{number}");
        }
        number = 0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn subject(parts: &[(DnType, &str)]) -> Option<String> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        parts.iter().for_each(|(kind, value)| name.push(kind.clone(), *value));
        params.distinguished_name = name;
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        Facts::read(&der).unwrap().subject()
    }

    #[test]
    fn a_subject_is_written_the_last_part_first() {
        let parts =
            [(DnType::CountryName, "DE"), (DnType::OrganizationName, "A, B + \"C\""), (DnType::CommonName, "#é ")];
        assert_eq!(subject(&parts).unwrap(), r#"CN=\#\C3\A9\ ,O=A\, B \+ \"C\",C=DE"#);
        assert_eq!(subject(&[]).unwrap(), "");
        let own = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99_999, 5]);
        assert_eq!(subject(&[(own, "x")]).unwrap(), "1.3.6.1.4.1.99999.5=#0C0178");
    }

    #[test]
    fn what_is_no_name_is_nothing() {
        assert_eq!(super::text(&[0x31]), None);
        assert_eq!(super::text(&[0x31, 2, 0x30, 0]), None);
        assert_eq!(super::dotted(&[0x55, 4, 3]), "2.5.4.3");
    }
}
