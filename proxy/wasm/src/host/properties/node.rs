//! The workload, as properties: `xds.node.id`, `xds.node.metadata.NAMESPACE`, …; also without `xds`, as filters of before
//! Envoy 1.40 ask.

use super::Value;
use crate::{
    abi::{Status, pairs},
    host::foreign::proto::put_bytes,
    plugin::Node,
};
use serde_json::Value as Json;

/// What is at a path behind `node`.
pub(super) fn find(node: &Node, path: Option<&[u8]>) -> Result<Value, Status> {
    let Some(path) = path else { return Ok(Value::Pairs(message(node))) };
    let mut segments = path.split(|byte| *byte == 0);
    match (segments.next().unwrap_or_default(), path.contains(&0)) {
        (b"id", false) => Ok(Value::Text(node.id.clone())),
        (b"cluster", false) => Ok(Value::Text(node.cluster.clone())),
        // Nobody says where it is.
        (b"locality", false) => Ok(Value::Empty),
        (b"locality", true) if PLACES.contains(&&path[9..]) => Ok(Value::Empty),
        (b"metadata", _) => {
            let mut at = None;
            for segment in segments {
                let name = std::str::from_utf8(segment).map_err(|_| Status::NotFound)?;
                let inner = match at {
                    None => node.metadata.get(name),
                    Some(outer) => Json::get(outer, name),
                };
                at = Some(inner.ok_or(Status::NotFound)?);
            }
            let mut out = Vec::new();
            match at {
                None => map(node.metadata.iter(), &mut out),
                Some(value) => encode(value, &mut out),
            }
            Ok(Value::Pairs(out))
        }
        _ => Err(Status::NotFound),
    }
}

/// What a `Locality` has.
const PLACES: [&[u8]; 3] = [b"region", b"zone", b"sub_zone"];

/// The whole, as `envoy.config.core.v3.Node`: its `id`, `cluster` and `metadata`.
fn message(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, text) in [(1, &node.id), (2, &node.cluster)] {
        if !text.is_empty() {
            put_bytes(&mut out, number, text.as_bytes());
        }
    }
    if !node.metadata.is_empty() {
        put_bytes(&mut out, 3, &structure(&node.metadata));
    }
    out
}

/// A `google.protobuf.Struct`.
fn structure(entries: &serde_json::Map<String, Json>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in entries {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, name.as_bytes());
        put_bytes(&mut entry, 2, &dynamic(value));
        put_bytes(&mut out, 1, &entry);
    }
    out
}

/// A `google.protobuf.Value`. It is as deep as the configuration's parser lets it be.
fn dynamic(value: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        // `null_value`, the only one of its enumeration.
        Json::Null => out.extend_from_slice(&[1 << 3, 0]),
        Json::Number(number) => {
            out.push(2 << 3 | 1);
            out.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes());
        }
        Json::String(text) => put_bytes(&mut out, 3, text.as_bytes()),
        Json::Bool(truth) => out.extend_from_slice(&[4 << 3, (*truth).into()]),
        Json::Object(entries) => put_bytes(&mut out, 5, &structure(entries)),
        Json::Array(elements) => {
            let mut list = Vec::new();
            elements.iter().for_each(|element| put_bytes(&mut list, 1, &dynamic(element)));
            put_bytes(&mut out, 6, &list);
        }
    }
    out
}

/// A value as Envoy encodes it: text is itself, a number a double, a mapping pairs, a list pairs without values.
fn encode(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => {}
        Json::Bool(truth) => out.push((*truth).into()),
        Json::Number(number) => out.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes()),
        Json::String(text) => out.extend_from_slice(text.as_bytes()),
        Json::Object(entries) => map(entries.iter(), out),
        Json::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(encoded).collect();
            pairs::encode_value(|| elements.iter().map(|element| (&element[..], &b""[..])), out);
        }
    }
}

fn encoded(value: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out);
    out
}

