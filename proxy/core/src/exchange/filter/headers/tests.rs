use super::*;
use crate::exchange::head::target;
use http::{Request, Response, StatusCode};

fn http1() -> Headers {
    let request = Request::post("/a?b").header("host", "h:1").header("x-a", "1").header("x-b", "2");
    let request = request.header("x-a", "3").header("x-c", "4").body(()).unwrap();
    Headers::request(request.into_parts().0, "http")
}

fn text(headers: &Headers) -> String {
    let pair =
        |(name, value): (&[u8], &[u8])| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    headers.iter().map(pair).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_order_is_the_messages_and_changes_go_to_the_end() {
    let mut head = http1();
    assert_eq!(text(&head), ":authority=h:1 :path=/a?b :method=POST :scheme=http x-a=1 x-a=3 x-b=2 x-c=4");
    assert_eq!((head.len(), head.is_changed()), (8, false));
    head.remove(b"nobody");
    assert!(!head.is_changed());
    head.replace(b"X-A", b"5");
    head.add(b"x-B", b"6");
    assert_eq!(text(&head), ":authority=h:1 :path=/a?b :method=POST :scheme=http x-b=2 x-c=4 x-a=5 x-b=6");
    assert_eq!((head.get(b"x-B"), head.get(b"HOST"), head.get(b":nobody")), (Some(&b"2"[..]), Some(&b"h:1"[..]), None));
    head.replace(b"host", b"other");
    head.replace(b":path", b"/p");
    head.add(b":path", b"/q");
    assert_eq!(head.get(b":path"), Some(&b"/p,/q"[..]));
    let parts = head.into_request().unwrap();
    assert_eq!(
        (parts.uri.to_string(), &parts.headers["host"]),
        ("/p,/q".to_owned(), &HeaderValue::from_static("other"))
    );
}

#[test]
fn an_http2_head_keeps_its_authority_in_the_uri() {
    let request = Request::get("https://h:1/a").version(Version::HTTP_2).body(()).unwrap();
    let mut head = Headers::request(request.into_parts().0, "https");
    assert_eq!(text(&head), ":method=GET :scheme=https :authority=h:1 :path=/a");
    head.replace(b":authority", b"other");
    head.replace(b":method", b"PUT");
    let parts = head.into_request().unwrap();
    assert_eq!((parts.uri.to_string(), parts.method), ("https://other/a".to_owned(), Method::PUT));
}

/// As in Envoy: a request keeps its own.
#[test]
fn what_a_filter_makes_of_a_scheme_is_http_or_https_or_nothing() {
    for (scheme, uri) in [("http", "http"), ("HTTP", "http"), ("https", "https"), ("ftp", "https"), ("", "https")] {
        let request = Request::get("https://h:1/a").version(Version::HTTP_2).body(()).unwrap();
        let mut head = Headers::request(request.into_parts().0, "https");
        head.replace(b":scheme", scheme.as_bytes());
        assert_eq!(head.get(b":scheme"), Some(scheme.as_bytes()));
        assert_eq!(head.into_request().unwrap().uri.to_string(), format!("{uri}://h:1/a"), "{scheme}");
    }
}

#[test]
fn a_filter_may_name_any_host_that_a_field_can_say() {
    let http2 = || {
        let request = Request::get("https://h:1/a").version(Version::HTTP_2).body(()).unwrap();
        Headers::request(request.into_parts().0, "https")
    };
    for host in ["", "localhost:18000-canary", "outbound|80||x.svc", "a b", "a/b", "\u{fc}", "x,y", "[::1", "a:0"] {
        let mut head = http1();
        head.replace(b":authority", host.as_bytes());
        let parts = head.into_request().unwrap();
        assert_eq!((parts.uri.to_string().as_str(), parts.headers["host"].as_bytes()), ("/a?b", host.as_bytes()));
        let mut head = http2();
        head.replace(b":authority", host.as_bytes());
        let parts = head.into_request().unwrap();
        let named = target::Authority::of(&parts.uri, &parts.headers).unwrap();
        assert_eq!((named.text, parts.uri.path()), (host, "/a"));
        assert_eq!(parts.headers.contains_key("host"), parts.uri.authority().is_none());
        assert_eq!(Headers::request(parts, "https").get(b":authority"), Some(host.as_bytes()));
    }
    for host in [&b"a\r\nx: y"[..], b"a\nb", b"a\r", b"a\0", b"\x7f", b"\x01"] {
        for mut head in [http1(), http2()] {
            head.replace(b":authority", host);
            assert_eq!(head.into_request().unwrap_err(), HeadFault::Value(":authority".into()), "{host:?}");
        }
    }
    let mut head = http2();
    head.replace(b":authority", b" \tother ");
    assert_eq!(head.into_request().unwrap().uri, "https://other/a");
    let request = Request::connect("h:443").version(Version::HTTP_2).body(()).unwrap();
    let mut tunnel = Headers::request(request.into_parts().0, "https");
    tunnel.replace(b":authority", b"a b");
    assert_eq!(tunnel.into_request().unwrap_err(), HeadFault::Value(":authority".into()));
}

#[test]
fn what_no_message_can_say_is_seen_and_refused() {
    let mut head = http1();
    head.add(b"Bad Name", b"v");
    head.add(b"x-bad", b"a\nb");
    assert_eq!((head.get(b"bad name"), head.get(b"x-bad")), (Some(&b"v"[..]), Some(&b"a\nb"[..])));
    assert_eq!(head.clone().into_request().unwrap_err(), HeadFault::Name("bad name".into()));
    head.remove(b"bad name");
    assert_eq!(head.clone().into_request().unwrap_err(), HeadFault::Value("x-bad".into()));
    head.remove(b"x-bad");
    head.add(b":nobody", b"v");
    assert!(head.into_request().is_ok(), "a pseudo-header that is none goes no further");
    let mut head = Headers::response(Response::new(()).into_parts().0);
    head.replace_all([(&b":status"[..], &b"404"[..]), (b"a", b"b")]);
    assert_eq!(text(&head), ":status=404 a=b");
    assert_eq!(head.clone().into_response().unwrap().status, StatusCode::NOT_FOUND);
    head.add(b"content-length", b"1");
    head.add(b"content-length", b"2");
    assert_eq!(head.into_response().unwrap_err(), HeadFault::Value("content-length".into()));
}

#[test]
fn fields_of_one_name_are_shown_where_they_came() {
    let request = Request::get("/").header("x-b", "2").header("x-a", "1").header("x-b", "3").header("x-c", "4");
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let names = ["x-b", "x-a", "x-b", "x-gone", "x-c"].map(HeaderName::from_static);
    parts.extensions.insert(WireOrder::of(names.into_iter()).unwrap());
    // What the proxy itself added meanwhile comes last.
    parts.headers.append("x-b", HeaderValue::from_static("5"));
    let mut head = Headers::request(parts, "http");
    assert_eq!(text(&head), ":path=/ :method=GET :scheme=http x-b=2 x-a=1 x-b=3 x-c=4 x-b=5");
    head.add(b"x-a", b"6");
    head.remove(b"x-c");
    assert_eq!(text(&head), ":path=/ :method=GET :scheme=http x-b=2 x-a=1 x-b=3 x-b=5 x-a=6");
    assert_eq!(head.len(), 8);
    head.replace_all([(&b":path"[..], &b"/n"[..]), (b"x", b"1"), (b":method", b"PUT"), (b"y", b"2"), (b"x", b"3")]);
    assert_eq!(text(&head), ":path=/n :method=PUT x=1 y=2 x=3");
    for _ in 0..300 {
        head.add(b"x", b"");
    }
    assert!(text(&head).starts_with(":path=/n :method=PUT x=1 x=3 x= "), "beyond a bound, together");
}

#[test]
fn fields_that_have_one_place_are_one() {
    let mut parts = http::Request::builder().uri("/").header("host", "a").body(()).unwrap().into_parts().0;
    for (name, value) in [("authorization", "good"), ("x-user", "a"), ("authorization", "admin"), ("x-user", "b")] {
        parts.headers.append(name, http::HeaderValue::from_static(value));
    }
    let mut head = Headers::request(parts, "http");
    assert_eq!(head.get(b"authorization"), Some(&b"good,admin"[..]));
    assert_eq!(head.iter().filter(|(name, _)| *name == b"x-user").count(), 2);
    assert!(!head.is_changed());
    head.add(b"Authorization", b"more");
    head.add(b"authorization", b"");
    let head = head.into_request().unwrap();
    let values: Vec<_> = head.headers.get_all("authorization").iter().collect();
    assert_eq!(values, ["good,admin,more"]);
    let mut parts = http::Response::new(()).into_parts().0;
    for (name, value) in
        [("vary", "a"), ("vary", "b"), ("set-cookie", "a"), ("set-cookie", "b"), ("accept", "a"), ("accept", "b")]
    {
        parts.headers.append(name, http::HeaderValue::from_static(value));
    }
    let head = Headers::response(parts);
    let count = |name: &[u8]| head.iter().filter(|(known, _)| *known == name).count();
    assert_eq!((count(b"vary"), count(b"set-cookie"), count(b"accept")), (1, 2, 2));
}
