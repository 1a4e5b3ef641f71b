//! What a client claims of itself stands in no record, whatever becomes of its request.

use crate::{
    client::{Answer, ask, fetch, http2, request},
    server::{HELLO, canned},
    world::{PLAIN, Setup, World, run},
};

const CLAIMS: &str = "x-forwarded-for: 6.6.6.6\r\nx-request-id: SPOOF\r\nx-envoy-id: SPOOF\r\n";

const ROUTES: &str = "      - match: { path: /direct }
        respond: { status: 418, body: teapot }
        response_headers: { set: { x-seen: '%REQ(X-FORWARDED-FOR)%|%REQ(X-REQUEST-ID)%|%REQ(:PATH)%', x-client: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' } }
      - match: { path: /client }
        respond: { status: 200 }
        response_headers: { set: { x-client: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' } }
      - match: { path: /redirect }
        redirect: { path: /there }
      - match: { path: /denied }
        authorization: { rules: [ { name: nobody, action: deny } ] }
        cluster: up
      - match: { path: /limited }
        filters: [ { name: limit, rate_limit: { requests: 1, per: 1h, keys: [route] } } ]
        cluster: up
        response_headers: { set: { x-seen: '%REQ(X-FORWARDED-FOR)%|%REQ(X-REQUEST-ID)%|%REQ(:PATH)%' } }
      - match: { prefix: /far/ }
        rewrite: { prefix: /api/ }
        cluster: up
        request_headers: { set: { x-own: '1' }, remove: [x-secret] }
        response_headers: { set: { x-seen: '%REQ(X-FORWARDED-FOR)%|%REQ(X-REQUEST-ID)%|%REQ(:PATH)%', x-more: '%REQ(x-own)%%REQ(x-secret)%' } }";

const UNTRUSTED: Setup = Setup { routes: ROUTES, ..PLAIN };

const TRUSTED: Setup = Setup { listener: "    forwarding: { trusted: [192.0.2.0/24] }", ..UNTRUSTED };

async fn get(world: &World, path: &str) -> Answer {
    ask(world, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-secret: s\r\n{CLAIMS}\r\n")).await
}

/// Client, `X-Forwarded-For`, `X-Request-Id`, `X-Envoy-Id` and the path of the last record.
async fn told(world: &World) -> [String; 5] {
    let last = world.records().await.pop().expect("a record");
    let words: Vec<_> = last.told.split('|').map(str::to_owned).collect();
    words.try_into().expect("five words")
}

fn is_made(id: &str) -> bool {
    id.len() == 36 && id.as_bytes()[14] == b'4'
}

#[test]
fn of_a_stranger_what_would_have_been_forwarded_is_recorded() {
    for (path, status) in [
        ("/direct", 418),
        ("/redirect", 301),
        ("/denied", 403),
        ("/limited", 200),
        ("/limited", 429),
        ("/none", 404),
        ("/a/../../b", 400),
        ("/far/x", 200),
    ] {
        run(
            UNTRUSTED,
            |_, _| canned(HELLO),
            move |world| async move {
                if (path, status) == ("/limited", 429) {
                    get(&world, path).await;
                }
                assert_eq!(get(&world, path).await.status, status, "{path}");
                let [client, address, id, envoy, _] = told(&world).await;
                assert_eq!((&*client, &*address, &*envoy), ("192.0.2.7:5000", "192.0.2.7", "-"), "{path}");
                assert!(is_made(&id), "{path}: {id}");
            },
        );
    }
}

#[test]
fn of_what_the_guard_refuses_nothing_is_believed() {
    run(
        UNTRUSTED,
        |_, _| canned(HELLO),
        |world| async move {
            let broken = format!("GET / HTTP/1.1\r\nhost: a\r\n{CLAIMS}host: b\r\n\r\n");
            assert_eq!(ask(&world, &broken).await.status, 400);
            let [client, address, id, envoy, _] = told(&world).await;
            assert_eq!((&*client, &*address, &*envoy), ("192.0.2.7:5000", "192.0.2.7", "-"));
            assert!(is_made(&id), "{id}");
        },
    );
    run(
        UNTRUSTED,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = http2(&world).await;
            let request = request("GET", "/").header("host", "b.example").header("x-forwarded-for", "6.6.6.6");
            let request = request.header("x-request-id", "SPOOF").body(()).unwrap();
            assert_eq!(fetch(&mut client, request).await.unwrap().status(), 400);
            let [_, address, id, ..] = told(&world).await;
            assert!(address == "192.0.2.7" && is_made(&id), "{address} {id}");
        },
    );
}

#[test]
fn a_trusted_peer_is_believed_of_what_goes_nowhere_too() {
    for path in ["/direct", "/redirect", "/denied", "/none", "/limited", "/far/x"] {
        run(
            TRUSTED,
            |_, _| canned(HELLO),
            move |world| async move {
                get(&world, path).await;
                let [client, address, id, ..] = told(&world).await;
                assert_eq!((&*client, &*address, &*id), ("6.6.6.6:0", "6.6.6.6, 192.0.2.7", "SPOOF"), "{path}");
            },
        );
    }
}

#[test]
fn a_response_speaks_of_the_request_as_its_record_does() {
    for (setup, path) in [
        (UNTRUSTED, "/direct"),
        (UNTRUSTED, "/limited"),
        (UNTRUSTED, "/far/x"),
        (TRUSTED, "/direct"),
        (TRUSTED, "/far/x"),
    ] {
        run(
            setup,
            |_, _| canned(HELLO),
            move |world| async move {
                for _ in 0..2 {
                    let answer = get(&world, path).await;
                    let [_, address, id, _, target] = told(&world).await;
                    assert_eq!(answer.field("x-seen"), Some(&*format!("{address}|{id}|{target}")), "{path}");
                    assert_eq!(target, if path == "/far/x" { "/api/x" } else { path });
                    if path == "/far/x" {
                        assert_eq!(answer.field("x-more"), Some("1"), "the route's own changes are seen, too");
                    }
                }
            },
        );
    }
}

#[test]
fn a_response_speaks_of_the_client_that_a_trusted_peer_tells() {
    for (setup, client) in [(UNTRUSTED, "192.0.2.7"), (TRUSTED, "6.6.6.6")] {
        run(
            setup,
            |_, _| canned(HELLO),
            move |world| async move {
                for path in ["/direct", "/client"] {
                    assert_eq!(get(&world, path).await.field("x-client"), Some(client), "{path}");
                }
            },
        );
    }
}
