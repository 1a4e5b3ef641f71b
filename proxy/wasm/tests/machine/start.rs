//! What is refused when a filter is loaded, and in which words.

use crate::world::{Refused, World, guest, guest_with};
use pillion_config::model::AllowedCapabilities;

fn refusal(text: &str) -> String {
    match World::default().machine(text) {
        Ok(_) => panic!("it started: {text}"),
        Err(refused) => refused.to_string(),
    }
}

#[test]
fn the_smallest_guest_starts_and_one_without_a_memory_too() {
    World::default().machine(&guest("")).unwrap_or_else(|refused| panic!("{refused}"));
    let bare = r#"(module (func (export "proxy_abi_version_0_2_0")) (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#;
    World::default().machine(bare).unwrap_or_else(|refused| panic!("{refused}"));
}

#[test]
fn markers_and_allocators_are_asked_for() {
    assert!(refusal("(module)").contains("proxy_abi_version_0_2_1"));
    assert!(refusal(r#"(module (func (export "proxy_abi_version_0_2_1")))"#).contains("proxy_on_memory_allocate"));
    let other = refusal(r#"(module (func (export "proxy_abi_version_0_2_100")))"#);
    assert!(other.starts_with("it exports proxy_abi_version_0_2_100, a version"), "{other}");
}

#[test]
fn imports_are_named() {
    let import = |text: &str| refusal(&guest_with(text, "", ""));
    let unknown = import(r#"(import "env" "proxy_fly" (func))"#);
    assert!(unknown.contains("env.proxy_fly") && unknown.contains("0.2.1"), "{unknown}");
    let imports: String = (1..=7).map(|number| format!("(import \"env\" \"proxy_{number}\" (func))")).collect();
    let unknown = import(&imports);
    assert!(unknown.contains("env.proxy_1, env.proxy_2") && unknown.contains("env.proxy_5 and 2 more"), "{unknown}");
    assert!(import(r#"(import "wasi_snapshot_preview1" "sock_open" (func))"#).contains("sock_open"));
    let signature = import(r#"(import "env" "proxy_log" (func (param i32) (result i32)))"#);
    assert!(signature.contains("env.proxy_log as (i32) -> i32"), "{signature}");
    assert!(signature.contains("(i32, i32, i32) -> i32"), "{signature}");
    // Of another version only.
    assert!(
        import(r#"(import "env" "proxy_continue_request" (func (result i32)))"#).contains("proxy_continue_request")
    );
    assert!(import(r#"(import "env" "memory" (memory 1))"#).contains("env.memory"));
}

/// Who reads why a filter was refused reads one line, and no commands for the terminal.
#[test]
fn names_of_a_module_are_told_escaped_and_cut() {
    let forged = r"x\0aERROR pillion: forged\1b[31m\00";
    let long = "a".repeat(100_000);
    let failing = |name: &str| {
        guest(&format!(
            r#"(func $f (@name "{name}") (unreachable))
               (func (export "proxy_on_configure") (param i32 i32) (result i32) (call $f) (i32.const 1))"#
        ))
    };
    let types = "i64 ".repeat(900);
    for module in [
        guest_with(&format!(r#"(import "env" "{forged}" (func))"#), "", ""),
        guest_with(&format!(r#"(import "{forged}" "{long}" (func))"#), "", ""),
        guest_with(&format!(r#"(import "{long}" "x" (func))"#), "", ""),
        guest_with(&format!(r#"(import "env" "proxy_done" (func (param {types})))"#), "", ""),
        guest(&format!(r#"(func (export "proxy_on_done") (param {types}))"#)),
        failing(forged),
        failing(&long),
    ] {
        let words = refusal(&module);
        assert!(!words.contains(char::is_control), "{words:?}");
        assert!(words.contains("forged") <= words.contains(r"x\nERROR pillion: forged\u{1b}[31m\u{0}"), "{words}");
        assert!(words.len() < 1000, "{} bytes: {words}", words.len());
    }
}

#[test]
fn each_version_has_its_functions() {
    let of = |marker: &str, import: &str| guest_with(import, "", "").replacen("proxy_abi_version_0_2_1", marker, 1);
    let continue_request = r#"(import "env" "proxy_continue_request" (func (result i32)))"#;
    let log_level = r#"(import "env" "proxy_get_log_level" (func (param i32) (result i32)))"#;
    assert!(World::default().machine(&of("proxy_abi_version_0_1_0", continue_request)).is_ok());
    assert!(World::default().machine(&of("proxy_abi_version_0_2_1", log_level)).is_ok());
    assert!(World::default().machine(&of("proxy_abi_version_0_2_0", log_level)).is_err());
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let exit = format!(r#"(import "{module}" "proc_exit" (func (param i32)))"#);
        assert!(World::default().machine(&of("proxy_abi_version_0_2_0", &exit)).is_ok());
    }
}

/// Of a second one nobody would know how much of it is touched.
#[test]
fn a_module_has_one_memory_at_most() {
    let words = refusal(&guest("(memory (export \"more\") 1)"));
    assert!(words.contains("it has 2 memories: build it with one"), "{words}");
}

#[test]
fn exports_of_another_signature_are_named() {
    let words =
        refusal(&guest(r#"(func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0))"#));
    assert!(words.contains("proxy_on_request_headers") && words.contains("(i32, i32, i32) -> i32"), "{words}");
    // ABI 0.1.0 has both forms.
    let old = guest(r#"(func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0))"#)
        .replacen("0_2_1", "0_1_0", 1);
    assert!(World::default().machine(&old).is_ok());
}

#[test]
fn a_guest_that_refuses_its_configuration_is_refused() {
    for name in ["proxy_on_vm_start", "proxy_on_configure"] {
        let words = refusal(&guest(&format!(r#"(func (export "{name}") (param i32 i32) (result i32) (i32.const 0))"#)));
        assert!(words.contains(name), "{words}");
    }
}

#[test]
fn what_a_guest_logged_last_is_told_where_it_refuses() {
    let log = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;
    let text = |body: &str| {
        let line =
            |level: u32, at: u32| format!("(drop (call $log (i32.const {level}) (i32.const {at}) (i32.const 4)))");
        let lines = [line(4, 100), line(3, 104), line(2, 108)].concat();
        guest_with(log, "", &format!(r#"(data (i32.const 100) "one\0atwo\0asix\0a") {}"#, body.replace("LOG", &lines)))
    };
    let configure =
        |end: &str| text(&format!(r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) LOG {end})"#));
    let words = refusal(&configure("(i32.const 0)"));
    assert!(words.ends_with("the filter does not accept its configuration; it logged: two"), "{words}");
    let words = refusal(&configure("(unreachable)"));
    assert!(words.contains("proxy_on_configure failed (trap)") && words.ends_with("; it logged: two"), "{words}");
    let words = refusal(&text(r#"(func (export "_initialize") LOG (unreachable))"#));
    assert!(words.contains("_initialize failed (trap)") && words.ends_with("; it logged: two"), "{words}");
    // What was logged for one plugin is not told of the next.
    let quiet = text(
        r#"(func (export "_initialize") LOG)
           (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))"#,
    );
    assert!(!refusal(&quiet).contains("logged"));
}

#[test]
fn a_guest_that_traps_or_spins_at_its_start_is_told_with_its_functions() {
    let words = refusal(&guest(
        r#"(func $deep (unreachable)) (func $outer (call $deep))
           (func (export "proxy_on_configure") (param i32 i32) (result i32) (call $outer) (i32.const 1))"#,
    ));
    assert!(words.contains("proxy_on_configure failed (trap)") && words.contains("deep < outer"), "{words}");
    let words = refusal(&guest(r#"(func (export "_initialize") (loop (br 0)))"#));
    assert!(words.contains("_initialize failed (timeout)"), "{words}");
    let words = refusal(&guest(r#"(func $start (loop (br 0))) (start $start)"#));
    assert!(words.contains("start function failed (timeout)"), "{words}");
    assert!(words.contains("limits.start of 500ms") && words.contains("raise"), "{words}");
    let configure = |body: &str| {
        refusal(&guest(&format!(r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) {body})"#)))
    };
    let words = configure("(loop (br 0)) (i32.const 1)");
    assert!(words.contains("limits.start of 500ms"), "{words}");
    let words = configure("(drop (memory.grow (i32.const 1000))) (unreachable)");
    assert!(words.contains("limits.memory of 16MiB"), "{words}");
}

#[test]
fn a_module_that_initialises_itself_has_the_log_and_nothing_else() {
    let log = r#"(import "env" "proxy_log" (func $f (param i32 i32 i32) (result i32)))"#;
    let call = |args: &str| format!(r#"(func (export "_initialize") (drop (call $f {args})))"#);
    let fine = guest_with(log, "", &call("(i32.const 2) (i32.const 0) (i32.const 4)"));
    World::default().machine(&fine).unwrap_or_else(|refused| panic!("{refused}"));
    let early = r#"(import "env" "proxy_set_tick_period_milliseconds" (func $f (param i32) (result i32)))"#;
    let words = refusal(&guest_with(early, "", &call("(i32.const 2)")));
    assert!(
        words.contains("proxy_set_tick_period_milliseconds is called while the module initialises itself"),
        "{words}"
    );
}

#[test]
fn a_memory_larger_than_allowed_is_refused() {
    let text = guest("").replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 2000)"#);
    assert!(matches!(World::default().machine(&text), Err(Refused::Start(_))));
    let words = refusal(&text);
    assert!(words.contains("cannot be instantiated") && words.contains("limits.memory of 16MiB"), "{words}");
}

#[test]
fn tables_that_are_together_larger_than_allowed_are_refused() {
    let tables = |number| guest(&"(table 200000 funcref)".repeat(number));
    assert!(World::default().machine(&tables(8)).is_ok());
    let words = refusal(&tables(12));
    assert!(words.contains("cannot be instantiated") && words.contains("limits.memory of 16MiB"), "{words}");
    assert!(refusal(&guest("(table 200001 funcref)")).contains("cannot be instantiated"));
}

#[test]
fn the_order_of_a_start_is_envoys() {
    // Each step writes its letter behind the others'.
    let text = guest_with(
        r#"(import "env" "proxy_set_shared_data" (func $say (param i32 i32 i32 i32 i32) (result i32)))"#,
        "",
        r#"(global $n (mut i32) (i32.const 1000))
           (func $mark (param $letter i32)
               (i32.store8 (global.get $n) (local.get $letter))
               (global.set $n (i32.add (global.get $n) (i32.const 1))))
           (func (export "_initialize") (call $mark (i32.const 105)))
           (func (export "main") (param i32 i32) (result i32) (call $mark (i32.const 109)) (i32.const 0))
           (func (export "_start") (call $mark (i32.const 33)))
           (func (export "proxy_on_context_create") (param i32 i32) (call $mark (i32.const 99)))
           (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (call $mark (i32.const 118)) (i32.const 1))
           (func (export "proxy_on_configure") (param i32 i32) (result i32)
               (call $mark (i32.const 103))
               (drop (call $say (i32.const 0) (i32.const 0) (i32.const 1000)
                   (i32.sub (global.get $n) (i32.const 1000)) (i32.const 0)))
               (i32.const 1))"#,
    );
    let world = World::default();
    world.machine(&text).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(world.shared.data.get("v", b"").unwrap().0, "imcvg");
}

/// A list is carried over from Envoy's map as it is.
#[test]
fn capabilities_are_names_that_envoys_filters_use() {
    let with = |name: &str| {
        let only = AllowedCapabilities::Only(vec!["proxy_log".to_owned(), name.to_owned()]);
        World::default().linked(&guest(""), &only).err().map(|refused| refused.to_string())
    };
    for name in ["path_filestat_get", "fd_readdir", "path_link", "proxy_on_tick", "proxy_on_request_metadata"] {
        assert_eq!(with(name), None, "{name}");
    }
    assert!(with("proxy_lgo").is_some_and(|words| words.contains("\"proxy_lgo\"")));
}
