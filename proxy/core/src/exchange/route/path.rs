//! Cleaning a request's path before it is matched and forwarded, so that one resource has one spelling.
//!
//! What a route for `/admin` guards must not be reached as `/%61dmin`, `/x/../admin`, `//admin` or `/x\..\admin`.
//! A path that is clean already, nearly every one, is found so in one walk and costs no allocation. The query
//! is never changed. Cleaning what is clean changes nothing.

use http::StatusCode;
use pillion_config::model::{EscapedSlashes, PathPolicy};

/// What cleaning found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaned {
    /// It is clean.
    Unchanged,
    /// It is clean in this spelling, with the query as it was.
    Changed(String),
    /// It is refused.
    Refused(PathRefusal),
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathRefusal {
    /// It neither begins with a slash nor is `*` or empty (RFC 9112 §3.2, RFC 9113 §8.3.1).
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A control byte, a space or `#` in path or query, none of which a URI can have (RFC 3986 §3.3, §3.4).
    #[error("the target has a byte that no URI can have")]
    InvalidByte,
    /// `%` without two hexadecimal digits after it (RFC 3986 §2.1).
    #[error("the path has a malformed percent escape")]
    InvalidEscape,
    /// `%00`, at which many servers cut the path off.
    #[error("the path has an escaped NUL")]
    EscapedNul,
    /// `%2F` or `%5C` where the listener rejects them.
    #[error("the path has an escaped slash")]
    EscapedSlash,
    /// More `..` than there are segments to leave; or a `.` or `..` with parameters (`..;a`), which only some servers leave a segment for.
    #[error("the path leads above the root")]
    AboveRoot,
}

impl PathRefusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_not_absolute",
            Self::InvalidByte => "path_invalid_byte",
            Self::InvalidEscape => "path_invalid_escape",
            Self::EscapedNul => "path_escaped_nul",
            Self::EscapedSlash => "path_escaped_slash",
            Self::AboveRoot => "path_above_root",
        }
    }
}

/// Cleans a path with its query.
///
/// - Escapes of unreserved characters are resolved and the digits of all others are written in upper case
///   (RFC 3986 §6.2.2.1, §6.2.2.2); bytes that are not ASCII are escaped. This is not subject to the policy.
/// - `.` and `..` are resolved, after a backslash was made a slash, as Envoy's normalisation does and browsers do. With parameters
///   (`..;a`) they are refused: servlet containers resolve them, and others do not.
/// - Several slashes become one.
/// - `*` and the empty path of CONNECT are left alone; a bare query gets the slash that stands for its path.
#[must_use]
pub fn clean(path_and_query: &str, policy: &PathPolicy) -> Cleaned {
    let (path, query) = split(path_and_query);
    if query.bytes().any(never_in_a_uri) {
        return Cleaned::Refused(PathRefusal::InvalidByte);
    }
    match path {
        "*" => return Cleaned::Unchanged,
        "" if query.is_empty() => return Cleaned::Unchanged,
        "" => return Cleaned::Changed(format!("/{query}")),
        _ if !(path.starts_with('/') || path.starts_with('\\') && policy.resolve_dots) => {
            return Cleaned::Refused(PathRefusal::NotAbsolute);
        }
        _ => {}
    }
    if is_clean(path.as_bytes(), policy) {
        return Cleaned::Unchanged;
    }
    match rebuild(path.as_bytes(), query, policy) {
        Ok(clean) if clean == path_and_query => Cleaned::Unchanged,
        Ok(clean) => Cleaned::Changed(clean),
        Err(refusal) => Cleaned::Refused(refusal),
    }
}

/// The path, and the query with its `?`; one of them may be empty.
pub(super) fn split(path_and_query: &str) -> (&str, &str) {
    let end = memchr::memchr(b'?', path_and_query.as_bytes()).unwrap_or(path_and_query.len());
    path_and_query.split_at(end)
}

