//! The workload, as properties: `xds.node.id`, `xds.node.metadata.NAMESPACE`, …; also without `xds`, as filters of before
//! Envoy 1.40 ask.

use super::{
    Value,
    metadata::{self, Lists},
};
use crate::{abi::Status, host::foreign::proto::put_bytes, plugin::Node};

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
            let segments = segments.map(std::str::from_utf8).collect::<Result<Vec<_>, _>>();
            metadata::within(&node.metadata, &segments.map_err(|_| Status::NotFound)?, Lists::ByNumber)?.encoded()
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
        put_bytes(&mut out, 3, &metadata::structure(&node.metadata));
    }
    out
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
