//! Tables of what is refused and what is not, and the properties that no table can cover.

mod agreement;
mod answers;
mod reference;
mod streams;

use super::*;

/// What a framer said of a stream, body bytes merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Head { len: usize, asks: Asks },
    Status(u16, usize),
    Body(usize),
    Held,
    Opaque,
    Refused(Refusal),
    Violated(Violation),
}

/// Runs a stream, cut after each of `cuts`, through a request framer the way a shell does.
pub(super) fn requests(limits: Limits, stream: &[u8], cuts: &[usize]) -> Vec<Event> {
    let (mut framer, mut layout) = (RequestFramer::new(limits), Layout::default());
    let mut events = Vec::new();
    let mut at = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        loop {
            match framer.step(&stream[at..end], &mut layout) {
                Ok(Step::Head { len, asks }) => {
                    at += len;
                    events.push(Event::Head { len, asks });
                }
                Ok(Step::Body { len } | Step::Framing { len } | Step::Trailers { len }) => {
                    assert!(len > 0, "a step over no bytes");
                    at += len;
                    push_body(&mut events, len);
                }
                Ok(Step::More) => break,
                Ok(Step::Held) => {
                    events.push(Event::Held);
                    framer.decline_upgrade();
                }
                Ok(Step::Opaque) => unreachable!("nothing was accepted"),
                Err(refusal) => {
                    let good = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
                    assert_eq!(framer.step(good, &mut layout), Err(refusal), "a refusal is final");
                    events.push(Event::Refused(refusal));
                    return events;
                }
            }
        }
    }
    events
}

/// The same for responses: one request of each of `expected` is announced as soon as the one before is answered.
pub(super) fn responses(limits: Limits, expected: &[Expected], stream: &[u8], cuts: &[usize]) -> Vec<Event> {
    let (mut framer, mut layout) = (ResponseFramer::new(limits), Layout::default());
    let mut expected = expected.iter();
    let mut events = Vec::new();
    let mut at = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        loop {
            if framer.progress() == Progress::Idle
                && let Some(next) = expected.next()
            {
                framer.expect(*next);
            }
            match framer.step(&stream[at..end], &mut layout) {
                Ok(Part::Head { len, status }) => {
                    at += len;
                    events.push(Event::Status(status, len));
                }
                Ok(Part::Body { len } | Part::Framing { len } | Part::Trailers { len }) => {
                    assert!(len > 0, "a step over no bytes");
                    at += len;
                    push_body(&mut events, len);
                }
                Ok(Part::More) => break,
                Ok(Part::Opaque) => {
                    events.push(Event::Opaque);
                    return events;
                }
                Err(violation) => {
                    let good = b"HTTP/1.1 200 OK\r\n\r\n";
                    assert_eq!(framer.step(good, &mut layout), Err(violation), "a violation is final");
                    events.push(Event::Violated(violation));
                    return events;
                }
            }
        }
    }
    events
}

fn push_body(events: &mut Vec<Event>, len: usize) {
    match events.last_mut() {
        Some(Event::Body(total)) => *total += len,
        _ => events.push(Event::Body(len)),
    }
}

/// Everywhere at once: whole, one byte at a time, and cut in two at every place.
fn every_cut(len: usize) -> impl Iterator<Item = Vec<usize>> {
    [vec![], (1..len).collect()].into_iter().chain((1..len).map(|cut| vec![cut]))
}

fn refusal_of(stream: &[u8]) -> Option<Refusal> {
    let whole = requests(Limits::default(), stream, &[]);
    for cuts in every_cut(stream.len()) {
        assert_eq!(requests(Limits::default(), stream, &cuts), whole, "{:?} cut at {cuts:?}", stream.escape_ascii());
    }
    match whole.last() {
        Some(Event::Refused(refusal)) => Some(*refusal),
        _ => None,
    }
}

