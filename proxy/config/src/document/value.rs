//! The wrappers every value of a document is in: they carry its place and survive its faults.

use crate::tree::{Cursor, Failure, Place};
use std::borrow::Cow;

/// A field: absent, or written at a place and bad (its error is told already), or written and good, or a default.
#[derive(Debug)]
pub(crate) struct Field<T> {
    value: Option<T>,
    place: Option<Place>,
}

/// A scalar field.
pub(crate) type Text<T> = Field<Scalar<T>>;
/// A list of fields.
pub(crate) type List<T> = Field<Vec<Field<T>>>;

impl<T> Field<T> {
    pub(crate) const ABSENT: Self = Self { value: None, place: None };

    /// A default: a value nobody wrote.
    pub(crate) const fn of(value: T) -> Self {
        Self { value: Some(value), place: None }
    }

    /// Where it is written; `None` for a default or an absent field.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place
    }

    pub(crate) fn is_written(&self) -> bool {
        self.place.is_some()
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    pub(crate) fn take(self) -> Option<T> {
        self.value
    }

    /// The value and where to say something about it.
    pub(crate) fn at(self, parent: Place) -> Option<(T, Place)> {
        let place = self.place.unwrap_or(parent);
        self.value.map(|value| (value, place))
    }
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self::ABSENT
    }
}

impl<T> Text<T> {
    /// A scalar's default.
    pub(crate) const fn scalar(value: T) -> Self {
        Self::of(Scalar(value))
    }

    /// The scalar itself.
    pub(crate) fn value(self) -> Option<T> {
        self.value.map(|Scalar(value)| value)
    }
}

impl<T> List<T> {
    /// The elements that are written, good or bad; none where the list is absent.
    pub(crate) fn elements(self) -> Vec<Field<T>> {
        self.value.unwrap_or_default()
    }
}

/// What can be read from a node of the tree.
///
/// Not serde: each structure would be compiled as several layers of generic visitors, some 400 KiB of code that is
/// touched at every start. Here what is generic is a call and a move; all else is in [`Cursor`], once.
pub(crate) trait FromNode: Sized {
    /// Reads the node. A failure inside of a field is told where it stands and makes that field bad; only what has no
    /// field of its own to be bad comes back as an error.
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure>;
}

impl<T: FromNode> Field<T> {
    /// A field never fails: it is absent, bad or good.
    pub(crate) fn read(node: Cursor<'_, '_>) -> Self {
        Self::written(node).unwrap_or(Self::ABSENT)
    }

    /// As [`read`](Self::read); `None`: nothing is written, which leaves a default as it is.
    pub(crate) fn written(node: Cursor<'_, '_>) -> Option<Self> {
        node.is_there().then(|| Self { value: node.told(T::from_node(node)), place: Some(node.place()) })
    }
}

impl FromNode for bool {
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure> {
        node.boolean()
    }
}

impl<T: FromNode> FromNode for Box<T> {
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure> {
        T::from_node(node).map(Self::new)
    }
}

impl<T: FromNode> FromNode for Vec<Field<T>> {
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure> {
        Ok(node.elements()?.map(Field::read).collect())
    }
}

/// A value that is written as one word or number.
pub(crate) trait FromText: Sized {
    /// Whether quotes around it are a mistake.
    const NUMBER: bool = false;

    /// What is expected, in words: `a duration such as 5s or 250ms`.
    fn words() -> Cow<'static, str>;

    /// Reads it; an error is the whole sentence about what is wrong and what would be right.
    fn from_text(text: &str) -> Result<Self, String>;

    /// "expected …, found …", with a remedy where there is one.
    fn expected(found: &str, remedy: &str) -> String {
        expected(&Self::words(), found, remedy)
    }
}

fn expected(words: &str, found: &str, remedy: &str) -> String {
    let separator = if remedy.is_empty() { "" } else { "; " };
    format!("expected {words}, found {}{separator}{remedy}", crate::diagnostic::quoted(found))
}

/// A [`FromText`] as a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar<T>(pub(crate) T);

impl<T: FromText> FromNode for Scalar<T> {
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure> {
        T::from_text(node.scalar(T::NUMBER, T::words)?).map(Self).map_err(Failure)
    }
}

/// A mapping of names to values in the order written.
#[derive(Debug)]
pub(crate) struct Table<K, V>(pub(crate) Vec<(Text<K>, Field<V>)>);

impl<K: FromText, V: FromNode> FromNode for Table<K, V> {
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure> {
        Ok(Self(node.entries()?.map(|(key, value)| (Field::read(key), Field::read(value))).collect()))
    }
}

/// A scalar, or a structure that says more.
#[derive(Debug)]
pub(crate) enum Either<T, M> {
    Short(T),
    Long(M),
}

impl<T: FromText, M: FromNode> FromNode for Either<T, M> {
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure> {
        if node.is_scalar() {
            Scalar::from_node(node).map(|Scalar(short)| Self::Short(short))
        } else {
            M::from_node(node).map(Self::Long)
        }
    }
}

/// Makes a structure readable from a mapping: every field in it, or it does not compile.
macro_rules! fields {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::document::FromNode for $type {
            fn from_node(node: $crate::tree::Cursor<'_, '_>) -> Result<Self, $crate::tree::Failure> {
                const NAMES: &[&str] = &[$($crate::document::plain(stringify!($field))),*];
                const READ: &[fn(&mut $type, $crate::tree::Cursor<'_, '_>)] =
                    &[$(|read, node| if let Some(field) = $crate::document::Field::written(node) { read.$field = field }),*];
                let mut read = Self::default();
                for (index, value) in node.fields(NAMES)? {
                    READ[index](&mut read, value);
                }
                // Taken apart whole, so that a field that is missing from the list is an error here.
                let Self { $($field: _),* } = &read;
                Ok(read)
            }
        }
    };
}
pub(crate) use fields;

/// Makes an enum readable from one of its words.
macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),* $(,)? }) => {
        impl $crate::document::FromNode for $type {
            fn from_node(node: $crate::tree::Cursor<'_, '_>) -> Result<Self, $crate::tree::Failure> {
                // A variant without a word is an error here.
                let _ = |variant: Self| match variant {
                    $(Self::$variant => (),)*
                };
                Ok([$(Self::$variant),*][node.word(&[$($word),*])?])
            }
        }
    };
}
pub(crate) use words;

/// A field's name as it is written: without the mark that lets a keyword be a name in Rust.
pub(crate) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}
