//! From document to model: what can only be judged by looking at more than one value.
//!
//! Runs to the end whatever it finds, so that all errors come at once. A value that is bad already is passed over in
//! silence. Reads no file but those a document refers to, and those only through the reader it is given.

mod authorization;
mod capture;
mod cluster;
mod filter;
mod headers;
mod judge;
mod jwt;
mod listener;
mod matching;
mod metadata;
mod metrics;
mod process;
mod regexes;
mod rewrite;
mod route;
mod sockmap;
mod source_filter;
mod tcp;
mod tls;

pub use filter::{COMPONENT, is_component};

use crate::{
    diagnostic::{Diagnostic, SourceName, quoted},
    document::{Document, Field, Scalar},
    model::{Config, Name},
    tree::{Place, Tree},
};
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What lowering needs to know, and what it has found.
pub(crate) struct Lowering<'a, 't> {
    tree: &'a Tree<'t>,
    file: &'a SourceName,
    read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) files: Vec<PathBuf>,
}

impl<'a, 't> Lowering<'a, 't> {
    pub(crate) fn new(
        tree: &'a Tree<'t>,
        file: &'a SourceName,
        read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Self {
        Self { tree, file, read, errors: Vec::new(), warnings: Vec::new(), files: Vec::new() }
    }

    /// The model; `None` where something is wrong, which then stands in `errors`, or was found before lowering.
    pub(crate) fn document(&mut self, document: Document) -> Option<Config> {
        process::config(self, document)
    }

    pub(crate) fn error(&mut self, place: Place, message: impl Into<String>) {
        let diagnostic = self.diagnostic(place, message.into());
        self.errors.push(diagnostic);
    }

    fn warn(&mut self, place: Place, message: impl Into<String>) {
        let diagnostic = self.diagnostic(place, message.into());
        self.warnings.push(diagnostic);
    }

    fn diagnostic(&self, place: Place, message: String) -> Diagnostic {
        diagnostic(self.tree, self.file, place, message)
    }

    /// A place as errors name it.
    fn written_at(&self, place: Place) -> Arc<str> {
        self.diagnostic(place, String::new()).place().into()
    }

    fn line(&self, place: Place) -> u32 {
        self.tree.node(place).line
    }

    /// A field that must be written: its value and place, or an error.
    fn required<T>(&mut self, parent: Place, name: &str, field: Field<T>) -> Option<(T, Place)> {
        if field.get().is_none() && !field.is_written() {
            self.error(parent, format!("missing field {name:?}"));
        }
        field.at(parent)
    }

    fn required_scalar<T>(&mut self, parent: Place, name: &str, field: Field<Scalar<T>>) -> Option<(T, Place)> {
        self.required(parent, name, field).map(|(Scalar(value), place)| (value, place))
    }

    /// The value of a name in a table; `place` is the name's.
    fn entry<T>(&mut self, place: Place, value: Field<Scalar<T>>) -> Option<(T, Place)> {
        if !value.is_written() {
            self.error(place, "nothing is written after this name; write a value, or \"\" for an empty one");
        }
        value.at(place).map(|(Scalar(value), place)| (value, place))
    }

    /// The elements of a list that can be used, each with its place. A bad or empty one has been told, or is told here.
    fn elements<T>(&mut self, parent: Place, list: Vec<Field<T>>) -> Vec<(T, Place)> {
        let mut usable = Vec::with_capacity(list.len());
        for element in list {
            if element.get().is_none() && !element.is_written() {
                self.error(parent, "an element of this list is empty; write it, or remove its `-`");
            }
            usable.extend(element.at(parent));
        }
        usable
    }

    /// At most one of these fields may be written; the later ones are errors. Gives how many are.
    fn at_most_one(&mut self, fields: &[(&str, Option<Place>)]) -> usize {
        let mut written = fields.iter().filter_map(|(name, place)| place.map(|place| (*name, place)));
        let Some((first, _)) = written.next() else {
            return 0;
        };
        let mut count = 1;
        for (name, place) in written {
            count += 1;
            self.error(place, format!("{name:?} cannot stand beside {first:?}; keep one of them"));
        }
        count
    }

    /// Says of each name that it was used before.
    fn unique<'n>(&mut self, what: &str, names: impl IntoIterator<Item = (&'n Name, Place)>) {
        let mut seen: HashMap<&Name, Place> = HashMap::new();
        for (name, place) in names {
            match seen.get(name) {
                Some(first) => {
                    let line = self.line(*first);
                    let name = quoted(name.as_str());
                    self.error(
                        place,
                        format!("the name {name} is taken by the {what} in line {line}; names are unique"),
                    );
                }
                None => {
                    seen.insert(name, place);
                }
            }
        }
    }
}

/// Something about a place.
pub(crate) fn diagnostic(tree: &Tree<'_>, file: &SourceName, place: Place, message: String) -> Diagnostic {
    let Some(node) = tree.nodes.get(place.0 as usize) else {
        return Diagnostic { file: file.clone(), line: 0, column: 0, path: String::new(), message };
    };
    Diagnostic { file: file.clone(), line: node.line, column: node.column, path: tree.path(place), message }
}
