//! What the JSON Schema says of each kind of value, and how a default of it is written.
//!
//! Compiled for tests alone: the schema is made there from the structures that read the configuration, compared with the
//! one in the tree, and that one is what the program prints. See [`crate::schema`].

use super::{scalars::write_size, value::FromText, *};
use crate::{
    model::{
        AdminAddress, ApiServer, Cidr, Destination, EndpointAddress, HostPattern, LogDestination, Name, NodeName,
        RateKey, ServiceRef, SpiffeId, SpiffeMatch, TrustDomain, Workers, Zone,
    },
    template::Template,
};
use http::{HeaderName, HeaderValue, Method};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::{borrow::Cow, net::SocketAddr, time::Duration};

/// A scalar, described.
pub(crate) trait Described: FromText {
    /// Its schema, without description.
    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }

    /// As it would be written, for defaults.
    fn to_json(&self) -> Value {
        Value::Null
    }
}

/// A scalar's schema with what is expected in words, which editors show.
fn titled<T: Described>() -> Schema {
    let mut schema = T::schema();
    schema.insert("title".to_owned(), T::words().into());
    schema
}

impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: Described> Serialize for Scalar<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_json().serialize(serializer)
    }
}

impl<T: Described> JsonSchema for Scalar<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::words()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        titled::<T>()
    }
}

impl<K, V: JsonSchema> JsonSchema for Table<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Table".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<V>() })
    }
}

impl<T: Described, M: JsonSchema> JsonSchema for Either<T, M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        M::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [titled::<T>(), generator.subschema_for::<M>()] })
    }
}

impl<T: Described, M> Serialize for Either<T, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Short(short) => short.to_json().serialize(serializer),
            Self::Long(_) => serializer.serialize_none(),
        }
    }
}

impl Described for RedirectStatus {
    fn schema() -> Schema {
        json_schema!({ "enum": [301, 302, 303, 307, 308] })
    }

    fn to_json(&self) -> Value {
        self.0.into()
    }
}

impl Described for HeaderValue {
    fn to_json(&self) -> Value {
        String::from_utf8_lossy(self.as_bytes()).into()
    }
}

impl Described for RewriteHost {}

impl Described for Protocol {
    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

impl Described for FormatWord {
    fn schema() -> Schema {
        json_schema!({ "enum": ["json", "text"] })
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Json => "json".into(),
            Self::Text => "text".into(),
        }
    }
}

impl<const MIN: u64, const MAX: u64> Described for Int<MIN, MAX> {
    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }

    fn to_json(&self) -> Value {
        self.0.into()
    }
}

impl Described for Duration {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" })
    }

    fn to_json(&self) -> Value {
        write_duration(*self).into()
    }
}

impl Described for Period {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))*0*[1-9][0-9]*(ms|s|m|h|d)([0-9]+(ms|s|m|h|d))*$" })
    }

    fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

impl Described for Limit {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(none|([0-9]+(ms|s|m|h|d))+)$" })
    }

    fn to_json(&self) -> Value {
        self.0.map_or_else(|| "none".into(), |limit| limit.to_json())
    }
}

impl<const MIN: u32, const MAX: u32> Described for Bytes<MIN, MAX> {
    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$" },
                { "type": "integer", "minimum": MIN, "maximum": MAX },
            ]
        })
    }

    fn to_json(&self) -> Value {
        match write_size(self.0.into()) {
            plain if plain.bytes().all(|b| b.is_ascii_digit()) => self.0.into(),
            size => size.into(),
        }
    }
}

impl Described for Window {
    fn schema() -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^(auto|[0-9]+(B|KiB|MiB|GiB)?)$" },
                { "type": "integer", "minimum": Self::LEAST, "maximum": Self::MOST },
            ]
        })
    }

    fn to_json(&self) -> Value {
        self.0.map_or_else(|| "auto".into(), |size| Bytes::<{ Self::LEAST }, { Self::MOST }>(size).to_json())
    }
}

impl Described for Percent {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^0*([1-9][0-9]?|100)%$" })
    }

    fn to_json(&self) -> Value {
        format!("{}%", self.0).into()
    }
}

impl Described for Workers {
    fn schema() -> Schema {
        json_schema!({ "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 1024 }] })
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Auto => "auto".into(),
            Self::Count(count) => count.get().into(),
        }
    }
}

impl Described for All {
    fn schema() -> Schema {
        json_schema!({ "const": "all" })
    }

    fn to_json(&self) -> Value {
        "all".into()
    }
}

impl Described for Sha256 {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
    }
}

impl Described for RateKey {}

impl JsonSchema for Structured {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "text or a mapping".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean", "object", "array"], "title": "text or a mapping" })
    }
}

impl JsonSchema for Mapping {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "a mapping".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "title": "a mapping" })
    }
}

impl Serialize for Mapping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl Serialize for Structured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl Described for Off {
    fn schema() -> Schema {
        json_schema!({ "const": "off" })
    }
}

impl Described for String {
    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }

    fn to_json(&self) -> Value {
        self.as_str().into()
    }
}

impl Described for Name {
    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"], "pattern": "^[!-~]{1,255}$" })
    }
}

impl Described for SocketAddr {}

impl Described for AdminAddress {}

impl Described for LogDestination {
    fn to_json(&self) -> Value {
        match self {
            Self::Stdout => "stdout".into(),
            Self::File(path) => path.to_string_lossy().into(),
        }
    }
}

impl Described for EndpointAddress {}

impl Described for ServiceRef {}

impl Described for NodeName {}
impl Described for Zone {}

impl Described for ApiServer {}

impl Described for Cidr {}

impl Described for Destination {}

impl Described for UnixSocket {}

impl Described for HeaderName {}

impl Described for LabelName {}

impl Described for Method {}

impl Described for Template {
    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl Described for UrlPath {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^/[^?#]*$" })
    }
}

impl Described for HostPattern {}

fn write_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

impl Described for FilePath {}

impl Described for TrustDomain {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9._-]{1,255}$" })
    }
}

impl Described for SpiffeId {}

impl Described for SpiffeMatch {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*(/\\*)?$" })
    }
}

impl Described for ServerName {}
