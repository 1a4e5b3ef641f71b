//! The table: function × host × verdict.

use super::{case::Case, host::Host, run::Verdict};
use std::{collections::BTreeMap, fmt::Write as _};

/// Everything ABI 0.2.1 names, by section of the specification, then what other versions and real modules have beside it.
const ROWS: &[(&str, &[&str])] = &[
    ("Integration", &["proxy_abi_version", "_initialize", "_start", "main", "proxy_on_memory_allocate", "malloc"]),
    (
        "Context",
        &[
            "proxy_on_context_create",
            "proxy_on_done",
            "proxy_on_log",
            "proxy_on_delete",
            "proxy_done",
            "proxy_set_effective_context",
        ],
    ),
    ("Configuration", &["proxy_on_vm_start", "proxy_validate_configuration", "proxy_on_configure"]),
    ("Logging", &["proxy_log", "proxy_get_log_level", "fd_write"]),
    (
        "Clock, timer, randomness, environment",
        &[
            "proxy_get_current_time_nanoseconds",
            "clock_time_get",
            "clock_res_get",
            "proxy_set_tick_period_milliseconds",
            "proxy_on_tick",
            "random_get",
            "environ_sizes_get",
            "environ_get",
        ],
    ),
    ("Buffers", &["proxy_get_buffer_bytes", "proxy_set_buffer_bytes", "proxy_get_buffer_status"]),
    (
        "HTTP fields",
        &[
            "proxy_get_header_map_size",
            "proxy_get_header_map_pairs",
            "proxy_set_header_map_pairs",
            "proxy_get_header_map_value",
            "proxy_add_header_map_value",
            "proxy_replace_header_map_value",
            "proxy_remove_header_map_value",
        ],
    ),
    (
        "Streams",
        &[
            "proxy_continue_stream",
            "proxy_close_stream",
            "proxy_get_status",
            "proxy_on_new_connection",
            "proxy_on_downstream_data",
            "proxy_on_downstream_connection_close",
            "proxy_on_upstream_data",
            "proxy_on_upstream_connection_close",
            "proxy_on_request_headers",
            "proxy_on_request_body",
            "proxy_on_request_trailers",
            "proxy_on_response_headers",
            "proxy_on_response_body",
            "proxy_on_response_trailers",
            "proxy_send_local_response",
        ],
    ),
    (
        "Calls",
        &[
            "proxy_http_call",
            "proxy_on_http_call_response",
            "proxy_grpc_call",
            "proxy_grpc_stream",
            "proxy_grpc_send",
            "proxy_grpc_cancel",
            "proxy_grpc_close",
            "proxy_on_grpc_receive_initial_metadata",
            "proxy_on_grpc_receive",
            "proxy_on_grpc_receive_trailing_metadata",
            "proxy_on_grpc_close",
        ],
    ),
    (
        "Shared data and queues",
        &[
            "proxy_set_shared_data",
            "proxy_get_shared_data",
            "proxy_register_shared_queue",
            "proxy_resolve_shared_queue",
            "proxy_enqueue_shared_queue",
            "proxy_dequeue_shared_queue",
            "proxy_on_queue_ready",
        ],
    ),
    ("Metrics", &["proxy_define_metric", "proxy_record_metric", "proxy_increment_metric", "proxy_get_metric"]),
    ("Properties", &["proxy_get_property", "proxy_set_property"]),
    ("Foreign functions", &["proxy_call_foreign_function", "proxy_on_foreign_function"]),
    (
        "WASI beside these, Emscripten",
        &[
            "args_sizes_get",
            "args_get",
            "proc_exit",
            "sched_yield",
            "poll_oneoff",
            "path_open",
            "fd_read",
            "fd_seek",
            "fd_close",
            "fd_fdstat_get",
            "fd_fdstat_set_flags",
            "fd_prestat_get",
            "fd_prestat_dir_name",
            "fd_advise",
            "fd_allocate",
            "fd_datasync",
            "fd_fdstat_set_rights",
            "fd_filestat_get",
            "fd_filestat_set_size",
            "fd_filestat_set_times",
            "fd_pread",
            "fd_pwrite",
            "fd_readdir",
            "fd_renumber",
            "fd_sync",
            "fd_tell",
            "path_create_directory",
            "path_filestat_get",
            "path_filestat_set_times",
            "path_readlink",
            "path_remove_directory",
            "path_rename",
            "path_unlink_file",
            "sock_accept",
            "sock_recv",
            "sock_send",
            "sock_shutdown",
            "wasi_unstable",
            "emscripten_notify_memory_growth",
            "pthread_equal",
        ],
    ),
    (
        "ABI 0.2.0 and 0.1.0",
        &[
            "abi_0_2_0",
            "abi_0_1_0",
            "proxy_get_configuration",
            "proxy_continue_request",
            "proxy_continue_response",
            "proxy_clear_route_cache",
        ],
    ),
    ("Faults", &["trap", "refusal", "restriction"]),
    ("Filters", &["filters", "proxy-wasm-rust-sdk", "assemblyscript-sdk", "go", "c++"]),
];

