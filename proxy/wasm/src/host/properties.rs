//! Properties: what is known of a stream, under the paths and in the encodings of Envoy.
//!
//! A path is its segments with NULs between. Text is itself; numbers are 64 bits, little-endian; a truth is one byte;
//! times and durations are nanoseconds as numbers; maps are pairs. Envoy 1.40 dropped the old names at the top
//! (`cluster_name`, `node`, …) and keeps them as `xds.cluster_name`; filters use both, so both are served.

mod certificate;
mod flags;
pub(super) mod metadata;
mod node;
mod upstream;

use self::metadata::Lists;
use super::stream::NO_DETAILS;
use crate::{
    abi::{Status, pairs},
    vm::{
        memory::{Answer, give_made, slice, split},
        state::Host,
    },
};
use bytes::Bytes;
use http::{StatusCode, Version};
use pillion_config::model::Direction;
use pillion_core::exchange::{
    filter::{Facts, Headers, Map, Stream},
    head::grpc::GrpcStatus,
};
use std::{
    borrow::Cow,
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};
use wasmtime::Caller;

/// Bytes of a path.
const MOST_PATH: u32 = 4096;

/// What a property is, before it is encoded.
pub(super) enum Value {
    Text(String),
    Bytes(Bytes),
    Number(u64),
    Truth(bool),
    /// There and empty.
    Empty,
    /// Pairs, encoded already.
    Pairs(Vec<u8>),
}

pub(super) fn get(caller: &mut Caller<'_, Host>, path: u32, path_length: u32, value: u32, length: u32) -> Answer {
    if path_length > MOST_PATH {
        return Err(Status::NotFound.into());
    }
    give_made(caller, value, length, |memory, host, out| {
        let path = slice(memory, path, path_length)?;
        match find(host, path)? {
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Bytes(bytes) => out.extend_from_slice(&bytes),
            Value::Number(number) => out.extend_from_slice(&number.to_le_bytes()),
            Value::Truth(truth) => out.push(truth.into()),
            Value::Empty => {}
            Value::Pairs(pairs) => out.extend_from_slice(&pairs),
        }
        Ok(())
    })
}

pub(super) fn set(caller: &mut Caller<'_, Host>, path: u32, path_length: u32, value: u32, length: u32) -> Answer {
    let (memory, host) = split(caller);
    let (path, value) = (slice(memory, path, path_length)?, slice(memory, value, length)?);
    // Outside of a stream there is nothing to hold it.
    let stream = host.stream().map_err(|_| Status::NotFound)?;
    if path_length <= MOST_PATH && stream.set_state(&state_key(path), value).is_ok() {
        return Ok(());
    }
    host.state_is_full();
    Err(Status::InternalFailure.into())
}

/// Under which key of the stream's state a property that a guest set is kept.
fn state_key(path: &[u8]) -> Vec<u8> {
    [b"wasm.", path].concat()
}

/// What is at a path, segments with NULs between.
pub(super) fn find(host: &Host, path: &[u8]) -> Result<Value, Status> {
    if path.is_empty() {
        return Err(Status::SerializationFailure);
    }
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let mut segments = path.split(|byte| *byte == 0);
    let first = segments.next().unwrap_or_default();
    let rest = path.get(first.len() + 1..);
    let root = host.root();
    match (first, rest) {
        (b"plugin_name", None) => {
            return Ok(Value::Text(root.ok_or(Status::NotFound)?.plugin.name.as_str().to_owned()));
        }
        (b"plugin_root_id", None) => return Ok(Value::Text(root.ok_or(Status::NotFound)?.plugin.root_id.clone())),
        (b"plugin_vm_id", None) => return Ok(Value::Text(host.spec.vm_id.clone())),
        (b"node", rest) => return node::find(&host.spec.node, rest),
        (b"xds", None) => return Err(Status::SerializationFailure),
        (b"xds", Some(b"node")) => return node::find(&host.spec.node, None),
        (b"xds", Some(rest)) if rest.starts_with(b"node\0") => return node::find(&host.spec.node, Some(&rest[5..])),
        _ => {}
    }
    let stream = host.stream().map_err(|_| Status::NotFound)?;
    let what = if first == b"xds" { segments.next().unwrap_or_default() } else { first };
    if what.ends_with(b"metadata")
        && let Ok(path) = std::str::from_utf8(path)
    {
        let path: Vec<&str> = path.split('\0').collect();
        if let Some(found) = metadata::find(stream, &path, Lists::ByNumber, |found| found.encoded()) {
            return found?;
        }
    }
    match (first, rest) {
        (b"request", Some(rest)) => request(stream, rest),
        (b"response", Some(rest)) => response(stream, rest),
        (b"request" | b"response" | b"connection" | b"source" | b"destination" | b"filter_state", None) => {
            Err(Status::SerializationFailure)
        }
        (b"connection", Some(rest)) => connection(stream, rest),
        (b"connection_id", None) => Ok(Value::Number(stream.connection().id.0)),
        // Whom a trusted proxy before this one names, as Envoy's where it trusts one.
        (b"source", Some(rest)) => address_of(&stream.facts().client, rest),
        (b"destination", Some(rest)) => address_of(&stream.connection().destination(), rest),
        (b"upstream", Some(rest)) => upstream::find(stream, rest),
        (b"upstream", None) => Err(Status::SerializationFailure),
        (b"upstream_filter_state", None) if stream.facts().upstream.is_some() => Err(Status::SerializationFailure),
        (b"filter_state", Some(key)) => stream.state(key).map(Value::Bytes).ok_or(Status::NotFound),
        (b"xds", Some(rest)) => configured(stream, rest),
        (_, None) => match configured(stream, first) {
            Ok(value) => Ok(value),
            Err(_) => stream.state(&state_key(first)).map(Value::Bytes).ok_or(Status::NotFound),
        },
        (_, Some(_)) => Err(Status::NotFound),
    }
}

