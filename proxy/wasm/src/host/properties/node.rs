//! The workload, as properties: `xds.node.id`, `xds.node.metadata.NAMESPACE`, …; also without `xds`, as filters of before
//! Envoy 1.40 ask.

use super::Value;
use crate::{
    abi::{Status, pairs},
    plugin::Node,
};
use serde_json::Value as Json;

/// What is at a path behind `node`.
pub(super) fn find(node: &Node, path: Option<&[u8]>) -> Result<Value, Status> {
    // The whole is a message of Envoy's own; it has no encoding here.
    let path = path.ok_or(Status::SerializationFailure)?;
    let mut segments = path.split(|byte| *byte == 0);
    match (segments.next().unwrap_or_default(), path.contains(&0)) {
        (b"id", false) => Ok(Value::Text(node.id.clone())),
        (b"cluster", false) => Ok(Value::Text(node.cluster.clone())),
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
            pairs::encode(|| elements.iter().map(|element| (&element[..], &b""[..])), out);
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
    pairs::encode(|| entries.iter().map(|(name, value)| (name.as_bytes(), &value[..])), out);
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
        for nothing in [&b"metadata\0X"[..], b"metadata\0NAME\0x", b"id\0x", b"x", b""] {
            assert_eq!(asked(Some(nothing)), Err(Status::NotFound));
        }
        assert_eq!(asked(None), Err(Status::SerializationFailure));
    }
}
