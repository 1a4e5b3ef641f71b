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