fn map<'a>(entries: impl Iterator<Item = (&'a String, &'a Json)>, out: &mut Vec<u8>) {
    let entries: Vec<_> = entries.map(|(name, value)| (name, encoded(value))).collect();
    pairs::encode_value(|| entries.iter().map(|(name, value)| (name.as_bytes(), &value[..])), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: Option<&[u8]>) -> Result<Vec<u8>, Status> {
        let node = Node {
            id: "i".to_owned(),
            cluster: "c".to_owned(),
            metadata: serde_json::from_str(r#"{"NAME":"web","N":2,"T":true,"LABELS":{"app":"a"},"L":["x"]}"#).unwrap(),
        };
        find(&node, path).map(|value| match value {
            Value::Text(text) => text.into_bytes(),
            Value::Pairs(bytes) => bytes,
            Value::Empty => Vec::new(),
            _ => panic!("text or bytes"),
        })
    }

    #[test]
    fn the_workload_is_told_by_path() {
        assert_eq!(asked(Some(b"id")), Ok(b"i".to_vec()));
        assert_eq!(asked(Some(b"cluster")), Ok(b"c".to_vec()));
        assert_eq!(asked(Some(b"metadata\0NAME")), Ok(b"web".to_vec()));
        assert_eq!(asked(Some(b"metadata\0N")), Ok(2.0_f64.to_le_bytes().to_vec()));
        assert_eq!(asked(Some(b"metadata\0T")), Ok(vec![1]));
        assert_eq!(asked(Some(b"metadata\0LABELS\0app")), Ok(b"a".to_vec()));
        assert_eq!(asked(Some(b"metadata\0LABELS")), Ok(b"\x01\0\0\0\x03\0\0\0\x01\0\0\0app\0a\0".to_vec()));
        assert_eq!(asked(Some(b"metadata\0L")), Ok(b"\x01\0\0\0\x01\0\0\0\0\0\0\0x\0\0".to_vec()));
        assert!(asked(Some(b"metadata")).is_ok_and(|bytes| bytes.starts_with(&[5, 0, 0, 0])));
        for nowhere in [&b"locality"[..], b"locality\0region", b"locality\0sub_zone"] {
            assert_eq!(asked(Some(nowhere)), Ok(Vec::new()));
        }
        for nothing in [&b"locality\0x"[..], b"metadata\0X", b"metadata\0NAME\0x", b"id\0x", b"x", b""] {
            assert_eq!(asked(Some(nothing)), Err(Status::NotFound));
        }
    }

    #[test]
    fn the_whole_is_a_message() {
        let node = |metadata: &str| Node {
            id: "i".to_owned(),
            cluster: String::new(),
            metadata: serde_json::from_str(metadata).unwrap(),
        };
        assert_eq!(message(&node("{}")), b"\x0a\x01i");
        let with = |value: &str| message(&node(&format!(r#"{{"k":{value}}}"#)));
        let entry = |value: &[u8]| {
            let mut entry = b"\x0a\x01k".to_vec();
            put_bytes(&mut entry, 2, value);
            let mut fields = Vec::new();
            put_bytes(&mut fields, 1, &entry);
            let mut out = b"\x0a\x01i".to_vec();
            put_bytes(&mut out, 3, &fields);
            out
        };
        assert_eq!(with(r#""v""#), entry(b"\x1a\x01v"));
        assert_eq!(with("2"), entry(b"\x11\0\0\0\0\0\0\0\x40"));
        assert_eq!(with("true"), entry(b"\x20\x01"));
        assert_eq!(with("null"), entry(b"\x08\0"));
        assert_eq!(with(r#"["v"]"#), entry(b"\x32\x05\x0a\x03\x1a\x01v"));
        assert_eq!(with(r#"{"n":"v"}"#), entry(b"\x2a\x0a\x0a\x08\x0a\x01n\x12\x03\x1a\x01v"));
    }
}
