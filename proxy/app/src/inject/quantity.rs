//! [`Quantity`]: an amount of CPU or memory as Kubernetes writes it.

use std::{fmt, str::FromStr};

/// An amount, with its text as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantity {
    text: String,
    amount: f64,
}

/// Suffixes and what they multiply with (`k8s.io/apimachinery/pkg/api/resource`).
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1.125_899_906_842_624e15),
    ("Ei", 1.152_921_504_606_847e18),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

impl Quantity {
    /// The amount, in cores or bytes.
    #[must_use]
    pub fn amount(&self) -> f64 {
        self.amount
    }
}

/// The amount that a text says, which may be 0; `None`: it says none.
pub(super) fn amount(text: &str) -> Option<f64> {
    let suffixed = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (number, factor) = suffixed.unwrap_or((text, 1.0));
    // An exponent is a suffix as well, and there is one only.
    let exponent = |b: u8| suffixed.is_none() && matches!(b, b'e' | b'E' | b'-' | b'+');
    let plain = number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.' || exponent(b));
    let amount = plain.then(|| number.parse::<f64>().ok()).flatten().map(|number| number * factor);
    amount.filter(|amount| amount.is_finite())
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match amount(text).filter(|amount| *amount > 0.0) {
            Some(amount) => Ok(Self { text: text.to_owned(), amount }),
            None => {
                Err(format!("{text:?} is no quantity: write a number with a unit, as 10m of CPU or 16Mi of memory"))
            }
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_kubernetes() {
        for (text, amount) in [
            ("10m", 0.01),
            ("1", 1.0),
            ("16Mi", 16.0 * 1024.0 * 1024.0),
            ("1.5k", 1500.0),
            ("1e3", 1e3),
            ("1.5E-3", 1.5e-3),
            ("1E", 1e18),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().amount(), amount, "{text}");
        }
        for text in ["", "m", "-1", "0", "1KB", "ten", "1 Mi", "inf", "NaN", "1e3Mi", "1e3m", "1EE", "1e", "1e1.5"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
