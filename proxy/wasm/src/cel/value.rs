//! [`Value`]: what expressions are made of and give, and its encoding for guests.

use crate::abi::pairs;
use std::cmp::Ordering;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// A truth.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A number without sign.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Keys and values.
    Map(Vec<(Value, Value)>),
    /// Nanoseconds.
    Duration(i128),
    /// Nanoseconds since 1970.
    Time(i128),
    /// What kind of value another is.
    Type(&'static str),
    /// Attributes under one name, `request`: a map that is asked by key and that lists none.
    Group(&'static str),
}

/// Names of kinds that expressions may say.
const KINDS: [&str; 10] = ["null_type", "bool", "int", "uint", "double", "string", "bytes", "list", "map", "type"];

impl Value {
    /// Appends it as guests get properties: text and bytes as they are, numbers in eight bytes, a truth in one, a list as
    /// pairs without values.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null | Self::Type(_) | Self::Group(_) => {}
            Self::Bool(truth) => out.push((*truth).into()),
            Self::Int(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Duration(number) | Self::Time(number) => {
                let bounded = i64::try_from(*number).unwrap_or(if *number < 0 { i64::MIN } else { i64::MAX });
                out.extend_from_slice(&bounded.to_le_bytes());
            }
            Self::Uint(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Double(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::List(values) => {
                let values: Vec<_> = values.iter().map(Self::encoded).collect();
                pairs::encode_value(|| values.iter().map(|value| (&value[..], &b""[..])), out);
            }
            Self::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(key, value)| (key.encoded(), value.encoded())).collect();
                pairs::encode_value(|| entries.iter().map(|(key, value)| (&key[..], &value[..])), out);
            }
        }
    }

    /// Whether guests can be given it: null, kinds and groups are no bytes.
    #[must_use]
    pub fn can_be_given(&self) -> bool {
        match self {
            Self::Null | Self::Type(_) | Self::Group(_) => false,
            Self::List(values) => values.iter().all(Self::can_be_given),
            Self::Map(entries) => entries.iter().all(|(key, value)| key.can_be_given() && value.can_be_given()),
            _ => true,
        }
    }

    /// What kind it is.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) | Self::Group(_) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Type(_) => "type",
        }
    }

    /// The kind of this name.
    pub(super) fn kind_named(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| *kind == name).map(Self::Type)
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Bytes that it holds, about: what copying it costs.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(values) => values.iter().map(|value| 16 + value.weight()).sum(),
            Self::Map(entries) => entries.iter().map(|(key, value)| 32 + key.weight() + value.weight()).sum(),
            _ => 8,
        }
    }

    /// Numbers of all kinds are compared by what they are worth.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(one), Self::List(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.same(two))
            }
            (Self::Map(one), Self::Map(two)) => {
                one.len() == two.len()
                    && one.iter().all(|(key, value)| {
                        two.iter().find(|(known, _)| known.same(key)).is_some_and(|(_, other)| other.same(value))
                    })
            }
            // What lists nothing is as one that has nothing.
            (Self::Group(_), Self::Group(_)) => true,
            (Self::Group(_), Self::Map(entries)) | (Self::Map(entries), Self::Group(_)) => entries.is_empty(),
            _ => match self.compare(other) {
                Some(order) => order == Ordering::Equal,
                None => self == other,
            },
        }
    }

    /// The order of two values; `None`: they have none.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(two)) => Some(one.cmp(two)),
            (Self::Text(one), Self::Text(two)) => Some(one.cmp(two)),
            (Self::Bytes(one), Self::Bytes(two)) => Some(one.cmp(two)),
            (Self::Duration(one), Self::Duration(two)) | (Self::Time(one), Self::Time(two)) => Some(one.cmp(two)),
            _ => match (self.whole(), other.whole()) {
                (Some(one), Some(two)) => Some(one.cmp(&two)),
                _ => self.real()?.partial_cmp(&other.real()?),
            },
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some((*number).into()),
            Self::Uint(number) => Some((*number).into()),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "CEL compares numbers of different kinds as doubles")]
    fn real(&self) -> Option<f64> {
        match self {
            Self::Double(number) => Some(*number),
            _ => self.whole().map(|number| number as f64),
        }
    }
}
