//! Filters: the hosts that they name, in requests and in calls of their own.

use super::*;
use pillion_core::exchange::filter::GrpcCall;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

/// As in Envoy: what clients name is judged, what filters make of it goes on and chooses the route.
#[test]
fn a_filter_may_name_any_host_and_the_route_is_chosen_by_it() {
    let named = Rc::<RefCell<String>>::default();
    let name = Rc::clone(&named);
    script("a", move |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| head.replace(b":authority", name.borrow().as_bytes())).unwrap();
        }
        Do::Continue
    });
    let routes = "      - match: { host: '*-canary' }
        cluster: up
        request_headers: { set: { x-route: canary } }
      - match: { host: localhost }
        cluster: up
        request_headers: { set: { x-route: local } }
      - match: { host: 'to-*' }
        redirect: { scheme: https }
      - match: { prefix: / }
        cluster: up
        request_headers: { set: { x-route: any } }";
    let cases = [
        ("localhost:18000-canary", "canary", ":authority"),
        ("localhost-canary:80", "canary", ":authority"),
        ("outbound|80||x-canary", "canary", "host"),
        ("localhost:18000", "local", ":authority"),
        ("localhost:x", "any", ":authority"),
        ("a b", "any", "host"),
        ("", "any", "host"),
    ];
    let note = Rc::clone(&named);
    run(
        Setup { routes, ..ONE },
        |_, _| echo(),
        |world| async move {
            for (host, route, _) in cases {
                named.replace(host.to_owned());
                let seen = get(&world, "/x").await.body;
                for part in [format!("\r\nhost: {host}\r\n"), format!("\r\nx-route: {route}\r\n")] {
                    assert!(seen.contains(&part), "{part}: {seen}");
                }
            }
            for (host, location) in [("to-b c:80", "https://to-b c:80/x"), ("to-b:x", "https://to-b:x/x")] {
                named.replace(host.to_owned());
                assert_eq!(get(&world, "/x").await.field("location"), Some(location));
            }
            // A client is judged as ever.
            for host in ["localhost:18000-canary", "a b", "outbound|80||x", ""] {
                assert_eq!(ask(&world, &format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).await.status, 400, "{host}");
            }
        },
    );
    run(
        Setup { routes, ..ONE_H2 },
        |_, _| h2_server(tell),
        |world| async move {
            let mut client = http2(&world).await;
            for (host, route, said) in cases {
                note.replace(host.to_owned());
                let asked = request("GET", "/x").body(()).unwrap();
                let (seen, _) = body(fetch(&mut client, asked).await.unwrap().body_mut()).await.unwrap();
                for seen in [seen, get(&world, "/x").await.body] {
                    assert!(seen.contains(&format!("x-route: {route}\n")), "{host}: {seen}");
                    let (line, field) = (format!("GET http://{host}/x\n"), format!("\nhost: {host}\n"));
                    assert_eq!(
                        (seen.contains(&line), seen.contains(&field)),
                        (said != "host", said == "host"),
                        "{seen}"
                    );
                }
            }
        },
    );
}

/// Whatever a field can be, as in Envoy: names of clusters such as Istio gives are no hosts, and of two there is one.
const AUTHORITIES: [&str; 16] = [
    "",
    "outbound|8081||limitador.ns.svc.cluster.local",
    "g:c",
    "g/c",
    "a b",
    "host:abc",
    "user@h",
    "%zz",
    "\u{fc}",
    "*.x",
    "x,y",
    "a;b",
    "127.0.0.1:99999",
    "::1",
    "a\tb",
    "[::1]:80",
];

