//! Foreign functions: what Envoy offers filters beyond the ABI, by name.
//!
//! | name | arguments | result |
//! |---|---|---|
//! | `compress`, `uncompress` | bytes | bytes, in zlib's format |
//! | `clear_route_cache` | | |
//! | `expr_create` | an expression ([`cel`](crate::cel)) | its number |
//! | `expr_evaluate` | a number | the value, as properties are |
//! | `expr_delete` | a number | |
//! | `set_envoy_filter_state` | `envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments`, of `envoy.tcp_proxy.cluster` alone | |
//! | `declare_property` | `…DeclarePropertyArguments` | |
//! | `verify_signature` | `…VerifySignatureArguments` | `…VerifySignatureResult` |
//! | `sign` | `…SignArguments` | `…SignResult` |

pub mod expression;
pub mod proto;
mod signature;

use super::headers::MOST_GIVEN;
use crate::{
    abi::Status,
    vm::{
        memory::{Answer, Stop, place, put_u32, slice, split, with_scratch},
        state::{Host, Root},
        time::{self, Verdict},
    },
};
use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};
use pillion_core::exchange::filter::{Stream, StreamKind};
use wasmtime::{Caller, Trap};

/// Bytes that `uncompress` makes: a small message can hold any number of zeros.
const MOST_INFLATED: usize = 4 * MOST_GIVEN;

/// zlib's own default.
const LEVEL: u8 = 6;

/// The only object of Envoy's filter state that means something to this proxy: where a TCP connection goes.
const TCP_CLUSTER: &[u8] = b"envoy.tcp_proxy.cluster";

/// Whether a function that did well has a result.
enum Given {
    Bytes,
    None,
}

/// What works on a megabyte, or on a large key, for as long as a callback may run.
const LONG: [&[u8]; 4] = [b"compress", b"uncompress", b"sign", b"verify_signature"];

pub(super) fn call(
    caller: &mut Caller<'_, Host>,
    name: u32,
    name_length: u32,
    arguments: u32,
    length: u32,
    result: u32,
    result_length: u32,
) -> Answer {
    let run = |memory: &mut [u8], host: &mut Host, out: &mut Vec<u8>| {
        let name = slice(memory, name, name_length)?;
        let arguments = slice(memory, arguments, length)?;
        if arguments.len() > MOST_GIVEN {
            return Err(Status::BadArgument);
        }
        if !LONG.contains(&name) {
            return function(name, arguments, host, out).ok_or(Status::NotFound).map(Ok);
        }
        // Nobody ends it meanwhile: its time is looked at once it is over.
        host.time.note(time::now());
        let ran = function(name, arguments, host, out).ok_or(Status::NotFound);
        if host.judge() == Verdict::UsedUp { Ok(Err(Trap::Interrupt)) } else { ran.map(Ok) }
    };
    with_scratch(caller, run, |caller, ran, bytes| {
        // What ran says where its result is, whatever became of it; a result of no bytes has a place.
        let done = ran?.map_err(|trap| Stop::Trap(trap.into()))?;
        let (address, size) = match done {
            Ok(Given::Bytes) if result != 0 => place(caller, bytes)?,
            Ok(Given::Bytes) => (0, u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)?),
            Ok(Given::None) | Err(_) => (0, 0),
        };
        let (memory, host) = split(caller);
        // Who gives a null pointer does not want it.
        for (at, word) in [(result, address), (result_length, size)].into_iter().filter(|(at, _)| *at != 0) {
            put_u32(memory, at, word)?;
        }
        host.time.hand(if address == 0 { 0 } else { bytes.len() });
        done.map(drop).map_err(Stop::from)
    })
}

/// What a function says; `None`: there is none of this name.
fn function(name: &[u8], arguments: &[u8], host: &mut Host, out: &mut Vec<u8>) -> Option<Result<Given, Status>> {
    let nothing = |()| Given::None;
    let bytes = |()| Given::Bytes;
    Some(match name {
        b"compress" => {
            out.extend(compress_to_vec_zlib(arguments, LEVEL));
            Ok(Given::Bytes)
        }
        b"uncompress" => match decompress_to_vec_zlib_with_limit(arguments, MOST_INFLATED) {
            Ok(inflated) => {
                out.extend(inflated);
                Ok(Given::Bytes)
            }
            Err(_) => Err(Status::SerializationFailure),
        },
        // Without effect on a plugin, as in Envoy: a guest that asks before it names the stream.
        b"clear_route_cache" => Ok(host.stream().map(Stream::clear_route_cache).map_or(Given::None, nothing)),
        b"expr_create" => expression::create(arguments, host, out).map(bytes),
        b"expr_evaluate" => expression::evaluate(arguments, host, out).map(bytes),
        b"expr_delete" => expression::delete(arguments, host).map(nothing),
        b"set_envoy_filter_state" => set_filter_state(arguments, host).map(nothing),
        // Keys need no declaration here.
        b"declare_property" => proto::checked(arguments).map(drop).map(nothing),
        b"verify_signature" => signature::verify(arguments, out).map(bytes),
        b"sign" => signature::sign(arguments, out).map(bytes),
        _ => return None,
    })
}

fn set_filter_state(arguments: &[u8], host: &Host) -> Result<(), Status> {
    let arguments = proto::checked(arguments)?;
    let field = |number| proto::fields(arguments).find(|field| field.number == number)?.bytes;
    if field(1) != Some(TCP_CLUSTER) {
        return Err(Status::NotFound);
    }
    let cluster = std::str::from_utf8(field(2).unwrap_or_default()).map_err(|_| Status::BadArgument)?;
    if cluster.is_empty() {
        return Err(Status::BadArgument);
    }
    let stream = host.stream()?;
    let may = |root: &Root| root.plugin.allowed_clusters.allows(cluster);
    // As a call to one that the filter may not call. Where the connection goes anyway it may go.
    if stream.kind() == StreamKind::Tcp && !host.root().is_some_and(may) && !stream.goes_to(cluster) {
        return Err(Status::BadArgument);
    }
    stream.set_cluster(cluster);
    Ok(())
}
