//! Host functions as a guest without a stream meets them: statuses and values.

use crate::world::World;
use proptest::prelude::*;

/// Every function whose parameters are all words, with their number.
const FUNCTIONS: &[(&str, &str, usize)] = &[
    ("env", "proxy_log", 3),
    ("env", "proxy_get_log_level", 1),
    ("env", "proxy_get_status", 3),
    ("env", "proxy_get_current_time_nanoseconds", 1),
    ("env", "proxy_set_effective_context", 1),
    ("env", "proxy_done", 0),
    ("env", "proxy_get_property", 4),
    ("env", "proxy_set_property", 4),
    ("env", "proxy_get_buffer_bytes", 5),
    ("env", "proxy_get_buffer_status", 3),
    ("env", "proxy_set_buffer_bytes", 5),
    ("env", "proxy_get_header_map_pairs", 3),
    ("env", "proxy_set_header_map_pairs", 3),
    ("env", "proxy_get_header_map_size", 2),
    ("env", "proxy_get_header_map_value", 5),
    ("env", "proxy_add_header_map_value", 5),
    ("env", "proxy_replace_header_map_value", 5),
    ("env", "proxy_remove_header_map_value", 3),
    ("env", "proxy_continue_stream", 1),
    ("env", "proxy_close_stream", 1),
    ("env", "proxy_send_local_response", 8),
    ("env", "proxy_http_call", 10),
    ("env", "proxy_grpc_call", 12),
    ("env", "proxy_grpc_stream", 9),
    ("env", "proxy_grpc_send", 4),
    ("env", "proxy_grpc_cancel", 1),
    ("env", "proxy_grpc_close", 1),
    ("env", "proxy_get_shared_data", 5),
    ("env", "proxy_register_shared_queue", 3),
    ("env", "proxy_resolve_shared_queue", 5),
    ("env", "proxy_enqueue_shared_queue", 3),
    ("env", "proxy_dequeue_shared_queue", 3),
    ("env", "proxy_define_metric", 4),
    ("env", "proxy_get_metric", 2),
    ("env", "proxy_call_foreign_function", 6),
    ("wasi_snapshot_preview1", "fd_write", 4),
    ("wasi_snapshot_preview1", "fd_read", 4),
    ("wasi_snapshot_preview1", "fd_fdstat_get", 2),
    ("wasi_snapshot_preview1", "environ_sizes_get", 2),
    ("wasi_snapshot_preview1", "environ_get", 2),
    ("wasi_snapshot_preview1", "args_sizes_get", 2),
    ("wasi_snapshot_preview1", "random_get", 2),
    ("wasi_snapshot_preview1", "poll_oneoff", 4),
    ("wasi_snapshot_preview1", "clock_res_get", 2),
    ("wasi_snapshot_preview1", "fd_tell", 2),
    ("wasi_snapshot_preview1", "fd_renumber", 2),
    ("wasi_snapshot_preview1", "path_readlink", 6),
    ("wasi_snapshot_preview1", "sock_accept", 3),
    ("wasi_snapshot_preview1", "sock_recv", 6),
    ("wasi_snapshot_preview1", "sock_send", 5),
];

