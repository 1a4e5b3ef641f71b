//! The functions a guest may export for the host to call, resolved once for an instance.
//!
//! A callback the guest lacks is `None` and costs nothing. One that would be called and has another signature than the ABI's fails the load.

use super::AbiVersion;
use crate::vm::log;
use pillion_config::model::AllowedCapabilities;
use wasmtime::{AsContextMut, ExternType, Instance, Module, Store, TypedFunc, ValType, WasmParams, WasmResults};

/// What no restriction keeps from being called: without it there is no guest.
const ALWAYS: [&str; 6] = ["_initialize", "_start", "main", "__main_void", "malloc", "proxy_on_memory_allocate"];

/// A callback of the guest's, if it has it.
pub type Callback<P, R> = Option<TypedFunc<P, R>>;

/// An export that is not what the ABI says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("export {name} has the wrong signature: it is {found}, the ABI wants {wanted}")]
pub struct BadExport {
    /// Its name.
    pub name: &'static str,
    /// Its type as the module declares it.
    pub found: String,
    /// The type the ABI gives it.
    pub wanted: String,
}

macro_rules! callbacks {
    ($($(#[$doc:meta])* $field:ident: $name:literal ($($param:ty),*) -> $result:ty;)*) => {
        /// What a guest exports. Function handles are small and copied freely.
        #[derive(Clone, Default)]
        pub struct Callbacks {
            $($(#[$doc])* pub $field: Callback<($($param,)*), $result>,)*
            /// `proxy_on_request_headers`.
            pub request_headers: Callback<(u32, u32, u32), u32>,
            /// The same of ABI 0.1.0, which is not told of the stream's end.
            pub request_headers_0_1_0: Callback<(u32, u32), u32>,
            /// `proxy_on_response_headers`.
            pub response_headers: Callback<(u32, u32, u32), u32>,
            /// The same of ABI 0.1.0.
            pub response_headers_0_1_0: Callback<(u32, u32), u32>,
        }

        impl Callbacks {
            /// All names the ABI knows, the module's own start among them.
            pub const NAMES: &'static [&'static str] =
                &[$($name,)* "proxy_on_request_headers", "proxy_on_response_headers"];

            /// Forgets what is not allowed.
            fn restrict(&mut self, allows: impl Fn(&str) -> bool) {
                $(if !allows($name) { self.$field = None; })*
                if !allows("proxy_on_request_headers") {
                    (self.request_headers, self.request_headers_0_1_0) = (None, None);
                }
                if !allows("proxy_on_response_headers") {
                    (self.response_headers, self.response_headers_0_1_0) = (None, None);
                }
            }

            fn fill<T: 'static>(&mut self, store: &mut Store<T>, instance: &Instance) -> Result<(), BadExport> {
                $(self.$field = typed(store, instance, $name, <($($param,)*)>::wanted(<$result>::WORDS))?;)*
                Ok(())
            }
        }
    };
}

callbacks! {
    /// Reactor initialisation of WASI libc.
    initialize: "_initialize" () -> ();
    /// Command entry of WASI libc, called where there is no `_initialize`.
    start: "_start" () -> ();
    /// `main` as clang exports it for a function without arguments.
    main_void: "__main_void" () -> u32;
    /// `main`.
    main: "main" (u32, u32) -> u32;
    /// The guest's allocator.
    malloc: "malloc" (u32) -> u32;
    /// The guest's allocator, as the ABI names it.
    memory_allocate: "proxy_on_memory_allocate" (u32) -> u32;
    /// A context is made: its id, its root's id (0 for a root).
    context_create: "proxy_on_context_create" (u32, u32) -> ();
    /// Whether the context may go now.
    done: "proxy_on_done" (u32) -> u32;
    /// The stream is over; everything of it can be read once more.
    log: "proxy_on_log" (u32) -> ();
    /// The context is forgotten.
    delete: "proxy_on_delete" (u32) -> ();
    /// The VM starts; the size of its configuration.
    vm_start: "proxy_on_vm_start" (u32, u32) -> u32;
    /// Would check a plugin. As in Envoy 1.40 its type is looked at, and it is never called.
    validate_configuration: "proxy_validate_configuration" (u32, u32) -> u32;
    /// A plugin is configured; the size of its configuration.
    configure: "proxy_on_configure" (u32, u32) -> u32;
    /// The timer.
    tick: "proxy_on_tick" (u32) -> ();
    /// A TCP connection begins.
    new_connection: "proxy_on_new_connection" (u32) -> u32;
    /// Bytes from the client.
    downstream_data: "proxy_on_downstream_data" (u32, u32, u32) -> u32;
    /// The client's side closed.
    downstream_close: "proxy_on_downstream_connection_close" (u32, u32) -> ();
    /// Bytes from the server.
    upstream_data: "proxy_on_upstream_data" (u32, u32, u32) -> u32;
    /// The server's side closed.
    upstream_close: "proxy_on_upstream_connection_close" (u32, u32) -> ();
    /// A piece of a request's body.
    request_body: "proxy_on_request_body" (u32, u32, u32) -> u32;
    /// A request's trailers.
    request_trailers: "proxy_on_request_trailers" (u32, u32) -> u32;
    /// A piece of a response's body.
    response_body: "proxy_on_response_body" (u32, u32, u32) -> u32;
    /// A response's trailers.
    response_trailers: "proxy_on_response_trailers" (u32, u32) -> u32;
    /// The answer to an HTTP call: token, headers, body's size, trailers.
    http_call_response: "proxy_on_http_call_response" (u32, u32, u32, u32, u32) -> ();
    /// Initial metadata of a gRPC stream.
    grpc_initial_metadata: "proxy_on_grpc_receive_initial_metadata" (u32, u32, u32) -> ();
    /// A message of a gRPC call or stream.
    grpc_receive: "proxy_on_grpc_receive" (u32, u32, u32) -> ();
    /// Trailing metadata of a gRPC stream.
    grpc_trailing_metadata: "proxy_on_grpc_receive_trailing_metadata" (u32, u32, u32) -> ();
    /// A gRPC call failed, or a stream ended: the gRPC status.
    grpc_close: "proxy_on_grpc_close" (u32, u32, u32) -> ();
    /// Something is in a queue.
    queue_ready: "proxy_on_queue_ready" (u32, u32) -> ();
    /// A foreign function calls back.
    foreign_function: "proxy_on_foreign_function" (u32, u32, u32) -> ();
}

impl Callbacks {
    /// Resolves what `instance` exports and may be called.
    ///
    /// # Errors
    ///
    /// The first export whose signature is not the ABI's.
    pub fn resolve<T: 'static>(
        store: &mut Store<T>,
        instance: &Instance,
        abi: AbiVersion,
        capabilities: &AllowedCapabilities,
    ) -> Result<Self, BadExport> {
        let mut callbacks = Self::default();
        callbacks.fill(store, instance)?;
        let (request, response) = ("proxy_on_request_headers", "proxy_on_response_headers");
        if abi == AbiVersion::V0_1_0 {
            // SDKs of that time export either form under this marker.
            let two = <(u32, u32)>::wanted(1);
            let three = <(u32, u32, u32)>::wanted(1);
            match typed(store, instance, request, two) {
                Ok(found) => callbacks.request_headers_0_1_0 = found,
                Err(_) => callbacks.request_headers = typed(store, instance, request, three)?,
            }
            match typed(store, instance, response, two) {
                Ok(found) => callbacks.response_headers_0_1_0 = found,
                Err(_) => callbacks.response_headers = typed(store, instance, response, three)?,
            }
        } else {
            callbacks.request_headers = typed(store, instance, request, <(u32, u32, u32)>::wanted(1))?;
            callbacks.response_headers = typed(store, instance, response, <(u32, u32, u32)>::wanted(1))?;
        }
        if let AllowedCapabilities::Only(_) = capabilities {
            callbacks.restrict(|name| ALWAYS.contains(&name) || capabilities.allows(name));
        }
        Ok(callbacks)
    }

    /// The allocator, if there is one.
    #[must_use]
    pub fn allocator(&self) -> Callback<(u32,), u32> {
        self.malloc.clone().or_else(|| self.memory_allocate.clone())
    }
}

/// Whether the module exports a function of this name.
#[must_use]
pub fn exports_function(module: &Module, name: &str) -> bool {
    matches!(module.get_export(name), Some(ExternType::Func(_)))
}

/// A signature by its counts of words; every parameter and result of a callback is an `i32`.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    params: usize,
    results: usize,
}

