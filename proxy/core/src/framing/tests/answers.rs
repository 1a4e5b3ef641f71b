//! Tables of responses.

use super::{Event, every_cut, responses, violation_of};
use crate::framing::{Expected, Fault, Layout, Limits, Part, ResponseFramer, Violation};

#[test]
fn responses_that_are_violations() {
    use Expected::{Connect, Head, Plain, Upgrade};
    use Fault as F;
    use Violation as V;
    let many = "HTTP/1.1 103 Early\r\n\r\n".repeat(17);
    let table: &[(Expected, &str, V)] = &[
        (
            Plain,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            F::LengthAndEncoding.into(),
        ),
        (Plain, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", F::RepeatedLength.into()),
        (Plain, "HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n\r\n", F::BadLength.into()),
        (Plain, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", F::UnsupportedEncoding.into()),
        (Plain, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", F::EncodingOnOldVersion.into()),
        (
            Head,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            F::LengthAndEncoding.into(),
        ),
        (Plain, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", F::ObsFold.into()),
        (Plain, "HTTP/1.1 200 OK\nX: a\r\n\r\n", F::BareLf.into()),
        (Plain, "HTTP/1.1 200 OK\rX\r\n\r\n", F::BareCr.into()),
        (Plain, "HTTP/1.1 200 O\0K\r\n\r\n", F::ControlByte.into()),
        (Plain, "HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n", F::ControlByte.into()),
        (Plain, "HTTP/1.1 200 OK\r\nX : a\r\n\r\n", F::SpaceBeforeColon.into()),
        (Plain, "HTTP/2.0 200 OK\r\n\r\n", F::BadVersion.into()),
        (Plain, "HTTP/1.1  200 OK\r\n\r\n", V::BadStatusLine),
        (Plain, "HTTP/1.1 20 OK\r\n\r\n", V::BadStatusLine),
        (Plain, "HTTP/1.1 2000 OK\r\n\r\n", V::BadStatusLine),
        (Plain, "HTTP/1.1 099 OK\r\n\r\n", V::BadStatusLine),
        (Plain, "\r\nHTTP/1.1 200 OK\r\n\r\n", V::BadStatusLine),
        (Plain, "ICY 200 OK\r\n\r\n", V::BadStatusLine),
        (Plain, &many, V::TooManyInterim),
        (Plain, "HTTP/1.1 101 Switching Protocols\r\n\r\n", V::UnaskedUpgrade),
        (Head, "HTTP/1.1 101 Switching Protocols\r\n\r\n", V::UnaskedUpgrade),
        (Connect, "HTTP/1.1 101 Switching Protocols\r\n\r\n", V::UnaskedUpgrade),
        (Upgrade, "HTTP/1.1 101 X\r\nContent-Length: 5\r\n\r\n", V::BodyNotAllowed),
        (Plain, "HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n", V::BodyNotAllowed),
        (Plain, "HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n", V::BodyNotAllowed),
        (Plain, "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", V::BodyNotAllowed),
        (Connect, "HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n", V::BodyNotAllowed),
        // More than the response
        (Plain, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhix", V::Unsolicited),
        (Plain, "HTTP/1.1 204 OK\r\n\r\nx", V::Unsolicited),
        (Plain, "HTTP/1.1 304 OK\r\nContent-Length: 2\r\n\r\nhi", V::Unsolicited),
        (Head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", V::Unsolicited),
        (Plain, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", V::Unsolicited),
    ];
    for (expected, stream, violation) in table {
        assert_eq!(violation_of(*expected, stream.as_bytes()), Some(*violation), "{stream:?}");
    }
    assert_eq!(responses(Limits::default(), &[], b"HTTP", &[]), [Event::Violated(Violation::Unsolicited)]);
}

#[test]
fn responses_that_pass() {
    use Expected::{Connect, Head, Plain, Upgrade};
    let table: &[(Expected, &str, &[Event])] = &[
        (Plain, "HTTP/1.1 200 OK\r\n\r\nuntil close\r\n\r\n", &[Event::Status(200, 19), Event::Body(15)]),
        (Plain, "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", &[Event::Status(200, 35), Event::Body(2)]),
        (
            Plain,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
            &[Event::Status(100, 25), Event::Status(204, 38)],
        ),
        (Head, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", &[Event::Status(200, 38)]),
        (Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &[Event::Status(200, 47)]),
        (Plain, "HTTP/1.1 304 OK\r\nContent-Length: 9\r\n\r\n", &[Event::Status(304, 38)]),
        (Upgrade, "HTTP/1.1 101 X\r\n\r\nanything\n", &[Event::Status(101, 18), Event::Opaque]),
        (Upgrade, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[Event::Status(200, 38)]),
        (Connect, "HTTP/1.1 200 OK\r\n\r\nanything\n", &[Event::Status(200, 19), Event::Opaque]),
        (Connect, "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx", &[Event::Status(403, 38), Event::Body(1)]),
    ];
    for (expected, stream, events) in table {
        for cuts in every_cut(stream.len()) {
            assert_eq!(
                responses(Limits::default(), &[*expected], stream.as_bytes(), &cuts),
                *events,
                "{stream:?} cut at {cuts:?}"
            );
        }
    }
}

#[test]
fn a_response_that_has_not_ended_is_never_followed_by_a_request() {
    let (mut framer, mut layout) = (ResponseFramer::new(Limits::default()), Layout::default());
    framer.expect(Expected::Plain);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(framer.step(head, &mut layout), Ok(Part::Head { len: 38, status: 200 }));
    framer.expect(Expected::Plain);
    assert_eq!(framer.step(b"hi", &mut layout), Err(Violation::Unsolicited));
}
