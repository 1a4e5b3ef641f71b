//! A value as block YAML.

use super::resolve;
use crate::inject::value::Value;
use std::fmt::Write as _;

/// Where the dashes of a list in a mapping stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// Two columns behind the field's name.
    Indented,
    /// Below it, as kubectl writes.
    Flush,
}

/// Writes a value as block YAML, every line indented by `indent` columns but the first; ends with a line end.
#[must_use]
pub fn emit(value: &Value, indent: usize, lists: Lists) -> String {
    let mut out = String::new();
    block(value, indent, lists, &mut out);
    out
}

/// A value behind `- ` or at the start of a line.
fn block(value: &Value, indent: usize, lists: Lists, out: &mut String) {
    match value {
        Value::Map(map) if !map.0.is_empty() => {
            for (index, (key, value)) in map.0.iter().enumerate() {
                if index > 0 {
                    pad(indent, out);
                }
                field(key, value, indent, lists, out);
            }
        }
        Value::List(list) if !list.is_empty() => {
            for (index, element) in list.iter().enumerate() {
                if index > 0 {
                    pad(indent, out);
                }
                out.push_str("- ");
                block(element, indent + 2, lists, out);
            }
        }
        _ => {
            scalar(value, indent, out);
            out.push('\n');
        }
    }
}

/// `key: value` with all lines of the value.
pub(super) fn field(key: &str, value: &Value, indent: usize, lists: Lists, out: &mut String) {
    out.push_str(&plain_or_quoted(key));
    out.push(':');
    match value {
        Value::Map(map) if !map.0.is_empty() => {
            out.push('\n');
            pad(indent + 2, out);
            block(value, indent + 2, lists, out);
        }
        Value::List(list) if !list.is_empty() => {
            let indent = if lists == Lists::Indented { indent + 2 } else { indent };
            out.push('\n');
            pad(indent, out);
            block(value, indent, lists, out);
        }
        _ => {
            out.push(' ');
            scalar(value, indent, out);
            out.push('\n');
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A value that stands behind its name.
pub(super) fn scalar(value: &Value, indent: usize, out: &mut String) {
    let written = match value {
        Value::String(text) => match literal(text) {
            Some(header) => {
                out.push_str(header);
                for line in text.trim_end_matches('\n').split('\n') {
                    out.push('\n');
                    if !line.is_empty() {
                        pad(indent + 2, out);
                        out.push_str(line);
                    }
                }
                return;
            }
            None => plain_or_quoted(text),
        },
        // JSON is YAML.
        other => other.to_json(),
    };
    let _ = out.write_str(&written);
}

/// The header of a literal block scalar for a text of several lines that can be one.
fn literal(text: &str) -> Option<&'static str> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let whole = body.contains('\n')
        && !body.starts_with([' ', '\n'])
        // A space at its end would be lost where what stands behind is put in its place.
        && !body.ends_with(['\n', ' '])
        && body.split('\n').all(|line| line.is_empty() || !line.trim().is_empty())
        && body
            .chars()
            .all(|c| c == '\n' || (!c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')));
    whole.then_some(if text.ends_with('\n') { "|" } else { "|-" })
}

/// A text that reads as itself.
pub(super) fn plain_or_quoted(text: &str) -> String {
    let safe = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(
                c,
                '-' | '_' | '.' | '/' | ':' | '+' | '=' | ' ' | ',' | '(' | ')' | ';' | '@' | '%' | '$' | '<' | '>'
            )
    };
    let option = text.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()));
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.'));
    let plain = (option || begins)
        && text.chars().all(safe)
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !resolve::ambiguous(text);
    // A JSON string is a double-quoted YAML scalar; the one escape that YAML lacks, of surrogates, serde_json never writes.
    if plain { text.to_owned() } else { serde_json::to_string(text).unwrap_or_default() }
}