fn call(world: &World, module: &str, name: &str, arguments: &[u32]) -> u32 {
    let words = "i32 ".repeat(arguments.len());
    let import = format!(r#"(import "{module}" "{name}" (func $f (param {words}) (result i32)))"#);
    let list: String = arguments.iter().map(|word| format!("(i32.const {word}) ")).collect();
    world.run(&import, &format!("(call $f {list})"))
}

fn env(name: &str, arguments: &[u32]) -> u32 {
    call(&World::default(), "env", name, arguments)
}

#[test]
fn statuses_without_a_stream_are_envoys() {
    assert_eq!(env("proxy_log", &[2, 0, 4]), 0);
    assert_eq!(env("proxy_log", &[6, 0, 4]), 2);
    assert_eq!(env("proxy_log", &[2, u32::MAX, 4]), 6);
    assert_eq!(env("proxy_set_effective_context", &[0]), 0);
    assert_eq!(env("proxy_set_effective_context", &[99]), 2);
    assert_eq!(env("proxy_get_header_map_value", &[0, 0, 4, 8, 12]), 2);
    assert_eq!(env("proxy_get_header_map_pairs", &[0, 8, 12]), 0);
    assert_eq!(env("proxy_get_header_map_pairs", &[8, 8, 12]), 2);
    assert_eq!(env("proxy_add_header_map_value", &[0, 0, 1, 0, 1]), 2);
    assert_eq!(env("proxy_get_buffer_bytes", &[0, 0, 10, 8, 12]), 0);
    assert_eq!(env("proxy_get_buffer_bytes", &[4, 0, 10, 8, 12]), 1);
    assert_eq!(env("proxy_get_buffer_bytes", &[6, 0, u32::MAX, 8, 12]), 0);
    assert_eq!(env("proxy_get_buffer_bytes", &[7, 0, 10, 8, 12]), 0, "while it is configured");
    assert_eq!(env("proxy_get_buffer_bytes", &[9, 0, 10, 8, 12]), 2);
    assert_eq!(env("proxy_set_buffer_bytes", &[0, 0, 0, 0, 1]), 2);
    assert_eq!(env("proxy_continue_stream", &[0]), 0);
    assert_eq!(env("proxy_continue_stream", &[4]), 2);
    assert_eq!(env("proxy_set_property", &[0, 4, 0, 4]), 1);
    assert_eq!(env("proxy_get_property", &[0, 4, 8, 12]), 1);
    assert_eq!(env("proxy_get_shared_data", &[0, 4, 8, 12, 16]), 1);
    assert_eq!(env("proxy_dequeue_shared_queue", &[77, 8, 12]), 1);
    assert_eq!(env("proxy_resolve_shared_queue", &[0, 1, 0, 1, 8]), 1);
    assert_eq!(env("proxy_define_metric", &[3, 0, 1, 8]), 2);
    assert_eq!(env("proxy_get_metric", &[99, 8]), 2);
    assert_eq!(env("proxy_call_foreign_function", &[0, 4, 0, 0, 8, 12]), 1);
    assert_eq!(env("proxy_http_call", &[0, 1, 0, 0, 0, 0, 0, 0, 100, 8]), 2, "no headers");
    assert_eq!(env("proxy_grpc_send", &[6, 0, 0, 0]), 1);
    assert_eq!(env("proxy_grpc_send", &[4, 0, 0, 0]), 2);
    assert_eq!(env("proxy_grpc_cancel", &[5]), 1);
}

/// As in Envoy: what others count cannot be read or changed by counting numbers.
#[test]
fn a_metrics_number_is_the_machines_that_defined_it() {
    let world = World::default();
    let imports = r#"(import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_metric" (func $get (param i32 i32) (result i32)))
        (import "env" "proxy_increment_metric" (func $add (param i32 i64) (result i32)))
        (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))"#;
    // A counter and a gauge of one name, of the 4 bytes at 0, which are "seen".
    let define = "(i32.store (i32.const 0) (i32.const 0x6e656573))
        (drop (call $define (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 8)))
        (drop (call $define (i32.const 1) (i32.const 0) (i32.const 4) (i32.const 12)))";
    let first = format!(
        "(block (result i32) {define} (drop (call $add (i32.load (i32.const 8)) (i64.const 41)))
            (drop (call $record (i32.load (i32.const 12)) (i64.const 50)))
            (i32.add (i32.mul (i32.load (i32.const 8)) (i32.const 100)) (i32.load (i32.const 12))))"
    );
    assert_eq!(world.run(imports, &first), 405, "they have numbers 4 and 5");
    for number in [4, 5] {
        for ask in [
            "$get (i32.const N) (i32.const 16)",
            "$add (i32.const N) (i64.const 1)",
            "$record (i32.const N) (i64.const 7)",
        ] {
            let ask = ask.replace('N', &number.to_string());
            assert_eq!(world.run(imports, &format!("(call {ask})")), 1, "{ask}");
        }
    }
    // Who defines the same counts on with numbers of its own, which begin anew.
    let again = format!(
        "(block (result i32) {define} (drop (call $get (i32.const 4) (i32.const 16))) (drop (call $get (i32.const 5) (i32.const 24)))
            (i32.add (i32.mul (i32.load (i32.const 16)) (i32.const 100)) (i32.load (i32.const 24))))"
    );
    assert_eq!(world.run(imports, &again), 4150);
}

