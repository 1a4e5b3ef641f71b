use super::*;
use http::HeaderName;
use proptest::prelude::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::try_from(*name).expect("a name"),
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    headers
}

#[test]
fn hosts_are_checked() {
    for (text, host, port) in [
        ("example.com", "example.com", None),
        ("Example.com.:8080", "Example.com.", Some(8080)),
        ("10.0.0.1:1", "10.0.0.1", Some(1)),
        ("[::1]", "[::1]", None),
        ("[::ffff:1.2.3.4]:65535", "[::ffff:1.2.3.4]", Some(65535)),
        ("a_b-c~", "a_b-c~", None),
    ] {
        let expected = Authority { text, host, port };
        assert_eq!(Authority::parse(text.as_bytes()), Ok(expected), "{text}");
    }
    for text in [
        "",
        ":80",
        "user@example.com",
        "a:b@c",
        "example.com:",
        "example.com:0",
        "example.com:+1",
        "example.com:65536",
        "example.com:80:80",
        "a..b",
        ".a",
        ".",
        "..",
        "a b",
        "a/b",
        "a,b",
        "a\"",
        "a%2f",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]]",
        "[::1%eth0]",
        "[1.2.3.4]",
        "[]",
        "\u{fc}",
        "a\\b",
        "a#b",
        "a?b",
    ] {
        assert_eq!(Authority::parse(text.as_bytes()), Err(HeadRefusal::HostMalformed), "{text}");
    }
}

#[test]
fn host_and_target_agree() {
    use HeadRefusal::{HostMalformed, HostMismatch, HostMissing, HostRepeated, SchemeUnknown};
    let (h10, h11, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
    for (version, method, uri, hosts, expected) in [
        (h11, "GET", "/", &["a"][..], Ok(Some("a"))),
        (h11, "GET", "/", &[], Err(HostMissing)),
        (h10, "GET", "/", &[], Ok(None)),
        (h10, "GET", "/", &["a"], Ok(Some("a"))),
        (h11, "GET", "/", &["a", "a"], Err(HostRepeated)),
        (h11, "GET", "/", &["a b"], Err(HostMalformed)),
        (h11, "GET", "/", &[""], Err(HostMalformed)),
        (h11, "GET", "http://a/x", &["A"], Ok(Some("a"))),
        (h11, "GET", "http://a:80/x", &["a"], Ok(Some("a:80"))),
        (h11, "GET", "http://a:81/x", &["a"], Err(HostMismatch)),
        (h11, "GET", "http://a/x", &["b"], Err(HostMismatch)),
        (h11, "GET", "http://a/x", &[], Err(HostMissing)),
        (h11, "GET", "http://u@a/x", &["a"], Err(HostMalformed)),
        (h11, "GET", "ftp://a/x", &["a"], Err(SchemeUnknown)),
        (h11, "CONNECT", "a:443", &["a:443"], Ok(Some("a:443"))),
        (h11, "CONNECT", "a:443", &["a"], Ok(Some("a:443"))),
        (h11, "CONNECT", "a:443", &["b:443"], Err(HostMismatch)),
        (h11, "OPTIONS", "*", &["a"], Ok(Some("a"))),
        (h2, "GET", "http://a/x", &[], Ok(Some("a"))),
        (h2, "GET", "https://a/x", &["a:443"], Ok(Some("a"))),
        (h2, "GET", "https://a/x", &["a:80"], Err(HostMismatch)),
        (h2, "GET", "http://a/x", &["b"], Err(HostMismatch)),
        (h2, "GET", "/x", &["b"], Ok(Some("b"))),
        (h2, "GET", "/x", &[], Err(HostMissing)),
        (h2, "GET", "gopher://a/x", &[], Err(SchemeUnknown)),
        (h2, "CONNECT", "a:443", &[], Ok(Some("a:443"))),
    ] {
        let fields: Vec<_> = hosts.iter().map(|&host| ("host", host)).collect();
        let headers = headers(&fields);
        let (method, uri): (Method, Uri) = (method.parse().expect("a method"), uri.parse().expect("a uri"));
        let found = authority(&method, version, &uri, &headers).map(|found| found.map(|found| found.text));
        assert_eq!(found, expected, "{version:?} {method} {uri} {hosts:?}");
    }
}

#[test]
fn what_http2_forbids() {
    use HeadRefusal::{ConnectionField, FieldValue, TeOnHttp2};
    for (name, value, expected) in [
        ("accept", "a b", Ok(())),
        ("x", "", Ok(())),
        ("te", "trailers", Ok(())),
        ("te", "Trailers", Ok(())),
        ("te", "trailers, gzip", Err(TeOnHttp2)),
        ("te", "", Err(TeOnHttp2)),
        ("connection", "close", Err(ConnectionField)),
        ("keep-alive", "timeout=5", Err(ConnectionField)),
        ("proxy-connection", "close", Err(ConnectionField)),
        ("transfer-encoding", "chunked", Err(ConnectionField)),
        ("upgrade", "h2c", Err(ConnectionField)),
        ("x", " a", Err(FieldValue)),
        ("x", "a\t", Err(FieldValue)),
        ("x", " ", Err(FieldValue)),
    ] {
        let headers = headers(&[(name, value)]);
        assert_eq!(check_http2(&headers, Survey::of(&headers)), expected, "{name}: {value}");
    }
}

#[test]
fn lengths() {
    use HeadRefusal::{LengthMalformed, LengthRepeated};
    for (values, expected) in [
        (&[][..], Ok(None)),
        (&["0"], Ok(Some(0))),
        (&["18446744073709551615"], Ok(Some(u64::MAX))),
        (&["007"], Ok(Some(7))),
        (&["18446744073709551616"], Err(LengthMalformed)),
        (&["5", "5"], Err(LengthRepeated)),
        (&["5, 5"], Err(LengthRepeated)),
        (&["+5"], Err(LengthMalformed)),
        (&["-1"], Err(LengthMalformed)),
        (&["0x5"], Err(LengthMalformed)),
        (&["5 "], Err(LengthMalformed)),
        (&[""], Err(LengthMalformed)),
    ] {
        let fields: Vec<_> = values.iter().map(|&value| ("content-length", value)).collect();
        assert_eq!(content_length(&headers(&fields)), expected, "{values:?}");
    }
}

#[test]
fn cookie_crumbs_become_one_field() {
    let mut headers = HeaderMap::new();
    for crumb in ["a=1", "b=2", "c=3"] {
        headers.append(header::COOKIE, HeaderValue::from_static(crumb));
    }
    join_cookies(&mut headers).expect("room");
    assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

proptest! {
    #[test]
    fn a_host_that_is_let_in_is_a_uri_and_a_value(text in "[\\[\\]a-z0-9.:%@_ -]{0,16}") {
        if let Ok(authority) = Authority::parse(text.as_bytes()) {
            prop_assert!(authority.to_value().is_ok());
            let uri = authority.to_uri().expect("an authority");
            prop_assert_eq!(uri.host(), authority.host);
            prop_assert_eq!(uri.port_u16(), authority.port);
        }
    }

    #[test]
    fn what_was_let_in_is_read_alike_afterwards(text in "[\\[\\]a-z0-9.:%@_ |/-]{0,16}") {
        let (uri, headers) = (Uri::from_static("/"), headers(&[("host", &text)]));
        let left = Authority::of(&uri, &headers).expect("text");
        let odd = Authority { text: &text, host: &text, port: None };
        prop_assert_eq!(left, Authority::parse(text.as_bytes()).unwrap_or(odd));
    }
}
