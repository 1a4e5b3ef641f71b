//! Routes: which requests go where, and what is changed on the way.

use pillion_tests::{origin::Origin, proxy::Proxy, response::Response};
use std::collections::HashMap;

/// A proxy with these routes (YAML at its own left margin), and clusters `one` and `two`.
fn routed(routes: &str) -> (Proxy, Origin, Origin) {
    let (one, two) = (Origin::start(), Origin::start());
    let routes: String = routes.lines().map(|line| format!("      {line}\n")).collect();
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\nlisteners:\n  - name: web\n    address: {{listen}}\n    routes:\n{routes}\
         clusters:\n  - name: one\n    endpoints: [\"{}\"]\n  - name: two\n    endpoints: [\"{}\"]\n",
        one.address, two.address
    );
    (Proxy::start(&yaml), one, two)
}

fn ask(proxy: &Proxy, host: &str, line: &str, fields: &str) -> Response {
    proxy.connect().exchange(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
}

#[test]
fn the_most_specific_host_wins() {
    let (proxy, _one, _two) = routed(
        "- { match: { prefix: / }, respond: { status: 201 } }\n\
         - { match: { host: '*.example.com', prefix: / }, respond: { status: 202 } }\n\
         - { match: { host: api.example.com, prefix: / }, respond: { status: 203 } }\n\
         - { match: { host: '*.api.example.com', prefix: / }, respond: { status: 206 } }\n",
    );
    for (host, status) in [
        ("api.example.com", 203),
        ("API.Example.COM", 203),
        ("api.example.com:8080", 203),
        ("www.example.com", 202),
        ("a.b.example.com", 202),
        ("x.api.example.com", 206),
        ("example.com", 201),
        ("badexample.com", 201),
        ("127.0.0.1", 201),
        ("[::1]:80", 201),
    ] {
        assert_eq!(ask(&proxy, host, "GET /", "").status, status, "{host}");
    }
}

#[test]
fn the_first_route_that_matches_wins_by_path() {
    let (proxy, _one, _two) = routed(
        "- { match: { path: /v1 }, respond: { status: 201 } }\n\
         - { match: { prefix: /v1 }, respond: { status: 202 } }\n\
         - { match: { regex: '/item/[0-9]+' }, respond: { status: 203 } }\n\
         - { match: { prefix: /slash/ }, respond: { status: 206 } }\n",
    );
    for (path, status) in [
        ("/v1", 201),
        ("/v1?x=y", 201),
        ("/v1/", 202),
        ("/v1/x", 202),
        ("/v10", 404),
        ("/V1", 404),
        ("/item/12", 203),
        ("/item/12/", 404),
        ("/item/x", 404),
        ("/x/item/12", 404),
        ("/slash/x", 206),
        ("/", 404),
    ] {
        assert_eq!(ask(&proxy, "test", &format!("GET {path}"), "").status, status, "{path}");
    }
}

#[test]
fn methods_headers_and_query_must_all_hold() {
    let (proxy, _one, _two) = routed(
        "- { match: { method: [PUT, PATCH] }, respond: { status: 201 } }\n\
         - { match: { headers: { x-env: staging } }, respond: { status: 202 } }\n\
         - { match: { headers: { x-version: { regex: 'v[0-9]+' } } }, respond: { status: 203 } }\n\
         - { match: { headers: { x-flag: { present: true }, x-off: { present: false } } }, respond: { status: 205 } }\n\
         - { match: { query: { beta: '1' } }, respond: { status: 206 } }\n\
         - { match: { query: { name: { prefix: 'a b' } } }, respond: { status: 207 } }\n",
    );
    for (line, fields, status) in [
        ("PUT /", "Content-Length: 0\r\n", 201),
        ("GET /", "X-Env: staging\r\n", 202),
        ("GET /", "X-Env: production\r\n", 404),
        ("GET /", "X-Env: other\r\nX-Env: staging\r\n", 202),
        ("GET /", "X-Version: v12\r\n", 203),
        ("GET /", "X-Version: v12x\r\n", 404),
        ("GET /", "X-Flag:\r\n", 205),
        ("GET /", "X-Flag: y\r\nX-Off: y\r\n", 404),
        ("GET /?beta=1", "", 206),
        ("GET /?a=b&beta=1", "", 206),
        ("GET /?beta=2", "", 404),
        ("GET /?xbeta=1", "", 404),
        ("GET /?name=a%20bc", "", 207),
        ("GET /?name=ab", "", 404),
    ] {
        assert_eq!(ask(&proxy, "test", line, fields).status, status, "{line} {fields}");
    }
}

#[test]
fn weights_share_the_requests() {
    let (proxy, one, two) =
        routed("- match: { prefix: / }\n  clusters: [{ name: one, weight: 3 }, { name: two, weight: 1 }]\n");
    let mut client = proxy.connect();
    for _ in 0..800 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(one.requests() + two.requests(), 800);
    // 600 expected; six standard deviations of a fair draw are 74.
    assert!((526..=674).contains(&one.requests()), "{} of 800", one.requests());
}

#[test]
fn a_weight_of_zero_takes_a_cluster_out() {
    let (proxy, one, two) =
        routed("- match: { prefix: / }\n  clusters: [{ name: one, weight: 1 }, { name: two, weight: 0 }]\n");
    let mut client = proxy.connect();
    for _ in 0..100 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((one.requests(), two.requests()), (100, 0));
}

#[test]
fn redirects_change_what_they_say_and_keep_the_rest() {
    let (proxy, _one, _two) = routed(
        "- { match: { prefix: /secure }, redirect: { scheme: https } }\n\
         - { match: { prefix: /moved }, redirect: { status: 308, host: new.example.com, prefix: /now } }\n\
         - { match: { path: /port }, redirect: { status: 302, port: 8443, strip_query: true } }\n\
         - { match: { path: /all }, redirect: { status: 307, scheme: https, host: other.example.com, path: /x } }\n",
    );
    for (path, status, location) in [
        ("/secure/a?b=c", 301, "https://test.example/secure/a?b=c"),
        ("/moved/a/b?c", 308, "http://new.example.com/now/a/b?c"),
        ("/port?x=y", 302, "http://test.example:8443/port"),
        ("/all?q", 307, "https://other.example.com/x?q"),
    ] {
        let response = ask(&proxy, "test.example", &format!("GET {path}"), "");
        assert_eq!((response.status, response.header("location")), (status, Some(location)), "{path}");
    }
    // A path that is cleaned first cannot be made a scheme-relative address of another host.
    let response = ask(&proxy, "test.example", "GET //evil.example/secure/..//secure", "");
    assert!(!response.header("location").unwrap_or("").starts_with("//"), "{}", response.head);
}

#[test]
fn direct_responses_have_status_body_and_type() {
    let (proxy, one, _two) = routed(
        "- { match: { path: /teapot }, respond: { status: 418, body: 'short and stout' } }\n\
         - { match: { path: /json }, respond: { status: 200, body: '{}', content_type: application/json } }\n\
         - { match: { path: /nothing }, respond: { status: 204 } }\n",
    );
    let teapot = proxy.get("/teapot");
    assert_eq!((teapot.status, teapot.text().as_str()), (418, "short and stout"));
    assert!(teapot.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{}", teapot.head);
    assert_eq!(proxy.get("/json").header("content-type"), Some("application/json"));
    assert_eq!(proxy.get("/nothing").status, 204);
    let mut client = proxy.connect();
    let head = client.exchange("HEAD /teapot HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (418, Some("15")));
    // The body that was not asked for is read past, and the connection goes on.
    let post = client.exchange("POST /teapot HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(post.status, 418);
    assert_eq!(one.requests(), 0);
}

#[test]
fn rewrites_change_the_target_and_the_host() {
    let (proxy, _one, _two) = routed(
        "- { match: { prefix: /api }, rewrite: { prefix: / }, cluster: one }\n\
         - { match: { prefix: /deep }, rewrite: { prefix: /a/b }, cluster: one }\n\
         - { match: { prefix: /whole }, rewrite: { path: /index }, cluster: one }\n\
         - { match: { prefix: /user }, rewrite: { regex: '^/user/([0-9]+)/(.*)$', to: '/$2/of/$1' }, cluster: one }\n\
         - { match: { prefix: /host }, rewrite: { host: internal.example }, cluster: one }\n",
    );
    for (path, target) in [
        ("/api", "/"),
        ("/api?x", "/?x"),
        ("/api/v1/x", "/v1/x"),
        ("/deep/c", "/a/b/c"),
        ("/deep", "/a/b"),
        ("/whole/page?x=y", "/index?x=y"),
        ("/user/12/photos", "/photos/of/12"),
        ("/user/x", "/user/x"),
    ] {
        assert_eq!(proxy.get(path).json()["target"], target, "{path}");
    }
    let described = proxy.get("/host").json();
    let headers = described["headers"].as_array().expect("the origin lists headers");
    assert!(headers.iter().any(|pair| pair[0] == "host" && pair[1] == "internal.example"), "{described}");
}

#[test]
fn headers_are_set_appended_and_removed_on_both_sides() {
    let (proxy, _one, _two) = routed(
        "- match: { prefix: /local }\n\
         \x20 respond: { status: 200 }\n\
         \x20 response_headers: { set: { x-local: 'yes' } }\n\
         - match: { prefix: / }\n\
         \x20 cluster: one\n\
         \x20 request_headers:\n\
         \x20   remove: [x-gone]\n\
         \x20   set: { x-set: 'from %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%' }\n\
         \x20   append: { x-more: second }\n\
         \x20 response_headers:\n\
         \x20   set: { server: pillion }\n\
         \x20   append: { x-added: '%UPSTREAM_CLUSTER%' }\n",
    );
    let response = ask(&proxy, "test", "GET /", "X-Gone: 1\r\nX-Set: client\r\nX-More: first\r\n");
    let described = response.json();
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    for pair in described["headers"].as_array().expect("the origin lists headers") {
        let text = |at: usize| pair[at].as_str().expect("text").to_owned();
        seen.entry(text(0)).or_default().push(text(1));
    }
    assert!(!seen.contains_key("x-gone"));
    assert_eq!(seen["x-set"], ["from 127.0.0.1"]);
    assert_eq!(seen["x-more"], ["first", "second"]);
    assert_eq!(response.values("server"), ["pillion"]);
    assert_eq!(response.header("x-added"), Some("one"));
    assert_eq!(proxy.get("/local").header("x-local"), Some("yes"));
}

#[test]
fn what_matches_nothing_is_404_and_counted() {
    let (proxy, _one, _two) = routed("- { match: { host: only.example }, respond: { status: 200 } }\n");
    assert_eq!(proxy.get("/").status, 404);
    proxy.await_metric("pillion_respond_answers_total", &["flag=\"NR\""], |count| count == 1.0);
}

#[test]
fn the_last_of_five_thousand_routes_is_found() {
    let routes: String = (0..5000)
        .map(|number| {
            format!("- {{ match: {{ prefix: /r{number} }}, respond: {{ status: 200, body: 'r{number}' }} }}\n")
        })
        .collect();
    let (proxy, _one, _two) = routed(&routes);
    for number in [0, 4999, 2500] {
        assert_eq!(proxy.get(&format!("/r{number}/x")).text(), format!("r{number}"));
    }
    assert_eq!(proxy.get("/r5000").status, 404);
}