/// The rows no case covers.
pub(crate) fn uncovered(cases: &[Case]) -> Vec<&'static str> {
    let covered: Vec<&str> = cases.iter().flat_map(|case| &case.covers).map(String::as_str).collect();
    ROWS.iter().flat_map(|(_, names)| *names).copied().filter(|name| !covered.contains(name)).collect()
}

/// As Markdown.
pub(crate) fn render(cases: &[Case], results: &[(Host, Vec<Verdict>)]) -> String {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        for name in &case.covers {
            by_name.entry(name).or_default().push(number);
        }
    }
    let mut text = String::from("\n| function | cases |");
    for (host, _) in results {
        let _ = write!(text, " {} |", host.key());
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(results.len()));
    text.push('\n');
    for (section, names) in ROWS {
        let rows: Vec<_> = names.iter().filter_map(|name| by_name.get(name).map(|numbers| (name, numbers))).collect();
        if !rows.is_empty() {
            let _ = writeln!(text, "| **{section}** | |{}", " |".repeat(results.len()));
        }
        for (name, numbers) in rows {
            let lines: usize = numbers.iter().map(|&number| cases[number].expect.len()).sum();
            let _ = write!(text, "| `{name}` | {} ({lines} lines) |", numbers.len());
            for (_, verdicts) in results {
                let _ = write!(text, " {} |", cell(cases, verdicts, numbers));
            }
            text.push('\n');
        }
    }
    text
}

fn cell(cases: &[Case], verdicts: &[Verdict], numbers: &[usize]) -> String {
    let of = |wanted: fn(&Verdict) -> bool| -> Vec<&str> {
        let fits = numbers.iter().filter(|&&number| wanted(&verdicts[number]));
        fits.map(|&number| cases[number].name.as_str()).collect()
    };
    let wrong = of(|verdict| matches!(verdict, Verdict::Wrong(_)));
    if !wrong.is_empty() {
        return format!("**WRONG** {}", wrong.join(", "));
    }
    let mut notes = Vec::new();
    let (deviates, crashes) = (of(|v| *v == Verdict::Deviates), of(|v| *v == Verdict::Crashes));
    let absent = of(|v| *v == Verdict::Absent);
    if !absent.is_empty() {
        notes.push(format!("not built here: {}", absent.join(", ")));
    }
    if absent.len() == numbers.len() {
        return notes.concat();
    }
    if !deviates.is_empty() {
        notes.push(format!("differs on purpose: {}", deviates.join(", ")));
    }
    if !crashes.is_empty() {
        notes.push(format!("crashes: {}", crashes.join(", ")));
    }
    if notes.is_empty() { "ok".to_owned() } else { format!("ok; {}", notes.join("; ")) }
}
