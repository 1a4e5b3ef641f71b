//! A text with manifests: YAML documents or JSON values, read, changed and written in its own form. Pure.

use super::{
    settings::Settings,
    value::Value,
    workload::{Namespaces, Report, Wanted, process, written},
    yaml::{self, Kept},
};
use serde::Serialize as _;
use std::fmt;

/// Manifests as they were read.
#[derive(Debug)]
pub struct Manifests {
    /// What the text is called in messages.
    pub name: String,
    text: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Yaml(Vec<yaml::Node>),
    Json(Vec<Value>),
}

/// What is said about a place in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Remark {
    /// `file:line:column`, as far as it is known.
    pub place: String,
    /// What is said.
    pub report: Report,
}

impl Manifests {
    /// Reads a text.
    ///
    /// # Errors
    /// Where it is neither YAML nor JSON: `file:line:column: what`.
    pub fn read(name: &str, text: String) -> Result<Self, String> {
        let fault = |line: usize, column: usize, message: String| format!("{name}:{line}:{column}: {message}");
        // A mapping in braces is YAML as well, with comments and without quotes.
        if text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) {
            let values = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}')).into_iter::<Value>();
            match values.collect::<Result<Vec<_>, _>>() {
                Ok(values) => return Ok(Self { name: name.to_owned(), text, form: Form::Json(values) }),
                Err(error)
                    if text.trim_end().ends_with(['}', ']']) && !text.contains('#') && yaml::read(&text).is_err() =>
                {
                    return Err(fault(error.line(), error.column(), format!("not valid JSON: {error}")));
                }
                Err(_) => {}
            }
        }
        let documents = yaml::read(&text).map_err(|error| fault(error.line, error.column, error.message))?;
        Ok(Self { name: name.to_owned(), text, form: Form::Yaml(documents) })
    }

    /// The text as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The objects in it.
    pub fn objects(&self) -> Box<dyn Iterator<Item = &Value> + '_> {
        match &self.form {
            Form::Yaml(documents) => Box::new(documents.iter().map(|document| &document.value)),
            Form::Json(values) => Box::new(values.iter()),
        }
    }

    /// The text with what is wanted done, and what is said about it.
    #[must_use]
    pub fn change(
        &self,
        wanted: Wanted,
        settings: &Settings,
        namespaces: &Namespaces,
    ) -> (String, Vec<Remark>, Vec<String>) {
        let (mut remarks, mut warnings) = (Vec::new(), Vec::new());
        let mut changed: Vec<Value> = self.objects().cloned().collect();
        for (index, object) in changed.iter_mut().enumerate() {
            for report in process(object, wanted, settings, namespaces) {
                remarks.push(Remark { place: self.place(index, &report.path), report });
            }
        }
        let text = match &self.form {
            Form::Yaml(documents) => {
                let (text, kept) = yaml::rewrite(&self.text, documents, &changed);
                for (document, _) in documents.iter().zip(kept).filter(|(_, kept)| *kept == Kept::Meaning) {
                    let (line, _) = document.place(&self.text);
                    warnings.push(format!(
                        "{}:{line}: this document had to be written anew, without its comments: what changes is written in a way \
                         (aliases, merged mappings) whose text cannot be changed in one place alone",
                        self.name
                    ));
                }
                text
            }
            Form::Json(before) if *before == changed => self.text.clone(),
            Form::Json(_) => json(&self.text, &changed),
        };
        (text, remarks, warnings)
    }

    fn place(&self, document: usize, path: &[String]) -> String {
        match &self.form {
            Form::Yaml(documents) => {
                let (line, column) = documents[document].place_of(path, &self.text);
                format!("{}:{line}:{column}", self.name)
            }
            Form::Json(_) => self.name.clone(),
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.report)
    }
}

/// JSON in the way the text was indented.
fn json(text: &str, values: &[Value]) -> String {
    let indent: Option<&str> = text.find(['{', '[']).and_then(|at| {
        let line = text[at + 1..].trim_start_matches('\r').strip_prefix('\n')?;
        Some(&line[..line.len() - line.trim_start_matches([' ', '\t']).len()])
    });
    let mut out = String::with_capacity(text.len() + 4096);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        match indent {
            None => out.push_str(&value.to_json()),
            Some(indent) => {
                let mut bytes = Vec::new();
                let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
                // Writing to memory cannot fail, and keys are texts.
                value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).ok();
                out.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }
    if text.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// A place of a pod in words, for who has no text.
#[must_use]
pub fn place(path: &[String]) -> String {
    written(path)
}
