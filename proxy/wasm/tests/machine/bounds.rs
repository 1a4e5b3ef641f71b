//! Guests that misbehave: what they try costs them their machine or gets a status, and nothing else.

use crate::world::{World, guest, guest_with};
use pillion_wasm::vm::{Cause, Failure, Mourner, Starts};
use std::{cell::RefCell, rc::Rc, thread, time::Duration};
use tracing::{Event, Metadata, Subscriber, span};

/// A guest whose tick does `body`; what killed it, if it was killed.
fn tick(world: &World, imports: &str, body: &str) -> Option<Cause> {
    let text = guest_with(imports, "", &format!(r#"(func $tick (export "proxy_on_tick") (param i32) {body})"#));
    let (machine, root) = world.staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    machine.tick(root);
    let dead = machine.dead();
    // A dead machine is asked nothing more; a living one goes on.
    machine.tick(root);
    dead
}

#[test]
fn a_spin_ends_at_the_limit_and_a_trap_at_once() {
    assert_eq!(tick(&World::default(), "", "(loop (br 0))"), Some(Cause::Timeout));
    assert_eq!(tick(&World::default(), "", "(unreachable)"), Some(Cause::Trap));
    assert_eq!(tick(&World::default(), "", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"), Some(Cause::Trap));
    assert_eq!(tick(&World::default(), "", "(drop (i32.load (i32.const -8)))"), Some(Cause::Trap));
    assert_eq!(tick(&World::default(), "", "(nop)"), None);
}

/// Keeps what killed a machine.
#[derive(Default)]
struct Kept(RefCell<Vec<Failure>>);

impl Mourner for Kept {
    fn died(&self, failure: &Failure, _: Duration) {
        self.0.borrow_mut().push(failure.clone());
    }

    fn holds(&self, _: usize) {}
}

/// Who reads the log learns which field to raise, and from what.
#[test]
fn a_limit_that_ends_a_guest_is_named_with_its_value() {
    let words = |body: &str| {
        let text = guest(&format!(r#"(func $tick (export "proxy_on_tick") (param i32) {body})"#));
        let (machine, root) =
            World::default().staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
        let kept = Rc::new(Kept::default());
        let mourner: Rc<dyn Mourner> = Rc::clone(&kept) as _;
        machine.set_mourner(Rc::downgrade(&mourner));
        machine.tick(root);
        let failures = kept.0.borrow();
        failures.first().map(|failure| failure.words.clone()).expect("it died")
    };
    let spun = words("(loop (br 0))");
    assert!(spun.contains("limits.callback of 20ms") && spun.contains("raise"), "{spun}");
    let grown = words("(drop (memory.grow (i32.const 1000))) (unreachable)");
    assert!(grown.contains("limits.memory of 16MiB") && grown.contains("unreachable"), "{grown}");
    let deep = words("(call $tick (local.get 0))");
    assert!(deep.contains("1MiB"), "{deep}");
}

/// CPU time that a guest's tick takes, which spins after `body` and dies of it.
fn spins(world: &World, imports: &str, body: &str) -> Duration {
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(now).expect("it goes forward")
    };
    let text = guest_with(
        imports,
        "",
        &format!(r#"(func (export "proxy_on_tick") (param i32) (local $n i32) {body} (loop (br 0)))"#),
    );
    let (machine, root) = world.staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    let begun = now();
    machine.tick(root);
    assert_eq!(machine.dead(), Some(Cause::Timeout));
    now().saturating_sub(begun)
}

#[test]
fn what_is_handed_over_and_no_more_is_time_and_never_more_than_five_times() {
    let world = World { callback: Duration::from_millis(50), ..World::default() };
    let shared = r#"(import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))"#;
    let again = |at: i32, times: i32| {
        format!(
            "(drop (memory.grow (i32.const 190)))
            (drop (call $set (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100000) (i32.const 0)))
            (loop $again (drop (call $get (i32.const 0) (i32.const 0) (i32.const {at}) (i32.const 4) (i32.const 8)))
                (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {times}))))"
        )
    };
    let slack = Duration::from_millis(40);
    let nothing = spins(&world, shared, "");
    assert!(nothing >= world.callback && nothing < world.callback + slack, "{nothing:?}");
    let failed = spins(&world, shared, &again(-4, 100));
    assert!(failed < world.callback + slack, "reads that fail are handed nothing: {failed:?}");
    let some = spins(&world, shared, &again(0, 4));
    assert!(some > world.callback * 2 && some < world.callback * 3 + slack, "{some:?}");
    let much = spins(&world, shared, &again(0, 100));
    assert!(much > world.callback * 4 && much < world.callback * 5 + slack, "{much:?}");
}

/// Nobody can end a host function: what it took of the callback's time is seen once it is over.
#[test]
fn what_a_host_function_takes_is_the_callbacks_time() {
    let import =
        r#"(import "env" "proxy_call_foreign_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))"#;
    let ticks = |bytes: i32| {
        let body = format!(
            r#"(data (i32.const 0) "compress") (func (export "proxy_on_tick") (param i32) (drop (memory.grow (i32.const 40)))
            (drop (call $call (i32.const 0) (i32.const 8) (i32.const 65536) (i32.const {bytes}) (i32.const 0) (i32.const 0))))"#
        );
        let world = World { callback: Duration::from_millis(3), ..World::default() };
        let text = guest_with(import, "", &body);
        let (machine, root) = world.staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
        machine.tick(root);
        machine.dead()
    };
    assert_eq!(ticks(1 << 20), Some(Cause::Timeout));
    assert_eq!(ticks(16), None);
}

/// Blocks the thread at each line that a guest logs: time in which it does not run, as on a machine that is busy.
struct Blocks;

impl Subscriber for Blocks {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        thread::sleep(Duration::from_millis(100));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_guest_whose_thread_does_not_run_is_not_one_that_spins() {
    let import = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;
    let lines = "(local $n i32) (loop $again
        (drop (call $log (i32.const 2) (i32.const 0) (i32.const 1)))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 4))))";
    tracing::subscriber::with_default(Blocks, || {
        let world = World::default();
        assert!(world.callback < Duration::from_millis(100));
        assert_eq!(tick(&world, import, lines), None);
        let spins = format!("{lines} (loop (br 0))");
        assert_eq!(tick(&world, import, &spins), Some(Cause::Timeout), "what it then takes counts");
    });
}

