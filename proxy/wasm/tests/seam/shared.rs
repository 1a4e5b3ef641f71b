//! Filters of one machine, of which one dies: who that was is told, and who fell with it.

use crate::{
    counted::{Counted, counted},
    warnings::warned,
    world::{Guest, World, guest, run},
};
use std::{rc::Rc, time::Duration};

/// A guest whose plugins note the first byte of their configuration: of `r` one traps when it is asked for `/bad`, of `d` when it is
/// told of its end.
fn dies() -> String {
    guest(
        &[("get_header_map_value", 5), ("get_buffer_bytes", 5)],
        r#"(data (i32.const 0) ":path")
           (func $place (param $id i32) (result i32) (i32.add (i32.const 1024) (i32.shl (local.get $id) (i32.const 2))))
           (func $does (param $id i32) (param $what i32) (result i32)
               (i32.eq (i32.load (call $place (local.get $id))) (local.get $what)))
           (func (export "proxy_on_configure") (param $id i32) (param i32) (result i32)
               (drop (call $get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
               (i32.store (call $place (local.get $id)) (i32.load8_u (i32.load (i32.const 16))))
               (i32.const 1))
           (func (export "proxy_on_context_create") (param $id i32) (param $root i32)
               (i32.store (call $place (local.get $id)) (i32.load (call $place (local.get $root)))))
           (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
               (drop (call $get_header_map_value (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 20)))
               (if (i32.and
                       (i32.eq (i32.load (i32.load (i32.const 16))) (i32.const 0x6461622f))
                       (call $does (local.get $id) (i32.const 114)))
                   (then (unreachable)))
               (i32.const 0))
           (func (export "proxy_on_done") (param $id i32) (result i32)
               (if (call $does (local.get $id) (i32.const 100)) (then (unreachable)))
               (i32.const 1))"#,
    )
}

fn filter(name: &'static str, does: &'static str) -> Guest {
    Guest::new(name, dies()).configured(does)
}

/// Three of one machine, of whom the second does that.
fn three(does: &'static str) -> Vec<Guest> {
    vec![filter("first", "-"), filter("second", does), filter("third", "-")]
}

/// Runs `test` with these; the one line of a death, and what was counted of deaths.
fn told<F: Future<Output = ()>>(guests: Vec<Guest>, test: impl FnOnce(Rc<World>) -> F) -> (String, Counted) {
    let (((), mut said), mut counted) = counted(|| warned(|| run(guests, test)));
    said.retain(|line| line.contains("died"));
    counted.retain(|name, _| name.starts_with("pillion_wasm_failures_total"));
    assert_eq!(said.len(), 1, "{said:?}");
    (said.remove(0), counted)
}

/// The second is counted by what it died of; each other one, which lost its machine, by whose fault that was.
fn expected(counted: &Counted, callback: &str, line: &str) {
    let of = |filter, reason| counted.get(&format!("pillion_wasm_failures_total{{filter={filter},reason={reason}}}"));
    assert_eq!(of("second", "trap"), Some(&1), "{counted:?}");
    assert_eq!((of("first", "neighbour"), of("third", "neighbour")), (Some(&1), Some(&1)), "{counted:?}");
    assert_eq!(counted.len(), 3, "{counted:?}");
    assert!(line.contains("; with it the others of its machine: first, third; its machine is started again"), "{line}");
    assert!(line.contains(" filter=second") && line.contains(callback), "{line}");
}

#[test]
fn the_log_has_the_filter_that_died_and_those_that_fell_with_it() {
    let (line, counted) = told(three("r"), async |world| {
        assert_eq!(world.get("/good").await.status, 200);
        assert_eq!(world.get("/bad").await.status, 503);
        world.until("/good", |answer| answer.status == 200).await;
    });
    expected(&counted, "callback=\"proxy_on_request_headers\"", &line);
}

#[test]
fn of_a_filter_that_dies_as_it_is_removed_the_log_has_its_own_name() {
    let (line, counted) = told(three("d"), async |world| {
        assert_eq!(world.get("/good").await.status, 200);
        world.reload(vec![filter("first", "-"), filter("third", "-")]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.until("/good", |answer| answer.status == 200).await;
    });
    expected(&counted, "callback=\"proxy_on_done\"", &line);
}

/// Nobody is left to fall with it.
#[test]
fn the_last_filter_of_a_machine_that_dies_as_it_is_removed_is_told_of() {
    let (line, counted) = told(vec![filter("second", "d")], async |world| {
        world.reload(Vec::new()).await;
        assert_eq!(world.get("/good").await.status, 200);
    });
    assert!(line.contains("its machine has no filter any more") && line.contains(" filter=second"), "{line}");
    let all: Vec<_> = counted.into_iter().collect();
    assert_eq!(all, [("pillion_wasm_failures_total{filter=second,reason=trap}".to_owned(), 1)]);
}
