//! Calls to clusters: HTTP, gRPC, gRPC streams. Begun here; their answers come back through `calls`.

use super::headers::MOST_GIVEN;
use crate::{
    abi::{LogLevel, Status, pairs},
    calls::{self, Call, Kind},
    host::foreign::proto,
    vm::{
        Machine,
        memory::{Answer, put_u32, slice, split},
        state::{Host, Stage},
    },
};
use pillion_core::exchange::filter::{CallError, CallRefused, GrpcCall, HttpCall, Services};
use std::{rc::Weak, time::Duration};
use wasmtime::Caller;

/// Bytes of an HTTP call's body: it is copied out of the guest's memory and held until it is sent.
const MOST_BODY: u32 = 4 * 1024 * 1024;

/// Time of an HTTP call that its guest gives none (0), which in Envoy may take for ever: as long as a stream may be idle.
const UNTIMED: Duration = Duration::from_secs(300);

/// Pairs, as the services take them.
type List<'a> = Vec<(&'a [u8], &'a [u8])>;

/// What cannot be read is a map of nothing, as in Envoy.
fn list<'a>(host: &mut Host, bytes: &'a [u8]) -> Result<List<'a>, Status> {
    if bytes.len() > MOST_GIVEN {
        return Err(Status::BadArgument);
    }
    let pairs = pairs::decode(bytes).unwrap_or_else(|_| {
        host.log(LogLevel::Warn, b"a call was given what is no map of fields; it says none of them");
        pairs::Pairs::none()
    });
    Ok(pairs.collect())
}

fn text(memory: &[u8], pointer: u32, length: u32) -> Result<&str, Status> {
    std::str::from_utf8(slice(memory, pointer, length)?).map_err(|_| Status::BadArgument)
}

/// Notes a call as begun and tells the guest its token. `call`: none where calls go nowhere.
fn begun(
    (memory, host): (&mut [u8], &mut Host),
    kind: Kind,
    token_at: u32,
    call: Option<impl FnOnce(Weak<Machine>, u32, u32) -> Call>,
) -> Answer {
    let token = host.calls.token(kind).ok_or(Status::InternalFailure)?;
    if let Some(call) = call {
        let call = call(host.calls.machine(), host.root_id(), token);
        host.calls.begun(token, call);
    } else if kind != Kind::Http {
        host.calls.mute(token, host.root_id());
    }
    Ok(put_u32(memory, token_at, token)?)
}

/// The services of the plugin that calls. `None`: the machine is on trial, and calls go nowhere.
fn services(host: &Host) -> Result<Option<Services>, Status> {
    match (host.stage, host.root()) {
        (Stage::Trial, Some(_)) => Ok(None),
        (_, Some(root)) => Ok(root.services.clone()),
        (_, None) => Err(Status::BadArgument),
    }
}

fn refused(host: &mut Host, cluster: &str, refused: CallRefused) -> Status {
    match refused {
        CallRefused::UnknownCluster | CallRefused::NotAllowed => {
            host.no_cluster(host.root_id(), cluster, &refused);
            Status::BadArgument
        }
        CallRefused::Ending | CallRefused::TooLarge => Status::BadArgument,
        CallRefused::Malformed => {
            host.unsayable(host.root_id(), &refused);
            Status::InternalFailure
        }
        CallRefused::TooMany => {
            host.too_many(host.root_id());
            Status::InternalFailure
        }
        CallRefused::NoRoom(_) => no_room(host),
    }
}

/// For gRPC, Envoy tells an unknown service by another status.
fn grpc_refused(host: &mut Host, cluster: &str, why: CallRefused) -> Status {
    let is_of_cluster = matches!(why, CallRefused::UnknownCluster | CallRefused::NotAllowed | CallRefused::Ending);
    let status = refused(host, cluster, why);
    if is_of_cluster { Status::ParseFailure } else { status }
}

