//! A node as JSON: what a document holds for somebody else.

use super::{
    Kind, Style, is_null,
    read::{Cursor, Failure},
};
use std::fmt::Write as _;

/// Bytes of it at most: through aliases a short document can mean a long one.
const MAX_JSON: usize = 1 << 20;

impl Cursor<'_, '_> {
    /// The node and what is in it. Plain scalars that JSON knows as numbers, booleans or null are those; all others are
    /// strings.
    pub(crate) fn json(self) -> Result<String, Failure> {
        let mut out = String::new();
        self.write_json(&mut out)?;
        Ok(out)
    }

    fn write_json(self, out: &mut String) -> Result<(), Failure> {
        if out.len() > MAX_JSON || !self.counts() {
            return Err(Failure("more than 1MiB of JSON; write less of it".to_owned()));
        }
        match self.kind() {
            Kind::Scalar { text, style } => match (style, &**text) {
                (Style::Plain, text) if is_null(text) => out.push_str("null"),
                (Style::Plain, "true" | "True" | "TRUE") => out.push_str("true"),
                (Style::Plain, "false" | "False" | "FALSE") => out.push_str("false"),
                (Style::Plain, text) if is_number(text) => out.push_str(text),
                (_, text) => string(text, out),
            },
            Kind::Sequence { .. } => {
                out.push('[');
                for (at, element) in self.elements()?.enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    element.write_json(out)?;
                }
                out.push(']');
            }
            Kind::Mapping { .. } => {
                out.push('{');
                for (at, (key, value)) in self.entries()?.enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    string(key.scalar(false, || "a name".into())?, out);
                    out.push(':');
                    value.write_json(out)?;
                }
                out.push('}');
            }
            // A cursor looks through aliases.
            Kind::Alias(_) => out.push_str("null"),
        }
        Ok(())
    }
}

/// RFC 8259 §6.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (digits, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let all = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(all) && exponent.is_none_or(all)
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_json_numbers() {
        for text in ["0", "-1", "10", "1.5", "1e3", "-0.1E-7", "1E+2"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", "-", "01", "1.", ".5", "1e", "0x10", "1_000", "+1", "inf", ".nan", "1.5.2"] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn strings_are_escaped() {
        let mut out = String::new();
        string("a\"b\\c\n\u{1}ä", &mut out);
        assert_eq!(out, "\"a\\\"b\\\\c\\n\\u0001ä\"");
    }
}
