//! Metadata: what the configuration says of listener, route, cluster and endpoint (`xds.route_metadata.filter_metadata.NAMESPACE.KEY`,
//! …; also without `xds`), and what filters told those behind them (`metadata.filter_metadata.NAMESPACE.KEY`).
//!
//! Each is an `envoy.config.core.v3.Metadata`: bytes as a whole, and maps by `filter_metadata`. Nothing is typed, so that
//! `typed_filter_metadata` is empty.

use super::{Stream, Value};
use crate::{
    abi::{Status, pairs},
    host::foreign::proto::put_bytes,
};
use pillion_config::model::Metadata;
use serde_json::Value as Json;
use std::sync::Arc;

/// What is at a path.
#[derive(Debug, Clone, Copy)]
pub(in crate::host) enum Found<'a> {
    /// The whole, a message; `None`: there is nothing in it.
    Whole(Option<&'a Metadata>),
    /// A map with nothing in it.
    Nothing,
    /// Values by name.
    Names(&'a Metadata),
    /// A value.
    Value(&'a Json),
}

/// Whether a segment of a path can be an element's number in a list: of a property's it can, in an expression it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Lists {
    ByNumber,
    Closed,
}

/// What is written of the endpoint that was chosen.
const ENDPOINT: &str = "upstream_host_metadata";

/// Hands what is at a path to `read`; `None`: the path leads to no metadata.
pub(in crate::host) fn find<R>(
    stream: &Stream,
    path: &[&str],
    lists: Lists,
    read: impl FnOnce(Found<'_>) -> R,
) -> Option<Result<R, Status>> {
    let (name, inner) = match path {
        ["xds", "metadata", ..] | [] => return None,
        ["xds", name, inner @ ..] | [name, inner @ ..] => (*name, inner),
    };
    if name != "metadata" {
        let written = match written(stream, name)? {
            // There is an endpoint, and nothing is said of it.
            Ok(None) if path == ["xds", ENDPOINT] => Err(Status::SerializationFailure),
            Ok(None) if name == ENDPOINT => Err(Status::NotFound),
            written => written,
        };
        return Some(written.and_then(|all| at(all.as_deref(), inner, lists).map(read)));
    }
    let told = stream.told();
    Some(at(Some(&*told).filter(|told| !told.is_empty()), inner, lists).map(read))
}

/// What is written of something that the stream met, if anything is; `None`: there is nothing of this name.
fn written(stream: &Stream, name: &str) -> Option<Result<Option<Arc<Metadata>>, Status>> {
    let facts = || stream.facts();
    Some(match name {
        "listener_metadata" => Ok(stream.listener().metadata.clone()),
        "route_metadata" => facts().route.map(|route| route.metadata.clone()).ok_or(Status::NotFound),
        // There are none here.
        "virtual_host_metadata" => facts().route.map(|_| None).ok_or(Status::NotFound),
        "cluster_metadata" => facts().cluster.map(|_| stream.cluster_metadata()).ok_or(Status::NotFound),
        ENDPOINT => facts().upstream.map(|_| stream.endpoint_metadata()).ok_or(Status::NotFound),
        _ => return None,
    })
}

fn at<'a>(all: Option<&'a Metadata>, path: &[&str], lists: Lists) -> Result<Found<'a>, Status> {
    match (path, all) {
        ([], all) => Ok(Found::Whole(all)),
        (["filter_metadata"] | ["typed_filter_metadata"], None) | (["typed_filter_metadata"], Some(_)) => {
            Ok(Found::Nothing)
        }
        (["filter_metadata", inner @ ..], Some(all)) => within(all, inner, lists),
        _ => Err(Status::NotFound),
    }
}

/// What these names lead to.
pub(in crate::host) fn within<'a>(names: &'a Metadata, path: &[&str], lists: Lists) -> Result<Found<'a>, Status> {
    let Some((first, rest)) = path.split_first() else { return Ok(Found::Names(names)) };
    let found = names.get(*first).and_then(|value| {
        rest.iter().try_fold(value, |outer, name| match outer {
            Json::Array(elements) if lists == Lists::ByNumber => elements.get(name.trim_ascii().parse::<usize>().ok()?),
            outer => outer.get(name),
        })
    });
    found.map(Found::Value).ok_or(Status::NotFound)
}

impl Found<'_> {
    /// As properties are.
    pub(super) fn encoded(self) -> Result<Value, Status> {
        let mut out = Vec::new();
        match self {
            Self::Whole(None) => return Ok(Value::Empty),
            Self::Whole(Some(all)) => out = message(all),
            Self::Nothing => return Ok(super::no_pairs()),
            Self::Names(names) => map(names, &mut out)?,
            Self::Value(value) => encode(value, &mut out)?,
        }
        Ok(Value::Pairs(out))
    }
}

/// The whole, as `envoy.config.core.v3.Metadata`: its `filter_metadata`.
pub(in crate::host) fn message(all: &Metadata) -> Vec<u8> {
    let mut out = Vec::new();
    for (namespace, values) in all {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, namespace.as_bytes());
        // Namespaces have objects.
        put_bytes(&mut entry, 2, &values.as_object().map(structure).unwrap_or_default());
        put_bytes(&mut out, 1, &entry);
    }
    out
}

