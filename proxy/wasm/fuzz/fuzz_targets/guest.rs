//! A guest that does what its configuration says, byte by byte: any host function, with any arguments, from any callback.
//!
//! ```text
//!  program  op …               consumed front to back, over all callbacks and the allocator, so it always ends
//!  op       number arg …       a host function (by its place in FUNCTIONS); what it answers is forgotten
//!           0xFF word          the callback returns word
//!           0xFE               the memory grows by a page
//!           0xFD               a trap
//!           0xFC place word    word is written at a place in the scratch area
//!  arg      how byte           a small number, a place in the scratch area, what stands there, an entry of WORDS, its length
//!           how 4 bytes        any number
//!  malloc   how …              bytes from the heap; or any number, after an op of its own (re-entrance), growth, a trap
//! ```

/// Host functions: module, name, arguments (`w` a word, `d` a double word), whether one comes back.
const FUNCTIONS: &[(&str, &str, &str, bool)] = &[
    ("env", "proxy_log", "www", true),
    ("env", "proxy_get_log_level", "w", true),
    ("env", "proxy_get_status", "www", true),
    ("env", "proxy_set_tick_period_milliseconds", "w", true),
    ("env", "proxy_get_current_time_nanoseconds", "w", true),
    ("env", "proxy_set_effective_context", "w", true),
    ("env", "proxy_done", "", true),
    ("env", "proxy_get_property", "wwww", true),
    ("env", "proxy_set_property", "wwww", true),
    ("env", "proxy_get_buffer_bytes", "wwwww", true),
    ("env", "proxy_get_buffer_status", "www", true),
    ("env", "proxy_set_buffer_bytes", "wwwww", true),
    ("env", "proxy_get_header_map_pairs", "www", true),
    ("env", "proxy_set_header_map_pairs", "www", true),
    ("env", "proxy_get_header_map_size", "ww", true),
    ("env", "proxy_get_header_map_value", "wwwww", true),
    ("env", "proxy_add_header_map_value", "wwwww", true),
    ("env", "proxy_replace_header_map_value", "wwwww", true),
    ("env", "proxy_remove_header_map_value", "www", true),
    ("env", "proxy_send_local_response", "wwwwwwww", true),
    ("env", "proxy_continue_stream", "w", true),
    ("env", "proxy_close_stream", "w", true),
    ("env", "proxy_http_call", "wwwwwwwwww", true),
    ("env", "proxy_grpc_call", "wwwwwwwwwwww", true),
    ("env", "proxy_grpc_stream", "wwwwwwwww", true),
    ("env", "proxy_grpc_send", "wwww", true),
    ("env", "proxy_grpc_cancel", "w", true),
    ("env", "proxy_grpc_close", "w", true),
    ("env", "proxy_get_shared_data", "wwwww", true),
    ("env", "proxy_set_shared_data", "wwwww", true),
    ("env", "proxy_register_shared_queue", "www", true),
    ("env", "proxy_resolve_shared_queue", "wwwww", true),
    ("env", "proxy_enqueue_shared_queue", "www", true),
    ("env", "proxy_dequeue_shared_queue", "www", true),
    ("env", "proxy_define_metric", "wwww", true),
    ("env", "proxy_increment_metric", "wd", true),
    ("env", "proxy_record_metric", "wd", true),
    ("env", "proxy_get_metric", "ww", true),
    ("env", "proxy_call_foreign_function", "wwwwww", true),
    ("wasi_snapshot_preview1", "fd_write", "wwww", true),
    ("wasi_snapshot_preview1", "fd_fdstat_get", "ww", true),
    ("wasi_snapshot_preview1", "args_sizes_get", "ww", true),
    ("wasi_snapshot_preview1", "args_get", "ww", true),
    ("wasi_snapshot_preview1", "environ_sizes_get", "ww", true),
    ("wasi_snapshot_preview1", "environ_get", "ww", true),
    ("wasi_snapshot_preview1", "clock_time_get", "wdw", true),
    ("wasi_snapshot_preview1", "random_get", "ww", true),
    ("wasi_snapshot_preview1", "poll_oneoff", "wwww", true),
    ("wasi_snapshot_preview1", "proc_exit", "w", false),
];

/// Texts that mean something to the host; each at `WORDS_AT + 64 × its place`.
const WORDS: &[&[u8]] = &[
    b":path",
    b":method",
    b":authority",
    b":status",
    b"host",
    b"x-made",
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"up",
    b"/any?path",
    b"pairs: \x01\0\0\0",
    b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0",
    b"\x03\0\0\0\x07\0\0\0\x03\0\0\0\x05\0\0\0\x01\0\0\0\x0a\0\0\0\x01\0\0\0:method\0GET\0:path\0/\0:authority\0x\0",
    b"request\0path",
    b"request\0headers",
    b"request\0time",
    b"response\0code",
    b"response\0headers",
    b"source\0address",
    b"connection\0mtls",
    b"upstream\0address",
    b"xds\0node",
    b"xds\0cluster_name",
    b"plugin_name",
    b"filter_state",
    b"metadata",
    b"compress",
    b"uncompress",
    b"set_envoy_filter_state",
    b"\x0a\x17envoy.tcp_proxy.cluster\x12\x02up",
    b"verify_signature",
    b"sign",
    b"declare_property",
    b"clear_route_cache",
    b"secret",
    b"other",
    b"\xff\xfe\0\r\n",
    b"",
];

