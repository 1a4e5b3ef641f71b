//! Pillion's own filters: changes to headers under conditions, rate limits.

use crate::{
    client::{ask, get, next},
    server::echo,
    world::{PLAIN, Setup, run, settle},
};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[test]
fn headers_change_where_their_conditions_hold() {
    let listener = "    filters:
      - name: policy
        headers:
          - when: { x-debug: { regex: 'y|yes' } }
            request: { remove: [x-debug], set: { x-trace: '%REQ(x-debug)%', x-from: '%DOWNSTREAM_REMOTE_ADDRESS%' } }
            response: { set: { x-was: '%REQ(x-debug)% %RESP(content-length)% %RESPONSE_CODE%' } }
          - when: { x-debug: { present: false } }
            request: { set: { x-plain: '1' } }";
    run(
        Setup { listener, ..PLAIN },
        |_, _| echo(),
        |world| async move {
            let answer = ask(&world, "GET / HTTP/1.1\r\nhost: a\r\nx-debug: yes\r\n\r\n").await;
            assert!(answer.body.contains("x-trace: yes\r\n") && !answer.body.contains("x-debug"), "{answer:?}");
            assert!(
                answer.body.contains("x-from: 192.0.2.7:5000\r\n") && !answer.body.contains("x-plain"),
                "{answer:?}"
            );
            let expected = format!("yes {} 200", answer.body.len());
            assert_eq!(answer.field("x-was"), Some(&*expected));
            let answer = get(&world, "/").await;
            assert!(answer.body.contains("x-plain: 1\r\n") && answer.field("x-was").is_none(), "{answer:?}");
            let answer = ask(&world, "GET / HTTP/1.1\r\nhost: a\r\nx-debug: yesterday\r\n\r\n").await;
            assert!(!answer.body.contains("x-trace") && !answer.body.contains("x-plain"), "{answer:?}");
        },
    );
}

#[test]
fn beyond_a_rate_requests_are_answered_429() {
    let listener = "    filters:
      - name: limit
        rate_limit: { requests: 2, per: 10s, keys: ['header:x-user', client] }";
    run(
        Setup { listener, ..PLAIN },
        |_, _| echo(),
        |world| async move {
            let request = |user: &str| format!("GET / HTTP/1.1\r\nhost: a\r\nx-user: {user}\r\n\r\n");
            for status in [200, 200, 429] {
                let answer = ask(&world, &request("ann")).await;
                assert_eq!(answer.status, status);
                if status == 429 {
                    assert_eq!(answer.field("retry-after"), Some("5"));
                    assert_eq!(answer.field("x-ratelimit-limit"), Some("2"));
                    assert_eq!(answer.field("x-ratelimit-remaining"), Some("0"));
                    assert_eq!(answer.field("x-ratelimit-reset"), Some("10"));
                }
            }
            // Another has a bucket of its own, and time fills all of them.
            assert_eq!(ask(&world, &request("bob")).await.status, 200);
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(ask(&world, &request("ann")).await.status, 200);
            assert_eq!(ask(&world, &request("ann")).await.status, 429);
            settle().await;
            let records = world.records().await;
            let last = records.last().unwrap();
            assert_eq!(last.end(), (429, "RL", "local_rate_limited", "proxy"), "{last:?}");
            assert_eq!(world.recorded.get("pillion_respond_answers_total{flag=RL,listener=web}"), 2.0);
        },
    );
}

