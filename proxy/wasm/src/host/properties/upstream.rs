//! `upstream.…`: the connection that a request went on, or why there is none.

use super::{Status, Stream, Value, certificate, number};
use pillion_core::upstream::{Carrying, CarryingTls, ConnectError};

/// What is at a path below `upstream`.
pub(super) fn find(stream: &Stream, path: &[u8]) -> Result<Value, Status> {
    let facts = stream.facts();
    if path == b"request_attempt_count" {
        return Ok(Value::Number(facts.attempts.into()));
    }
    let address = facts.upstream.ok_or(Status::NotFound)?;
    let value = match path {
        b"address" => Some(Value::Text(address.to_string())),
        b"port" => Some(Value::Number(address.port().into())),
        b"transport_failure_reason" => Some(stream.connect_failure().map_or(Value::Empty, reason)),
        b"cx_pool_ready_duration" => stream.connection_wait().map(number),
        b"locality" | b"locality\0region" | b"locality\0zone" | b"locality\0sub_zone" => Some(Value::Empty),
        _ => stream.carrying().and_then(|carrying| of(&carrying, path)),
    };
    value.ok_or(Status::NotFound)
}

fn of(carrying: &Carrying, path: &[u8]) -> Option<Value> {
    if path == b"local_address" {
        return carrying.local.map(|address| Value::Text(address.to_string()));
    }
    let tls = carrying.tls.as_ref()?;
    match path {
        b"tls_version" => Some(Value::Text(tls.version.to_owned())),
        b"peer_certificate" => tls.peer.as_ref().map(|der| certificate::pem(der)),
        _ => {
            let (what, whose) = certificate::asked(path)?;
            certificate::say(of_whom(tls, whose)?, what)
        }
    }
}

fn of_whom(tls: &CarryingTls, whose: certificate::Whose) -> Option<&[u8]> {
    match whose {
        certificate::Whose::Peer => tls.peer.as_deref(),
        // As in Envoy whether or not the server asked for it.
        certificate::Whose::Own => tls.own.as_ref()?.cert.first().map(|der| &**der),
    }
}

/// Why a connection could not be made, as Envoy words it; what is wrong with TLS says each library in words of its own.
fn reason(why: ConnectError) -> Value {
    let words = match why {
        ConnectError::Refused => "delayed connect error: Connection refused".to_owned(),
        ConnectError::Unreachable => "delayed connect error: No route to host".to_owned(),
        ConnectError::Reset => "delayed connect error: Connection reset by peer".to_owned(),
        ConnectError::Descriptors => "immediate connect error: Too many open files".to_owned(),
        ConnectError::LocalResources => "immediate connect error: Cannot assign requested address".to_owned(),
        ConnectError::Io(kind) => format!("delayed connect error: {kind}"),
        ConnectError::Tls(failure) => format!("TLS_error:|{failure}:TLS_error_end"),
        ConnectError::Timeout(_) | ConnectError::NotHttp2 => return Value::Empty,
    };
    Value::Text(words)
}
