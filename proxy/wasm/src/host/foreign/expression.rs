//! `expr_create`, `expr_evaluate`, `expr_delete`: expressions over the properties of a stream.

use crate::{
    abi::{Status, pairs},
    cel::{Attributes, Expression, NoValue, Value},
    host::properties::{self, Value as Property},
    vm::state::Host,
};
use std::collections::HashMap;

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
        Ok(Value::Null) | Err(NoValue::Opaque) => Err(Status::SerializationFailure),
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

/// The properties of whatever the guest acts on, as attributes.
struct Properties<'a>(&'a Host);

impl Attributes for Properties<'_> {
    fn get(&self, path: &[&str]) -> Result<Value, NoValue> {
        let joined = path.join("\0");
        let found = properties::find(self.0, joined.as_bytes()).map_err(|status| match status {
            Status::SerializationFailure => NoValue::Opaque,
            _ => NoValue::Absent,
        })?;
        Ok(match found {
            Property::Text(text) => Value::Text(text),
            Property::Bytes(bytes) => text(&bytes),
            Property::Empty => Value::Text(String::new()),
            Property::Truth(truth) => Value::Bool(truth),
            Property::Number(number) => {
                let number = i64::try_from(number).map_err(|_| NoValue::Range)?;
                match path {
                    ["request", "time"] => Value::Time(number),
                    ["request", "duration"] | ["response", "backend_latency"] => Value::Duration(number),
                    _ => Value::Int(number),
                }
            }
            Property::Pairs(bytes) => {
                // A field's values are one, as where it is asked for alone.
                let mut fields: Vec<(&[u8], Vec<u8>)> = Vec::new();
                for (name, value) in pairs::decode(&bytes).map_err(|_| NoValue::Absent)? {
                    match fields.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, values)) => values.extend([b",", value].concat()),
                        None => fields.push((name, value.to_vec())),
                    }
                }
                Value::Map(fields.iter().map(|(name, value)| (text(name), text(value))).collect())
            }
        })
    }
}

/// Text where it is, otherwise bytes.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_vec()),
    }
}
