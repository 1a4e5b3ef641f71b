//! Reading a [`Tree`] without stopping at the first error.
//!
//! Every value of a document is a [`Field`]. At that seam a failure is written down with its
//! place and the field becomes "written, but bad", so that its siblings are still read. Unknown fields are written down
//! and passed over. One run finds everything. What a structure looks like is said in `document`; how its nodes are
//! reached, counted and named is here, and nothing here is generic: it is compiled once.

use super::{Kind, MAX_ALIAS_VISITS, Place, Style, Tree, is_null};
use crate::{
    diagnostic::{nearest, quoted},
    document::{Field, FromNode},
};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
};

/// Where failures are written down.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) found: RefCell<Vec<(Place, String)>>,
    visits: Cell<usize>,
    exhausted: Cell<bool>,
}

impl Sink {
    fn add(&self, place: Place, message: String) {
        self.found.borrow_mut().push((place, message));
    }
}

/// Why a value could not be read, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

impl<'t> Tree<'t> {
    /// Reads the whole tree as a `T`.
    pub(crate) fn read<T: FromNode>(&self, sink: &Sink) -> Field<T> {
        Field::read(Cursor { tree: self, sink, place: Place(0) })
    }
}

/// One node, to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a, 't> {
    tree: &'a Tree<'t>,
    sink: &'a Sink,
    place: Place,
}

impl<'a, 't> Cursor<'a, 't> {
    /// Where it is written: for an alias, where the alias is.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn kind(&self) -> &'a Kind<'t> {
        &self.tree.node(self.tree.resolve(self.place)).kind
    }

    fn expected(&self, what: &str) -> Failure {
        Failure(format!("expected {what}, found {}", self.tree.describe(self.place)))
    }

    /// Whether a value is written here: null is none. Each call is a visit, and once aliases have been followed too often
    /// ("billion laughs") nothing is there any more.
    pub(crate) fn is_there(&self) -> bool {
        let null = matches!(self.kind(), Kind::Scalar { text, style: Style::Plain } if is_null(text));
        !null && self.visit()
    }

    /// Whether one visit more is allowed.
    pub(super) fn counts(&self) -> bool {
        self.visit()
    }

    fn visit(&self) -> bool {
        let visits = self.sink.visits.get() + 1;
        self.sink.visits.set(visits);
        let within = visits <= self.tree.nodes.len() + MAX_ALIAS_VISITS;
        if !within && !self.sink.exhausted.replace(true) {
            self.sink.add(self.place, "aliases make this document too large; write less of it through aliases".into());
        }
        within
    }

    /// What was read here; a failure is written down with this place.
    pub(crate) fn told<T>(&self, read: Result<T, Failure>) -> Option<T> {
        read.map_err(|Failure(message)| self.sink.add(self.place, message)).ok()
    }

    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.kind(), Kind::Scalar { .. })
    }

    pub(crate) fn boolean(&self) -> Result<bool, Failure> {
        match self.kind() {
            Kind::Scalar { text, style: Style::Plain } => match &**text {
                "true" | "True" | "TRUE" => Ok(true),
                "false" | "False" | "FALSE" => Ok(false),
                other => {
                    let remedy = match other.to_ascii_lowercase().as_str() {
                        "yes" | "on" | "y" | "1" => "; write true",
                        "no" | "off" | "n" | "0" => "; write false",
                        _ => "",
                    };
                    Err(Failure(format!("expected true or false, found {}{remedy}", quoted(other))))
                }
            },
            Kind::Scalar { text, .. } if matches!(&**text, "true" | "false") => {
                Err(Failure(format!("expected true or false, found the text {}; remove the quotes", quoted(text))))
            }
            _ => Err(self.expected("true or false")),
        }
    }

    /// The text of a scalar; one that must not be in quotes where `number`. `words` says what is expected.
    pub(crate) fn scalar(&self, number: bool, words: fn() -> Cow<'static, str>) -> Result<&'a str, Failure> {
        match self.kind() {
            Kind::Scalar { text, style } if number && *style != Style::Plain => {
                Err(Failure(format!("expected {}, found the text {}; remove the quotes", words(), quoted(text))))
            }
            Kind::Scalar { text, .. } => Ok(text),
            _ => Err(self.expected(&words())),
        }
    }

    /// Which of the words known is written here.
    pub(crate) fn word(&self, known: &[&str]) -> Result<usize, Failure> {
        let Kind::Scalar { text, .. } = self.kind() else {
            return Err(self.expected(&format!("one of {}", known.join(", "))));
        };
        known.iter().position(|word| word == text).ok_or_else(|| {
            let guess = nearest(text, known.iter().copied());
            let guess = guess.map_or(String::new(), |guess| format!(": did you mean {guess}?"));
            Failure(format!("expected one of {}, found {}{guess}", known.join(", "), quoted(text)))
        })
    }

    /// The elements of a list.
    pub(crate) fn elements(self) -> Result<Children<'a, 't>, Failure> {
        match self.kind() {
            Kind::Sequence { first } => Ok(Children { cursor: self, next: *first }),
            Kind::Scalar { text, .. } => Err(Failure(format!(
                "expected a list, found {0}; a list of one is written [{1}]",
                quoted(text),
                text.trim()
            ))),
            _ => Err(Failure(format!("{}; each element of a list begins with `- `", self.expected("a list").0))),
        }
    }

    /// The keys and values of a mapping.
    pub(crate) fn entries(self) -> Result<Entries<'a, 't>, Failure> {
        match self.kind() {
            Kind::Mapping { first } => Ok(Entries(Children { cursor: self, next: *first })),
            _ => Err(self.expected("a mapping of names to values")),
        }
    }

    /// The values of a structure, each with its name's position among those `known`.
    pub(crate) fn fields<'k>(self, known: &'k [&'k str]) -> Result<Fields<'a, 't, 'k>, Failure> {
        match self.kind() {
            Kind::Mapping { first } => Ok(Fields { entries: Entries(Children { cursor: self, next: *first }), known }),
            _ => Err(self.expected(&format!("a mapping with the fields {}", known.join(", ")))),
        }
    }
}

/// The elements of a list; of a mapping, keys and values in turn.
#[derive(Debug)]
pub(crate) struct Children<'a, 't> {
    cursor: Cursor<'a, 't>,
    next: Option<Place>,
}

impl<'a, 't> Iterator for Children<'a, 't> {
    type Item = Cursor<'a, 't>;

    fn next(&mut self) -> Option<Cursor<'a, 't>> {
        let place = self.next?;
        self.next = self.cursor.tree.node(place).next;
        Some(Cursor { place, ..self.cursor })
    }

    /// Exact, so that what collects a list of thousands need not grow, which would hold it twice.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let following = |place: &Place| self.cursor.tree.node(*place).next;
        let count = std::iter::successors(self.next, following).count();
        (count, Some(count))
    }
}