/// What of the configuration the stream met.
fn configured(stream: &Stream, name: &[u8]) -> Result<Value, Status> {
    let facts = stream.facts();
    let value = match name {
        b"cluster_name" => facts.cluster.map(|name| Value::Text(name.as_str().to_owned())),
        b"route_name" => facts.route.as_ref().map(|route| Value::Text(route.name.as_str().to_owned())),
        b"listener_name" => Some(Value::Text(facts.listener.as_str().to_owned())),
        // There are no virtual hosts here: a listener's routes are one list.
        b"virtual_host_name" => facts.route.as_ref().map(|_| Value::Text(facts.listener.as_str().to_owned())),
        // There is a host, and nothing is said of where it is.
        b"upstream_host_locality_metadata" if facts.upstream.is_some() => return Err(Status::SerializationFailure),
        b"filter_chain_name" => Some(Value::Empty),
        b"listener_direction" => Some(Value::Number(match stream.listener().direction {
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        })),
        _ => None,
    };
    value.ok_or(Status::NotFound)
}

fn text(value: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(value))
}

/// A map with nothing in it.
fn no_pairs() -> Value {
    Value::Pairs(0_u32.to_le_bytes().to_vec())
}

/// A map's pairs; an absent or empty one is a count of zero.
fn map(stream: &Stream, map: Map) -> Value {
    let mut out = Vec::new();
    stream.read_headers(map, |headers| pairs::encode_value(|| headers.iter(), &mut out));
    if out.is_empty() {
        return no_pairs();
    }
    Value::Pairs(out)
}

/// A field's values as one: who judges by it has to see all that a server may take. As Envoy (`getAllOfHeaderAsString`).
fn field(stream: &Stream, map: Map, name: &[u8]) -> Result<Value, Status> {
    let found = stream.read_headers(map, |headers| joined(headers, name));
    found.flatten().ok_or(Status::NotFound)
}

fn joined(headers: &Headers, name: &[u8]) -> Option<Value> {
    headers.joined(name).map(|value| Value::Bytes(Bytes::from(value.into_owned())))
}