trait Words {
    const WORDS: usize;
}

impl Words for () {
    const WORDS: usize = 0;
}

impl Words for u32 {
    const WORDS: usize = 1;
}

trait Signature {
    fn wanted(results: usize) -> Wanted;
}

macro_rules! signature {
    ($($count:literal: ($($word:ty),*);)*) => {
        $(impl Signature for ($($word,)*) {
            fn wanted(results: usize) -> Wanted {
                Wanted { params: $count, results }
            }
        })*
    };
}

signature! {
    0: ();
    1: (u32);
    2: (u32, u32);
    3: (u32, u32, u32);
    5: (u32, u32, u32, u32, u32);
}

/// What is never called, of whatever type it is, as in Envoy: where another function is there, or is not.
fn instead(name: &str) -> Option<(&'static str, bool)> {
    match name {
        "proxy_on_memory_allocate" => Some(("malloc", true)),
        "_start" => Some(("_initialize", true)),
        "main" | "__main_void" => Some(("_initialize", false)),
        _ => None,
    }
}

fn typed<T, P, R>(
    store: &mut Store<T>,
    instance: &Instance,
    name: &'static str,
    wanted: Wanted,
) -> Result<Callback<P, R>, BadExport>
where
    T: 'static,
    P: WasmParams,
    R: WasmResults,
{
    if let Some((other, there)) = instead(name)
        && instance.get_func(store.as_context_mut(), other).is_some() == there
    {
        return Ok(None);
    }
    let Some(func) = instance.get_func(store.as_context_mut(), name) else { return Ok(None) };
    func.typed::<P, R>(&*store).map(Some).map_err(|_| {
        let found = func.ty(&*store);
        BadExport {
            name,
            found: log::name(&words(found.params(), found.results())),
            wanted: words(
                std::iter::repeat_n(ValType::I32, wanted.params),
                std::iter::repeat_n(ValType::I32, wanted.results),
            ),
        }
    })
}

/// `(i32, i32) -> i32`.
pub(crate) fn words(params: impl Iterator<Item = ValType>, results: impl Iterator<Item = ValType>) -> String {
    let list =
        |types: &mut dyn Iterator<Item = ValType>| types.map(|one| one.to_string()).collect::<Vec<_>>().join(", ");
    let (mut params, mut results) = (params, results);
    let (params, results) = (list(&mut params), list(&mut results));
    if results.is_empty() { format!("({params}) -> nothing") } else { format!("({params}) -> {results}") }
}
