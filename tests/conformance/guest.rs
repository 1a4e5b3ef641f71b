//! From a case's text to a module: what hands need not write.
//!
//! - `@"text"` becomes its address and length, two constants; the bytes go into a data segment. Escapes are those of
//!   WebAssembly text (`\00`, `\n`, `\"`).
//! - `(on NAME …)` becomes the exported callback `proxy_on_NAME` with its parameters named, which first notes where it is.
//! - Of `prelude.wat` (imports, and functions that write observations) exactly the forms that are used come in, so that a
//!   host that lacks one import fails the cases of that import alone.
//! - Memory, allocator and version marker are added, unless the case exports its own.

use super::case::Case;
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
};

const PRELUDE: &str = include_str!("prelude.wat");
/// Where strings begin; below are the prelude's fixed slots.
const STRINGS: usize = 4096;

/// Callbacks: name, parameters, whether there is a result.
const CALLBACKS: [(&str, &str, bool); 25] = [
    ("context_create", "ctx parent", false),
    ("vm_start", "ctx size", true),
    ("configure", "ctx size", true),
    ("tick", "ctx", false),
    ("done", "ctx", true),
    ("log", "ctx", false),
    ("delete", "ctx", false),
    ("new_connection", "ctx", true),
    ("downstream_data", "ctx size end", true),
    ("upstream_data", "ctx size end", true),
    ("downstream_connection_close", "ctx how", false),
    ("upstream_connection_close", "ctx how", false),
    ("request_headers", "ctx n end", true),
    ("request_body", "ctx size end", true),
    ("request_trailers", "ctx n", true),
    ("response_headers", "ctx n end", true),
    ("response_body", "ctx size end", true),
    ("response_trailers", "ctx n", true),
    ("http_call_response", "ctx token headers size trailers", false),
    ("grpc_receive_initial_metadata", "ctx token n", false),
    ("grpc_receive", "ctx token size", false),
    ("grpc_receive_trailing_metadata", "ctx token n", false),
    ("grpc_close", "ctx token code", false),
    ("queue_ready", "ctx queue", false),
    ("foreign_function", "ctx id size", false),
];

/// The module of a case as bytes.
pub(crate) fn build(case: &Case) -> Result<Vec<u8>, String> {
    let text = complete(case)?;
    wat::parse_str(&text).map_err(|error| format!("{}.wat, completed: {error}\n", case.name))
}

fn complete(case: &Case) -> Result<String, String> {
    let mut strings = Strings::default();
    let tag = format!("kit:{}: ", case.name);
    let body = strings.replace(&expand(&case.body)?);
    let forms: Vec<(String, String)> =
        top_level(PRELUDE).into_iter().filter_map(|form| defined(form).map(|name| (name, form.to_owned()))).collect();
    let by_name: HashMap<&str, &str> = forms.iter().map(|(name, form)| (name.as_str(), form.as_str())).collect();
    // What is used, directly or by what is used.
    let (mut used, mut open) = (BTreeSet::new(), names(&body));
    open.extend(names("$where $where_length $tag $tag_length $heap"));
    while let Some(name) = open.pop() {
        if let Some(form) = by_name.get(name.as_str())
            && used.insert(name)
        {
            open.extend(names(form));
        }
    }
    let mut text = String::from("(module\n");
    let picked = forms.iter().filter(|(name, _)| used.contains(name)).map(|(_, form)| form);
    let (imports, rest): (Vec<_>, Vec<_>) = picked.partition(|form| form.starts_with("(import"));
    let (own_imports, own_rest): (Vec<&str>, Vec<&str>) =
        top_level(&body).into_iter().partition(|form| form.starts_with("(import"));
    for form in imports {
        text.push_str(form);
        text.push('\n');
    }
    for form in own_imports {
        text.push_str(form);
        text.push('\n');
    }
    if !body.contains("(export \"memory\")") && !case.has("no-memory") {
        text.push_str("(memory (export \"memory\") 4)\n");
    }
    if !case.has("no-allocator") {
        text.push_str(ALLOCATOR);
    }
    if !case.has("no-marker") {
        let _ = writeln!(text, "(func (export \"proxy_abi_version_{}\"))", case.abi);
    }
    for form in rest {
        text.push_str(&strings.replace(
            &form.replace("@TAG", &format!("@\"{tag}\"")).replace("@CALL", &format!("@\"call-{}\"", case.name)),
        ));
        text.push('\n');
    }
    for form in own_rest {
        text.push_str(form);
        text.push('\n');
    }
    if !case.has("no-memory") {
        let _ = writeln!(text, "(data (i32.const {STRINGS}) \"{}\")", strings.data);
    }
    text.push_str(")\n");
    Ok(text)
}

