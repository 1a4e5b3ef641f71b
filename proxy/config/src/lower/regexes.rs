//! Regular expressions: linear time, and bounded memory.

use regex::{Regex, RegexBuilder};

/// Compiled size. 1 MiB admits any expression a person writes for a path; beyond it stand repetitions of repetitions.
const SIZE: usize = 1 << 20;
/// Cache of the lazy automaton, for each expression and thread.
const CACHE: usize = 256 << 10;
/// Nesting, which the parser handles by recursion.
const DEPTH: u32 = 64;

/// An expression that matches anywhere. An error is the whole sentence.
pub(super) fn anywhere(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .size_limit(SIZE)
        .dfa_size_limit(CACHE)
        .nest_limit(DEPTH)
        .build()
        .map_err(|error| explain(&error))
}

/// An expression that matches the whole or not at all.
pub(super) fn whole(expression: &str) -> Result<Regex, String> {
    // By itself first: `a)(b` is wrong, though it would be right between brackets.
    anywhere(expression)?;
    // The line break ends a comment of the expression's own x mode; outside of that mode it must not be there.
    anywhere(&format!(r"\A(?:{expression})\z")).or_else(|_| anywhere(&format!("\\A(?:{expression}\n)\\z")))
}

/// The regex crate's own words in one line.
fn explain(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!(
            "this regular expression needs more than {limit} bytes; lessen its repetitions, or write [0-9A-Za-z_] for \\w"
        ),
        regex::Error::Syntax(text) => {
            let reason = text.lines().last().unwrap_or(text).trim();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            format!("not a regular expression: {reason}{}", remedy(reason))
        }
        _ => "not a regular expression".to_owned(),
    }
}

fn remedy(reason: &str) -> &'static str {
    if reason.contains("look-around") || reason.contains("backreferences") {
        "; matching takes linear time"
    } else {
        ""
    }
}

/// Whether every group a replacement speaks of exists. An error is the whole sentence.
pub(super) fn check_replacement(regex: &Regex, to: &str) -> Result<(), String> {
    let mut rest = to;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (group, bare) = if let Some(inside) = rest.strip_prefix('{') {
            let Some((group, after)) = inside.split_once('}') else {
                return Err("the brace of ${ is not closed; write ${name}, or $$ for a dollar sign".into());
            };
            rest = after;
            (group, false)
        } else {
            let end = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            let (group, after) = rest.split_at(end);
            rest = after;
            (group, true)
        };
        let known = match group.parse::<usize>() {
            Ok(number) => number < regex.captures_len(),
            Err(_) => !group.is_empty() && regex.capture_names().flatten().any(|name| name == group),
        };
        if !known {
            // `$1abc` means the group "1abc": the commonest slip.
            let digits = group.bytes().take_while(u8::is_ascii_digit).count();
            let remedy = if bare && digits > 0 && digits < group.len() {
                format!("; to put text after group {0}, write ${{{0}}}{1}", &group[..digits], &group[digits..])
            } else {
                "; write $$ for a dollar sign".to_owned()
            };
            return Err(format!("the expression has no group {group:?}{remedy}"));
        }
    }
    Ok(())
}
