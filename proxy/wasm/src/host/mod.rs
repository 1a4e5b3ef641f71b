//! The host functions: what a guest can call, bound to their names.
//!
//! ```text
//!  guest ──► env.proxy_* ──► gate (is it allowed now?) ──► headers | buffers | stream | calls | shared | …
//!        ──► wasi_snapshot_preview1.*, wasi_unstable.* ──► wasi          (also while the module initialises itself)
//! ```
//!
//! Which functions there are depends on the module's ABI version. Every one checks what it is given; what is wrong
//! with an argument is told by a status, and only a function called where it cannot be, or by a callback that has had its
//! time, ends the guest.

pub mod buffers;
pub mod calls;
pub mod foreign;
pub mod headers;
pub mod properties;
pub mod shared;
pub mod stream;
pub mod system;
pub mod wasi;

use crate::{
    abi::AbiVersion,
    vm::{
        memory::answer,
        state::{Host, Stage},
    },
};
use wasmtime::{Caller, Engine, Linker};

/// A function called while the module initialises itself, when only the log and WASI are there.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{0} is called while the module initialises itself; only proxy_log and WASI are there then")]
pub struct TooEarly(&'static str);

fn gate(caller: &mut Caller<'_, Host>, name: &'static str) -> wasmtime::Result<()> {
    let host = caller.data_mut();
    if host.stage == Stage::Loading { Err(TooEarly(name).into()) } else { host.in_time() }
}

/// Binds functions whose arguments are all words.
macro_rules! bind {
    ($linker:expr, $($name:literal => $function:path, ($($arg:ident),*);)*) => {
        {$($linker.func_wrap("env", $name, |mut caller: Caller<'_, Host>, $($arg: u32),*| -> wasmtime::Result<u32> {
            gate(&mut caller, $name)?;
            answer($function(&mut caller, $($arg),*))
        })?;)*}
    };
}

/// Functions of Emscripten's, which are no capabilities.
pub(crate) const EMSCRIPTEN: [&str; 2] = ["emscripten_notify_memory_growth", "pthread_equal"];

/// All host functions of an ABI version.
///
/// # Errors
///
/// None that could arise from outside: a name bound twice.
pub fn linker(engine: &Engine, abi: AbiVersion) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    // It is there while the module initialises itself.
    linker.func_wrap("env", "proxy_log", |mut caller: Caller<'_, Host>, level: u32, text: u32, length: u32| {
        caller.data_mut().in_time()?;
        answer(system::log(&mut caller, level, text, length))
    })?;
    bind! { linker,
        "proxy_get_status" => system::get_status, (code, text, length);
        "proxy_set_tick_period_milliseconds" => system::set_tick_period, (period);
        "proxy_get_current_time_nanoseconds" => system::get_current_time, (time);
        "proxy_set_effective_context" => system::set_effective_context, (id);
        "proxy_done" => system::done, ();
        "proxy_get_property" => properties::get, (path, path_length, value, length);
        "proxy_set_property" => properties::set, (path, path_length, value, length);
        "proxy_get_buffer_bytes" => buffers::get, (kind, start, length, data, size);
        "proxy_get_buffer_status" => buffers::status, (kind, size, flags);
        "proxy_set_buffer_bytes" => buffers::set, (kind, start, length, data, size);
        "proxy_get_header_map_pairs" => headers::get_pairs, (map, data, size);
        "proxy_set_header_map_pairs" => headers::set_pairs, (map, data, size);
        "proxy_get_header_map_size" => headers::get_size, (map, size);
        "proxy_get_header_map_value" => headers::get, (map, name, name_length, value, length);
        "proxy_add_header_map_value" => headers::add, (map, name, name_length, value, length);
        "proxy_replace_header_map_value" => headers::replace, (map, name, name_length, value, length);
        "proxy_remove_header_map_value" => headers::remove, (map, name, name_length);
        "proxy_send_local_response" => stream::send_local_response,
            (status, details, details_length, body, body_length, headers, headers_length, grpc_status);
        "proxy_http_call" => calls::http_call,
            (cluster, cluster_length, headers, headers_length, body, body_length, trailers, trailers_length, timeout,
             token);
        "proxy_grpc_call" => calls::grpc_call,
            (cluster, cluster_length, service, service_length, method, method_length, metadata, metadata_length,
             message, message_length, timeout, token);
        "proxy_grpc_stream" => calls::grpc_stream,
            (cluster, cluster_length, service, service_length, method, method_length, metadata, metadata_length, token);
        "proxy_grpc_send" => calls::grpc_send, (token, message, length, end);
        "proxy_grpc_cancel" => calls::grpc_cancel, (token);
        "proxy_grpc_close" => calls::grpc_close, (token);
        "proxy_get_shared_data" => shared::get_data, (key, key_length, value, length, cas);
        "proxy_set_shared_data" => shared::set_data, (key, key_length, value, length, cas);
        "proxy_register_shared_queue" => shared::register_queue, (name, length, id);
        "proxy_resolve_shared_queue" => shared::resolve_queue, (vm_id, vm_id_length, name, length, id);
        "proxy_enqueue_shared_queue" => shared::enqueue, (id, message, length);
        "proxy_dequeue_shared_queue" => shared::dequeue, (id, message, length);
        "proxy_define_metric" => shared::define_metric, (kind, name, length, id);
        "proxy_get_metric" => shared::get_metric, (id, value);
        "proxy_call_foreign_function" => foreign::call, (name, name_length, arguments, length, result, result_length);
    }
    linker.func_wrap("env", "proxy_increment_metric", |mut caller: Caller<'_, Host>, id: u32, by: i64| {
        gate(&mut caller, "proxy_increment_metric")?;
        answer(shared::increment_metric(&mut caller, id, by))
    })?;
    linker.func_wrap("env", "proxy_record_metric", |mut caller: Caller<'_, Host>, id: u32, value: u64| {
        gate(&mut caller, "proxy_record_metric")?;
        answer(shared::record_metric(&mut caller, id, value))
    })?;
    match abi {
        AbiVersion::V0_1_0 => {
            bind! { linker,
                "proxy_get_configuration" => buffers::get_configuration, (data, size);
                "proxy_continue_request" => stream::continue_request, ();
                "proxy_continue_response" => stream::continue_response, ();
                "proxy_clear_route_cache" => stream::clear_route_cache, ();
            }
        }
        AbiVersion::V0_2_0 | AbiVersion::V0_2_1 => {
            bind! { linker,
                "proxy_continue_stream" => stream::continue_stream, (kind);
                "proxy_close_stream" => stream::close_stream, (kind);
            }
        }
    }
    if abi == AbiVersion::V0_2_1 {
        bind! { linker, "proxy_get_log_level" => system::get_log_level, (level); }
    }
    // What Emscripten's libraries import, whatever a restriction says, as in Envoy: hosts learn of memory that grew from the engine.
    linker.func_wrap("env", EMSCRIPTEN[0], |mut caller: Caller<'_, Host>, _memory: u32| caller.data_mut().in_time())?;
    linker.func_wrap("env", EMSCRIPTEN[1], |mut caller: Caller<'_, Host>, left: u32, right: u32| {
        gate(&mut caller, EMSCRIPTEN[1]).map(|()| u32::from(left == right))
    })?;
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        wasi::bind(&mut linker, module)?;
    }
    Ok(linker)
}
