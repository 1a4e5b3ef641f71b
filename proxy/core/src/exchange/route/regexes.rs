//! Expressions that must match the whole of a text, and the text every match begins with.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, Look, literal::Extractor};

/// Memory one expression's lazy automaton may take; beyond it the slower, still linear engine runs. The
/// library's own default, 2 MiB, is too much where a thousand routes have one each.
const AUTOMATON_BYTES: usize = 256 * 1024;

/// An expression compiled for matching the whole of a text; `None` when the model's own is good for that.
pub(super) fn anchored(regex: &Regex) -> Option<Regex> {
    let text = regex.as_str();
    if is_anchored(text) {
        return None;
    }
    // The second form is for `(?x)` expressions that end in a comment, which would swallow the parenthesis.
    let forms = [format!(r"\A(?:{text})\z"), format!("\\A(?:{text}\n)\\z")];
    forms.iter().find_map(|form| RegexBuilder::new(form).dfa_size_limit(AUTOMATON_BYTES).build().ok())
}

/// Whether the whole of `text` matches. `own` is what [`anchored`] gave.
pub(super) fn whole(regex: &Regex, own: Option<&Regex>, text: &str) -> bool {
    match own {
        Some(own) => own.is_match(text),
        None => regex.find(text).is_some_and(|found| found.range() == (0..text.len())),
    }
}

/// What every text the expression matches as a whole begins with, up to its last slash; may be empty.
pub(super) fn literal_folder(regex: &Regex) -> Box<str> {
    let Ok(hir) = regex_syntax::parse(regex.as_str()) else {
        return Box::default();
    };
    if looks_around_first(&hir) {
        return Box::default();
    }
    let literals = Extractor::new().extract(&hir);
    let common = literals.longest_common_prefix().unwrap_or_default();
    let end = memchr::memrchr(b'/', common).map_or(0, |at| at + 1);
    std::str::from_utf8(&common[..end]).unwrap_or_default().into()
}

/// Whether anything but the start of the text is asserted before the first byte. Rare, and not worth a proof
/// that its literals are prefixes of the whole.
fn looks_around_first(hir: &Hir) -> bool {
    hir.properties().look_set_prefix().iter().any(|look| look != Look::Start)
}

fn is_anchored(text: &str) -> bool {
    regex_syntax::parse(text).is_ok_and(|hir| {
        let properties = hir.properties();
        properties.look_set_prefix().contains(Look::Start) && properties.look_set_suffix().contains(Look::End)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, path: &str) -> bool {
        let regex = Regex::new(text).expect("a valid expression");
        whole(&regex, anchored(&regex).as_ref(), path)
    }

    #[test]
    fn the_whole_text_is_matched() {
        for (text, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a", "x/a", false),
            ("/a|/ab", "/ab", true),
            ("^/a$|/b", "/bc", false),
            ("^(?:/a)|(?:/b)$", "/ac", false),
            ("^(?:/a|/ab)$", "/ab", true),
            ("(?x) /a  # a comment", "/a", true),
            ("(?x) /a  # a comment", "/ab", false),
            ("(?i)/A", "/a", true),
            ("(?m)^/a$", "/a", true),
            ("(?m)^/a$", "/a\n/b", false),
            ("", "", true),
            ("", "/", false),
        ] {
            assert_eq!(matches(text, path), expected, "{text} {path}");
        }
    }

    #[test]
    fn an_anchored_expression_is_used_as_it_is() {
        for (text, expected) in [
            ("^/a$", true),
            (r"\A/a\z", true),
            ("^(?:/a|/b)$", true),
            ("^/a|/b$", false),
            ("/a", false),
            ("(?m)^/a$", false),
        ] {
            assert_eq!(is_anchored(text), expected, "{text}");
        }
    }

    #[test]
    fn the_literal_folder() {
        for (text, expected) in [
            ("/users/[0-9]+/posts", "/users/"),
            ("^/users/[0-9]+$", "/users/"),
            ("/v1/(a|b)/c", "/v1/"),
            ("/v1/ab", "/v1/"),
            ("/v(1|2)/x", "/"),
            ("(?i)/api/x", "/"),
            (".*/x", ""),
            ("/a/x|/b/y", "/"),
            ("(/a/b/)?c", ""),
            ("", ""),
            (r"\b/a/b", ""),
        ] {
            let regex = Regex::new(text).expect("a valid expression");
            assert_eq!(&*literal_folder(&regex), expected, "{text}");
        }
    }
}