fn violation_of(expected: Expected, stream: &[u8]) -> Option<Violation> {
    let run = |cuts: &[usize]| responses(Limits::default(), &[expected], stream, cuts);
    let whole = run(&[]);
    for cuts in every_cut(stream.len()) {
        assert_eq!(run(&cuts), whole, "{:?} cut at {cuts:?}", stream.escape_ascii());
    }
    match whole.last() {
        Some(Event::Violated(violation)) => Some(*violation),
        _ => None,
    }
}

#[test]
fn requests_that_are_refused() {
    use Fault as F;
    use Refusal as R;
    let table: &[(&str, R)] = &[
        // Lengths
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            F::LengthAndEncoding.into(),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            F::LengthAndEncoding.into(),
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\nCONTENT-LENGTH: 5\r\n\r\nhello", F::RepeatedLength.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", F::BadLength.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", F::BadLength.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", F::BadLength.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", F::BadLength.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", F::BadLength.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", F::BadLength.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", F::UnsupportedEncoding.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", F::UnsupportedEncoding.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", F::UnsupportedEncoding.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", F::UnsupportedEncoding.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", F::UnsupportedEncoding.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", F::UnsupportedEncoding.into()),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            F::RepeatedEncoding.into(),
        ),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", F::EncodingOnOldVersion.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", F::ControlByte.into()),
        // Lines and fields
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", F::ObsFold.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", F::ObsFold.into()),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", F::ObsFold.into()),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", F::SpaceBeforeColon.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", F::SpaceBeforeColon.into()),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", F::BareCr.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n", F::BareCr.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", F::BareCr.into()),
        ("GET / HTTP/1.1\nHost: a\n\n", F::BareLf.into()),
        ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", F::BareLf.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", F::BareLf.into()),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", F::BareLf.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", F::ControlByte.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", F::ControlByte.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x08b\r\n\r\n", F::ControlByte.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n", F::ControlByte.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", F::BadFieldName.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", F::BadFieldName.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(y): a\r\n\r\n", F::BadFieldName.into()),
        ("GET / HTTP/1.1\r\nHost: a\r\nXé: a\r\n\r\n", F::BadFieldName.into()),
        // Request lines
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", R::EmptyLines),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", R::BadRequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", R::BadRequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", R::BadRequestLine),
        ("GET /\r\n\r\n", R::BadRequestLine),
        ("GET / HTTP/1.1x\r\nHost: a\r\n\r\n", R::BadRequestLine),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", R::BadRequestLine),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", R::BadRequestLine),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", F::BareCr.into()),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", R::BadMethod),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", R::BadMethod),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", R::BadMethod),
        ("GET\r\nHost: a\r\n\r\n", R::BadMethod),
        ("\x16\x03\x01\x02\r\n", R::BadMethod),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: a\r\n\r\n", R::MethodTooLong),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", F::BadVersion.into()),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", F::BadVersion.into()),
        ("GET / HTTP/0.9\r\n\r\n", F::BadVersion.into()),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", F::BadVersion.into()),
        // Targets
        ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET /?<x> HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", R::BadTarget),
        ("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        ("CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", R::BadTarget),
        // Hosts
        ("GET / HTTP/1.1\r\n\r\n", R::MissingHost),
        ("GET http://a/ HTTP/1.1\r\n\r\n", R::MissingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", R::SeveralHosts),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", R::SeveralHosts),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.1\r\nHost: a%00\r\n\r\n", R::BadHost),
        ("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", R::BadHost),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", R::HostMismatch),
        ("GET http://a/ HTTP/1.1\r\nHost: a:8080\r\n\r\n", R::HostMismatch),
        ("GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", R::HostMismatch),
        ("CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", R::HostMismatch),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:80\r\n\r\n", R::HostMismatch),
        // Semantics of framing
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", R::UnknownExpectation),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", R::BodyNotAllowed),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n", R::BodyNotAllowed),
        // Behind a good request
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\n", F::SpaceBeforeColon.into()),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiPRI * HTTP/2.0\r\n\r\n", F::BadVersion.into()),
    ];
    for (stream, refusal) in table {
        assert_eq!(refusal_of(stream.as_bytes()), Some(*refusal), "{:?}", stream);
    }
}

