//! Heads: what is told to the server about the client, what is dropped, what is cleaned.

use pillion_tests::{
    client::Client,
    frames::{Frames, Outcome, request},
    origin::Origin,
    proxy::{Proxy, Shape},
    response::Response,
};
use serde_json::Value;

/// The values of a header that the origin saw.
fn seen(response: &Response, name: &str) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    values(&response.json(), name)
}

fn values(described: &Value, name: &str) -> Vec<String> {
    let headers = described["headers"].as_array().expect("the origin lists headers");
    headers
        .iter()
        .filter(|pair| pair[0] == name)
        .map(|pair| pair[1].as_str().expect("a value is text").to_owned())
        .collect()
}

fn exchange(proxy: &Proxy, fields: &str) -> Response {
    proxy.connect().exchange(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
}

#[test]
fn an_untrusted_client_cannot_say_who_it_is() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let response = exchange(
        &proxy,
        "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=9.9.9.9\r\n",
    );
    assert_eq!(seen(&response, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&response, "x-forwarded-proto"), ["http"]);
    assert_eq!(seen(&response, "x-forwarded-host"), ["test"]);
    assert!(seen(&response, "forwarded").is_empty());
}

#[test]
fn a_trusted_peer_is_believed_and_appended_to() {
    let origin = Origin::start();
    let listener = "forwarding: { x_forwarded: append, forwarded: append, trusted: [127.0.0.0/8] }";
    let proxy = Shape { listener, ..Shape::default() }.start(origin.address);
    let response =
        exchange(&proxy, "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=9.9.9.9\r\n");
    assert_eq!(seen(&response, "x-forwarded-for").join(", "), "9.9.9.9, 127.0.0.1");
    assert_eq!(seen(&response, "x-forwarded-proto"), ["https"]);
    let forwarded = seen(&response, "forwarded").join(", ");
    assert!(forwarded.starts_with("for=9.9.9.9") && forwarded.contains("for=127.0.0.1"), "{forwarded}");
}

#[test]
fn every_request_gets_an_id_of_its_own() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let one = seen(&exchange(&proxy, ""), "x-request-id");
    let two = seen(&exchange(&proxy, "X-Request-Id: forged\r\n"), "x-request-id");
    assert_eq!((one.len(), two.len()), (1, 1));
    assert_eq!(one[0].len(), 36, "a UUID: {}", one[0]);
    assert!(one != two && two != ["forged"], "{one:?} {two:?}");
}

#[test]
fn via_is_added_to_both_sides_when_asked_for() {
    let origin = Origin::start();
    let proxy = Shape { listener: "forwarding: { via: pillion }", ..Shape::default() }.start(origin.address);
    let response = exchange(&proxy, "Via: 1.0 first\r\n");
    assert_eq!(seen(&response, "via").join(", "), "1.0 first, 1.1 pillion");
    assert!(response.values("via").iter().any(|via| via.contains("pillion")), "{}", response.head);
    let without = exchange(&Proxy::to(origin.address), "");
    assert!(seen(&without, "via").is_empty() && without.header("via").is_none());
}

#[test]
fn response_hop_by_hop_fields_stay_on_their_hop() {
    use pillion_tests::scripted::Scripted;
    let server = Scripted::answering(
        "HTTP/1.1 200 OK\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: x\r\nX-Kept: 2\r\nContent-Length: 2\r\n\r\nok",
    );
    let response = exchange(&Proxy::to(server.address), "");
    assert_eq!(response.text(), "ok");
    assert_eq!(response.header("x-kept"), Some("2"));
    assert!(response.header("x-secret").is_none() && response.header("keep-alive").is_none(), "{}", response.head);
}

#[test]
fn host_and_authority_must_agree_on_http2() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut frames = Frames::connect(proxy.address);
    let mut fields = request("GET", "/").to_vec();
    fields.push(("host", "other"));
    frames.headers(1, &fields, true).expect("a request is sent");
    let outcome = frames.outcome(1);
    assert!(matches!(outcome, Outcome::Answered(400, _) | Outcome::Reset(_)), "{outcome:?}");
    assert_eq!(origin.requests(), 0);
}

#[test]
fn authority_becomes_host_and_host_becomes_authority() {
    let origin = Origin::start();
    let to_http1 = Proxy::to(origin.address);
    let mut frames = Frames::connect(to_http1.address);
    frames.get(1, "/").expect("a request is sent");
    let Outcome::Answered(200, body) = frames.outcome(1) else { panic!("no answer") };
    let described = serde_json::from_slice(&body).expect("the origin answers in JSON");
    assert_eq!(values(&described, "host"), ["test"]);
    assert_eq!(described["version"], "HTTP/1.1");

    let to_http2 = Shape { cluster: "protocol: http2", ..Shape::default() }.start(origin.address);
    let described = Client::connect(to_http2.address).get("/").json();
    assert_eq!(described["authority"], "test");
    assert_eq!(described["version"], "HTTP/2.0");
}

#[test]
fn paths_are_cleaned_before_they_are_matched() {
    let origin = Origin::start();
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\nlisteners:\n  - name: web\n    address: {{listen}}\n    routes:\n\
         \x20     - match: {{ prefix: /private }}\n        respond: {{ status: 403 }}\n\
         \x20     - match: {{ prefix: / }}\n        cluster: origin\n\
         clusters:\n  - name: origin\n    endpoints: [\"{}\"]\n",
        origin.address
    );
    let proxy = Proxy::start(&yaml);
    for path in
        ["/private", "/private/x", "//private", "/a/../private", "/./private/", "/a/%2e%2e/private", "/%70rivate"]
    {
        assert_eq!(proxy.get(path).status, 403, "{path}");
    }
    assert_eq!(proxy.get("/privately").status, 200);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn escaped_slashes_follow_the_policy() {
    let origin = Origin::start();
    for (policy, status, target) in [("keep", 200, "/a%2Fb"), ("reject", 400, ""), ("decode", 200, "/a/b")] {
        let listener = format!("path: {{ escaped_slashes: {policy} }}");
        let proxy = Shape { listener: &listener, ..Shape::default() }.start(origin.address);
        let response = proxy.get("/a%2Fb");
        assert_eq!(response.status, status, "{policy}");
        if status == 200 {
            assert_eq!(response.json()["target"], target, "{policy}");
        }
    }
}

#[test]
fn underscores_in_names_follow_the_policy() {
    let origin = Origin::start();
    let strict = Proxy::to(origin.address);
    assert_eq!(exchange(&strict, "X_Forwarded_For: 1.2.3.4\r\n").status, 400);
    let lenient = Shape { listener: "underscores: accept", ..Shape::default() }.start(origin.address);
    assert_eq!(seen(&exchange(&lenient, "X_A: b\r\n"), "x_a"), ["b"]);
}

#[test]
fn traceparent_goes_through_and_its_own_fields_are_not_invented() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(seen(&exchange(&proxy, &format!("traceparent: {trace}\r\n")), "traceparent"), [trace]);
    let response = exchange(&proxy, "");
    assert!(seen(&response, "user-agent").is_empty() && seen(&response, "accept").is_empty());
}
