//! Text into tokens.

use super::{Malformed, Value};

/// A token, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Name(String),
    Literal(Value),
    /// The digits of the least integer, which are a number behind a minus sign alone.
    Least,
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

/// The longer ones first.
const SIGNS: [&str; 25] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}", "=",
];

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// All tokens of a text, [`Kind::End`] the last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Malformed> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.space();
        let at = lexer.at;
        let kind = lexer.next()?;
        let end = kind == Kind::End;
        tokens.push(Token { at: at + 1, kind });
        if end {
            return Ok(tokens);
        }
    }
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, Malformed> {
        Err(Malformed { at: self.at + 1, what: what.into() })
    }

    fn space(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).len();
            let comment = if rest[blank..].starts_with("//") {
                rest[blank..].find('\n').unwrap_or(rest.len() - blank)
            } else {
                0
            };
            self.at += blank + comment;
            if comment == 0 {
                return;
            }
        }
    }

    fn next(&mut self) -> Result<Kind, Malformed> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Kind::End) };
        if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|next: char| next.is_ascii_digit())) {
            return self.number();
        }
        if let Some(literal) = self.text_literal()? {
            return Ok(Kind::Literal(literal));
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(rest.len());
            self.at += end;
            return Ok(match &rest[..end] {
                "true" => Kind::Literal(Value::Bool(true)),
                "false" => Kind::Literal(Value::Bool(false)),
                "null" => Kind::Literal(Value::Null),
                "in" => Kind::Sign("in"),
                name => Kind::Name(name.to_owned()),
            });
        }
        match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            Some(sign) => {
                self.at += sign.len();
                Ok(Kind::Sign(sign))
            }
            None => self.wrong(format!("{first:?} begins nothing")),
        }
    }

    fn number(&mut self) -> Result<Kind, Malformed> {
        let rest = self.rest();
        let (digits, radix, start) = match rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            Some(hex) => (hex, 16, 2),
            None => (rest, 10, 0),
        };
        let whole = digits.find(|next: char| !next.is_digit(radix)).unwrap_or(digits.len());
        let mut end = start + whole;
        let tail = |end: usize| &rest[end..];
        let count = |text: &str| text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
        let mut double = false;
        if radix == 10 {
            if let Some(fraction) = tail(end).strip_prefix('.').filter(|fraction| count(fraction) > 0) {
                end += 1 + count(fraction);
                double = true;
            }
            if let Some(exponent) = tail(end).strip_prefix(['e', 'E']) {
                let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if count(unsigned) > 0 {
                    end += 1 + (exponent.len() - unsigned.len()) + count(unsigned);
                    double = true;
                }
            }
        }
        let mut least = false;
        let value = if double {
            rest[..end].parse().ok().map(Value::Double)
        } else {
            let number = u64::from_str_radix(&digits[..whole], radix).ok();
            if tail(end).starts_with(['u', 'U']) {
                end += 1;
                number.map(Value::Uint)
            } else {
                least = number == Some(i64::MIN.unsigned_abs());
                number.and_then(|number| i64::try_from(number).ok()).map(Value::Int)
            }
        };
        let kind = if least { Some(Kind::Least) } else { value.map(Kind::Literal) };
        let Some(kind) = kind else { return self.wrong("this number is too large, or none") };
        if tail(end).starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_') {
            return self.wrong("a name cannot follow a number");
        }
        self.at += end;
        Ok(kind)
    }

    /// `'…'`, `"…"`, three quotes of a kind; with `r` as written, with `b` bytes.
    fn text_literal(&mut self) -> Result<Option<Value>, Malformed> {
        let rest = self.rest();
        let prefix = rest.find(['\'', '"']).unwrap_or(3);
        let (raw, bytes) = match rest.get(..prefix).map(str::to_ascii_lowercase).as_deref() {
            Some("") => (false, false),
            Some("r") => (true, false),
            Some("b") => (false, true),
            Some("rb" | "br") => (true, true),
            _ => return Ok(None),
        };
        let body = &rest[prefix..];
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote)).unwrap_or("'");
        let mut out = Vec::new();
        let mut inner = &body[quote.len()..];
        loop {
            if let Some(after) = inner.strip_prefix(quote) {
                self.at += rest.len() - after.len();
                break;
            }
            let Some(next) = inner.chars().next() else { return self.wrong("this text has no end") };
            if quote.len() == 1 && matches!(next, '\n' | '\r') {
                return self.wrong("this text has no end in its line");
            }
            inner = &inner[next.len_utf8()..];
            if next != '\\' || raw {
                out.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            match escape(inner, bytes) {
                Some((length, Escaped::Byte(byte))) => {
                    out.push(byte);
                    inner = &inner[length..];
                }
                Some((length, Escaped::Char(one))) => {
                    out.extend_from_slice(one.encode_utf8(&mut [0; 4]).as_bytes());
                    inner = &inner[length..];
                }
                None => return self.wrong("a backslash in this text begins no escape"),
            }
        }
        Ok(Some(if bytes {
            Value::Bytes(out)
        } else {
            // Only `b` makes bytes that are no text.
            Value::Text(String::from_utf8_lossy(&out).into_owned())
        }))
    }
}

enum Escaped {
    Char(char),
    Byte(u8),
}

/// What follows a backslash, and its length. `\x` and `\NNN` are a byte among bytes, and a character in text.
fn escape(text: &str, bytes: bool) -> Option<(usize, Escaped)> {
    let first = text.chars().next()?;
    let plain = |one: char| Some((1, Escaped::Char(one)));
    let number = |start: usize, length: usize, radix: u32| {
        let number = u32::from_str_radix(text.get(start..start + length)?, radix).ok()?;
        let escaped = if bytes && length <= 3 {
            Escaped::Byte(u8::try_from(number).ok()?)
        } else {
            Escaped::Char(char::from_u32(number)?)
        };
        Some((start + length, escaped))
    };
    match first {
        'a' => plain('\u{7}'),
        'b' => plain('\u{8}'),
        'f' => plain('\u{c}'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\u{b}'),
        '\\' | '?' | '"' | '\'' | '`' => plain(first),
        'x' | 'X' => number(1, 2, 16),
        'u' if !bytes => number(1, 4, 16),
        'U' if !bytes => number(1, 8, 16),
        '0'..='3' => number(0, 3, 8),
        _ => None,
    }
}
