//! The wrappers every value of a document is in: they carry its place and survive its faults.

use crate::tree::{EITHER, FIELD, NUMBER, Place};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use std::{borrow::Cow, fmt, marker::PhantomData};

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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
            type Value = Field<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field<T>, A::Error> {
                let Some(place) = seq.next_element::<u32>()? else {
                    return Ok(Field::ABSENT);
                };
                Ok(Field { value: seq.next_element()?, place: Some(Place(place)) })
            }
        }
        deserializer.deserialize_tuple_struct(FIELD, 2, FieldVisitor(PhantomData))
    }
}

/// Only defaults are ever written out: into the schema.
impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
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

    /// Its schema, without description.
    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }

    /// As it would be written, for defaults.
    fn to_json(&self) -> Value {
        Value::Null
    }

    /// "expected …, found …", with a remedy where there is one.
    fn expected(found: &str, remedy: &str) -> String {
        let separator = if remedy.is_empty() { "" } else { "; " };
        format!("expected {}, found {}{separator}{remedy}", Self::words(), crate::diagnostic::quoted(found))
    }
}

/// A [`FromText`] as serde and schemars see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar<T>(pub(crate) T);

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for ScalarVisitor<T> {
    type Value = Scalar<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::words())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar<T>, E> {
        T::from_text(text).map(Scalar).map_err(E::custom)
    }
}

impl<'de, T: FromText> Deserialize<'de> for Scalar<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = if T::NUMBER { NUMBER } else { "" };
        deserializer.deserialize_newtype_struct(name, ScalarVisitor(PhantomData))
    }
}

impl<T: FromText> Serialize for Scalar<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_json().serialize(serializer)
    }
}

impl<T: FromText> JsonSchema for Scalar<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::words()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        titled::<T>()
    }
}

/// A scalar's schema with what is expected in words, which editors show.
fn titled<T: FromText>() -> Schema {
    let mut schema = T::schema();
    schema.insert("title".to_owned(), T::words().into());
    schema
}

/// A mapping of names to values in the order written.
#[derive(Debug)]
pub(crate) struct Table<K, V>(pub(crate) Vec<(Text<K>, Field<V>)>);

impl<'de, K: FromText, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<K, V>(PhantomData<(K, V)>);
        impl<'de, K: FromText, V: Deserialize<'de>> Visitor<'de> for TableVisitor<K, V> {
            type Value = Table<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<K, V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry::<Text<K>, Field<V>>()? {
                    entries.push(entry);
                }
                Ok(Table(entries))
            }
        }
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

impl<K, V: JsonSchema> JsonSchema for Table<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Table".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<V>() })
    }
}

/// A scalar, or a structure that says more.
#[derive(Debug)]
pub(crate) enum Either<T, M> {
    Short(T),
    Long(M),
}

impl<'de, T: FromText, M: Deserialize<'de>> Deserialize<'de> for Either<T, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherVisitor<T, M>(PhantomData<(T, M)>);
        impl<'de, T: FromText, M: Deserialize<'de>> Visitor<'de> for EitherVisitor<T, M> {
            type Value = Either<T, M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&T::words())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let read = if seq.next_element::<bool>()? == Some(true) {
                    seq.next_element::<Scalar<T>>()?.map(|Scalar(short)| Either::Short(short))
                } else {
                    seq.next_element()?.map(Either::Long)
                };
                read.ok_or_else(|| A::Error::custom("nothing is written here"))
            }
        }
        deserializer.deserialize_tuple_struct(EITHER, 2, EitherVisitor(PhantomData))
    }
}

impl<T: FromText, M: JsonSchema> JsonSchema for Either<T, M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        M::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [titled::<T>(), generator.subschema_for::<M>()] })
    }
}

impl<T: FromText, M> Serialize for Either<T, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Short(short) => short.to_json().serialize(serializer),
            Self::Long(_) => serializer.serialize_none(),
        }
    }
}
