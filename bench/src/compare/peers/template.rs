//! Fills a configuration template: pure text in, text out.
//!
//! `{{name}}` is replaced by a value. A line `{{#name}}` opens a section and a line `{{/name}}` closes it: it is left out
//! (the section is off), kept (it is on), or repeated with `{{n}}` counting from 0. Sections do not nest. A name nobody
//! gave a value is an error, so that a typing error does not become a configuration.

use std::collections::BTreeMap;

/// What is put into a template.
#[derive(Debug, Clone, Default)]
pub struct Values {
    texts: BTreeMap<&'static str, String>,
    sections: BTreeMap<&'static str, usize>,
}

/// Why a template cannot be filled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// It names a value that was not given.
    #[error("line {line}: nobody gave a value for `{name}`")]
    Unknown {
        /// The line, from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// Sections do not fit together.
    #[error("line {line}: section `{name}` is opened in another, or closed without being open, or never closed")]
    Section {
        /// The line, from 1.
        line: usize,
        /// The section.
        name: String,
    },
}

impl Values {
    /// Gives a value.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.texts.insert(name, value.into());
        self
    }

    /// Says how often a section comes: 0 leaves it out.
    #[must_use]
    pub fn section(mut self, name: &'static str, times: usize) -> Self {
        self.sections.insert(name, times);
        self
    }
}

/// A section that is open: how often its lines come, and the lines with their numbers.
struct Section<'a> {
    name: &'a str,
    times: usize,
    lines: Vec<(usize, &'a str)>,
}

/// Fills a template.
pub fn fill(template: &str, values: &Values) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(template.len());
    let mut open: Option<Section<'_>> = None;
    for (line, text) in (1..).zip(template.lines()) {
        let misplaced = |name: &str| TemplateError::Section { line, name: name.to_owned() };
        match (mark(text, '#'), mark(text, '/'), &mut open) {
            (Some(name), _, None) => {
                let unknown = || TemplateError::Unknown { line, name: name.to_owned() };
                let times = *values.sections.get(name).ok_or_else(unknown)?;
                open = Some(Section { name, times, lines: Vec::new() });
            }
            (Some(name), _, Some(_)) => return Err(misplaced(name)),
            (_, Some(name), Some(section)) if name == section.name => {
                for n in 0..section.times {
                    for (line, text) in &section.lines {
                        put(&mut filled, text, *line, Some(n), values)?;
                    }
                }
                open = None;
            }
            (_, Some(name), _) => return Err(misplaced(name)),
            (None, None, Some(section)) => section.lines.push((line, text)),
            (None, None, None) => put(&mut filled, text, line, None, values)?,
        }
    }
    match open {
        Some(Section { name, .. }) => {
            Err(TemplateError::Section { line: template.lines().count(), name: name.to_owned() })
        }
        None => Ok(filled),
    }
}

/// The name in a line that is nothing but the mark of a section.
fn mark(line: &str, kind: char) -> Option<&str> {
    line.trim().strip_prefix("{{")?.strip_prefix(kind)?.strip_suffix("}}")
}

/// Adds one line with its values.
fn put(to: &mut String, text: &str, line: usize, n: Option<usize>, values: &Values) -> Result<(), TemplateError> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        to.push_str(before);
        match (name, n) {
            ("n", Some(n)) => to.push_str(&n.to_string()),
            _ => match values.texts.get(name) {
                Some(value) => to.push_str(value),
                None => return Err(TemplateError::Unknown { line, name: name.to_owned() }),
            },
        }
        rest = after;
    }
    to.push_str(rest);
    to.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{TemplateError, Values, fill};

    #[test]
    fn values_and_sections_are_filled() {
        let values = Values::default().text("port", "80").section("on", 1).section("off", 0).section("routes", 2);
        let template = "listen {{port}};{{port}}\n  {{#on}}\nyes {{port}}\n{{/on}}\n{{#off}}\nno\n{{/off}}\n{{#routes}}\nr{{n}}\n{{/routes}}\nend\n";
        assert_eq!(fill(template, &values).as_deref(), Ok("listen 80;80\nyes 80\nr0\nr1\nend\n"));
    }

    #[test]
    fn what_nobody_gave_is_an_error() {
        let unknown = |line, name: &str| Err(TemplateError::Unknown { line, name: name.to_owned() });
        assert_eq!(fill("a\n{{port}}", &Values::default()), unknown(2, "port"));
        assert_eq!(fill("{{#x}}\n{{/x}}", &Values::default()), unknown(1, "x"));
        assert_eq!(fill("{{n}}", &Values::default()), unknown(1, "n"));
    }

    #[test]
    fn sections_must_fit() {
        let values = Values::default().section("a", 1).section("b", 1);
        for (template, line, name) in
            [("{{#a}}\n{{#b}}\n{{/b}}\n{{/a}}", 2, "b"), ("{{/a}}", 1, "a"), ("{{#a}}\nx", 2, "a")]
        {
            assert_eq!(fill(template, &values), Err(TemplateError::Section { line, name: name.to_owned() }));
        }
    }
}