/// A `google.protobuf.Struct`.
pub(super) fn structure(entries: &Metadata) -> Vec<u8> {
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

/// A value as Envoy encodes it: text is itself, a number a double, a mapping pairs, a list pairs without values. Null has no bytes, nor
/// has what it is in.
fn encode(value: &Json, out: &mut Vec<u8>) -> Result<(), Status> {
    match value {
        Json::Null => return Err(Status::SerializationFailure),
        Json::Bool(truth) => out.push((*truth).into()),
        Json::Number(number) => out.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes()),
        Json::String(text) => out.extend_from_slice(text.as_bytes()),
        Json::Object(entries) => map(entries, out)?,
        Json::Array(elements) => {
            let elements = elements.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
            pairs::encode_value(|| elements.iter().map(|element| (&element[..], &b""[..])), out);
        }
    }
    Ok(())
}

fn encoded(value: &Json) -> Result<Vec<u8>, Status> {
    let mut out = Vec::new();
    encode(value, &mut out).map(|()| out)
}

fn map(names: &Metadata, out: &mut Vec<u8>) -> Result<(), Status> {
    let entries = names.iter().map(|(name, value)| encoded(value).map(|value| (name, value)));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    pairs::encode_value(|| entries.iter().map(|(name, value)| (name.as_bytes(), &value[..])), out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        serde_json::from_str(
            r#"{"n":{"t":"v","i":7,"b":true,"none":null,"l":["x",{"k":[2]}],"m":{"o":{"p":"q"}}},"o":{}}"#,
        )
        .unwrap()
    }

    fn asked(all: Option<&Metadata>, path: &[&str], lists: Lists) -> Result<Vec<u8>, Status> {
        at(all, path, lists).and_then(Found::encoded).map(|value| match value {
            Value::Empty => Vec::new(),
            Value::Pairs(bytes) => bytes,
            _ => panic!("bytes or nothing"),
        })
    }

    #[test]
    fn values_are_found_by_namespace_name_and_number() {
        let all = metadata();
        let within = |path: &[&str]| asked(Some(&all), &[&["filter_metadata"], path].concat(), Lists::ByNumber);
        let two = 2.0_f64.to_le_bytes().to_vec();
        for (path, value) in [
            (&["n", "t"][..], b"v".to_vec()),
            (&["n", "i"], 7.0_f64.to_le_bytes().to_vec()),
            (&["n", "b"], vec![1]),
            (&["n", "l", "0"], b"x".to_vec()),
            (&["n", "l", " +0"], b"x".to_vec()),
            (&["n", "l", "1", "k", "00"], two),
            (&["n", "m", "o", "p"], b"q".to_vec()),
            (&["n", "m", "o"], b"\x01\0\0\0\x01\0\0\0\x01\0\0\0p\0q\0".to_vec()),
            (&["o"], vec![0; 4]),
        ] {
            assert_eq!(within(path), Ok(value), "{path:?}");
        }
        for nothing in [
            &["x"][..],
            &["o", "x"],
            &["n", "t", "x"],
            &["n", "i", "0"],
            &["n", "none", "x"],
            &["n", "l", "2"],
            &["n", "l", "-1"],
            &["n", "l", ""],
            &["n", "l", "x"],
        ] {
            assert_eq!(within(nothing), Err(Status::NotFound), "{nothing:?}");
        }
        assert_eq!(asked(Some(&all), &["filter_metadata", "n", "l", "0"], Lists::Closed), Err(Status::NotFound));
        // Null has no bytes, nor has what it is in.
        for null in [&["n", "none"][..], &["n"], &[]] {
            assert_eq!(within(null), Err(Status::SerializationFailure), "{null:?}");
        }
    }

    #[test]
    fn the_whole_is_a_message_and_nothing_is_typed() {
        let all: Metadata = serde_json::from_str(r#"{"n":{"k":"v"},"o":{}}"#).unwrap();
        let message = b"\x0a\x0f\x0a\x01n\x12\x0a\x0a\x08\x0a\x01k\x12\x03\x1a\x01v\x0a\x05\x0a\x01o\x12\x00".to_vec();
        assert_eq!(asked(Some(&all), &[], Lists::ByNumber), Ok(message));
        assert_eq!(asked(None, &[], Lists::ByNumber), Ok(Vec::new()));
        for empty in [None, Some(&all)] {
            assert_eq!(asked(empty, &["typed_filter_metadata"], Lists::ByNumber), Ok(vec![0; 4]));
            for nothing in [&["typed_filter_metadata", "n"][..], &["nosuch"], &[""]] {
                assert_eq!(asked(empty, nothing, Lists::ByNumber), Err(Status::NotFound));
            }
        }
        assert_eq!(asked(None, &["filter_metadata"], Lists::ByNumber), Ok(vec![0; 4]));
        assert_eq!(asked(None, &["filter_metadata", "n"], Lists::ByNumber), Err(Status::NotFound));
    }
}
