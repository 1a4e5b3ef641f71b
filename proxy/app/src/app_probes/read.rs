//! From the injection's JSON to probes. Pure.

use super::AppProbes;
use crate::inject::{probes::Place, value::Value};
use http::{HeaderName, HeaderValue};
use std::{collections::HashMap, time::Duration};

/// A probe to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The application's port.
    pub port: u16,
    /// Of which address.
    pub place: Place,
    /// Time for all of it.
    pub timeout: Duration,
    /// How it is asked.
    pub way: Way,
}

/// How an application is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By a GET.
    Http(Get),
    /// By a connection.
    Tcp,
    /// By the gRPC health protocol.
    Grpc {
        /// The service asked about; empty: the server as a whole.
        service: String,
    },
    /// Not at all, and why: it fails, as a kubelet's attempt does.
    Never(String),
}

/// What is asked by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// HTTPS, with whatever certificate.
    pub tls: bool,
    /// Path and query.
    pub path: String,
    /// The author's own fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why the variable cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PILLION_APP_PROBES: {0}; it is written by `pillion inject`: inject the pod anew")]
pub struct Malformed(pub String);

/// Longest time for a probe.
const MAX_TIMEOUT: i128 = 3600;

/// Reads the variable's text.
///
/// # Errors
/// The first entry that is not what an injection writes.
pub fn read(text: &str) -> Result<AppProbes, Malformed> {
    let value: Value = serde_json::from_str(text).map_err(|error| Malformed(format!("not JSON: {error}")))?;
    let map = value.as_map().ok_or_else(|| Malformed("not a JSON object".to_owned()))?;
    let mut probes = HashMap::with_capacity(map.0.len());
    for (path, original) in &map.0 {
        let probe = probe(original).ok_or_else(|| Malformed(format!("{path:?} is no probe")))?;
        probes.insert(path.clone(), probe);
    }
    Ok(AppProbes(probes))
}

fn probe(original: &Value) -> Option<Probe> {
    let port = u16::try_from(original.get("port")?.as_int()?).ok()?;
    // As a kubelet: less than a second is a second.
    let seconds = original.get("timeoutSeconds").and_then(Value::as_int).unwrap_or(1).clamp(1, MAX_TIMEOUT);
    let way = if let Some(get) = original.get("httpGet") {
        match get.list("httpHeaders").iter().map(header).collect() {
            Ok(headers) => Way::Http(Get {
                tls: get.str("scheme").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
                path: path(get.str("path").unwrap_or("/")),
                headers,
            }),
            Err(words) => Way::Never(words),
        }
    } else if original.get("tcpSocket").is_some() {
        Way::Tcp
    } else {
        Way::Grpc { service: original.get("grpc")?.str("service").unwrap_or("").to_owned() }
    };
    let place = if original.str(Place::FIELD) == Some(Place::POD) { Place::Pod } else { Place::Loopback };
    Some(Probe { port, place, timeout: Duration::from_secs(u64::try_from(seconds).unwrap_or(1)), way })
}

fn path(written: &str) -> String {
    // What stands behind it is for the asker alone.
    let written = written.split('#').next().unwrap_or_default();
    let slash = if written.starts_with('/') { "" } else { "/" };
    // A kubelet escapes what cannot stand in a request target.
    let mut target = slash.to_owned();
    for byte in written.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            target.push(char::from(byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
    target
}

/// API servers take any text for a value, and kubelets fail at what no HTTP field can have.
fn header(field: &Value) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = (field.str("name").unwrap_or(""), field.str("value").unwrap_or(""));
    let parsed = name.parse().map_err(|_| format!("{name:?} is no name of an HTTP field"))?;
    let value = HeaderValue::from_bytes(value.as_bytes());
    Ok((parsed, value.map_err(|_| format!("the field {name} cannot have this value: a control character is in it"))?))
}
