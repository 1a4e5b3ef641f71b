//! Streams for the property tests: requests put together from good and bad pieces, so that most get far.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const LINES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "GET /a/b?c=d HTTP/1.1\r\n",
    "POST / HTTP/1.1\r\n",
    "POST / HTTP/1.0\r\n",
    "GET http://a/ HTTP/1.1\r\n",
    "GET https://A:443/x HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "TRACE / HTTP/1.1\r\n",
    "\r\nGET / HTTP/1.1\r\n",
    "PRI * HTTP/2.0\r\n",
    "GET / HTTP/1.1\n",
    "GET  / HTTP/1.1\r\n",
    "G@T / HTTP/1.1\r\n",
    "GET /# HTTP/1.1\r\n",
];

const FIELDS: &[&str] = &[
    "Accept: */*\r\n",
    "x-y: \t z \r\n",
    "Empty:\r\n",
    "Expect: 100-continue\r\n",
    "Connection: keep-alive\r\n",
    "Connection: close, Upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Upgrade: h2c\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 5\r\n",
    "content-length: 0012\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: Chunked\r\n",
    "Content_Length: 3\r\n",
    "X: caf\u{e9}\r\n",
];

const BAD_FIELDS: &[&str] = &[
    "Host: b\r\n",
    "Host : a\r\n",
    " folded\r\n",
    "X: a\rb\r\n",
    "X: a\n",
    "X: a\0\r\n",
    "Content-Length: 5,5\r\n",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Expect: x\r\n",
    "no colon\r\n",
    ": x\r\n",
    "\r\n",
];

const BODIES: &[&str] = &[
    "",
    "hello",
    "hello world!",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;x=\"y\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: u\r\n\r\n",
    "5;x=\"y\\\";\" \r\nhello\r\n0\r\n\r\n",
    "5;x= y\"\r\nhello\r\n0\r\n\r\n",
    "5;x=\"\\\"\r\nhello\r\n0\r\n\r\n",
    "0\r\n\r\n",
    "5\r\nhelloo\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "0\r\nContent-Length: 5\r\n\r\n",
    "0\r\nHost: b\r\n\r\n",
    "zz\r\n",
    "\r\n",
];

fn request() -> impl Strategy<Value = Vec<u8>> {
    (
        prop_oneof![6 => select(&LINES[..4]), 3 => select(LINES)],
        prop_oneof![9 => Just("Host: a\r\n"), 1 => Just("Host: A:80\r\n"), 1 => Just("")],
        prop_oneof![4 => subsequence(FIELDS, 0..3), 1 => subsequence(FIELDS, 0..FIELDS.len())],
        proptest::option::weighted(0.1, select(BAD_FIELDS)),
        select(BODIES),
    )
        .prop_map(|(line, host, fields, bad, body)| {
            [line, host].into_iter().chain(fields).chain(bad).chain(["\r\n", body]).collect::<String>().into_bytes()
        })
}

/// Requests one after the other, and sometimes a byte changed.
pub(super) fn stream() -> impl Strategy<Value = Vec<u8>> {
    let interesting = select(b"\r\n\0 \t:;,a0\x7f\xff".to_vec());
    (
        proptest::collection::vec(request(), 1..4),
        proptest::option::weighted(0.3, (any::<prop::sample::Index>(), interesting)),
    )
        .prop_map(|(requests, change)| {
            let mut stream = requests.concat();
            if let Some((at, byte)) = change {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            stream
        })
}

/// Good requests only, each with the bytes of body that it declares.
pub(super) fn good() -> impl Strategy<Value = Vec<u8>> {
    let one = (
        select(
            &[
                "GET / HTTP/1.1\r\n",
                "POST /x?y HTTP/1.1\r\n",
                "PUT http://a/ HTTP/1.1\r\n",
                "\r\nDELETE /{z} HTTP/1.1\r\n",
            ][..],
        ),
        subsequence(
            &["Accept: */*\r\n", "x_y: \t z \r\n", "Empty:\r\n", "X: caf\u{e9}\r\n", "Upgrade: h2c\r\n"][..],
            0..5,
        ),
        select(
            &[
                "\r\n",
                "Content-Length: 0\r\n\r\n",
                "content-length: 006\r\n\r\nhello!",
                "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "Transfer-encoding: CHUNKED \r\n\r\n5;x=\"y\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: u\r\n\r\n",
            ][..],
        ),
    )
        .prop_map(|(line, fields, body)| {
            [line, "host: A\r\n"].into_iter().chain(fields).chain([body]).collect::<String>().into_bytes()
        });
    proptest::collection::vec(one, 1..5).prop_map(|requests| requests.concat())
}
