//! Header maps: of the stream, and of the call whose callback runs.

use crate::{
    abi::{AbiVersion, LogLevel, MapType, Status, pairs},
    vm::{
        memory::{Answer, give, give_made, put_u32, slice, split},
        state::{Host, Shown},
    },
};
use http::{HeaderMap, StatusCode};
use pillion_core::exchange::filter::{Headers, Map, Stream};
use wasmtime::Caller;

/// Bytes of pairs, names or values that a guest may hand over at once: host functions are not interrupted, so what they
/// work on is bounded. Larger than any head a codec takes.
pub(crate) const MOST_GIVEN: usize = 1024 * 1024;

/// Where a map is.
enum Place {
    Stream(Map),
    Call(MapType),
}

fn place(map: u32) -> Result<Place, Status> {
    let map = MapType::of(map)?;
    Ok(match map {
        MapType::RequestHeaders => Place::Stream(Map::RequestHeaders),
        MapType::RequestTrailers => Place::Stream(Map::RequestTrailers),
        MapType::ResponseHeaders => Place::Stream(Map::ResponseHeaders),
        MapType::ResponseTrailers => Place::Stream(Map::ResponseTrailers),
        MapType::GrpcInitialMetadata | MapType::GrpcTrailingMetadata | MapType::CallHeaders | MapType::CallTrailers => {
            Place::Call(map)
        }
    })
}

/// Fields of a call's answer, and its status where it is its head.
fn answered(host: &Host, map: MapType) -> Option<(Option<StatusCode>, &HeaderMap)> {
    match (&host.shown, map) {
        (Shown::HttpCall { status, headers, .. }, MapType::CallHeaders) => Some((Some(*status), headers)),
        (Shown::HttpCall { trailers: Some(trailers), .. }, MapType::CallTrailers) => Some((None, trailers)),
        (Shown::GrpcInitialMetadata(metadata), MapType::GrpcInitialMetadata)
        | (Shown::GrpcTrailingMetadata(metadata), MapType::GrpcTrailingMetadata) => {
            Some((metadata.status, &metadata.fields))
        }
        _ => None,
    }
}

/// A status in digits.
fn digits(status: StatusCode) -> [u8; 3] {
    let mut out = [0; 3];
    out.copy_from_slice(status.as_str().as_bytes());
    out
}

/// Reads a map; `None`: it is not here now.
fn read<R>(host: &Host, place: &Place, f: impl FnOnce(View<'_>) -> R) -> Option<R> {
    match place {
        Place::Stream(map) => host.stream().ok()?.read_headers(*map, |headers| f(View::Stream(headers))),
        Place::Call(map) => {
            let (status, fields) = answered(host, *map)?;
            let status = status.map(digits);
            Some(f(View::Call(status.as_ref().map(|digits| &digits[..]), fields)))
        }
    }
}

/// A map that can be read.
#[derive(Clone, Copy)]
enum View<'a> {
    Stream(&'a Headers),
    Call(Option<&'a [u8]>, &'a HeaderMap),
}

impl View<'_> {
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        match self {
            View::Stream(headers) => headers.get(name),
            View::Call(status, _) if name.eq_ignore_ascii_case(b":status") => *status,
            View::Call(_, fields) => Some(fields.get(std::str::from_utf8(name).ok()?)?.as_bytes()),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            View::Stream(headers) => pairs::encode(|| headers.iter(), out),
            View::Call(status, fields) => pairs::encode(|| with_status(*status, fields), out),
        }
    }

    fn byte_size(&self) -> usize {
        match self {
            View::Stream(headers) => headers.byte_size(),
            View::Call(status, fields) => {
                with_status(*status, fields).map(|(name, value)| name.len() + value.len()).sum()
            }
        }
    }
}

fn with_status<'a>(status: Option<&'a [u8]>, fields: &'a HeaderMap) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let fields = fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    status.map(|status| (&b":status"[..], status)).into_iter().chain(fields)
}

/// How many pairs a call's answer has, pseudo-header included.
pub(crate) fn count(status: Option<StatusCode>, fields: &HeaderMap) -> u32 {
    u32::try_from(fields.len() + usize::from(status.is_some())).unwrap_or(u32::MAX)
}