#[test]
fn recursion_ends_on_the_guests_stack() {
    assert_eq!(tick(&World::default(), "", "(call $tick (local.get 0))"), Some(Cause::Stack));
    // With frames of the host between.
    let import = r#"(import "env" "proxy_get_log_level" (func $f (param i32) (result i32)))"#;
    let body = "(drop (call $f (i32.const 0))) (call $tick (local.get 0))";
    let patient = World { callback: Duration::from_secs(20), ..World::default() };
    assert_eq!(tick(&patient, import, body), Some(Cause::Stack));
}

#[test]
fn growth_ends_at_the_limit_and_a_trap_after_it_is_told_apart() {
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    assert_eq!(tick(&World::default(), "", grow), None, "growth is denied, and the guest goes on");
    assert_eq!(tick(&World::default(), "", &format!("{grow} (unreachable)")), Some(Cause::Memory));
}

/// Compiled code asks for the time in loops and at functions' heads; a callback may have neither.
#[test]
fn a_callback_without_a_loop_ends_at_the_limit_too() {
    let world = World::default();
    let calls = |import: &str, call: &str, number| tick(&world, import, &call.repeat(number));
    let shared = r#"(import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))"#;
    let set = "(drop (call $set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 65536) (i32.const 0)))";
    assert_eq!(calls(shared, set, 20_000), Some(Cause::Timeout));
    let random = r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;
    let draw = "(drop (call $random (i32.const 0) (i32.const 65536)))";
    assert_eq!(calls(random, draw, 20_000), Some(Cause::Timeout));
    assert_eq!(calls(random, draw, 2), None);
}

