//! What a plain scalar means to Kubernetes' tools.
//!
//! They read YAML 1.1 (sigs.k8s.io/yaml): `yes` and `on` are truth values there, `0644` is an octal number, `1_000` a
//! number as well. What is read otherwise here would be written back as something else.

use crate::inject::value::Value;

/// The value of a plain scalar.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    // Nothing else that begins otherwise is a number.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Value::String(text.to_owned());
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    let (sign, rest) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    // Rust's parser takes a sign as well.
    let radix = |rest: &str, radix| {
        rest.starts_with(|c: char| c.is_ascii_hexdigit()).then(|| i128::from_str_radix(rest, radix).ok()).flatten()
    };
    if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let whole = if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        radix(hex, 16)
    } else if let Some(binary) = rest.strip_prefix("0b").or_else(|| rest.strip_prefix("0B")) {
        radix(binary, 2)
    } else if let Some(octal) = rest.strip_prefix("0o").or_else(|| rest.strip_prefix("0O")) {
        radix(octal, 8)
    } else if rest.len() > 1 && rest.starts_with('0') && rest.bytes().all(|b| matches!(b, b'0'..=b'7')) {
        radix(rest, 8)
    } else if rest.bytes().all(|b| b.is_ascii_digit()) {
        rest.parse().ok()
    } else {
        None
    };
    if let Some(whole) = whole {
        return Some(Value::Int(sign * whole));
    }
    // Rust's parser takes more than YAML does: infinities and NaN in words.
    let float = rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let float = (float && rest.bytes().any(|b| b.is_ascii_digit())).then(|| digits.parse::<f64>().ok()).flatten()?;
    float.is_finite().then_some(Value::Float(float))
}

/// Whether a reader of YAML, 1.1 or 1.2, might take a plain scalar for something else than text: more than [`plain`] does,
/// which is one reader. Rather too much than too little, for what is quoted is text to all of them.
///
/// The types are those of <https://yaml.org/type/> and of YAML 1.2.2 §10.2.1, in whatever case.
pub(super) fn ambiguous(text: &str) -> bool {
    const WORDS: [&str; 13] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<"];
    if !matches!(plain(text), Value::String(_)) || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return true;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let prefixed = |prefix: &str| unsigned.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    // Integers of other bases, infinities, no numbers.
    if ["0x", "0o", "0b", ".inf", ".nan"].into_iter().any(prefixed) {
        return true;
    }
    // Numbers with and without exponents, of base 60, dates.
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '_' | '.' | ',' | ':' | '+' | '-' | 'e' | 'E');
    let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && text.chars().all(numeric);
    // With a time of day behind it, a date has letters and spaces.
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    number || (digits == 4 && text[4..].starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_kubectl_reads() {
        let int = Value::Int;
        for (text, value) in [
            ("8080", int(8080)),
            ("-1", int(-1)),
            ("0644", int(420)),
            ("0x1F", int(31)),
            ("0XFF00", int(0xff00)),
            ("0B11", int(3)),
            ("0O17", int(15)),
            ("0x-1", "0x-1".into()),
            ("1_000", int(1000)),
            ("089", int(89)),
            ("1.5", Value::Float(1.5)),
            ("1e3", Value::Float(1000.0)),
            ("yes", Value::Bool(true)),
            ("off", Value::Bool(false)),
            ("~", Value::Null),
            ("1.2.3", "1.2.3".into()),
            ("10m", "10m".into()),
            ("10.0.0.0/8", "10.0.0.0/8".into()),
            ("-", "-".into()),
            (".inf", ".inf".into()),
            ("1e999", "1e999".into()),
            ("2026-11-26", "2026-11-26".into()),
            ("nan", "nan".into()),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }
}
