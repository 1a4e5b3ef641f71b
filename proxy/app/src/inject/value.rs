//! [`Value`]: what JSON can say, with the order in which it was said.
//!
//! Manifests are read by people and kept in version control, so the order of their fields is theirs. Of two mappings
//! only the content is compared.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap as _, SerializeSeq as _},
};
use std::fmt;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`, or nothing.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    List(Vec<Value>),
    /// A mapping.
    Map(Map),
}

/// A mapping that keeps the order of its fields. Looked up by going through it: those of a manifest are short.
#[derive(Debug, Clone, Default)]
pub struct Map(pub Vec<(String, Value)>);

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl Map {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// The value of a field, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Sets a field, in its place if it is there, otherwise at the end.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        match self.get_mut(key) {
            Some(known) => *known = value.into(),
            None => self.0.push((key.to_owned(), value.into())),
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(at).1)
    }

    /// Puts a field in the place of another one, and of one of its own name, which may be there as null.
    pub fn replace(&mut self, old: &str, key: &str, value: Value) {
        if old != key && self.get(old).is_some() {
            self.remove(key);
        }
        if let Some(entry) = self.0.iter_mut().find(|(known, _)| known == old) {
            *entry = (key.to_owned(), value);
        }
    }
}

/// A mapping of these fields.
pub fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
}

/// A list of these.
pub fn list<T: Into<Value>>(elements: impl IntoIterator<Item = T>) -> Value {
    Value::List(elements.into_iter().map(Into::into).collect())
}

impl Value {
    /// A field of a mapping; `None` also where this is no mapping, or the field is null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key).filter(|value| **value != Self::Null)
    }

    /// What is reached by these fields one after the other.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, path: &[&str]) -> Option<&mut Value> {
        path.iter().try_fold(self, |value, key| value.as_map_mut()?.get_mut(key))
    }

    /// A field's mapping, made where there is none; `None` where something else is in its place.
    pub fn map_at(&mut self, key: &str) -> Option<&mut Map> {
        self.entry(key, || Self::Map(Map::default()))?.as_map_mut()
    }

    /// A field's list, made where there is none; `None` where something else is in its place.
    pub fn list_at(&mut self, key: &str) -> Option<&mut Vec<Value>> {
        match self.entry(key, || Self::List(Vec::new()))? {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    fn entry(&mut self, key: &str, make: impl FnOnce() -> Value) -> Option<&mut Value> {
        let map = self.as_map_mut()?;
        if map.get(key).is_none_or(|value| *value == Self::Null) {
            map.set(key, make());
        }
        map.get_mut(key)
    }

    /// As a mapping.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    /// As a mapping, to be changed.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// As a whole number.
    #[must_use]
    pub fn as_int(&self) -> Option<i128> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// As a truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The elements of a list; none where this is something else.
    #[must_use]
    pub fn elements(&self) -> &[Value] {
        if let Self::List(list) = self { list } else { &[] }
    }

    /// The elements of a field's list; none where it is not there.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Value] {
        self.get(key).map_or(&[], Self::elements)
    }

    /// The text of a field.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// Compact JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Writing to memory cannot fail, and keys are texts.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.0.is_empty(),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::String(_) => false,
        }
    }
}

macro_rules! from {
    ($($from:ty => $value:ident => $into:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        })*
    };
}

from! {
    bool => value => Self::Bool(value);
    u16 => value => Self::Int(value.into());
    u32 => value => Self::Int(value.into());
    i64 => value => Self::Int(value.into());
    i128 => value => Self::Int(value);
    f64 => value => Self::Float(value);
    &str => value => Self::String(value.to_owned());
    String => value => Self::String(value);
    Map => value => Self::Map(value);
    Vec<Value> => value => Self::List(value);
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => to.serialize_i64(value),
                (_, Ok(value)) => to.serialize_u64(value),
                _ => to.serialize_i128(*value),
            },
            Self::Float(value) => to.serialize_f64(*value),
            Self::String(text) => to.serialize_str(text),
            Self::List(list) => {
                let mut to = to.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|value| to.serialize_element(value))?;
                to.end()
            }
            Self::Map(map) => {
                let mut to = to.serialize_map(Some(map.0.len()))?;
                map.0.iter().try_for_each(|(key, value)| to.serialize_entry(key, value))?;
                to.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = from.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::default();
        while let Some((key, value)) = from.next_entry::<String, Value>()? {
            map.0.push((key, value));
        }
        // Readers differ in which of two they take: what is judged here could be another object than the one that is made.
        let mut names: Vec<&str> = map.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|two| two[0] == two[1]) {
            return Err(serde::de::Error::custom(format!("the field {:?} is written twice in this object", twice[0])));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_in_and_comes_out_in_its_order() {
        let text = r#"{"z":1,"a":[true,null,-3,1.5,18446744073709551615],"m":{"b":"x","a":"\u00e9"}}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value.to_json(), text.replace("\\u00e9", "é"));
        assert_eq!(value.at(&["m", "b"]).and_then(Value::as_str), Some("x"));
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"c":2,"\u0061":3}}"#] {
            let error = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert!(error.starts_with("the field \"a\" is written twice in this object"), "{error}");
        }
    }

    #[test]
    fn order_is_no_difference() {
        let read = |text| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(read(r#"{"a":1,"b":2}"#), read(r#"{"b":2,"a":1}"#));
        assert_ne!(read(r#"{"a":1,"b":2}"#), read(r#"{"a":1}"#));
    }
}