/// What answers are to say for safety's sake must stand on refusals as well.
#[test]
fn an_answer_gets_the_headers_of_filters_behind_the_one_that_gave_it() {
    let listener = "    filters:
      - name: first
        headers: [{ request: { set: { x-tenant: a } }, response: { set: { x-first: '1' } } }]
      - name: limit
        rate_limit: { requests: 1, per: 1h }
      - name: behind
        headers:
          - response: { set: { strict-transport-security: max-age=1, x-asked: '%REQ(:path)% %REQ(x-user)% %RESPONSE_CODE%' } }
          - { when: { x-tenant: a }, request: { set: { x-user: b } }, response: { append: { x-order: behind } } }
          - { when: { x-tenant: b }, response: { set: { x-wrong: '1' } } }
      - name: last
        headers: [{ when: { x-user: b }, response: { set: { x-wrong: '2' } } }, { response: { append: { x-order: last } } }]";
    for grpc in ["", "content-type: application/grpc\r\n"] {
        run(
            Setup { listener, ..PLAIN },
            |_, _| echo(),
            |world| async move {
                assert_eq!(get(&world, "/").await.status, 200);
                let request = format!("GET /path HTTP/1.1\r\nhost: a\r\nx-user: ann\r\n{grpc}\r\n");
                let answer = ask(&world, &request).await;
                let status = if grpc.is_empty() { 429 } else { 200 };
                assert_eq!((answer.status, answer.field("x-first")), (status, Some("1")), "{answer:?}");
                assert_eq!(answer.field("strict-transport-security"), Some("max-age=1"));
                // Of the request as it would have come there, had the filter behind had it.
                assert_eq!(answer.field("x-asked"), Some(&*format!("/path ann {status}")));
                assert!(answer.field("x-wrong").is_none(), "{answer:?}");
                let order: Vec<_> = answer.head.lines().filter_map(|line| line.strip_prefix("x-order: ")).collect();
                assert_eq!(order, ["last", "behind"]);
                assert_eq!(world.records().await.last().unwrap().details, "local_rate_limited");
                world.assert_quiet().await;
            },
        );
    }
}

/// As Envoy's filters do, which have no chain before the route.
#[test]
fn an_answer_that_no_filter_saw_the_request_of_gets_their_headers() {
    let listener = "    authorization: { rules: [{ action: deny, requests: [{ headers: { x-bad: y } }] }] }
    filters:
      - name: limit
        rate_limit: { requests: 1, per: 1h }
      - name: policy
        headers:
          - response: { set: { x-safe: '%REQ(:path)% %RESPONSE_CODE%' } }
          - { when: { x-user: ann }, response: { set: { x-for: ann } } }";
    let routes = "      - match: { prefix: /own }
        cluster: up
        filters: [{ name: own, headers: [{ response: { set: { x-own: '1' } } }] }]
        response_headers: { set: { x-safe: of the route, x-route: own } }
        authorization: { rules: [{ action: deny, requests: [{ method: PUT }] }] }
      - match: { prefix: /bare }
        cluster: up
        filters: [{ name: policy, disabled: true }]
        authorization: { rules: [{ action: deny, requests: [{ method: PUT }] }] }";
    for (line, fields, status, details, safe, others) in [
        ("GET /none", "x-user: ann\r\n", 404, "route_not_found", Some("/none 404"), (Some("ann"), None, None)),
        ("HEAD /none", "", 404, "route_not_found", Some("/none 404"), (None, None, None)),
        ("GET /own", "x-bad: y\r\n", 403, "rbac", Some("/own 403"), (None, None, None)),
        ("PUT /own", "x-user: ann\r\n", 403, "rbac", Some("/own 403"), (Some("ann"), Some("1"), Some("own"))),
        ("PUT /bare", "x-user: ann\r\n", 403, "rbac", None, (None, None, None)),
        ("GET /a%zz", "", 400, "path", Some("/a%zz 400"), (None, None, None)),
        ("GET /own", "connection: host\r\n", 400, "connection_names", Some("/own 400"), (None, Some("1"), Some("own"))),
        ("GET /own", "content-length: x\r\n", 400, "bad_length", Some("/ 400"), (None, None, None)),
    ] {
        run(
            Setup { listener, routes, ..PLAIN },
            |_, _| echo(),
            |world| async move {
                let request = format!("{line} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
                let mut client = world.connect();
                client.write_all(request.as_bytes()).await.unwrap();
                let answer = next(&mut client, line.starts_with("HEAD")).await;
                assert_eq!((answer.status, answer.field("x-safe")), (status, safe), "{line} {fields} {answer:?}");
                let seen = (answer.field("x-for"), answer.field("x-own"), answer.field("x-route"));
                assert_eq!(seen, others, "{line} {fields} {answer:?}");
                let record = world.record().await;
                assert_eq!(record.status, status, "{record:?}");
                assert!(record.details.contains(details), "{line} {fields} {record:?}");
                // As in Envoy, of whatever has a route with one.
                let cluster = if others.1.is_some() || line == "PUT /bare" { "up" } else { "-" };
                assert_eq!(record.cluster, cluster, "{line} {fields} {record:?}");
                world.assert_quiet().await;
            },
        );
    }
}

#[test]
fn a_limit_survives_a_reload_that_does_not_change_it() {
    let listener = "    filters:
      - name: limit
        rate_limit: { requests: 1, per: 1h, keys: [route] }";
    run(
        Setup { listener, ..PLAIN },
        |_, _| echo(),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 200);
            world.apply(Setup { listener, cluster: "    connect_timeout: 3s", ..PLAIN }, Vec::new());
            assert_eq!(get(&world, "/").await.status, 429);
        },
    );
}

