//! What is wrong with a document, and where: the words a person reads when a configuration is refused.
//!
//! Nothing here decides what is an error; it only carries place and words, in the order of the text.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a document is called in messages: a path, or a word such as `<stdin>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceName(Arc<Path>);

impl SourceName {
    /// A name as it shall be printed; files a document refers to are sought beside this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into().into())
    }

    /// The name as a path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// One thing that is wrong, or that deserves a second look.
///
/// Displayed as `file:line:column: path: message`, without the parts that are not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The document it stands in.
    pub file: SourceName,
    /// Line, counted from 1; 0 where the whole document is meant.
    pub line: u32,
    /// Column in characters, counted from 1; 0 where the whole document is meant.
    pub column: u32,
    /// Where in the structure: `listeners[0].routes[2].cluster`; empty for the root.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Diagnostic {
    /// `file:line:column: path`, without the parts that are not known.
    pub(crate) fn place(&self) -> String {
        let mut place = self.file.to_string();
        if self.line > 0 {
            place += &format!(":{}:{}", self.line, self.column);
        }
        if !self.path.is_empty() {
            place += &format!(": {}", self.path);
        }
        place
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

/// Everything that is wrong with a document, at once: never empty, in the order of the text, displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(Vec<Diagnostic>);

impl Errors {
    /// `None` where there is nothing wrong.
    pub(crate) fn from_all(mut all: Vec<Diagnostic>) -> Option<Self> {
        sort(&mut all);
        (!all.is_empty()).then_some(Self(all))
    }

    pub(crate) fn one(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }

    /// The errors in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// How many there are; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Orders by place; an alias makes the same mistake appear once for each use, and it is told once.
pub(crate) fn sort(all: &mut Vec<Diagnostic>) {
    all.sort_by(|a, b| (a.line, a.column, &a.path, &a.message).cmp(&(b.line, b.column, &b.path, &b.message)));
    all.dedup();
}

/// The nearest of `known`, if it is near enough to be what was meant: for "did you mean".
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name thousands of characters long is no slip of the fingers, and comparing it costs its square.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_ascii_lowercase().replace('_', "-");
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_ascii_lowercase().replace('_', "-")), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A value in quotes, shortened so that a message stays readable.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(SHOWN).collect();
    format!("{head:?}…")
}