pub(super) fn get(
    caller: &mut Caller<'_, Host>,
    map: u32,
    name: u32,
    name_length: u32,
    value: u32,
    length: u32,
) -> Answer {
    let place = place(map)?;
    let old = caller.data().abi == AbiVersion::V0_1_0;
    give_made(caller, value, length, |memory, host, out| {
        let name = slice(memory, name, name_length)?;
        if name.len() > MOST_GIVEN {
            return Err(Status::BadArgument.into());
        }
        let found = read(host, &place, |view| view.get(name).map(|value| out.extend_from_slice(value)));
        match found {
            Some(Some(())) => Ok(()),
            // While a stream is logged, a map that is not there is as one without the field, as in Envoy.
            None if !host.stream().is_ok_and(Stream::is_logged) => Err(Status::BadArgument.into()),
            // ABI 0.1.0 knows no difference between missing and empty.
            Some(None) | None if old => Ok(()),
            Some(None) | None => Err(Status::NotFound.into()),
        }
    })
}

pub(super) fn get_pairs(caller: &mut Caller<'_, Host>, map: u32, data: u32, size: u32) -> Answer {
    let place = place(map)?;
    give_made(caller, data, size, |_, host, out| {
        // A map that is not here reads as empty, as in Envoy.
        read(host, &place, |view| view.encode(out));
        Ok(())
    })
}

pub(super) fn get_size(caller: &mut Caller<'_, Host>, map: u32, size: u32) -> Answer {
    let place = place(map)?;
    let (memory, host) = split(caller);
    // Calls' maps have no size, as in Envoy.
    let bytes = match place {
        Place::Stream(_) => read(host, &place, |view| view.byte_size()).ok_or(Status::BadArgument)?,
        Place::Call(_) => return Err(Status::BadArgument.into()),
    };
    Ok(put_u32(memory, size, u32::try_from(bytes).unwrap_or(u32::MAX))?)
}

/// Lets `f` change one of the stream's maps, by so many bytes.
fn change(host: &mut Host, place: &Place, bytes: usize, f: impl FnOnce(&mut Headers)) -> Answer {
    if bytes > MOST_GIVEN || host.stream()?.writes(bytes).is_err() {
        return Err(Status::BadArgument.into());
    }
    match place {
        Place::Stream(map) => Ok(host.stream()?.headers(*map, f).ok_or(Status::BadArgument)?),
        Place::Call(_) => Err(Status::BadArgument.into()),
    }
}

pub(super) fn set_pairs(caller: &mut Caller<'_, Host>, map: u32, data: u32, size: u32) -> Answer {
    let place = place(map)?;
    let (memory, host) = split(caller);
    if size as usize > MOST_GIVEN {
        return Err(Status::BadArgument.into());
    }
    let given = slice(memory, data, size)?;
    // As in Envoy, what cannot be read is a map of nothing: what is left of a message without its method or status is
    // answered by an error.
    let pairs = pairs::decode(given).unwrap_or_else(|_| {
        host.log(LogLevel::Warn, b"proxy_set_header_map_pairs was given what is no map; all fields are gone");
        pairs::Pairs::none()
    });
    change(host, &place, size as usize, |headers| headers.replace_all(pairs))
}

/// A name and a value, put into a map in one of two ways.
fn put(
    caller: &mut Caller<'_, Host>,
    map: u32,
    (name, name_length): (u32, u32),
    (value, length): (u32, u32),
    how: fn(&mut Headers, &[u8], &[u8]),
) -> Answer {
    let place = place(map)?;
    let (memory, host) = split(caller);
    let (name, value) = (slice(memory, name, name_length)?, slice(memory, value, length)?);
    change(host, &place, name.len() + value.len(), |headers| how(headers, name, value))
}

pub(super) fn add(
    caller: &mut Caller<'_, Host>,
    map: u32,
    name: u32,
    name_length: u32,
    value: u32,
    length: u32,
) -> Answer {
    put(caller, map, (name, name_length), (value, length), Headers::add)
}

pub(super) fn replace(
    caller: &mut Caller<'_, Host>,
    map: u32,
    name: u32,
    name_length: u32,
    value: u32,
    length: u32,
) -> Answer {
    put(caller, map, (name, name_length), (value, length), Headers::replace)
}

pub(super) fn remove(caller: &mut Caller<'_, Host>, map: u32, name: u32, name_length: u32) -> Answer {
    let place = place(map)?;
    let (memory, host) = split(caller);
    let name = slice(memory, name, name_length)?;
    change(host, &place, name.len(), |headers| headers.remove(name))
}

/// Nothing, where a guest wants bytes.
pub(super) fn give_nothing(caller: &mut Caller<'_, Host>, data: u32, size: u32) -> Answer {
    give(caller, &[], data, size)
}
