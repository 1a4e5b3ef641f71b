//! A serde deserializer over a [`Tree`] that does not stop at the first error.
//!
//! Every value of a document is wrapped in a [`Field`](crate::document::Field), which asks for itself by the name
//! [`FIELD`]. At that seam a failure is written down with its place and the field becomes "written, but bad", so that
//! its siblings are still read. Unknown fields are written down and passed over. One run finds everything.

use super::{
    Kind, MAX_ALIAS_VISITS, Place, Style, Tree,
    access::{Children, Placed, Shaped},
};
use crate::diagnostic::{nearest, quoted};
use serde::{
    de::{self, Deserializer, IntoDeserializer, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};
use std::{
    cell::{Cell, RefCell},
    fmt,
};

/// The name by which a field asks for its place and its value.
pub(crate) const FIELD: &str = "\u{0}field";
/// The name by which a value of two shapes asks whether it is a scalar.
pub(crate) const EITHER: &str = "\u{0}either";
/// The name by which a number asks for a scalar that is not in quotes.
pub(crate) const NUMBER: &str = "\u{0}number";

/// Where failures are written down.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) found: RefCell<Vec<(Place, String)>>,
    visits: Cell<usize>,
    exhausted: Cell<bool>,
}

impl Sink {
    pub(super) fn add(&self, place: Place, message: String) {
        self.found.borrow_mut().push((place, message));
    }
}

/// Why a value could not be read; without words where it has been written down already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub(super) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl<'t> Tree<'t> {
    /// Reads the whole tree as a `T`, which must be a field.
    pub(crate) fn read<'a, T: de::Deserialize<'a>>(&'a self, sink: &'a Sink) -> Option<T> {
        T::deserialize(Cursor { tree: self, sink, place: Place(0) }).ok()
    }
}

/// One node, to be read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a, 't> {
    pub(super) tree: &'a Tree<'t>,
    pub(super) sink: &'a Sink,
    pub(super) place: Place,
}

impl<'a, 't> Cursor<'a, 't> {
    pub(super) fn kind(&self) -> &'a Kind<'t> {
        &self.tree.node(self.tree.resolve(self.place)).kind
    }

    pub(super) fn to(self, place: Place) -> Self {
        Self { place, ..self }
    }

    fn expected(&self, what: &str) -> Failure {
        Failure(format!("expected {what}, found {}", self.tree.describe(self.place)))
    }

    /// Counts a visit; false once aliases have been followed too often ("billion laughs").
    pub(super) fn visit(&self) -> bool {
        let visits = self.sink.visits.get() + 1;
        self.sink.visits.set(visits);
        let within = visits <= self.tree.nodes.len() + MAX_ALIAS_VISITS;
        if !within && !self.sink.exhausted.replace(true) {
            self.sink.add(self.place, "aliases make this document too large; write less of it through aliases".into());
        }
        within
    }

    fn children(self, first: Option<Place>, fields: Option<&'static [&'static str]>) -> Children<'a, 't> {
        Children { cursor: self, next: first, value: None, fields }
    }
}

impl<'de> Deserializer<'de> for Cursor<'de, '_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.kind() {
            Kind::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            Kind::Sequence { first } => visitor.visit_seq(self.children(*first, None)),
            Kind::Mapping { first } => visitor.visit_map(self.children(*first, None)),
            Kind::Alias(_) => Err(self.expected("a value")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.kind() {
            Kind::Scalar { text, style: Style::Plain } => match &**text {
                "true" | "True" | "TRUE" => visitor.visit_bool(true),
                "false" | "False" | "FALSE" => visitor.visit_bool(false),
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

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        match self.kind() {
            Kind::Scalar { text, style } if name == NUMBER && *style != Style::Plain => {
                let found = quoted(text);
                Err(Failure(format!("expected {}, found the text {found}; remove the quotes", Expecting(&visitor))))
            }
            Kind::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            _ => Err(self.expected(&Expecting(&visitor).to_string())),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.kind() {
            Kind::Sequence { first } => visitor.visit_seq(self.children(*first, None)),
            Kind::Scalar { text, .. } => Err(Failure(format!(
                "expected a list, found {0}; a list of one is written [{1}]",
                quoted(text),
                text.trim()
            ))),
            _ => Err(Failure(format!("{}; each element of a list begins with `- `", self.expected("a list")))),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.kind() {
            Kind::Mapping { first } => visitor.visit_map(self.children(*first, None)),
            _ => Err(self.expected("a mapping of names to values")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.kind() {
            Kind::Mapping { first } => visitor.visit_map(self.children(*first, Some(fields))),
            _ => Err(self.expected(&format!("a mapping with the fields {}", fields.join(", ")))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let known = variants.join(", ");
        match self.kind() {
            Kind::Scalar { text, .. } if variants.contains(&&**text) => {
                let text: StrDeserializer<'_, Failure> = (&**text).into_deserializer();
                visitor.visit_enum(text)
            }
            Kind::Scalar { text, .. } => {
                let guess = nearest(text, variants.iter().copied());
                let guess = guess.map_or(String::new(), |guess| format!(": did you mean {guess}?"));
                Err(Failure(format!("expected one of {known}, found {}{guess}", quoted(text))))
            }
            _ => Err(self.expected(&format!("one of {known}"))),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match name {
            FIELD => visitor.visit_seq(Placed { cursor: self, first: true }),
            EITHER => visitor.visit_seq(Shaped { cursor: self, first: true }),
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple identifier ignored_any
    }
}

/// What a visitor expects, in its own words.
struct Expecting<'v, V>(&'v V);

impl<'a, V: Visitor<'a>> fmt::Display for Expecting<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}