/// What one of them takes is bounded by the size of the memory alone; it is asked before each.
#[test]
fn instructions_over_much_memory_one_after_the_other_end_at_the_limit() {
    let world = World::default();
    let grow = "(drop (memory.grow (i32.const 190)))";
    for instruction in [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 12582912))",
        "(memory.copy (i32.const 6291456) (i32.const 0) (i32.const 6291456))",
    ] {
        assert_eq!(tick(&world, "", &format!("{grow} {}", instruction.repeat(500))), Some(Cause::Timeout));
        assert_eq!(tick(&world, "", &format!("{grow} {instruction}")), None);
    }
}

/// Keeps what it is told of a machine.
#[derive(Default)]
struct Listens(RefCell<Vec<usize>>);

impl Mourner for Listens {
    fn died(&self, _: &Failure, _: Duration) {}

    fn holds(&self, bytes: usize) {
        self.0.borrow_mut().push(bytes);
    }
}

#[test]
fn a_machine_says_how_large_it_is_after_each_event() {
    let grow = r#"(func (export "proxy_on_tick") (param i32)
        (if (i32.lt_u (memory.size) (i32.const 4)) (then (drop (memory.grow (i32.const 1))))))"#;
    let world = World::default();
    let (machine, root) = world.staged(&guest(grow), &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    let listens = Rc::new(Listens::default());
    let mourner: Rc<dyn Mourner> = Rc::clone(&listens) as _;
    machine.set_mourner(Rc::downgrade(&mourner));
    for _ in 0..3 {
        machine.tick(root);
    }
    machine.queue_ready(root, 1);
    assert_eq!(
        *listens.0.borrow(),
        [3, 3, 4, 4, 4, 4].map(|pages| pages << 16),
        "as it has grown, then after the event, also one that the guest has no callback for"
    );
}

/// An allocator that tries sizes goes on without: what ends the guest later is something else.
#[test]
fn a_trap_behind_growth_that_was_denied_before_is_no_want_of_memory() {
    let text = guest(
        r#"(global $ticks (mut i32) (i32.const 0))
           (func (export "proxy_on_tick") (param i32)
               (if (global.get $ticks) (then (unreachable)))
               (global.set $ticks (i32.const 1))
               (drop (memory.grow (i32.const 60000))))"#,
    );
    let (machine, root) =
        World::default().staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    machine.tick(root);
    assert_eq!(machine.dead(), None);
    machine.tick(root);
    assert_eq!(machine.dead(), Some(Cause::Trap));
}

/// A hundred tables of the largest size are 160 MB.
#[test]
fn tables_grow_within_the_limit_of_memory() {
    let grow = |table| {
        format!("(loop (br_if 0 (i32.ne (table.grow {table} (ref.null func) (i32.const 1000)) (i32.const -1))))")
    };
    let text = guest(&format!(
        r#"{} (func (export "proxy_on_tick") (param i32) {} (unreachable))"#,
        "(table 0 funcref)".repeat(20),
        (0..20).map(grow).collect::<String>()
    ));
    let world = World { callback: Duration::from_secs(20), ..World::default() };
    let (machine, root) = world.staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    let before = machine.memory();
    machine.tick(root);
    assert_eq!(machine.dead(), Some(Cause::Memory));
    let (grown, most) = (machine.memory() - before, world.memory - before);
    assert!((most - 8 * 1000..=most).contains(&grown), "{grown} of {most}");
}