fn number(duration: Duration) -> Value {
    Value::Number(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn request(stream: &Stream, path: &[u8]) -> Result<Value, Status> {
    const MAP: Map = Map::RequestHeaders;
    if let Some(name) = path.strip_prefix(b"headers\0") {
        return field(stream, MAP, name);
    }
    let read = |f: &dyn Fn(&Headers) -> Option<Value>| stream.read_headers(MAP, f).flatten();
    let split = |headers: &Headers| {
        let path = headers.get(b":path")?;
        let at = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
        Some((text(&path[..at]), text(path.get(at + 1..).unwrap_or_default())))
    };
    let facts = || stream.facts();
    let value = match path {
        b"path" => read(&|headers| headers.get(b":path").map(text)),
        b"url_path" => read(&|headers| split(headers).map(|(path, _)| path)),
        b"query" => read(&|headers| split(headers).map(|(_, query)| query)),
        b"host" => read(&|headers| headers.get(b":authority").map(text)),
        b"scheme" => read(&|headers| headers.get(b":scheme").map(text)),
        b"method" => read(&|headers| headers.get(b":method").map(text)),
        b"referer" => read(&|headers| joined(headers, b"referer")),
        b"useragent" => read(&|headers| joined(headers, b"user-agent")),
        b"id" => read(&|headers| joined(headers, b"x-request-id")),
        b"headers" => Some(map(stream, MAP)),
        b"protocol" => facts().version.map(|version| Value::Text(protocol(version).to_owned())),
        b"time" => {
            let since = stream.began().duration_since(UNIX_EPOCH).unwrap_or_default();
            Some(number(since))
        }
        b"duration" => facts().duration.map(number),
        b"size" => Some(Value::Number(size(stream, &facts()))),
        b"total_size" => {
            let head = stream.read_headers(MAP, Headers::byte_size).unwrap_or(0);
            Some(Value::Number(size(stream, &facts()) + head as u64))
        }
        _ => None,
    };
    value.ok_or(Status::NotFound)
}

/// Bytes of the request's body: what it announces, or what came.
fn size(stream: &Stream, facts: &Facts) -> u64 {
    let announced = stream.read_headers(Map::RequestHeaders, |headers| {
        std::str::from_utf8(headers.get(b"content-length")?).ok()?.parse().ok()
    });
    announced.flatten().unwrap_or(facts.received)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn grpc_code(status: StatusCode) -> u32 {
    GrpcStatus::from_http(status).code().into()
}

fn response(stream: &Stream, path: &[u8]) -> Result<Value, Status> {
    if let Some(name) = path.strip_prefix(b"headers\0") {
        return field(stream, Map::ResponseHeaders, name);
    }
    if let Some(name) = path.strip_prefix(b"trailers\0") {
        return field(stream, Map::ResponseTrailers, name);
    }
    let facts = stream.facts();
    let value = match path {
        b"code" => facts.status.map(|status| Value::Number(status.as_u16().into())),
        b"code_details" => {
            // Before anything went wrong, an upstream's answer is what it is.
            let plain = facts.status.map(|_| Cow::Borrowed("via_upstream"));
            facts.details.or(plain).map(|details| match &*details {
                NO_DETAILS => Value::Empty,
                _ => Value::Text(details.into_owned()),
            })
        }
        b"flags" => Some(Value::Number(flags::envoy(facts.flags))),
        // Without one, what gRPC makes of the HTTP status; there is always one once there is an answer.
        b"grpc_status" => {
            let status = facts.grpc_status.or(facts.status.map(grpc_code));
            status.map(|status| Value::Number(status.into()))
        }
        b"headers" => Some(map(stream, Map::ResponseHeaders)),
        b"trailers" => Some(map(stream, Map::ResponseTrailers)),
        b"size" => Some(Value::Number(facts.sent)),
        b"total_size" => {
            let bytes = |map| stream.read_headers(map, Headers::byte_size).unwrap_or(0) as u64;
            Some(Value::Number(facts.sent + bytes(Map::ResponseHeaders) + bytes(Map::ResponseTrailers)))
        }
        b"backend_latency" => facts.upstream_latency.filter(|_| facts.answered).map(number),
        _ => None,
    };
    value.ok_or(Status::NotFound)
}

fn address_of(address: &SocketAddr, path: &[u8]) -> Result<Value, Status> {
    match path {
        b"address" => Ok(Value::Text(address.to_string())),
        b"port" => Ok(Value::Number(address.port().into())),
        _ => Err(Status::NotFound),
    }
}

fn connection(stream: &Stream, path: &[u8]) -> Result<Value, Status> {
    let connection = stream.connection();
    let tls = connection.tls.get();
    let peer = || tls?.peer.as_ref()?.chain.first().map(|der| &**der);
    let own = || tls?.presented.as_ref()?.cert.first().map(|der| &**der);
    let value = match path {
        b"id" => Some(Value::Number(connection.id.0)),
        b"mtls" => Some(Value::Truth(peer().is_some())),
        b"requested_server_name" => {
            let name = connection.server_name();
            Some(name.map_or(Value::Empty, |name| Value::Text(name.to_owned())))
        }
        b"tls_version" => tls.map(|tls| Value::Text(tls.version.to_owned())),
        b"peer_certificate" => peer().map(certificate::pem),
        // One that was not would have ended the handshake.
        b"peer_certificate_valid" => tls.map(|_| Value::Truth(peer().is_some())),
        b"subject_peer_certificate" if tls.is_some() && peer().is_none() => Some(Value::Empty),
        _ => match certificate::asked(path) {
            Some((what, certificate::Whose::Peer)) => peer().and_then(|der| certificate::say(der, what)),
            Some((what, certificate::Whose::Own)) => own().and_then(|der| certificate::say(der, what)),
            None => None,
        },
    };
    value.ok_or(Status::NotFound)
}