#[test]
fn wasi_answers_what_runtimes_ask() {
    let world = World { environment: vec![b"A=1".to_vec(), b"BC=23".to_vec()], ..World::default() };
    let wasi = |name: &str, arguments: &[u32]| call(&world, "wasi_snapshot_preview1", name, arguments);
    assert_eq!(wasi("fd_write", &[1, 0, 0, 8]), 0);
    assert_eq!(wasi("fd_write", &[3, 0, 0, 8]), 8);
    assert_eq!(wasi("fd_write", &[1, 0, u32::MAX, 8]), 28);
    assert_eq!(wasi("fd_fdstat_get", &[1, 0]), 0);
    assert_eq!(wasi("fd_fdstat_get", &[0, 0]), 8);
    assert_eq!(wasi("random_get", &[0, 65536]), 0);
    assert_eq!(wasi("random_get", &[0, 65537]), 28);
    assert_eq!(wasi("environ_sizes_get", &[0, 4]), 0);
    let sizes = r#"(import "wasi_snapshot_preview1" "environ_sizes_get" (func $f (param i32 i32) (result i32)))"#;
    assert_eq!(
        world.run(sizes, "(block (result i32) (drop (call $f (i32.const 0) (i32.const 4))) (i32.load (i32.const 4)))"),
        10
    );
    let get = r#"(import "wasi_snapshot_preview1" "environ_get" (func $f (param i32 i32) (result i32)))"#;
    let second =
        "(block (result i32) (drop (call $f (i32.const 0) (i32.const 100))) (i32.load8_u (i32.load (i32.const 4))))";
    assert_eq!(world.run(get, second), u32::from(b'B'));
    let clock = r#"(import "wasi_snapshot_preview1" "clock_time_get" (func $f (param i32 i64 i32) (result i32)))"#;
    assert_eq!(world.run(clock, "(call $f (i32.const 1) (i64.const 0) (i32.const 8))"), 0);
    assert_eq!(world.run(clock, "(call $f (i32.const 2) (i64.const 0) (i32.const 8))"), 58);
}

