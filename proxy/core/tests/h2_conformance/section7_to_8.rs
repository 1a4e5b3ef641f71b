//! h2spec `http2/7` and `http2/8`: error codes and HTTP messages.

use crate::{
    table::{Case, Expect, case, play},
    wire::*,
};

/// Malformed: RST_STREAM with PROTOCOL_ERROR, and the connection goes on.
fn malformed(name: &'static str, block: Vec<u8>) -> Case {
    case(name, headers(WHOLE, 1, &block), Expect::Stream(1, &[PROTOCOL_ERROR]))
}

/// Malformed, and h2 ends the connection: its HPACK decoder refuses the field itself. A deviation from RFC 9113 §8.1.1.
fn fatal(name: &'static str, block: Vec<u8>) -> Case {
    case(name, headers(WHOLE, 1, &block), Expect::Connection(&[PROTOCOL_ERROR]))
}

#[test]
fn s7_error_codes() {
    play(vec![
        case("7/1 GOAWAY with an unknown code", frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]), Expect::Closed),
        case(
            "7/2 RST_STREAM with an unknown code",
            [headers(END_HEADERS, 1, &post("/hang")), reset(1, 0xff)].concat(),
            Expect::Nothing,
        ),
    ]);
}

#[test]
fn s8_1_exchange() {
    let trailers = |block: &[u8], flags| {
        [headers(END_HEADERS, 1, &post("/")), data(0, 1, b"test"), headers(flags, 1, block)].concat()
    };
    play(vec![
        case(
            "8.1/1 second HEADERS without END_STREAM",
            trailers(&field("x-test", "ok"), END_HEADERS),
            Expect::Stream(1, &[PROTOCOL_ERROR]),
        ),
        fatal("8.1.2/1 upper-case name", with(get("/"), &[("X-TEST", "ok")])),
        fatal("8.1.2.1/1 unknown pseudo-header", with(get("/"), &[(":test", "ok")])),
        malformed("8.1.2.1/2 response pseudo-header", with(get("/"), &[(":status", "200")])),
        case(
            "8.1.2.1/3 pseudo-header in trailers",
            trailers(&field(":method", "200"), WHOLE),
            Expect::Connection(&[PROTOCOL_ERROR]),
        ),
        malformed(
            "8.1.2.1/4 pseudo-header after a regular field",
            block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("x-test", "ok"), (":authority", "a")]),
        ),
        malformed("8.1.2.2/1 connection", with(get("/"), &[("connection", "keep-alive")])),
        malformed("8.1.2.2/2 TE other than trailers", with(get("/"), &[("te", "trailers, deflate")])),
        malformed("8.1.2.3/1 empty :path", get("")),
        malformed("8.1.2.3/2 no :method", block(&[(":scheme", "http"), (":path", "/"), (":authority", "a")])),
        malformed("8.1.2.3/3 no :scheme", block(&[(":method", "GET"), (":path", "/"), (":authority", "a")])),
        malformed("8.1.2.3/4 no :path", block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")])),
        malformed("8.1.2.3/5 two :method", with(get("/"), &[(":method", "POST")])),
        malformed("8.1.2.3/6 two :scheme", with(get("/"), &[(":scheme", "https")])),
        malformed("8.1.2.3/7 two :path", with(get("/"), &[(":path", "/x")])),
        case(
            "8.1.2.6/1 content-length of one DATA",
            [headers(END_HEADERS, 1, &with(post("/"), &[("content-length", "1")])), data(END_STREAM, 1, b"test")]
                .concat(),
            Expect::Stream(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "8.1.2.6/2 content-length of several DATA",
            [
                headers(END_HEADERS, 1, &with(post("/"), &[("content-length", "1")])),
                data(0, 1, b"test"),
                data(END_STREAM, 1, b"test"),
            ]
            .concat(),
            Expect::Stream(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "8.2/1 PUSH_PROMISE",
            [
                headers(END_HEADERS, 1, &post("/hang")),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &get("/")[..]].concat()),
            ]
            .concat(),
            Expect::Connection(&[PROTOCOL_ERROR]),
        ),
    ]);
}

