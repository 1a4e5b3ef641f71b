//! `expr_create`, `expr_evaluate`, `expr_delete`: expressions over the properties of a stream.

use crate::{
    abi::{Status, pairs},
    cel::{Attributes, Expression, NoValue, Value},
    host::properties::{
        self, Value as Property,
        metadata::{self, Found, Lists},
    },
    vm::state::Host,
};
use pillion_config::model::Metadata;
use serde_json::Value as Json;
use std::collections::{HashMap, hash_map::Entry};

/// Bytes that the expressions of one machine may hold.
const MOST_WEIGHT: usize = 8 * 1024 * 1024;

/// Expressions of a machine.
#[derive(Debug, Default)]
pub struct Expressions {
    known: HashMap<u32, Expression>,
    last: u32,
    weight: usize,
}

/// Keeps an expression; its number is the result.
pub(super) fn create(text: &[u8], host: &mut Host, out: &mut Vec<u8>) -> Result<(), Status> {
    let text = std::str::from_utf8(text).map_err(|_| Status::BadArgument)?;
    let expression = Expression::parse(text).map_err(|error| {
        let line = format!("expr_create: {error}");
        host.log(crate::abi::LogLevel::Info, line.as_bytes());
        Status::BadArgument
    })?;
    let expressions = &mut host.expressions;
    if expressions.weight + expression.weight() > MOST_WEIGHT {
        return Err(Status::InternalFailure);
    }
    let id = expressions.last.checked_add(1).ok_or(Status::InternalFailure)?;
    expressions.last = id;
    expressions.weight += expression.weight();
    expressions.known.insert(id, expression);
    out.extend_from_slice(&id.to_le_bytes());
    Ok(())
}

/// What an expression is worth to the stream at hand.
pub(super) fn evaluate(id: &[u8], host: &Host, out: &mut Vec<u8>) -> Result<(), Status> {
    let expression = host.expressions.known.get(&number(id)?).ok_or(Status::NotFound)?;
    match expression.evaluate(&Properties(host)) {
        Err(NoValue::Opaque) => Err(Status::SerializationFailure),
        Ok(value) if !value.can_be_given() => Err(Status::SerializationFailure),
        Ok(value) => {
            value.encode(out);
            Ok(())
        }
        Err(_) => Err(Status::InternalFailure),
    }
}

/// Forgets an expression; one that is not there is forgotten.
pub(super) fn delete(id: &[u8], host: &mut Host) -> Result<(), Status> {
    if let Some(expression) = host.expressions.known.remove(&number(id)?) {
        host.expressions.weight -= expression.weight();
    }
    Ok(())
}

fn number(id: &[u8]) -> Result<u32, Status> {
    id.try_into().map(u32::from_le_bytes).map_err(|_| Status::BadArgument)
}

/// Names that have attributes under them.
const GROUPS: [&str; 9] = [
    "request",
    "response",
    "connection",
    "source",
    "destination",
    "upstream",
    "filter_state",
    "upstream_filter_state",
    "xds",
];

/// The properties of whatever the guest acts on, as attributes.
struct Properties<'a>(&'a Host);

impl Attributes for Properties<'_> {
    fn get(&self, path: &[&str]) -> Result<Value, NoValue> {
        if let ["xds", "node", "metadata", names @ ..] | ["node", "metadata", names @ ..] = path {
            return metadata::within(&self.0.spec.node.metadata, names, Lists::Closed)
                .map(told)
                .map_err(|_| NoValue::Absent);
        }
        if let Ok(stream) = self.0.stream()
            && let Some(found) = metadata::find(stream, path, Lists::Closed, told)
        {
            return found.map_err(|status| match status {
                Status::SerializationFailure => NoValue::Opaque,
                _ => NoValue::Absent,
            });
        }
        let joined = path.join("\0");
        let found = match properties::find(self.0, joined.as_bytes()) {
            Ok(found) => found,
            Err(Status::SerializationFailure) => {
                let group = GROUPS.into_iter().find(|name| path == [*name]);
                return group.map(Value::Group).ok_or(NoValue::Opaque);
            }
            Err(_) => return Err(NoValue::Absent),
        };
        Ok(match found {
            Property::Text(text) => Value::Text(text),
            Property::Bytes(bytes) => text(&bytes),
            Property::Empty => Value::Text(String::new()),
            Property::Truth(truth) => Value::Bool(truth),
            Property::Number(number) => match path {
                ["request", "time"] => Value::Time(number.into()),
                ["request", "duration"] | ["response", "backend_latency"] | ["upstream", "cx_pool_ready_duration"] => {
                    Value::Duration(number.into())
                }
                _ => Value::Int(i64::try_from(number).map_err(|_| NoValue::Range)?),
            },
            // A message.
            Property::Pairs(bytes) if matches!(path, ["xds", "node"] | ["node"]) => Value::Bytes(bytes),
            Property::Pairs(bytes) => {
                // A field's values are one, as where it is asked for alone.
                let mut fields: Vec<(&[u8], Vec<u8>)> = Vec::new();
                let mut places: HashMap<&[u8], usize> = HashMap::new();
                for (name, value) in pairs::decode(&bytes).map_err(|_| NoValue::Absent)? {
                    match places.entry(name) {
                        Entry::Occupied(place) => fields[*place.get()].1.extend([b",", value].concat()),
                        Entry::Vacant(place) => {
                            place.insert(fields.len());
                            fields.push((name, value.to_vec()));
                        }
                    }
                }
                Value::Map(fields.iter().map(|(name, value)| (text(name), text(value))).collect())
            }
        })
    }
}

fn told(found: Found<'_>) -> Value {
    match found {
        // A message with nothing in it has no bytes.
        Found::Whole(None) => Value::Text(String::new()),
        Found::Whole(Some(all)) => Value::Bytes(metadata::message(all)),
        Found::Nothing => Value::Map(Vec::new()),
        Found::Names(names) => entries(names),
        Found::Value(value) => json(value),
    }
}

/// A `google.protobuf.Value`: its numbers are floating-point ones.
fn json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => Value::Double(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(values) => Value::List(values.iter().map(json).collect()),
        Json::Object(fields) => entries(fields),
    }
}

fn entries(fields: &Metadata) -> Value {
    Value::Map(fields.iter().map(|(name, value)| (Value::Text(name.clone()), json(value))).collect())
}

/// Text where it is, otherwise bytes.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_vec()),
    }
}
