//! YAML as it was written: read with the place of each piece, changed by splicing text, so that comments, order and
//! style of everything else stay.
//!
//! ```text
//! text ─► read (nodes with places) ─► Value ─► (somebody changes it) ─► splice (edits of the text) ─► text
//!                                                                         └─ declines ─► emit (the document anew)
//! ```
//!
//! What a splice made is read again: only text that means exactly what it should is given out.

mod emit;
mod read;
mod resolve;
mod splice;

pub use emit::{Lists, emit};
pub use read::{Fault, Node, read};

use super::value::Value;
use std::fmt::Write as _;

/// How the comments of a changed document fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Everything else is as it was written.
    Everything,
    /// It had to be written anew: comments and style are lost.
    Meaning,
}

/// Makes the documents of a text mean `wanted`, one for each of `documents`.
#[must_use]
pub fn rewrite(text: &str, documents: &[Node], wanted: &[Value]) -> (String, Vec<Kept>) {
    let mut out = String::with_capacity(text.len() + 4096);
    let mut at = 0;
    let mut kept = Vec::with_capacity(documents.len());
    for (document, wanted) in documents.iter().zip(wanted) {
        if document.value == *wanted {
            kept.push(Kept::Everything);
            continue;
        }
        let (start, end) = (document.line_start(text).max(at), read::line_end(text, document.content_end(text)));
        out.push_str(&text[at..start]);
        let spliced = splice::splice(text, document, wanted)
            .and_then(|edits| splice::apply(text, start, end, edits))
            .filter(|text| read(text).is_ok_and(|read| matches!(&read[..], [one] if one.value == *wanted)));
        kept.push(if let Some(spliced) = spliced {
            out.push_str(&spliced);
            Kept::Everything
        } else {
            // `--- {…}` may share its line with the document.
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            let _ = out.write_str(emit(wanted, 0, emit::Lists::Indented).trim_end());
            Kept::Meaning
        });
        at = end;
    }
    out.push_str(&text[at..]);
    (out, kept)
}

#[cfg(test)]
mod tests;
