//! A document as a tree that remembers where each piece stood.
//!
//! First step from text to model: YAML events become nodes in an arena, each with its place and its parent, so that
//! any later step can name line, column and path of what it dislikes. Everything that could grow without bound
//! (size, depth, nodes) is bounded here; aliases point to what they name and are never copied.

mod build;
mod json;
mod read;

pub(crate) use build::Fault;
pub(crate) use read::{Cursor, Failure, Sink};

use crate::diagnostic::quoted;
use std::{borrow::Cow, fmt::Write as _};

/// Index of a node in [`Tree::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) u32);

/// Largest document in bytes. 50,000 routes take about 6 MiB; a larger file is a mistake, not a configuration.
pub(crate) const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting. The document's own structure is 9 deep.
const MAX_DEPTH: usize = 64;
/// Most nodes: bounds memory at some 130 MB for the worst 16 MiB of text.
const MAX_NODES: usize = 2_000_000;
/// Visits of nodes through aliases, beyond one visit for each node of the document.
const MAX_ALIAS_VISITS: usize = 100_000;

/// A parsed document. Node 0 is its root.
#[derive(Debug, Default)]
pub(crate) struct Tree<'t> {
    pub(crate) nodes: Vec<Node<'t>>,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) kind: Kind<'t>,
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// The sequence or mapping it is in; the root is its own parent.
    parent: u32,
    /// In a mapping, the key of this value; for a key or an element, itself.
    key: u32,
    /// Position among its siblings.
    index: u32,
    /// Next key or element; in a mapping, key and value alternate.
    next: Option<Place>,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind<'t> {
    Scalar { text: Cow<'t, str>, style: Style },
    Sequence { first: Option<Place> },
    Mapping { first: Option<Place> },
    Alias(Place),
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
    Block,
}

impl<'t> Tree<'t> {
    pub(crate) fn node(&self, place: Place) -> &Node<'t> {
        &self.nodes[place.0 as usize]
    }

    /// The node itself, or what it is an alias of. An alias never names an alias.
    pub(crate) fn resolve(&self, place: Place) -> Place {
        match self.node(place).kind {
            Kind::Alias(target) => target,
            _ => place,
        }
    }

    /// Where in the structure a node is, as a person would say it: `listeners[0].routes[2].cluster`.
    pub(crate) fn path(&self, place: Place) -> String {
        let mut steps = Vec::new();
        let mut at = place.0;
        while at != 0 {
            let node = &self.nodes[at as usize];
            // A key adds nothing to the path of the mapping it is in.
            if node.key != at || matches!(self.nodes[node.parent as usize].kind, Kind::Sequence { .. }) {
                steps.push(at);
            }
            at = node.parent;
        }
        let mut path = String::new();
        for step in steps.into_iter().rev() {
            let node = &self.nodes[step as usize];
            match &self.nodes[node.key as usize].kind {
                Kind::Scalar { text, .. } if node.key != step => {
                    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
                    if !plain || text.is_empty() {
                        let _ = write!(path, "[{}]", quoted(text));
                    } else if path.is_empty() {
                        path.push_str(text);
                    } else {
                        let _ = write!(path, ".{text}");
                    }
                }
                _ => {
                    let _ = write!(path, "[{}]", node.index);
                }
            }
        }
        path
    }

    /// A node in words, for "expected …, found …".
    pub(crate) fn describe(&self, place: Place) -> String {
        match &self.node(self.resolve(place)).kind {
            Kind::Scalar { text, style: Style::Plain } if is_null(text) => "nothing".to_owned(),
            Kind::Scalar { text, .. } => quoted(text),
            Kind::Sequence { .. } => "a list".to_owned(),
            Kind::Mapping { .. } => "a mapping".to_owned(),
            Kind::Alias(_) => "an alias".to_owned(),
        }
    }
}

/// YAML 1.2 core schema §10.3.2.
pub(crate) fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}