#[test]
fn chunked_bodies_that_are_refused() {
    use Fault as F;
    let table: &[(&str, F)] = &[
        ("x\r\n", F::BadChunkSize),
        ("\r\n", F::BadChunkSize),
        (" 5\r\n", F::BadChunkSize),
        ("5 \r\nhello\r\n", F::BadChunkSize),
        ("+5\r\n", F::BadChunkSize),
        ("0x5\r\n", F::BadChunkSize),
        ("-1\r\n", F::BadChunkSize),
        ("8000000000000000\r\n", F::BadChunkSize),
        ("ffffffffffffffff\r\n", F::BadChunkSize),
        ("10000000000000000\r\n", F::BadChunkSize),
        ("00000000000000005\r\n", F::BadChunkSize),
        ("5\nhello\r\n0\r\n\r\n", F::BareLf),
        ("5;a\nhello\r\n", F::BareLf),
        ("5\rhello\r\n", F::BareCr),
        ("5;a\rb\r\nhello\r\n", F::BareCr),
        ("5;a\0b\r\nhello\r\n", F::BadChunkExtension),
        ("5\r\nhello\n0\r\n\r\n", F::BadChunkEnd),
        ("5\r\nhello\rX", F::BadChunkEnd),
        ("5\r\nhelloX", F::BadChunkEnd),
        ("5\r\nhello6\r\n", F::BadChunkEnd),
        ("0\r\nX: a\n\r\n", F::BareLf),
        ("0\r\n\n", F::BareLf),
        ("0\r\nX : a\r\n\r\n", F::SpaceBeforeColon),
        ("0\r\nX: a\r\n b\r\n\r\n", F::ObsFold),
        ("0\r\nX: a\0\r\n\r\n", F::ControlByte),
        ("0\r\nContent-Length: 5\r\n\r\n", F::ForbiddenTrailer),
        ("0\r\ntransfer-encoding: chunked\r\n\r\n", F::ForbiddenTrailer),
        ("0\r\nHost: b\r\n\r\n", F::ForbiddenTrailer),
        ("0\r\nAuthorization: b\r\n\r\n", F::ForbiddenTrailer),
        ("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", F::SpaceBeforeColon),
    ];
    for (body, fault) in table {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(refusal_of(request.as_bytes()), Some((*fault).into()), "request {body:?}");
        let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(violation_of(Expected::Plain, response.as_bytes()), Some((*fault).into()), "response {body:?}");
    }
}

#[test]
fn requests_that_pass() {
    let table: &[(&str, &[Event])] = &[
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[Event::Head { len: 27, asks: Asks::Nothing }]),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[Event::Head { len: 29, asks: Asks::Nothing }]),
        ("GET / HTTP/1.0\r\n\r\n", &[Event::Head { len: 18, asks: Asks::Nothing }]),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            &[
                Event::Head { len: 47, asks: Asks::Nothing },
                Event::Body(3),
                Event::Head { len: 29, asks: Asks::Nothing },
            ],
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tChunked \r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            &[
                Event::Head { len: 58, asks: Asks::Nothing },
                Event::Body(27),
                Event::Head { len: 27, asks: Asks::Nothing },
            ],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nx",
            &[Event::Head { len: 80, asks: Asks::Upgrade }, Event::Held],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            &[Event::Head { len: 62, asks: Asks::H2c }],
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", &[Event::Head { len: 47, asks: Asks::Nothing }]),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            &[Event::Head { len: 68, asks: Asks::Nothing }],
        ),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", &[Event::Head { len: 35, asks: Asks::Connect }]),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[Event::Head { len: 31, asks: Asks::Nothing }]),
        ("GET HTTP://A:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", &[Event::Head { len: 41, asks: Asks::Nothing }]),
        ("GET https://[::1]?y HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", &[Event::Head { len: 49, asks: Asks::Nothing }]),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nX_y: \u{e9}\r\nEmpty:\r\n\r\n",
            &[Event::Head { len: 66, asks: Asks::Nothing }],
        ),
    ];
    for (stream, events) in table {
        for cuts in every_cut(stream.len()) {
            let found = requests(Limits::default(), stream.as_bytes(), &cuts);
            // Only the last bytes of a held request may follow.
            assert_eq!(&found[..events.len()], *events, "{stream:?} cut at {cuts:?}");
            assert!(!matches!(found.last(), Some(Event::Refused(_))), "{stream:?}");
        }
    }
}