#[test]
fn s8_beyond_h2spec() {
    let plain = |fields: &[(&str, &str)]| with(get("/"), fields);
    let status = |name, block: Vec<u8>, status| case(name, headers(WHOLE, 1, &block), Expect::Response(1, status));
    let base = |method, path: &'static str, authority: &'static str| {
        block(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)])
    };
    play(vec![
        malformed("transfer-encoding", plain(&[("transfer-encoding", "chunked")])),
        malformed("keep-alive", plain(&[("keep-alive", "5")])),
        malformed("proxy-connection", plain(&[("proxy-connection", "close")])),
        malformed("upgrade", plain(&[("upgrade", "h2c")])),
        status("te: trailers", plain(&[("te", "trailers")]), 200),
        malformed("two :authority", plain(&[(":authority", "b")])),
        malformed("path without a slash", base("GET", "x", "a")),
        malformed("path with a space", base("GET", "/a b", "a")),
        malformed("path * on GET", base("GET", "*", "a")),
        status("path * on OPTIONS", base("OPTIONS", "*", "a"), 200),
        malformed("path that is a query", base("GET", "?x", "a")),
        // Deviation of h2: without :authority a missing :path reads as "/".
        status("no path, no authority", block(&[(":method", "GET"), (":scheme", "http"), ("host", "a")]), 200),
        malformed("method with a space", base("GE T", "/", "a")).or_fatal(),
        malformed(
            "scheme with a space",
            block(&[(":method", "GET"), (":scheme", "h p"), (":path", "/"), (":authority", "a")]),
        ),
        malformed("authority with a space", base("GET", "/", "a b")),
        malformed("authority with a slash", base("GET", "/", "a/b")),
        malformed("empty authority", base("GET", "/", "")),
        status("userinfo", base("GET", "/", "u:p@a"), 400),
        status("Host differs", plain(&[("host", "other.example")]), 400),
        status("Host agrees", plain(&[("host", "TEST.example")]), 200),
        status("two Hosts", plain(&[("host", "test.example"), ("host", "test.example")]), 400),
        status("Host alone", block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a")]), 200),
        status("no host at all", block(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]), 400),
        malformed("space before a value", plain(&[("x-test", " ok")])),
        malformed("space after a value", plain(&[("x-test", "ok ")])),
        malformed("tab after a value", plain(&[("x-test", "ok\t")])),
        fatal("CR in a value", plain(&[("x-test", "a\rb")])),
        fatal("LF in a value", plain(&[("x-test", "a\nb")])),
        fatal("NUL in a value", plain(&[("x-test", "a\0b")])),
        malformed("CR LF in the path", base("GET", "/a\r\nx: y", "a")),
        fatal("space in a name", plain(&[("x test", "ok")])),
        fatal("colon in a name", plain(&[("x:test", "ok")])),
        fatal("CR LF in a name", plain(&[("x\r\ny", "ok")])),
        fatal("empty name", plain(&[("", "ok")])),
        malformed("lengths that differ", plain(&[("content-length", "0"), ("content-length", "1")])),
        malformed("equal lengths", plain(&[("content-length", "0"), ("content-length", "0")])),
        malformed("list of lengths", plain(&[("content-length", "0, 0")])),
        malformed("length with a sign", plain(&[("content-length", "+0")])),
        malformed("empty length", plain(&[("content-length", "")])),
        malformed("length that wraps", plain(&[("content-length", "18446744073709551616")])),
        malformed("length without a body", plain(&[("content-length", "1")])),
        malformed("CONNECT with :path", base("CONNECT", "/", "a:1")),
        malformed("CONNECT with :scheme", block(&[(":method", "CONNECT"), (":scheme", "http"), (":authority", "a:1")])),
        malformed("CONNECT without :authority", block(&[(":method", "CONNECT")])),
        malformed(":protocol on GET", plain(&[(":protocol", "websocket")])).or_fatal(),
        malformed(
            "extended CONNECT without :path",
            block(&[(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a")]),
        ),
        case(
            "trailers that make the body shorter",
            [
                headers(END_HEADERS, 1, &with(post("/"), &[("content-length", "9")])),
                data(0, 1, b"test"),
                headers(WHOLE, 1, &field("x", "y")),
            ]
            .concat(),
            Expect::Stream(1, &[PROTOCOL_ERROR]),
        ),
    ]);
}

impl Case {
    /// Where the answer may also end the connection.
    fn or_fatal(mut self) -> Self {
        self.expect = Expect::Either(1, PROTOCOL_ERROR);
        self
    }
}