#[test]
fn a_call_is_for_whatever_authority_it_names() {
    run(
        ONE,
        |_, _| echo(),
        |world| async move {
            let call = |fields: &[(&[u8], &[u8])]| {
                let headers = [&[(&b":method"[..], &b"GET"[..]), (b":path", b"/")], fields].concat();
                let timeout = Duration::from_secs(5);
                services()
                    .http_call(&HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout })
                    .unwrap()
            };
            for name in [&b":authority"[..], b"host"] {
                for authority in AUTHORITIES {
                    let answer = call(&[(name, authority.as_bytes()), (b"x-a", b"1")]).await.unwrap();
                    let text = String::from_utf8(answer.body.to_vec()).unwrap();
                    assert!(text.contains(&format!("\r\nhost: {authority}\r\n")), "{authority}: {text}");
                    assert_eq!(text.matches("host: ").count(), 1, "{text}");
                }
            }
            let answer = call(&[(b":authority", b"a"), (b"host", b"other"), (b":authority", b"b")]).await.unwrap();
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(text.contains("\r\nhost: a,other,b\r\n"), "{text}");
            drop(world);
        },
    );
}

/// Answers each head with its bytes, escaped.
fn escaped() -> crate::server::Step {
    serve(|mut stream| async move {
        let mut head = Vec::new();
        while let Ok(byte) = stream.read_u8().await {
            head.push(byte);
            if head.ends_with(b"\r\n\r\n") {
                let told = std::mem::take(&mut head).escape_ascii().to_string();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{told}", told.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
}

/// Requests are not smuggled: whatever bytes a filter names as authority are that field's value, or nothing is sent.
#[test]
fn no_authority_of_a_filter_says_anything_but_the_host() {
    let some_byte = prop_oneof![
        prop::sample::select(&b"\r\n\0\t :/?#@|,\\\"\x7f\x01\xff"[..]),
        proptest::num::u8::ANY,
        proptest::char::range('a', 'z').prop_map(|letter| letter as u8),
    ];
    let some = prop::collection::vec(some_byte, 0..20);
    let mut runner = TestRunner::deterministic();
    let mut all: Vec<Vec<u8>> = (0..1000).map(|_| some.new_tree(&mut runner).unwrap().current()).collect();
    for odd in [
        "a\r\nx-b: 2",
        "a\nx-b: 2",
        "a\rx-b: 2",
        "a\r\n\r\nGET /b HTTP/1.1\r\nhost: b",
        " HTTP/1.1",
        "\r\n ",
        "a\r\n\tb",
    ] {
        all.push(odd.into());
    }
    let named = Rc::<RefCell<Vec<u8>>>::default();
    let name = Rc::clone(&named);
    script("a", move |event, stream| {
        if let Event::RequestHeaders(_) = event {
            stream.headers(Map::RequestHeaders, |head| head.replace(b":authority", &name.borrow())).unwrap();
        }
        Do::Continue
    });
    run(
        ONE,
        |_, _| escaped(),
        |world| async move {
            let called = async |authority: &[u8]| {
                let headers: [(&[u8], &[u8]); 4] =
                    [(b":method", b"GET"), (b":path", b"/x"), (b":authority", authority), (b"x-a", b"1")];
                let timeout = Duration::from_secs(5);
                let call = HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout };
                Some(String::from_utf8(services().http_call(&call).ok()?.await.unwrap().body.to_vec()).unwrap())
            };
            let passed = async |authority: &[u8]| {
                named.replace(authority.to_vec());
                let answer = get(&world, "/x").await;
                assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
                (answer.status == 200).then_some(answer.body)
            };
            let lines = |head: &str| {
                let mut lines: Vec<_> = head
                    .split("\\r\\n")
                    .filter(|line| !line.starts_with("x-request-id: "))
                    .map(str::to_owned)
                    .collect();
                lines[1..].sort();
                lines
            };
            let before = (called(b"base").await.unwrap(), passed(b"base").await.unwrap());
            for authority in all {
                let sayable = HeaderValue::from_bytes(&authority).is_ok();
                let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
                let from = authority.iter().position(|byte| !blank(byte)).unwrap_or(authority.len());
                let to = authority.iter().rposition(|byte| !blank(byte)).map_or(from, |last| last + 1);
                let said = format!("host: {}", authority[from..to].escape_ascii());
                for (before, after) in [(&before.0, called(&authority).await), (&before.1, passed(&authority).await)] {
                    assert_eq!(after.is_some(), sayable, "{:?}", authority.escape_ascii());
                    if let Some(after) = after {
                        assert_eq!(lines(&after), lines(&before.replace("host: base", &said)));
                    }
                }
            }
        },
    );
}

/// Tells how its client says for whom it asks.
async fn grpc_asked(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let said = request.uri().authority().map(|authority| format!(":authority={authority}"));
    let host = request.headers().get("host").map(|host| [b"host=", host.as_bytes()].concat());
    let said = said.map(String::into_bytes).into_iter().chain(host).collect::<Vec<_>>().concat();
    let response = Response::builder().header("x-asked", HeaderValue::from_bytes(&said).unwrap());
    let response = response.header("content-type", "application/grpc").header("grpc-status", "0");
    respond.send_response(response.body(()).unwrap(), true).unwrap();
}

#[test]
fn a_grpc_call_is_for_whatever_authority_it_names() {
    run(
        ONE_H2,
        |_, _| h2_server(grpc_asked),
        |world| async move {
            let ask = async |authority: &str, metadata: &[(&[u8], &[u8])]| {
                let timeout = Some(Duration::from_secs(5));
                let (service, method) = ("s.S", "M");
                let call = GrpcCall { cluster: "up", authority: Some(authority), service, method, metadata, timeout };
                let reply = services().grpc_call(&call, b"").unwrap().await.unwrap();
                reply.trailing.fields["x-asked"].as_bytes().to_vec()
            };
            for authority in AUTHORITIES {
                let said = match authority.parse::<http::uri::Authority>() {
                    Ok(_) => ":authority=",
                    Err(_) => "host=",
                };
                let asked = ask(authority, &[]).await;
                assert_eq!(asked, [said.as_bytes(), authority.as_bytes()].concat(), "{authority}");
            }
            // What it says beside it is one with it, as in Envoy.
            let more: [(&[u8], &[u8]); 2] = [(b":authority", b"lim.svc"), (b"host", b"b")];
            assert_eq!(ask("up", &more).await, b":authority=up,lim.svc,b");
            drop(world);
        },
    );
}

/// As Envoy: what the call says, or else what it says that a client did; nothing else is a scheme.
#[test]
fn a_call_is_by_the_scheme_that_it_names() {
    run(
        ONE_H2,
        |_, _| h2_server(tell),
        |world| async move {
            let call = async |more: &[(&[u8], &[u8])]| {
                let fields: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":path", b"/x"), (b":authority", b"a")];
                let headers = [&fields[..], more].concat();
                let timeout = Duration::from_secs(5);
                let call = HttpCall { cluster: "up", headers: &headers, body: b"", trailers: &[], timeout };
                let answer = services().http_call(&call).unwrap().await.unwrap();
                String::from_utf8(answer.body.to_vec()).unwrap()
            };
            let forwarded: (&[u8], &[u8]) = (b"x-forwarded-proto", b"https");
            for (more, scheme) in [
                (&[][..], "http"),
                (&[(&b":scheme"[..], &b"https"[..])], "https"),
                (&[(b":scheme", b"HTTPS")], "https"),
                (&[(b":scheme", b"ftp")], "http"),
                (&[(b":scheme", b"https"), (b":scheme", b"https")], "http"),
                (&[forwarded], "https"),
                (&[(b":scheme", b"ftp"), forwarded], "https"),
                (&[(b":scheme", b"http"), forwarded], "http"),
            ] {
                let told = call(more).await;
                assert!(told.contains(&format!("GET {scheme}://a/x\n")), "{more:?}: {told}");
            }
            drop(world);
        },
    );
}
