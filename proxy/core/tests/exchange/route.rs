//! Which host an upstream is told, and what it is told of this hop.

use crate::{
    client::{ask, body, fetch, http2, request},
    server::{echo, http2 as h2_server, tell},
    world::{PLAIN, Setup, run},
};
use pillion_config::model::EndpointAddress;

const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

#[test]
fn the_final_dot_of_a_name_is_told_to_nobody() {
    const ENDPOINT: &str = "      - match: { prefix: / }\n        cluster: up\n        rewrite: { host: endpoint }";
    run(
        Setup { routes: ENDPOINT, endpoints: "['app.example.:80']", ..PLAIN },
        |_, _| echo(),
        |world| async move {
            let up = &world.worker.view().snapshot.clusters[0];
            let name = EndpointAddress::Name("app.example.".into(), 80);
            up.set_resolved(&name, vec!["10.0.0.1".parse().unwrap()]);
            let told = ask(&world, GET).await.body.to_ascii_lowercase();
            assert!(told.contains("\nhost: app.example:80\r\n"), "{told}");
        },
    );
}

#[test]
fn hosts_are_rewritten_in_every_form() {
    const LITERAL: &str = "      - match: { prefix: / }\n        cluster: up\n        rewrite: { host: other.example }";
    const ENDPOINT: &str = "      - match: { prefix: / }\n        cluster: up\n        rewrite: { host: endpoint }";
    for (routes, host) in [(LITERAL, "other.example"), (ENDPOINT, "10.0.0.1:80"), (PLAIN.routes, "a.example")] {
        run(
            Setup { routes, ..PLAIN },
            |_, _| echo(),
            move |world| async move {
                let told = ask(&world, GET).await.body.to_ascii_lowercase();
                assert!(told.contains(&format!("\nhost: {host}\r\n")), "{told}");
                assert!(told.contains("\nx-forwarded-host: a.example\r\n"), "{told}");
                let mut sender = http2(&world).await;
                let response = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
                let told = body(&mut response.into_body()).await.unwrap().0.to_ascii_lowercase();
                assert!(told.contains(&format!("\nhost: {host}\r\n")), "{told}");
                assert!(told.contains("\nx-forwarded-host: a.example\r\n"), "{told}");
            },
        );
        let setup = Setup { routes, cluster: "    protocol: http2", ..PLAIN };
        run(
            setup,
            |_, _| h2_server(tell),
            move |world| async move {
                let line = format!("GET http://{host}/\n");
                assert!(ask(&world, GET).await.body.starts_with(&line), "{host}");
                let mut sender = http2(&world).await;
                let response = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
                let told = body(&mut response.into_body()).await.unwrap().0;
                assert!(told.starts_with(&line) && !told.contains("\nhost:"), "{told}");
            },
        );
    }
}

#[test]
fn http10_without_a_host_gets_the_endpoints() {
    run(
        PLAIN,
        |_, _| echo(),
        |world| async move {
            let told = ask(&world, "GET / HTTP/1.0\r\n\r\n").await.body.to_ascii_lowercase();
            assert!(told.contains("\nhost: 10.0.0.1:80\r\n"), "{told}");
        },
    );
    run(
        Setup { cluster: "    protocol: http2", ..PLAIN },
        |_, _| h2_server(tell),
        |world| async move {
            let told = ask(&world, "GET / HTTP/1.0\r\n\r\n").await.body;
            assert!(told.starts_with("GET http://10.0.0.1:80/\n"), "{told}");
        },
    );
}

#[test]
fn routes_and_rules_look_at_what_a_client_may_claim_and_at_nothing_else() {
    let routes = "      - match: { prefix: /, headers: { x-forwarded-proto: https } }
        name: secure
        respond: { status: 201 }
      - match: { prefix: /role, headers: { x-forwarded-client-cert: { prefix: Hash= } } }
        name: known
        respond: { status: 202 }
      - match: { prefix: /rule }
        authorization: { rules: [{ action: allow, requests: [{ headers: { x-envoy-internal: 'true' } }] }] }
        name: rule
        respond: { status: 203 }
      - match: { prefix: /put, headers: { x-forwarded-host: a.example } }
        name: put
        respond: { status: 204 }
      - match: { prefix: / }
        respond: { status: 200 }";
    let strangers = Setup { routes, ..PLAIN };
    let trusted = Setup { listener: "    forwarding: { trusted: [192.0.2.0/24], strip_identity: false }", ..strangers };
    for (setup, expected) in [(strangers, [200, 200, 403, 204]), (trusted, [201, 202, 203, 200])] {
        run(
            setup,
            |_, _| echo(),
            move |world| async move {
                for (at, (path, field)) in [
                    ("/", "x-forwarded-proto: https"),
                    ("/role", "x-forwarded-client-cert: Hash=1"),
                    ("/rule", "x-envoy-internal: true"),
                    // What is told in the client's place is looked at in the same way.
                    ("/put", "x-forwarded-host: b.example"),
                ]
                .into_iter()
                .enumerate()
                {
                    let request = format!(
                        "GET {path} HTTP/1.1\r\nhost: a.example\r\nx-forwarded-for: 203.0.113.1\r\n{field}\r\n\r\n"
                    );
                    assert_eq!(ask(&world, &request).await.status, expected[at], "{path}: {field}");
                    let names = field.split_once(": ").unwrap();
                    let mut sender = http2(&world).await;
                    let head = request_with(path, &[("x-forwarded-for", "203.0.113.1"), names]);
                    assert_eq!(fetch(&mut sender, head).await.unwrap().status(), expected[at], "{path}: {field}");
                }
            },
        );
    }
}

#[test]
fn rules_of_a_listener_that_its_routes_do_not_share_look_no_further() {
    let listener =
        "    authorization: { rules: [{ action: allow, requests: [{ headers: { x-forwarded-proto: https } }] }] }";
    run(
        Setup { listener, ..PLAIN },
        |_, _| echo(),
        |world| async move {
            let forged = "GET / HTTP/1.1\r\nhost: a.example\r\nx-forwarded-proto: https\r\n\r\n";
            assert_eq!(ask(&world, forged).await.status, 403);
        },
    );
}

fn request_with(path: &str, fields: &[(&str, &str)]) -> http::Request<()> {
    let builder = fields.iter().fold(request("GET", path), |builder, (name, value)| builder.header(*name, *value));
    builder.body(()).unwrap()
}