/// The chain is the first route's, and whoever gets to another by a filter must not get past what that one asks for: it
/// comes behind.
#[test]
fn a_request_that_is_moved_to_another_route_passes_the_filters_it_has_not_passed() {
    let listener = "    filters:
      - name: mover
        headers: [{ when: { x-key: { present: true } }, request: { set: { x-tenant: '%REQ(x-key)%' } } }]
      - name: guard
        rate_limit: { requests: 4, per: 1h }";
    let routes = "      - match: { prefix: /, headers: { x-tenant: own } }
        cluster: up
        filters:
          - { name: limit, rate_limit: { requests: 1, per: 1h } }
          - { name: mark, headers: [{ request: { set: { x-mark: there } }, response: { set: { x-mark: back } } }] }
      - match: { prefix: /, headers: { x-tenant: same } }
        cluster: up
        filters: [{ name: guard, disabled: true }]
      - match: { prefix: /, headers: { x-tenant: far } }
        cluster: up
        filters: [{ name: guard, disabled: true }, { name: again, headers: [{ request: { set: { x-tenant: own } } }] }]
      - match: { prefix: /open }
        cluster: up
        filters: [{ name: guard, disabled: true }]
      - match: { prefix: / }
        cluster: up";
    run(
        Setup { listener, routes, ..PLAIN },
        |_, _| echo(),
        |world| async move {
            let moved = async |path: &str, key: &str, more: &str| {
                ask(&world, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\n{more}\r\n")).await
            };
            let last = async || world.records().await.last().unwrap().clone();
            let answer = moved("/open", "own", "").await;
            assert_eq!((answer.status, answer.field("x-mark")), (200, Some("back")));
            assert!(answer.body.contains("x-mark: there\r\n"), "{answer:?}");
            let answer = moved("/open", "own", "").await;
            assert_eq!((answer.status, answer.field("x-mark")), (429, Some("back")), "its limit is met");
            assert_eq!(last().await.details, "local_rate_limited");
            assert_eq!(moved("/open", "same", "").await.status, 200, "from one without to another without");
            // The first route passed `guard` by.
            for status in [200, 200, 429] {
                assert_eq!(moved("/", "none", "x-tenant: same\r\n").await.status, status);
            }
            assert_eq!(moved("/", "same", "").await.status, 429, "it is asked though the route that is taken does not");
            // What it passes there may move it on, but not for ever.
            assert_eq!(moved("/open", "far", "").await.status, 503);
            let record = last().await;
            assert_eq!((&*record.flags, &*record.details), ("FF", "route_filter_not_passed{guard}"));
            world.assert_quiet().await;
        },
    );
}