#[test]
fn limits_are_exact() {
    let limits = Limits {
        max_headers: 2,
        max_head_bytes: 100,
        max_target_bytes: 10,
        max_trailers: 1,
        max_trailer_bytes: 20,
        max_chunk_extension_bytes: 6,
        max_interim: 1,
        underscores: Underscores::Reject,
    };
    let table: &[(String, Option<Refusal>)] = &[
        ("GET / HTTP/1.1\r\nhost: a\r\nb: c\r\n\r\n".into(), None),
        ("GET / HTTP/1.1\r\nhost: a\r\nb: c\r\nd: e\r\n\r\n".into(), Some(Fault::TooManyFields.into())),
        ("GET /123456789 HTTP/1.1\r\nhost: a\r\n\r\n".into(), None),
        ("GET /1234567890 HTTP/1.1\r\nhost: a\r\n\r\n".into(), Some(Refusal::TargetTooLong)),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(500)), Some(Refusal::TargetTooLong)),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nb: {}\r\n\r\n", "x".repeat(68)), None),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nb: {}\r\n\r\n", "x".repeat(69)), Some(Fault::HeadTooLarge.into())),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nb: {}", "x".repeat(690)), Some(Fault::HeadTooLarge.into())),
        ("GET / HTTP/1.1\r\nhost: a\r\nb_c: d\r\n\r\n".into(), Some(Fault::Underscore.into())),
        (chunked("1;a\r\nx\r\n1;bcd\r\nx\r\n0\r\n\r\n"), None),
        (chunked("1;a\r\nx\r\n1;bcde\r\nx\r\n0;\r\n\r\n"), Some(Fault::ChunkExtensionsTooLong.into())),
        (chunked("0\r\na: b\r\n\r\n"), None),
        (chunked("0\r\na: b\r\nc: d\r\n\r\n"), Some(Fault::TooManyTrailers.into())),
        (chunked(&format!("0\r\na: {}\r\n\r\n", "x".repeat(13))), None),
        (chunked(&format!("0\r\na: {}\r\n\r\n", "x".repeat(14))), Some(Fault::TrailersTooLarge.into())),
    ];
    for (stream, refusal) in table {
        for cuts in every_cut(stream.len()) {
            let found = match requests(limits, stream.as_bytes(), &cuts).pop() {
                Some(Event::Refused(refusal)) => Some(refusal),
                _ => None,
            };
            assert_eq!(found, *refusal, "{stream:?} cut at {cuts:?}");
        }
    }
    let name = format!("GET / HTTP/1.1\r\nhost: a\r\n{}: x\r\n\r\n", "n".repeat(257));
    assert_eq!(requests(Limits::default(), name.as_bytes(), &[]), [Event::Refused(Fault::FieldNameTooLong.into())]);
}

fn chunked(body: &str) -> String {
    format!("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}")
}

#[test]
fn names_are_distinct_and_statuses_are_errors() {
    let mut names: Vec<_> = Refusal::all().map(Refusal::name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(Refusal::all().all(|refusal| (400..=505).contains(&refusal.status())));
    let mut names: Vec<_> = Violation::all().map(Violation::name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