/// As Envoy where a call cannot be begun.
fn no_room(host: &mut Host) -> Status {
    host.no_room(host.root_id());
    Status::InternalFailure
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn http_call(
    caller: &mut Caller<'_, Host>,
    cluster: u32,
    cluster_length: u32,
    headers: u32,
    headers_length: u32,
    body: u32,
    body_length: u32,
    trailers: u32,
    trailers_length: u32,
    timeout: u32,
    token_at: u32,
) -> Answer {
    let (memory, host) = split(caller);
    slice(memory, token_at, 4)?;
    let cluster = text(memory, cluster, cluster_length)?;
    let headers = list(host, slice(memory, headers, headers_length)?)?;
    let trailers = list(host, slice(memory, trailers, trailers_length)?)?;
    if body_length > MOST_BODY {
        return Err(Status::BadArgument.into());
    }
    let body = slice(memory, body, body_length)?;
    let says = |name: &[u8]| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !(says(b":method") && says(b":path") && (says(b":authority") || says(b"host"))) {
        return Err(Status::BadArgument.into());
    }
    // Envoy counts with a sign.
    if timeout > i32::MAX.unsigned_abs() {
        return Err(Status::BadArgument.into());
    }
    let services = services(host)?;
    let timeout = if timeout == 0 { UNTIMED } else { Duration::from_millis(timeout.into()) };
    let call = HttpCall { cluster, headers: &headers, body, trailers: &trailers, timeout };
    let future = match &services {
        Some(services) => Some(services.http_call(&call).map_err(|why| refused(host, cluster, why))?),
        None => None,
    };
    let call = services.zip(future).map(|(services, future)| {
        move |machine, root, token| Call::new(root, calls::http(&services, machine, root, token, future))
    });
    begun((memory, host), Kind::Http, token_at, call)
}

/// Where a gRPC call goes, and what is said with each.
struct Target<'a> {
    cluster: &'a str,
    authority: Option<&'a str>,
    metadata: List<'a>,
}

impl<'a> Target<'a> {
    /// Of a serialised `envoy.config.core.v3.GrpcService` with an Envoy gRPC target, or else of a bare name of a cluster. Of the message
    /// count the target's `cluster_name` and `authority`, and `initial_metadata`, which stands behind what the guest gives.
    fn of(service: &'a [u8], mut metadata: List<'a>) -> Result<Self, Status> {
        let text = |bytes| std::str::from_utf8(bytes).ok().filter(|text: &&str| !text.is_empty());
        if let Some(target) = first(service, 1)
            && let Some(cluster) = first(target, 1).and_then(text)
        {
            let fields = proto::fields(service).filter(|field| field.number == 5).filter_map(|field| field.bytes);
            // HeaderValue: key, value or raw_value.
            metadata.extend(fields.filter_map(|pair| {
                let value = [first(pair, 2), first(pair, 3)].into_iter().flatten().find(|value| !value.is_empty());
                Some((first(pair, 1)?, value.unwrap_or_default()))
            }));
            return Ok(Self { cluster, authority: first(target, 2).and_then(text), metadata });
        }
        let cluster = std::str::from_utf8(service).map_err(|_| Status::ParseFailure)?;
        Ok(Self { cluster, authority: None, metadata })
    }
}