#[test]
fn a_plugin_that_does_not_start_ends_the_machine_it_joined() {
    let text = guest(
        r#"(global $plugins (mut i32) (i32.const 0))
           (func (export "proxy_on_configure") (param i32 i32) (result i32)
               (global.set $plugins (i32.add (global.get $plugins) (i32.const 1)))
               (if (i32.gt_u (global.get $plugins) (i32.const 1)) (then (unreachable)))
               (i32.const 1))"#,
    );
    let (machine, root) =
        World::default().staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    let plugin = machine.plugin(root).expect("it is in it");
    assert!(machine.add_root(&plugin, None).is_err());
    assert_eq!(machine.dead(), Some(Cause::Trap), "a guest that trapped is not entered again, by nobody's stream");
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
    let pages: usize =
        statm.split(' ').nth(1).expect("the second field is the resident size").parse().expect("a number");
    pages * rustix::param::page_size()
}

#[test]
fn a_dead_machines_memory_is_given_back_before_it_is_dropped() {
    // Other tests of this process take 16 MiB at most, each.
    const FILLED: usize = 96 << 20;
    let fill = format!(
        "(drop (memory.grow (i32.const 1536))) (memory.fill (i32.const 131072) (i32.const 1) (i32.const {FILLED}))"
    );
    let world = World { memory: 128 << 20, callback: Duration::from_secs(20), ..World::default() };
    let text = guest_with("", "", &format!(r#"(func (export "proxy_on_tick") (param i32) {fill} (unreachable))"#));
    let (machine, root) = world.staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    assert_eq!(runtime.block_on(machine.release()), Duration::ZERO, "nothing is taken from one that lives");
    machine.tick(root);
    assert_eq!(machine.dead(), Some(Cause::Trap));
    let before = resident();
    assert!(runtime.block_on(machine.release()) > Duration::ZERO);
    let freed = before.saturating_sub(resident());
    assert!(freed > FILLED / 2, "{freed} bytes came back");
}

#[test]
fn an_allocator_that_re_enters_ends_its_machine() {
    let text = guest_with(
        r#"(import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))"#,
        "",
        r#"(func (export "malloc") (param i32) (result i32)
               (drop (call $get (i32.const 6) (i32.const 0) (i32.const 100) (i32.const 0) (i32.const 4)))
               (i32.const 8))
           (func (export "proxy_on_tick") (param i32)
               (drop (call $get (i32.const 6) (i32.const 0) (i32.const 100) (i32.const 0) (i32.const 4))))"#,
    );
    let (machine, root) =
        World::default().staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    machine.tick(root);
    assert_eq!(machine.dead(), Some(Cause::Abi));
}

#[test]
fn an_allocator_may_use_what_does_not_allocate_and_may_grow_the_memory() {
    let text = guest_with(
        r#"(import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
           (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
        "",
        r#"(func (export "malloc") (param i32) (result i32)
               (drop (call $log (i32.const 0) (i32.const 0) (i32.const 1)))
               (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
           (func (export "proxy_on_configure") (param i32 i32) (result i32)
               (drop (call $get (i32.const 6) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4)))
               ;; "vmco"
               (i32.eq (i32.load (i32.load (i32.const 0))) (i32.const 0x6f636d76)))"#,
    );
    World::default().machine(&text).unwrap_or_else(|refused| panic!("{refused}"));
}

#[test]
fn bad_pointers_of_allocators_are_statuses() {
    for pointer in ["0", "-1", "131070"] {
        let text = guest_with(
            r#"(import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))"#,
            "",
            &format!(
                r#"(func (export "malloc") (param i32) (result i32) (i32.const {pointer}))
                   (func (export "proxy_on_configure") (param i32 i32) (result i32)
                       (i32.eq (i32.const 6)
                           (call $get (i32.const 6) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 4))))"#
            ),
        );
        World::default().machine(&text).unwrap_or_else(|refused| panic!("{pointer}: {refused}"));
    }
}

#[test]
fn a_tick_of_a_plugin_that_is_gone_is_nothing() {
    let text = guest(r#"(func (export "proxy_on_tick") (param i32) (unreachable))"#);
    let (machine, root) =
        World::default().staged(&text, &Starts::ToServe).unwrap_or_else(|refused| panic!("{refused}"));
    machine.tick(root + 1);
    assert_eq!(machine.dead(), None);
}
