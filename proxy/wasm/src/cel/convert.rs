//! Values of one kind from those of another, and what text they are.

use super::{NoValue, Value, function::Function, time};

/// What a function of one argument makes of it.
#[expect(clippy::cast_precision_loss, reason = "CEL's conversions between numbers")]
pub(super) fn converted(function: &Function, value: Value) -> Result<Value, NoValue> {
    let found = match (function, value) {
        (Function::Dyn, value) => Some(value),
        (Function::Type, value) => Some(Value::Type(value.kind())),
        (Function::Int, Value::Bool(truth)) => Some(Value::Int(truth.into())),
        (Function::Int, Value::Time(time)) => {
            let seconds = i64::try_from(time.div_euclid(1_000_000_000));
            return seconds.map(Value::Int).map_err(|_| NoValue::Range);
        }
        (Function::Int, value) => {
            return i64::try_from(whole(&value)?).map(Value::Int).map_err(|_| NoValue::Range);
        }
        (Function::Uint, value) => {
            return u64::try_from(whole(&value)?).map(Value::Uint).map_err(|_| NoValue::Range);
        }
        (Function::Double, Value::Double(number)) => Some(Value::Double(number)),
        (Function::Double, Value::Text(text)) => text.trim().parse().ok().map(Value::Double),
        (Function::Double, value) => Some(Value::Double(whole(&value)? as f64)),
        (Function::Text, value) => text(value).map(Value::Text),
        (Function::Bytes, Value::Text(text)) => Some(Value::Bytes(text.into_bytes())),
        (Function::Bytes, Value::Bytes(bytes)) => Some(Value::Bytes(bytes)),
        (Function::Bool, Value::Bool(truth)) => Some(Value::Bool(truth)),
        (Function::Bool, Value::Text(text)) => match text.as_str() {
            "true" | "1" | "t" | "TRUE" | "True" => Some(Value::Bool(true)),
            "false" | "0" | "f" | "FALSE" | "False" => Some(Value::Bool(false)),
            _ => None,
        },
        (Function::Duration, Value::Duration(length)) => Some(Value::Duration(length)),
        (Function::Duration, Value::Text(text)) => time::duration(&text).map(Value::Duration),
        (Function::Timestamp, Value::Time(time)) => Some(Value::Time(time)),
        (Function::Timestamp, Value::Int(seconds)) => Some(Value::Time(i128::from(seconds) * 1_000_000_000)),
        (Function::Timestamp, Value::Text(text)) => time::time(&text).map(Value::Time),
        (Function::Part(part), Value::Time(time)) => time::part(*part, time, "").map(Value::Int),
        (Function::Part(part), Value::Duration(length)) => time::duration_part(*part, length).map(Value::Int),
        _ => None,
    };
    found.ok_or(NoValue::NoOverload)
}

/// What a number is worth without its fraction.
#[expect(clippy::cast_possible_truncation, reason = "it fits")]
fn whole(value: &Value) -> Result<i128, NoValue> {
    match value {
        Value::Int(number) => Ok((*number).into()),
        Value::Uint(number) => Ok((*number).into()),
        // Beyond both kinds of numbers; what is none at all is within no range.
        Value::Double(number) if number.abs() < 1e20 => Ok(*number as i128),
        Value::Double(_) => Err(NoValue::Range),
        Value::Text(text) => text.trim().parse().map_err(|_| NoValue::Range),
        _ => Err(NoValue::NoOverload),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Int(number) => Some(number.to_string()),
        Value::Uint(number) => Some(number.to_string()),
        Value::Double(number) => Some(double(number)),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
        Value::Time(time) => time::time_text(time),
        Value::Duration(length) => time::duration_text(length),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Type(_) | Value::Group(_) => None,
    }
}

/// The shortest that is read as the same number, in C's form: with an exponent where it is below -4 or above 5.
fn double(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        // Infinite.
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(-4..=5) | Err(_) => number.to_string(),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}
