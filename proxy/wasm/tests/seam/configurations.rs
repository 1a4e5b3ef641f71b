//! Plugins of several configurations in one machine, and guests that can be configured only once.

use crate::world::{Guest, World, guest, run};
use std::time::Duration;

/// A guest that names its configuration's first byte in `x-by`, and holds `/hold` until its machine ends.
/// A second configuration in one machine is met by `second`.
fn once(second: &str) -> String {
    guest(
        &[("get_buffer_bytes", 5), ("add_header_map_value", 5), ("get_header_map_value", 5)],
        &format!(
            r#"(data (i32.const 0) "x-by") (data (i32.const 8) ":path")
               (global $set (mut i32) (i32.const 0))
               (func (export "proxy_on_configure") (param i32 i32) (result i32)
                   (if (global.get $set) (then {second}))
                   (global.set $set (i32.const 1))
                   (drop (call $get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
                   (i32.store8 (i32.const 24) (i32.load8_u (i32.load (i32.const 16))))
                   (i32.const 1))
               (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                   (drop (call $get_header_map_value (i32.const 0) (i32.const 8) (i32.const 5) (i32.const 16) (i32.const 20)))
                   ;; "/hol"
                   (i32.eq (i32.load (i32.load (i32.const 16))) (i32.const 0x6c6f682f)))
               (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                   (drop (call $add_header_map_value (i32.const 2) (i32.const 0) (i32.const 4) (i32.const 24) (i32.const 1)))
                   (i32.const 0))"#
        ),
    )
}

const REFUSES: &str = "(return (i32.const 0))";
const TRAPS: &str = "(unreachable)";

/// Who answers: what is in `x-by`, of one answer, which must be 200.
async fn by(world: &World) -> String {
    let answer = world.get("/").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.head.lines().filter_map(|line| line.strip_prefix("x-by: ")).collect()
}

#[test]
fn a_reload_serves_its_configuration_at_once_where_the_guest_takes_one_alone() {
    for (second, kind) in [(REFUSES, "refuses"), (TRAPS, "traps")] {
        for open in [false, true] {
            let guest = |configuration| {
                let guest = Guest::new("once", once(second)).configured(configuration);
                if open { guest.open() } else { guest }
            };
            run(vec![guest("1")], async |world| {
                assert_eq!(by(&world).await, "1", "{kind}");
                // A stream of the first configuration stays throughout.
                let held = world.get("/hold");
                let reloads = async {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    for configuration in ["2", "1", "3"] {
                        world.reload(vec![guest(configuration)]).await;
                        assert_eq!(by(&world).await, configuration, "{kind}, open: {open}");
                    }
                };
                tokio::select! {
                    answer = held => panic!("it was held by a machine that nothing is wrong with: {kind}, {answer:?}"),
                    () = reloads => {}
                }
            });
        }
    }
}

/// A workload that is called otherwise is one to filters, too, whose own configuration is the same.
#[test]
fn a_reload_with_another_node_is_told_to_the_guest() {
    let text = guest(
        &[("get_property", 4), ("add_header_map_value", 5)],
        r#"(data (i32.const 0) "x-by") (data (i32.const 8) "xds\00node\00id")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
           (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
               (drop (call $get_property (i32.const 8) (i32.const 11) (i32.const 32) (i32.const 36)))
               (drop (call $add_header_map_value (i32.const 2) (i32.const 0) (i32.const 4)
                   (i32.load (i32.const 32)) (i32.load (i32.const 36))))
               (i32.const 0))"#,
    );
    let of = |node| Guest { node, ..Guest::new("node", text.clone()) };
    run(vec![of("one")], async |world| {
        assert_eq!(by(&world).await, "one");
        world.reload(vec![of("two")]).await;
        assert_eq!(by(&world).await, "two");
    });
}

#[test]
fn several_configurations_at_once_have_machines_of_their_own_where_they_must() {
    for second in [REFUSES, TRAPS] {
        let all = ["1", "2", "3"].map(|configuration| Guest::new("once", once(second)).configured(configuration));
        run(all.to_vec(), async |world| {
            // Responses pass the chain in reverse.
            assert_eq!(by(&world).await, "321");
        });
    }
}

#[test]
fn where_a_guest_takes_them_all_they_share_a_machine() {
    let all = ["1", "2"].map(|configuration| Guest::new("last", once("(nop)")).configured(configuration));
    run(all.to_vec(), async |world| {
        assert_eq!(by(&world).await, "22", "its globals are those of the last");
    });
}