/// Bump allocation: a guest of the kit lives for seconds.
const ALLOCATOR: &str = r#"(func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (global.get $heap))
  (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 15)) (i32.const -16)))
  (block $fits (loop $grow
    (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return (i32.const 0))))
    (br $grow)))
  (local.get $at))
"#;

/// Replaces `(on NAME` by the callback's head.
fn expand(body: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = body;
    while let Some(at) = rest.find("(on ") {
        out.push_str(&rest[..at]);
        rest = &rest[at + 4..];
        let length = rest.find(|character: char| !(character.is_ascii_lowercase() || character == '_'));
        let (name, after) = rest.split_at(length.ok_or("an `(on` without an end")?);
        let (_, parameters, result) =
            CALLBACKS.iter().find(|(known, ..)| *known == name).ok_or_else(|| format!("no callback `{name}`"))?;
        let _ = write!(out, "(func (export \"proxy_on_{name}\")");
        for parameter in parameters.split(' ') {
            let _ = write!(out, " (param ${parameter} i32)");
        }
        if *result {
            out.push_str(" (result i32)");
        }
        // Locals must come first, so the note is put after them.
        let locals = after.len() - after.trim_start().len();
        let mut end = locals;
        while after[end..].starts_with("(local $") {
            end += after[end..].find(')').ok_or("a local without an end")? + 1;
            end += after[end..].len() - after[end..].trim_start().len();
        }
        let _ = write!(out, "{}(call $enter @\"{name}\") ", &after[..end]);
        rest = &after[end..];
    }
    out.push_str(rest);
    Ok(out)
}

#[derive(Default)]
struct Strings {
    data: String,
    length: usize,
    known: HashMap<String, usize>,
}

impl Strings {
    fn replace(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("@\"") {
            out.push_str(&rest[..at]);
            let literal = &rest[at + 2..];
            let (length, bytes) = literal_end(literal);
            let content = &literal[..length];
            let place = *self.known.entry(content.to_owned()).or_insert_with(|| {
                self.data.push_str(content);
                self.length += bytes;
                STRINGS + self.length - bytes
            });
            let _ = write!(out, "(i32.const {place}) (i32.const {bytes})");
            rest = &literal[length + 1..];
        }
        out.push_str(rest);
        out
    }
}

/// The length of a literal's text up to its closing quote, and how many bytes it stands for.
fn literal_end(text: &str) -> (usize, usize) {
    let (mut at, mut bytes) = (0, 0);
    let raw = text.as_bytes();
    while raw[at] != b'"' {
        at += match (raw[at], raw[at + 1]) {
            (b'\\', b'n' | b't' | b'r' | b'"' | b'\'' | b'\\') => 2,
            (b'\\', _) => 3,
            _ => 1,
        };
        bytes += 1;
    }
    (at, bytes)
}

/// The parenthesised forms of a text.
fn top_level(text: &str) -> Vec<&str> {
    let (mut forms, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    let raw = text.as_bytes();
    let mut at = 0;
    while at < raw.len() {
        match raw[at] {
            b'"' => at += literal_end(&text[at + 1..]).0 + 1,
            b';' if raw.get(at + 1) == Some(&b';') => {
                at += text[at..].find('\n').unwrap_or(text.len() - at);
            }
            b'(' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    forms.push(&text[start..=at]);
                }
            }
            _ => {}
        }
        at += 1;
    }
    forms
}

/// The `$name` a form defines: the first in it.
fn defined(form: &str) -> Option<String> {
    names(form).into_iter().next()
}

fn names(text: &str) -> Vec<String> {
    text.split('$')
        .skip(1)
        .map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or("").to_owned())
        .collect()
}