/// What guests of Go with `net/http` and of C++ with `stat` import, whether they call it or not.
#[test]
fn wasi_has_files_and_sockets_by_name_alone() {
    let world = World::default();
    let wasi = |name: &str, types: &str| {
        let import = format!(r#"(import "wasi_snapshot_preview1" "{name}" (func $f (param {types}) (result i32)))"#);
        let arguments: String = types.split(' ').map(|kind| format!("({kind}.const 8)")).collect();
        world.run(&import, &format!("(call $f {arguments})"))
    };
    for (name, types, errno) in [
        ("fd_advise", "i32 i64 i64 i32", 0),
        ("fd_allocate", "i32 i64 i64", 8),
        ("fd_datasync", "i32", 8),
        ("fd_fdstat_set_rights", "i32 i64 i64", 8),
        ("fd_filestat_get", "i32 i32", 8),
        ("fd_filestat_set_size", "i32 i64", 8),
        ("fd_filestat_set_times", "i32 i64 i64 i32", 8),
        ("fd_pread", "i32 i32 i32 i64 i32", 52),
        ("fd_pwrite", "i32 i32 i32 i64 i32", 8),
        ("fd_readdir", "i32 i32 i32 i64 i32", 20),
        ("fd_renumber", "i32 i32", 8),
        ("fd_sync", "i32", 8),
        ("fd_tell", "i32 i32", 8),
        ("path_create_directory", "i32 i32 i32", 58),
        ("path_filestat_get", "i32 i32 i32 i32 i32", 58),
        ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32", 58),
        ("path_readlink", "i32 i32 i32 i32 i32 i32", 58),
        ("path_remove_directory", "i32 i32 i32", 58),
        ("path_rename", "i32 i32 i32 i32 i32 i32", 58),
        ("path_unlink_file", "i32 i32 i32", 58),
        ("sock_accept", "i32 i32 i32", 58),
        ("sock_recv", "i32 i32 i32 i32 i32 i32", 58),
        ("sock_send", "i32 i32 i32 i32 i32", 58),
        ("sock_shutdown", "i32 i32", 58),
        ("clock_res_get", "i32 i32", 58),
    ] {
        assert_eq!(wasi(name, types), errno, "{name}");
    }
}

#[test]
fn foreign_functions_work_on_bytes() {
    let world = World::default();
    let import =
        r#"(import "env" "proxy_call_foreign_function" (func $f (param i32 i32 i32 i32 i32 i32) (result i32)))"#;
    // "compress" of 1000 zeros, then "uncompress" of that: 1000 bytes again.
    let body = r#"(block (result i32)
        (i64.store (i32.const 0) (i64.const 0x737365727078656e))
        (i64.store (i32.const 0) (i64.const 0x7373657270636f63))
        (i32.store (i32.const 0) (i32.const 0x706d6f63)) (i32.store (i32.const 4) (i32.const 0x73736572))
        (drop (call $f (i32.const 0) (i32.const 8) (i32.const 1000) (i32.const 1000) (i32.const 100) (i32.const 104)))
        (i32.store16 (i32.const 198) (i32.const 0x6e75))
        (i64.store (i32.const 200) (i64.load (i32.const 0)))
        (drop (call $f (i32.const 198) (i32.const 10) (i32.load (i32.const 100)) (i32.load (i32.const 104))
            (i32.const 108) (i32.const 112)))
        (i32.load (i32.const 112)))"#;
    assert_eq!(world.run(import, body), 1000);
}

#[test]
fn time_is_now_and_the_log_level_is_one() {
    let import = r#"(import "env" "proxy_get_current_time_nanoseconds" (func $f (param i32) (result i32)))"#;
    let body = r#"(block (result i32) (drop (call $f (i32.const 8)))
        (i32.wrap_i64 (i64.div_u (i64.load (i32.const 8)) (i64.const 1000000000))))"#;
    assert!(World::default().run(import, body) > 1_700_000_000);
}

/// As in Envoy's: a guest that asks for more than a status of it would not start.
#[test]
fn a_stream_that_the_trial_opened_takes_what_is_said_on_it() {
    let imports = r#"(import "env" "proxy_grpc_stream" (func $open (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_grpc_send" (func $send (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_grpc_close" (func $close (param i32) (result i32)))
        (import "env" "proxy_grpc_cancel" (func $cancel (param i32) (result i32)))"#;
    let zero = "(i32.const 0)";
    let open = format!("(call $open {} (i32.const 8))", zero.repeat(8));
    let token = "(i32.load (i32.const 8))";
    let send = format!("(call $send {token} {zero} (i32.const 3) {zero})");
    for (end, again) in [("$close", 2), ("$cancel", 2)] {
        let last = format!("(call {end} {token})");
        let sum = format!("(i32.add {open} (i32.add {send} (i32.add {send} {last})))");
        assert_eq!(World::default().run(imports, &sum), 0, "{end}");
        let sum = format!("(i32.add {sum} (i32.add {last} {send}))");
        assert_eq!(World::default().run(imports, &sum), again, "{end}: it is gone");
    }
}

proptest! {
    // Each case compiles a module, which takes its time.
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Arguments that mean nothing get a status; neither the host nor its process minds.
    #[test]
    fn no_arguments_harm_the_host(
        at in 0..FUNCTIONS.len(),
        seed in proptest::collection::vec(prop_oneof![
            Just(0u32), Just(u32::MAX), Just(i32::MAX as u32), 0u32..16, 131_060u32..131_080, any::<u32>(),
        ], 12),
    ) {
        let (module, name, count) = FUNCTIONS[at];
        let status = call(&World::default(), module, name, &seed[..count]);
        prop_assert!(status <= 70, "{name}: {status}");
    }
}
