//! Foreign functions: what Envoy offers filters beyond the ABI, by name.
//!
//! | name | arguments | result |
//! |---|---|---|
//! | `compress`, `uncompress` | bytes | bytes, in zlib's format |
//! | `clear_route_cache` | | |
//! | `expr_create` | an expression ([`cel`](crate::cel)) | its number |
//! | `expr_evaluate` | a number | the value, as properties are |
//! | `expr_delete` | a number | |
//! | `set_envoy_filter_state` | `envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments` | |
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
        memory::{Answer, give_made, slice},
        state::Host,
    },
};
use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};
use wasmtime::Caller;

/// Bytes that `uncompress` makes: a small message can hold any number of zeros.
const MOST_INFLATED: usize = 4 * MOST_GIVEN;

/// zlib's own default.
const LEVEL: u8 = 6;

/// The only filter state that means something to this proxy: where a TCP connection goes.
const TCP_CLUSTER: &[u8] = b"envoy.tcp_proxy.cluster";

pub(super) fn call(
    caller: &mut Caller<'_, Host>,
    name: u32,
    name_length: u32,
    arguments: u32,
    length: u32,
    result: u32,
    result_length: u32,
) -> Answer {
    give_made(caller, result, result_length, |memory, host, out| {
        let name = slice(memory, name, name_length)?;
        let arguments = slice(memory, arguments, length)?;
        if arguments.len() > MOST_GIVEN {
            return Err(Status::BadArgument.into());
        }
        Ok(function(name, arguments, host, out)?)
    })
}

fn function(name: &[u8], arguments: &[u8], host: &mut Host, out: &mut Vec<u8>) -> Result<(), Status> {
    match name {
        b"compress" => out.extend(compress_to_vec_zlib(arguments, LEVEL)),
        b"uncompress" => {
            let inflated = decompress_to_vec_zlib_with_limit(arguments, MOST_INFLATED);
            out.extend(inflated.map_err(|_| Status::SerializationFailure)?);
        }
        b"clear_route_cache" => host.stream()?.clear_route_cache(),
        b"expr_create" => expression::create(arguments, host, out)?,
        b"expr_evaluate" => expression::evaluate(arguments, host, out)?,
        b"expr_delete" => expression::delete(arguments, host)?,
        b"set_envoy_filter_state" => set_filter_state(arguments, host)?,
        // Keys need no declaration here.
        b"declare_property" => {}
        b"verify_signature" => signature::verify(arguments, out)?,
        b"sign" => signature::sign(arguments, out)?,
        _ => return Err(Status::NotFound),
    }
    Ok(())
}

fn set_filter_state(arguments: &[u8], host: &Host) -> Result<(), Status> {
    let field = |number| proto::fields(arguments).find(|field| field.number == number)?.bytes;
    let path = field(1).ok_or(Status::BadArgument)?;
    if path != TCP_CLUSTER {
        return Err(Status::NotFound);
    }
    let cluster = std::str::from_utf8(field(2).unwrap_or_default()).map_err(|_| Status::BadArgument)?;
    if cluster.is_empty() {
        return Err(Status::BadArgument);
    }
    host.stream()?.set_cluster(cluster);
    Ok(())
}