/// The scratch area: 256 words from here on.
const SCRATCH_AT: u32 = 1024;
/// Lengths of the texts, a word each.
const LENGTHS_AT: u32 = 4096;
const WORDS_AT: u32 = 8192;
const PROGRAM_AT: u32 = 65_536;
/// Bytes of a program at most.
pub(crate) const MOST_PROGRAM: usize = 4096;

/// The guest's text.
pub(crate) fn text() -> String {
    let mut imports = String::new();
    let mut ops = String::new();
    let mut elements = String::new();
    for (at, (module, name, params, result)) in FUNCTIONS.iter().enumerate() {
        let types: Vec<_> = params.chars().map(|one| if one == 'w' { "i32" } else { "i64" }).collect();
        let returns = if *result { "(result i32)" } else { "" };
        let types = types.join(" ");
        imports += &format!("(import \"{module}\" \"{name}\" (func $f{at} (param {types}) {returns}))\n");
        let arguments: String =
            params.chars().map(|one| if one == 'w' { "(call $word)" } else { "(call $double)" }).collect();
        let call = format!("(call $f{at} {arguments})");
        let body = if *result { format!("(drop {call})") } else { call };
        ops += &format!("(func $op{at} {body})\n");
        elements += &format!(" $op{at}");
    }
    let mut data = String::new();
    for (at, word) in WORDS.iter().enumerate() {
        let escaped: String = word.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let at = u32::try_from(at).expect("a few dozen");
        data += &format!("(data (i32.const {}) \"{escaped}\")\n", WORDS_AT + 64 * at);
        let length =
            u32::try_from(word.len()).expect("short").to_le_bytes().map(|byte| format!("\\{byte:02x}")).concat();
        data += &format!("(data (i32.const {}) \"{length}\")\n", LENGTHS_AT + 4 * at);
    }
    let callback = |name: &str, params: usize, result: &str| {
        let params = "i32 ".repeat(params);
        let run = if result.is_empty() { "(drop (call $run))" } else { "(call $run)" };
        format!("(func (export \"proxy_on_{name}\") (param {params}) {result} {run})\n")
    };
    let word = "(result i32)";
    let callbacks: String = [
        ("context_create", 2, ""),
        ("done", 1, word),
        ("log", 1, ""),
        ("delete", 1, ""),
        ("tick", 1, ""),
        ("new_connection", 1, word),
        ("downstream_data", 3, word),
        ("downstream_connection_close", 2, ""),
        ("upstream_data", 3, word),
        ("upstream_connection_close", 2, ""),
        ("request_headers", 3, word),
        ("request_body", 3, word),
        ("request_trailers", 2, word),
        ("response_headers", 3, word),
        ("response_body", 3, word),
        ("response_trailers", 2, word),
        ("http_call_response", 5, ""),
        ("grpc_receive_initial_metadata", 3, ""),
        ("grpc_receive", 3, ""),
        ("grpc_receive_trailing_metadata", 3, ""),
        ("grpc_close", 3, ""),
        ("queue_ready", 2, ""),
        ("foreign_function", 3, ""),
    ]
    .into_iter()
    .map(|(name, params, result)| callback(name, params, result))
    .collect();
    format!(
        r#"(module
            {imports}
            (memory (export "memory") 4)
            (table funcref (elem {elements}))
            {data}
            (global $pc (mut i32) (i32.const {PROGRAM_AT}))
            (global $end (mut i32) (i32.const {PROGRAM_AT}))
            (global $heap (mut i32) (i32.const 131072))
            (func (export "proxy_abi_version_0_2_1"))

            (func $byte (result i32)
                (if (i32.ge_u (global.get $pc) (global.get $end)) (then (return (i32.const 0))))
                (i32.load8_u (global.get $pc))
                (global.set $pc (i32.add (global.get $pc) (i32.const 1))))
            (func $four (result i32)
                (i32.or (i32.or (call $byte) (i32.shl (call $byte) (i32.const 8)))
                    (i32.or (i32.shl (call $byte) (i32.const 16)) (i32.shl (call $byte) (i32.const 24)))))
            (func $place (result i32)
                (i32.add (i32.const {SCRATCH_AT}) (i32.mul (call $byte) (i32.const 4))))
            (func $entry (result i32) (i32.rem_u (call $byte) (i32.const {words})))
            (func $word (result i32) (local $how i32)
                (local.set $how (i32.and (call $byte) (i32.const 7)))
                (if (i32.eq (local.get $how) (i32.const 0)) (then (return (call $byte))))
                (if (i32.eq (local.get $how) (i32.const 1)) (then (return (call $place))))
                (if (i32.eq (local.get $how) (i32.const 2)) (then (return (i32.load (call $place)))))
                (if (i32.eq (local.get $how) (i32.const 3))
                    (then (return (i32.add (i32.const {WORDS_AT}) (i32.mul (call $entry) (i32.const 64))))))
                (if (i32.eq (local.get $how) (i32.const 4))
                    (then (return (i32.load (i32.add (i32.const {LENGTHS_AT}) (i32.mul (call $entry) (i32.const 4)))))))
                (if (i32.eq (local.get $how) (i32.const 5)) (then (return (global.get $pc))))
                (if (i32.eq (local.get $how) (i32.const 6)) (then (return (i32.sub (i32.const 0) (call $byte)))))
                (call $four))
            (func $double (result i64)
                (i64.or (i64.extend_i32_u (call $word)) (i64.shl (i64.extend_i32_s (call $byte)) (i64.const 56))))

            (func $op (param $number i32)
                (if (i32.eq (local.get $number) (i32.const 0xFE)) (then (drop (memory.grow (i32.const 1))) (return)))
                (if (i32.eq (local.get $number) (i32.const 0xFD)) (then (unreachable)))
                (if (i32.eq (local.get $number) (i32.const 0xFC)) (then (i32.store (call $place) (call $word)) (return)))
                (call_indirect (i32.rem_u (local.get $number) (i32.const {functions}))))
            (func $run (result i32) (local $number i32)
                (loop $next
                    (if (i32.ge_u (global.get $pc) (global.get $end)) (then (return (i32.const 0))))
                    (local.set $number (call $byte))
                    (if (i32.eq (local.get $number) (i32.const 0xFF)) (then (return (call $byte))))
                    (call $op (local.get $number))
                    (br $next))
                (unreachable))
            {ops}

            (func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $how i32) (local $at i32)
                (local.set $how (call $byte))
                (if (i32.eq (local.get $how) (i32.const 0xF8)) (then (return (call $four))))
                (if (i32.eq (local.get $how) (i32.const 0xF9)) (then (call $op (call $byte))))
                (if (i32.eq (local.get $how) (i32.const 0xFA)) (then (drop (memory.grow (i32.const 2)))))
                (if (i32.eq (local.get $how) (i32.const 0xFB)) (then (unreachable)))
                (local.set $at (global.get $heap))
                (global.set $heap (i32.add (local.get $at) (local.get $size)))
                (if (i32.gt_u (global.get $heap) (i32.const 260000)) (then (global.set $heap (i32.const 131072))))
                (local.get $at))

            ;; The program is the machine's configuration; it is read before anything of it is consumed.
            (func (export "proxy_on_vm_start") (param $root i32) (param $size i32) (result i32)
                (drop (call $f9 (i32.const 6) (i32.const 0) (i32.const -1)
                    (i32.const {SCRATCH_AT}) (i32.const {size_at})))
                (memory.copy (i32.const {PROGRAM_AT}) (i32.load (i32.const {SCRATCH_AT})) (local.get $size))
                (global.set $end (i32.add (i32.const {PROGRAM_AT}) (local.get $size)))
                (i32.const 1))
            ;; Its first part runs here; what it answers does not matter, so that the rest runs too.
            (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $run)) (i32.const 1))
            {callbacks})"#,
        words = WORDS.len(),
        functions = FUNCTIONS.len(),
        size_at = SCRATCH_AT + 4,
    )
}

/// What the other plugin does: shows the host all of its request's fields, and keeps a secret under its own id.
pub(crate) fn keeper() -> Vec<u8> {
    let number = |name: &str| {
        let at = FUNCTIONS.iter().position(|function| function.1 == name).expect("a function of the table");
        u8::try_from(at).expect("few functions")
    };
    let word = |text: &[u8]| {
        u8::try_from(WORDS.iter().position(|word| *word == text).expect("a text of the table")).expect("few texts")
    };
    let (name, secret) = (word(b"secret"), word(b"other"));
    [
        // In proxy_on_configure: shared data "secret" = "other".
        &[number("proxy_set_shared_data"), 3, name, 4, name, 3, secret, 4, secret, 0, 0, 0xFF, 1][..],
        // In proxy_on_context_create.
        &[0xFF, 0],
        // In proxy_on_request_headers: all pairs, by a heap allocation.
        &[number("proxy_get_header_map_pairs"), 0, 0, 1, 8, 1, 9, 0, 0xFF, 0],
    ]
    .concat()
}