/// The keys and values of a mapping.
#[derive(Debug)]
pub(crate) struct Entries<'a, 't>(Children<'a, 't>);

impl<'a, 't> Iterator for Entries<'a, 't> {
    type Item = (Cursor<'a, 't>, Cursor<'a, 't>);

    fn next(&mut self) -> Option<Self::Item> {
        // A mapping's nodes come in pairs: the parser has seen to that.
        self.0.next().zip(self.0.next())
    }
}

/// The known fields of a structure; others are written down and passed over.
#[derive(Debug)]
pub(crate) struct Fields<'a, 't, 'k> {
    entries: Entries<'a, 't>,
    known: &'k [&'k str],
}

impl<'a, 't> Iterator for Fields<'a, 't, '_> {
    type Item = (usize, Cursor<'a, 't>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, value) = self.entries.next()?;
            // Keys that are no scalars have been refused with the whole document.
            let Kind::Scalar { text, .. } = key.kind() else { continue };
            if let Some(index) = self.known.iter().position(|name| name == text) {
                return Some((index, value));
            }
            let remedy = of_envoy(text, self.known).map(|remedy| format!(" {remedy};"));
            let guess = || nearest(text, self.known.iter().copied()).map(|guess| format!(" did you mean {guess:?}?"));
            let guess = remedy.or_else(guess).unwrap_or_default();
            let known = self.known.join(", ");
            key.sink.add(key.place, format!("unknown field {}:{guess} known fields: {known}", quoted(text)));
        }
    }
}

/// What is to be done about a field of Envoy's, among those `known`.
fn of_envoy(name: &str, known: &[&str]) -> Option<&'static str> {
    match name {
        "static_resources" | "typed_config" | "@type" => {
            return Some("Envoy's configuration is not read: filters/README.md has its fields one by one");
        }
        // Other structures than a filter and its `wasm` have nothing to do with these.
        _ if !known.contains(&"wasm") && !known.contains(&"root_id") => return None,
        _ => {}
    }
    Some(match name {
        "vm_config" => {
            "what Envoy has in it stands in `wasm` itself, its `configuration` as `vm_configuration`, its `code` as `file`, \
             `inline` or `url`"
        }
        "code" => "write `wasm.file`, `wasm.inline` or `wasm.url`",
        "root_id" => "write `wasm.root_id`",
        "runtime" => "there is one runtime; remove this",
        "fail_open" | "failure_policy" => {
            "write `fail: open` beside the filter's `name`, or `fail: closed`, which is the default"
        }
        _ => return None,
    })
}
