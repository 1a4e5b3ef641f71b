//! Rules and filters: who is judged by what they make of a request.

use super::{await_record, cut, log, reload, websocket};
use base64::{Engine, engine::general_purpose::STANDARD};
use pillion_tests::{origin::Origin, proxy::Proxy};

/// Whatever was asked for, the request goes on as one for this.
const REWRITER: &str = r#"(module
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) ":path")
  (data (i32.const 8) "/admin/x")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $replace (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 8) (i32.const 8))) (i32.const 0)))"#;

fn module() -> String {
    STANDARD.encode(wat::parse_str(REWRITER).expect("the guest's text is right"))
}

/// As the configuration's reference says: what filters make of a request is judged only by the rules of another route that it leads to.
#[test]
fn rules_judge_what_the_client_asks_and_another_routes_what_filters_made_of_it() {
    let module = module();
    let no_admin = "authorization: { rules: [{ action: deny, requests: [{ prefix: /admin }] }] }";
    let all = "match: { prefix: / }, respond: { status: 204 }";
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n\
         listeners:\n  - {{ name: one, address: {{listen}}, {no_admin}, filters: [rewriter], routes: [{{ {all}, {no_admin} }}] }}\n  \
         - {{ name: other, address: {{listen2}}, filters: [rewriter], routes: [{{ match: {{ prefix: /admin }}, \
           respond: {{ status: 200 }}, {no_admin} }}, {{ {all} }}] }}\n\
         filters:\n  - {{ name: rewriter, wasm: {{ inline: \"{module}\" }} }}\n"
    ));
    let ask = |address, path: &str| pillion_tests::client::get(address, path).status;
    assert_eq!(ask(proxy.address, "/admin"), 403, "the client's");
    assert_eq!(ask(proxy.address, "/in"), 204, "the same route and its listener are not asked again");
    assert_eq!(ask(proxy.second, "/in"), 403, "another route is");
}

/// A tunnel is judged where rules change as a new one would be: by what its client asked for, and by what filters made of that where
/// it leads to another route by then.
#[test]
fn tunnels_that_filters_changed_are_judged_as_new_ones_are() {
    let (origin, module) = (Origin::start(), module());
    let shape = |listener: &str, routes: &str| {
        format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n{}\n\
             listeners: [{{ name: one, address: {{listen}}, filters: [rewriter]{listener}, routes: [{routes}] }}]\n\
             filters: [{{ name: rewriter, wasm: {{ inline: \"{module}\" }} }}]\n\
             clusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
            log(""),
            origin.address
        )
    };
    let no = |path: &str| {
        format!(", authorization: {{ rules: [{{ name: no, action: deny, requests: [{{ prefix: {path} }}] }}] }}")
    };
    let all = |rules: &str| format!("{{ name: all, match: {{ prefix: / }}, cluster: origin{rules} }}");
    let admin = |rules: &str| format!("{{ name: admin, match: {{ prefix: /admin }}, cluster: origin{rules} }}");
    let both = |of_admin: &str, of_all: &str| format!("{}, {}", admin(of_admin), all(of_all));
    let proxy = Proxy::start(&shape("", &all("")));
    let open = || {
        let (client, status) = websocket(&proxy, "/in");
        assert_eq!(status, 101);
        client
    };
    let refused = || assert_eq!(websocket(&proxy, "/in").1, 403, "and so is a new one");

    // It goes on as /admin/x. Neither the listener's rules nor its own route's are asked of that,
    let mut stayed = open();
    reload(&proxy, &shape(&no("/admin"), &all(&no("/admin"))));
    assert_eq!(stayed.send("hello").bytes(5), b"hello");
    drop(open());
    // those of a route that there is for it by now are.
    reload(&proxy, &shape("", &both(&no("/admin"), "")));
    cut(stayed);
    await_record(&proxy, "101 UAEX rbac_access_denied_matched_policy[admin/no] proxy");
    refused();

    // One that has come to another route already is judged alike,
    reload(&proxy, &shape("", &both("", "")));
    let (mut moved, other) = (open(), open());
    reload(&proxy, &shape(&no("/admin"), &both("", &no("/admin"))));
    assert_eq!(moved.send("hello").bytes(5), b"hello");
    drop(open());
    // and by what its client asked for.
    reload(&proxy, &shape("", &both("", &no("/in"))));
    cut(moved);
    cut(other);
    await_record(&proxy, "101 UAEX rbac_access_denied_matched_policy[all/no] proxy");
    refused();
}
