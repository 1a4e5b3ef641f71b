//! Requests that come by HTTP/2 and go on by HTTP/1 (RFC 9113 §8, §10.3): what cannot be said there without doubt is
//! refused on its stream, the connection and its other streams live on, and nothing reaches the server.

use super::recorder::{Arrival, Recorder, normal, read_all};
use pillion_tests::{
    frames::{Frames, Outcome, request},
    proxy::Proxy,
};
use std::fmt::Write as _;

type Field = (Vec<u8>, Vec<u8>);

/// What must become of a request.
enum Fate {
    /// A reset of its stream, a 4xx or 501, or the end of the connection; nothing reaches the server.
    Refused,
    /// The same, and the server may have seen its beginning.
    RefusedLate,
    /// This reaches the server, in HTTP/1 bytes.
    Forwarded(&'static str),
    /// Either.
    Either(&'static str),
    /// Either, and the server may have seen its beginning.
    EitherLate(&'static str),
    /// Whatever is answered, the server sees at most this, whole: what is wrong came after a request that was complete
    /// by its own word, and may be answered before it is seen.
    AtMost(&'static str),
}

const EMPTY_POST: Fate = Fate::AtMost("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n");

struct Row {
    name: String,
    fields: Vec<Field>,
    data: Vec<&'static [u8]>,
    trailers: Vec<Field>,
    fate: Fate,
}

fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Field {
    (name.as_ref().to_vec(), value.as_ref().to_vec())
}

fn plain(method: &str, path: &str) -> Vec<Field> {
    request(method, path).iter().map(|(name, value)| field(name, value)).collect()
}

fn with(method: &str, more: &[(&str, &str)]) -> Vec<Field> {
    plain(method, "/").into_iter().chain(more.iter().map(|(name, value)| field(name, value))).collect()
}

fn without(name: &str) -> Vec<Field> {
    plain("GET", "/").into_iter().filter(|(field, _)| field != name.as_bytes()).collect()
}

fn replaced(name: &str, value: impl AsRef<[u8]>) -> Vec<Field> {
    let value = value.as_ref();
    let change = |(field, old): Field| if field == name.as_bytes() { (field, value.to_vec()) } else { (field, old) };
    plain("GET", "/").into_iter().map(change).collect()
}

fn row(name: impl Into<String>, fields: Vec<Field>, fate: Fate) -> Row {
    Row { name: name.into(), fields, data: Vec::new(), trailers: Vec::new(), fate }
}

fn with_data(name: &str, fields: Vec<Field>, data: &[&'static [u8]], fate: Fate) -> Row {
    Row { name: name.into(), fields, data: data.to_vec(), trailers: Vec::new(), fate }
}

fn rows() -> Vec<Row> {
    let mut rows = sound();
    rows.extend(lengths());
    rows.extend(pseudo_headers());
    rows.extend(fields());
    rows.extend(targets());
    rows
}

fn sound() -> Vec<Row> {
    const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    vec![
        row("plain get", plain("GET", "/"), Fate::Forwarded(GET)),
        row("query", plain("GET", "/a?b=c"), Fate::Forwarded("GET /a?b=c HTTP/1.1\r\nhost: test\r\n\r\n")),
        row("host that agrees", with("GET", &[("host", "test")]), Fate::Either(GET)),
        row("te: trailers", with("GET", &[("te", "trailers")]), Fate::Forwarded(GET)),
        row(
            "cookie crumbs are joined",
            with("GET", &[("cookie", "a=1"), ("cookie", "b=2")]),
            Fate::Forwarded("GET / HTTP/1.1\r\nhost: test\r\ncookie: a=1; b=2\r\n\r\n"),
        ),
        with_data(
            "length and data",
            with("POST", &[("content-length", "5")]),
            &[b"he", b"llo"],
            Fate::Forwarded("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello"),
        ),
        with_data(
            "data without length",
            plain("POST", "/"),
            &[b"hello"],
            Fate::Forwarded(
                "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        with_data(
            "data that looks like chunks and requests",
            with("POST", &[("content-length", "43")]),
            &[b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"],
            Fate::Forwarded(
                "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 43\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
        ),
    ]
}

fn lengths() -> Vec<Row> {
    let mut rows = vec![
        with_data("length too small", with("POST", &[("content-length", "3")]), &[b"hello"], Fate::RefusedLate),
        with_data("length too large", with("POST", &[("content-length", "9")]), &[b"hello"], Fate::RefusedLate),
        with_data("length zero with data", with("POST", &[("content-length", "0")]), &[b"hello"], EMPTY_POST),
        with_data(
            "length zero and a smuggled request",
            with("POST", &[("content-length", "0")]),
            &[b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"],
            EMPTY_POST,
        ),
        with_data(
            "overrun in a later frame",
            with("POST", &[("content-length", "5")]),
            &[b"hello", b"!"],
            Fate::AtMost("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello"),
        ),
        row("length without data", with("POST", &[("content-length", "5")]), Fate::Refused),
        row("length without data on get", with("GET", &[("content-length", "5")]), Fate::Refused),
    ];
    for bad in
        ["+5", "-5", "0x5", "5,5", "5, 5", "", " ", "5 5", "5a", "five", "5.0", "18446744073709551621", "\u{ff15}"]
    {
        let fields = with("POST", &[("content-length", bad)]);
        rows.push(with_data(&format!("length {bad:?}"), fields, &[b"hello"], Fate::Refused));
    }
    for (one, two) in [("5", "5"), ("5", "6"), ("6", "5"), ("0", "5")] {
        let fields = with("POST", &[("content-length", one), ("content-length", two)]);
        rows.push(with_data(&format!("lengths {one} and {two}"), fields, &[b"hello"], Fate::Refused));
    }
    rows
}

fn pseudo_headers() -> Vec<Row> {
    let mut rows = Vec::new();
    for name in [":method", ":scheme", ":path"] {
        rows.push(row(format!("no {name}"), without(name), Fate::Refused));
    }
    for (name, value) in request("GET", "/") {
        let twice = plain("GET", "/").into_iter().chain([field(name, value)]).collect();
        rows.push(row(format!("{name} twice"), twice, Fate::Refused));
        rows.push(row(format!("{name} empty"), replaced(name, ""), Fate::Refused));
        let last = without(name).into_iter().chain([field("x-a", "b"), field(name, value)]).collect();
        rows.push(row(format!("{name} after a field"), last, Fate::Refused));
        for (what, byte) in [("nul", "\0"), ("cr", "\r"), ("lf", "\n"), ("space", " "), ("tab", "\t"), ("del", "\x7f")]
        {
            let bad = replaced(name, format!("{value}{byte}x"));
            rows.push(row(format!("{name} with {what}"), bad, Fate::Refused));
        }
    }
    let more: [(&str, Vec<Field>); 8] = [
        ("no authority and no host", without(":authority")),
        (":status in a request", with("GET", &[(":status", "200")])),
        ("unknown pseudo-header", with("GET", &[(":nonsense", "x")])),
        (":protocol without CONNECT", with("GET", &[(":protocol", "websocket")])),
        ("request line in :method", replaced(":method", "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\nGET")),
        ("request line in :path", replaced(":path", "/ HTTP/1.1\r\nhost: test\r\n\r\nGET /smuggled")),
        ("version in :path", replaced(":path", "/smuggled HTTP/1.1")),
        ("fields in :authority", replaced(":authority", "test\r\nx-a: b")),
    ];
    rows.extend(more.into_iter().map(|(name, fields)| row(name, fields, Fate::Refused)));
    rows
}

fn fields() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-a"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", "x"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ] {
        rows.push(row(format!("{name}: {value}"), with("GET", &[(name, value)]), Fate::Refused));
    }
    let upper = [("X-A", "b"), ("Content-Length", "0"), ("Transfer-Encoding", "chunked"), ("Host", "test")];
    rows.extend(
        upper.map(|(name, value)| row(format!("capitals {name}"), with("GET", &[(name, value)]), Fate::Refused)),
    );
    // Every byte that is no lower-case token character, in a name; every control byte, in a value.
    for byte in (0..=255u8).filter(|byte| !(byte.is_ascii_lowercase() || byte.is_ascii_digit())) {
        if b"!#$%&'*+-.^`|~_".contains(&byte) {
            continue;
        }
        let fields = plain("GET", "/").into_iter().chain([field([b'x', byte, b'a'], "b")]).collect();
        rows.push(row(format!("name with {byte:#04x}"), fields, Fate::Refused));
    }
    for byte in (0..=255u8).filter(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
        let fields = plain("GET", "/").into_iter().chain([field("x-a", [b'a', byte, b'b'])]).collect();
        rows.push(row(format!("value with {byte:#04x}"), fields, Fate::Refused));
    }
    rows.push(row("name empty", with("GET", &[("", "b")]), Fate::Refused));
    rows.push(row("name with colon and value", with("GET", &[("x-a: b\r\nx-b", "c")]), Fate::Refused));
    rows.push(row(
        "smuggled in a value",
        with("GET", &[("x-a", "b\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")]),
        Fate::Refused,
    ));
    rows.push(row(
        "space before value",
        with("GET", &[("x-a", " b")]),
        Fate::Either("GET / HTTP/1.1\r\nhost: test\r\nx-a: b\r\n\r\n"),
    ));
    rows.push(row("host that differs", with("GET", &[("host", "other")]), Fate::Refused));
    rows.push(row("host twice", with("GET", &[("host", "test"), ("host", "test")]), Fate::Refused));
    rows.push(row("expect unknown", with("GET", &[("expect", "x\0")]), Fate::Refused));
    for (name, value) in
        [("content-length", "50"), ("transfer-encoding", "chunked"), (":path", "/"), ("X-Upper", "1"), ("x-a", "\r\n")]
    {
        rows.push(Row {
            name: format!("trailer {name}"),
            fields: plain("POST", "/"),
            data: vec![b"hello"],
            trailers: vec![field(name, value)],
            fate: Fate::EitherLate(
                "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ),
        });
    }
    rows
}

fn targets() -> Vec<Row> {
    let mut rows = Vec::new();
    for path in ["x", "*", "?x", "http://other/x", "/../x", "/%2e%2e/x"] {
        rows.push(row(format!(":path {path}"), plain("GET", path), Fate::Refused));
    }
    // A known deviation: `#` is in no `:path` (RFC 9113 §8.3.1), and this should be refused as on HTTP/1. h2 cuts the
    // fragment off before anything of ours sees it; this pins that what is routed is what is forwarded.
    rows.push(row(":path /a#b", plain("GET", "/a#b"), Fate::Forwarded("GET /a HTTP/1.1\r\nhost: test\r\n\r\n")));
    // Made valid by the cleaning of paths, or refused.
    for (path, line) in [
        ("/a\\b", "GET /a/b HTTP/1.1\r\nhost: test\r\n\r\n"),
        ("/caf\u{e9}", "GET /caf%C3%A9 HTTP/1.1\r\nhost: test\r\n\r\n"),
    ] {
        rows.push(row(format!(":path {path}"), plain("GET", path), Fate::Either(line)));
    }
    rows.push(row("dots", plain("GET", "/a/../b"), Fate::Forwarded("GET /b HTTP/1.1\r\nhost: test\r\n\r\n")));
    for authority in ["user@test", "test/x", "test:abc", "te st", "test,other", "[::1", "test:80@other", "test\\x"] {
        rows.push(row(format!(":authority {authority}"), replaced(":authority", authority), Fate::Refused));
    }
    for method in ["GE T", "GET\t", "GE:T", "G\u{c9}T"] {
        rows.push(row(format!(":method {method:?}"), replaced(":method", method), Fate::Refused));
    }
    rows.push(row("scheme with a colon", replaced(":scheme", "http://other/"), Fate::Refused));
    let connect = vec![field(":method", "CONNECT"), field(":authority", "test:443")];
    rows.push(row("connect", connect, Fate::Refused));
    rows
}

#[test]
fn every_request_bridged_from_http2_meets_its_fate() {
    let rows = rows();
    assert!(rows.len() >= 150, "{} rows", rows.len());
    let recorder = Recorder::start();
    let proxy = Proxy::to(recorder.server.address);
    let mut wrong = String::new();
    let mut failures = 0;
    for row in &rows {
        if let Err(what) = check(row, &proxy, &recorder) {
            failures += 1;
            writeln!(wrong, "{}: {what}", row.name).expect("text can be written");
        }
    }
    proxy.assert_healthy();
    assert!(failures == 0, "{failures} of {} rows:\n{wrong}", rows.len());
}

fn send(row: &Row, frames: &mut Frames) -> std::io::Result<()> {
    frames.headers(1, &row.fields, row.data.is_empty() && row.trailers.is_empty())?;
    for (number, data) in row.data.iter().enumerate() {
        frames.data(1, data, number + 1 == row.data.len() && row.trailers.is_empty())?;
    }
    if row.trailers.is_empty() { Ok(()) } else { frames.headers(1, &row.trailers, true) }
}

fn check(row: &Row, proxy: &Proxy, recorder: &Recorder) -> Result<(), String> {
    drop(recorder.take());
    let mut frames = Frames::connect(proxy.address);
    // The connection may be ended while we send.
    drop(send(row, &mut frames));
    let outcome = frames.outcome(1);
    let refused = match &outcome {
        Outcome::Answered(status, _) => (400..=501).contains(status) && *status != 500,
        Outcome::Reset(_) | Outcome::GoAway(_) | Outcome::Closed => true,
        Outcome::Silence => return Err("no outcome".to_owned()),
    };
    if matches!(outcome, Outcome::Answered(..) | Outcome::Reset(_)) {
        // The fault was the stream's: the connection serves the next one.
        let probe = frames.get(3, "/probe").map(|()| frames.outcome(3));
        if !matches!(&probe, Ok(Outcome::Answered(200, body)) if body == b"/probe") {
            return Err(format!("{outcome:?}, and then the next stream: {probe:?}"));
        }
    }
    drop(frames);
    let mut arrivals = recorder.take_settled(proxy);
    arrivals.retain(|arrival| !matches!(arrival, Arrival::Whole(request) if request.target() == "/probe"));
    let whole: Vec<_> = arrivals
        .iter()
        .filter_map(|arrival| match arrival {
            Arrival::Whole(request) => Some(normal(request.clone())),
            Arrival::Cut | Arrival::Unreadable(_) => None,
        })
        .collect();
    let wants = |bytes: &str| read_all(bytes.as_bytes()).into_iter().map(normal).collect::<Vec<_>>();
    let is_right = match &row.fate {
        Fate::Refused => refused && arrivals.is_empty(),
        Fate::RefusedLate => {
            refused && whole.is_empty() && !arrivals.iter().any(|one| matches!(one, Arrival::Unreadable(_)))
        }
        Fate::Forwarded(bytes) => !refused && arrivals.len() == 1 && whole == wants(bytes),
        Fate::Either(bytes) if refused => arrivals.is_empty() && !bytes.is_empty(),
        Fate::EitherLate(_) if refused => whole.is_empty(),
        Fate::AtMost(bytes) => {
            (whole.is_empty() || whole == wants(bytes))
                && !arrivals.iter().any(|one| matches!(one, Arrival::Unreadable(_)))
        }
        Fate::Either(bytes) | Fate::EitherLate(bytes) => arrivals.len() == 1 && whole == wants(bytes),
    };
    if is_right { Ok(()) } else { Err(format!("{outcome:?}; arrived {arrivals:?}")) }
}