/// A path without the parameters of its segments (`;` and what follows, to the next slash), as servlet containers look at it; a segment
/// that is nothing else goes with its slash. `None`: it has none.
pub(crate) fn without_parameters(path: &str) -> Option<String> {
    memchr::memchr(b';', path.as_bytes())?;
    let mut out = String::with_capacity(path.len());
    for segment in path.split_inclusive('/') {
        let (bare, slash) = match segment.split_once(';') {
            None => (segment, ""),
            Some(("", _)) => continue,
            Some((bare, parameters)) => (bare, if parameters.ends_with('/') { "/" } else { "" }),
        };
        out.push_str(bare);
        out.push_str(slash);
    }
    Some(out)
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn escape(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

/// Whether a path, beginning with a slash, certainly has nothing to be cleaned or refused.
fn is_clean(path: &[u8], policy: &PathPolicy) -> bool {
    let mut at = 0;
    while at < path.len() {
        match path[at] {
            b'/' => {
                let rest = &path[at + 1..];
                if policy.merge_slashes && rest.first() == Some(&b'/') {
                    return false;
                }
                if policy.resolve_dots && rest.first() == Some(&b'.') && begins_with_dots(rest) {
                    return false;
                }
            }
            b'%' => {
                let digits = path.get(at + 1..at + 3).unwrap_or_default();
                let upper = digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
                match escape(digits) {
                    Some(0 | b'/' | b'\\') | None => return false,
                    Some(byte) if !upper || is_unreserved(byte) => return false,
                    Some(_) => at += 2,
                }
            }
            byte if !is_plain(byte) => return false,
            _ => {}
        }
        at += 1;
    }
    true
}

/// Whether the segment at the start of `rest` is `.` or `..`, whatever its parameters.
fn begins_with_dots(rest: &[u8]) -> bool {
    let end = memchr::memchr2(b'/', b';', rest).unwrap_or(rest.len());
    matches!(&rest[..end], b"." | b"..")
}

fn rebuild(path: &[u8], query: &str, policy: &PathPolicy) -> Result<String, PathRefusal> {
    let mut out = String::with_capacity(path.len() + query.len() + 8);
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let byte = escape(after).ok_or(PathRefusal::InvalidEscape)?;
                rest = &after[2..];
                match (byte, policy.escaped_slashes) {
                    (0, _) => return Err(PathRefusal::EscapedNul),
                    (b'/' | b'\\', EscapedSlashes::Reject) => {
                        return Err(PathRefusal::EscapedSlash);
                    }
                    (b'/' | b'\\', EscapedSlashes::Decode) => slash(&mut out, policy)?,
                    _ if is_unreserved(byte) => out.push(char::from(byte)),
                    _ => push_escaped(&mut out, byte),
                }
            }
            b'/' => slash(&mut out, policy)?,
            b'\\' if policy.resolve_dots => slash(&mut out, policy)?,
            _ if never_in_a_uri(byte) => return Err(PathRefusal::InvalidByte),
            _ if byte.is_ascii() => out.push(char::from(byte)),
            _ => push_escaped(&mut out, byte),
        }
    }
    // A `.` or `..` at the end stands for the folder, slash included.
    end_segment(&mut out, policy)?;
    out.push_str(query);
    Ok(out)
}

/// What became of a segment.
#[derive(PartialEq, Eq)]
enum Segment {
    /// It stays.
    Kept,
    /// It was `.` or `..` and is gone; what is left ends in a slash.
    Dots,
}

/// Ends the segment at the end of `out` and begins the next.
fn slash(out: &mut String, policy: &PathPolicy) -> Result<(), PathRefusal> {
    let segment = end_segment(out, policy)?;
    let merged = policy.merge_slashes && out.ends_with('/');
    if segment == Segment::Kept && !merged {
        out.push('/');
    }
    Ok(())
}

/// Resolves the segment at the end of `out` when it is `.` or `..` (RFC 3986 §5.2.4).
fn end_segment(out: &mut String, policy: &PathPolicy) -> Result<Segment, PathRefusal> {
    if !policy.resolve_dots {
        return Ok(Segment::Kept);
    }
    if out.ends_with("/.") {
        out.truncate(out.len() - 1);
        return Ok(Segment::Dots);
    }
    if !out.ends_with("/..") {
        let segment = out.rfind('/').map_or("", |slash| &out[slash + 1..]);
        let hidden = segment.starts_with("..;") || segment.starts_with(".;");
        return if hidden { Err(PathRefusal::AboveRoot) } else { Ok(Segment::Kept) };
    }
    out.truncate(out.len() - "/..".len());
    let folder = out.rfind('/').ok_or(PathRefusal::AboveRoot)?;
    out.truncate(folder + 1);
    Ok(Segment::Dots)
}

fn push_escaped(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Appends what cannot stand in a path escaped, and everything else, escapes included, as it is. For text that
/// becomes a path without having been one.
pub(super) fn push_as_path(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if never_in_a_uri(byte) || byte == b'?' || !byte.is_ascii() {
            push_escaped(out, byte);
        } else {
            out.push(char::from(byte));
        }
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn never_in_a_uri(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f || byte == b'#'
}

/// A byte that stands for itself in a path and needs no second look. `"`, `<`, `>`, `^`, `` ` ``, `{`, `|` and `}`
/// are not in the grammar (RFC 3986 §3.3) but in use and harmless.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii() && !never_in_a_uri(byte) && !matches!(byte, b'%' | b'\\' | b'?')
}

#[cfg(test)]
mod tests;