/// The first field of that number that has bytes.
fn first(message: &[u8], number: u64) -> Option<&[u8]> {
    proto::fields(message).find(|field| field.number == number)?.bytes
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn grpc_call(
    caller: &mut Caller<'_, Host>,
    cluster: u32,
    cluster_length: u32,
    service: u32,
    service_length: u32,
    method: u32,
    method_length: u32,
    metadata: u32,
    metadata_length: u32,
    message: u32,
    message_length: u32,
    timeout: u32,
    token_at: u32,
) -> Answer {
    let (memory, host) = split(caller);
    slice(memory, token_at, 4)?;
    let target = slice(memory, cluster, cluster_length)?;
    let given = list(host, slice(memory, metadata, metadata_length)?)?;
    let Target { cluster, authority, metadata } = Target::of(target, given)?;
    let (service, method) = (text(memory, service, service_length)?, text(memory, method, method_length)?);
    let message = slice(memory, message, message_length)?;
    let services = services(host)?;
    let timeout = (timeout > 0).then(|| Duration::from_millis(timeout.into()));
    let call = GrpcCall { cluster, authority, service, method, metadata: &metadata, timeout };
    let future = match &services {
        Some(services) => Some(services.grpc_call(&call, message).map_err(|why| grpc_refused(host, cluster, why))?),
        None => None,
    };
    let call = services.zip(future).map(|(services, future)| {
        move |machine, root, token| Call::new(root, calls::grpc(&services, machine, root, token, future))
    });
    begun((memory, host), Kind::GrpcCall, token_at, call)
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn grpc_stream(
    caller: &mut Caller<'_, Host>,
    cluster: u32,
    cluster_length: u32,
    service: u32,
    service_length: u32,
    method: u32,
    method_length: u32,
    metadata: u32,
    metadata_length: u32,
    token_at: u32,
) -> Answer {
    let (memory, host) = split(caller);
    slice(memory, token_at, 4)?;
    let target = slice(memory, cluster, cluster_length)?;
    let given = list(host, slice(memory, metadata, metadata_length)?)?;
    let Target { cluster, authority, metadata } = Target::of(target, given)?;
    let (service, method) = (text(memory, service, service_length)?, text(memory, method, method_length)?);
    let services = services(host)?;
    let call = GrpcCall { cluster, authority, service, method, metadata: &metadata, timeout: None };
    let halves = match &services {
        Some(services) => Some(services.grpc_stream(&call).map_err(|why| grpc_refused(host, cluster, why))?),
        None => None,
    };
    let call = services.zip(halves).map(|(services, halves)| {
        move |machine, root, token| calls::grpc_stream(&services, machine, root, token, halves)
    });
    begun((memory, host), Kind::GrpcStream, token_at, call)
}

pub(super) fn grpc_send(caller: &mut Caller<'_, Host>, token: u32, message: u32, length: u32, end: u32) -> Answer {
    let (memory, host) = split(caller);
    if Kind::of(token) != Some(Kind::GrpcStream) {
        return Err(Status::BadArgument.into());
    }
    let message = slice(memory, message, length)?;
    // On one that is over it goes nowhere, as in Envoy.
    let Some(sending) = host.calls.sending(token).ok_or(Status::NotFound)? else { return Ok(()) };
    match sending.send(message) {
        // On a stream that it closed it goes nowhere, as in Envoy.
        Ok(()) | Err(CallError::Gone) => {}
        // Envoy takes all there is, and guests are made for that: it is the stream that fails.
        Err(error) => {
            if let Some(services) = host.root().and_then(|root| root.services.clone()) {
                host.calls.fail(&services, token, error);
            }
            return Ok(());
        }
    }
    if end != 0 {
        sending.close();
    }
    Ok(())
}

pub(super) fn grpc_cancel(caller: &mut Caller<'_, Host>, token: u32) -> Answer {
    let host = caller.data_mut();
    if !matches!(Kind::of(token), Some(Kind::GrpcCall | Kind::GrpcStream)) {
        return Err(Status::BadArgument.into());
    }
    match host.calls.cancel(token) {
        Some(()) => Ok(()),
        None => Err(Status::NotFound.into()),
    }
}

pub(super) fn grpc_close(caller: &mut Caller<'_, Host>, token: u32) -> Answer {
    let host = caller.data_mut();
    match Kind::of(token) {
        Some(Kind::GrpcStream) => Ok(host.calls.close(token).ok_or(Status::NotFound)?),
        // A call has nothing more to say: closing it gives it up.
        Some(Kind::GrpcCall) => Ok(host.calls.cancel(token).ok_or(Status::NotFound)?),
        Some(Kind::Http) | None => Err(Status::BadArgument.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_message_or_a_name() {
        let of = |service| Target::of(service, Vec::new()).map(|target| target.cluster);
        assert_eq!(of(b"\x0a\x08\x0a\x06target"), Ok("target"));
        assert_eq!(of(b"target"), Ok("target"));
        assert_eq!(of(b"\xff\xfe"), Err(Status::ParseFailure));
    }
}
