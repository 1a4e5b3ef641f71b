//! How a [`Cursor`] hands out what is inside of it: a field's place and value, a collection's children.

use super::{
    Kind, Place, Style,
    deserialize::{Cursor, Failure},
    is_null,
};
use crate::diagnostic::{nearest, quoted};
use serde::de::{
    DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess,
    value::{BoolDeserializer, U64Deserializer},
};

/// A field: its place, then its value; no value where it could not be read, nothing at all where it is null.
pub(super) struct Placed<'a, 't> {
    pub(super) cursor: Cursor<'a, 't>,
    pub(super) first: bool,
}

impl<'a> SeqAccess<'a> for Placed<'a, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        if std::mem::take(&mut self.first) {
            let null = matches!(self.cursor.kind(), Kind::Scalar { text, style: Style::Plain } if is_null(text));
            if null || !self.cursor.visit() {
                return Ok(None);
            }
            let place: U64Deserializer<Failure> = u64::from(self.cursor.place.0).into_deserializer();
            return seed.deserialize(place).map(Some);
        }
        match seed.deserialize(self.cursor) {
            Ok(value) => Ok(Some(value)),
            Err(Failure(message)) => {
                self.cursor.sink.add(self.cursor.place, message);
                Ok(None)
            }
        }
    }
}

/// A value of two shapes: whether it is a scalar, then itself.
pub(super) struct Shaped<'a, 't> {
    pub(super) cursor: Cursor<'a, 't>,
    pub(super) first: bool,
}

impl<'a> SeqAccess<'a> for Shaped<'a, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        if std::mem::take(&mut self.first) {
            let scalar: BoolDeserializer<Failure> =
                matches!(self.cursor.kind(), Kind::Scalar { .. }).into_deserializer();
            return seed.deserialize(scalar).map(Some);
        }
        seed.deserialize(self.cursor).map(Some)
    }
}

/// The children of a collection.
pub(super) struct Children<'a, 't> {
    pub(super) cursor: Cursor<'a, 't>,
    pub(super) next: Option<Place>,
    pub(super) value: Option<Place>,
    /// For a struct, the fields it knows.
    pub(super) fields: Option<&'static [&'static str]>,
}

impl<'a, 't> Children<'a, 't> {
    fn step(&mut self) -> Option<Cursor<'a, 't>> {
        let place = self.next?;
        self.next = self.cursor.tree.node(place).next;
        Some(self.cursor.to(place))
    }

    fn check(&self, key: Cursor<'a, 't>, fields: &[&str]) -> bool {
        let Kind::Scalar { text, .. } = key.kind() else {
            return false;
        };
        if fields.contains(&&**text) {
            return true;
        }
        let guess = nearest(text, fields.iter().copied());
        let guess = guess.map_or(String::new(), |guess| format!(" did you mean {guess:?}?"));
        let message = format!("unknown field {}:{guess} known fields: {}", quoted(text), fields.join(", "));
        key.sink.add(key.place, message);
        false
    }
}

impl<'a> SeqAccess<'a> for Children<'a, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        self.step().map(|element| seed.deserialize(element)).transpose()
    }
}

impl<'a> MapAccess<'a> for Children<'a, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        loop {
            let Some(key) = self.step() else {
                return Ok(None);
            };
            self.value = self.step().map(|value| value.place);
            match self.fields {
                Some(fields) if !self.check(key, fields) => {}
                _ => return seed.deserialize(key).map(Some),
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        match self.value.take() {
            Some(value) => seed.deserialize(self.cursor.to(value)),
            None => Err(Failure("a key without a value".into())),
        }
    }
}
