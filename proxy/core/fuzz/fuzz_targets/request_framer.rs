//! Any bytes, as a client's side of a connection. The first byte chooses the limits and the cuts.
//!
//! Held: the verdict does not depend on the cuts; a refusal is final; what passes is a whole head to httparse, with the
//! same framing fields, and what the codec reads by the layout is what httparse reads by itself.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pillion_core::framing::{Layout, Limits, RequestFramer, Step, Underscores};
use pillion_core::http1::read;

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Head(usize, usize),
    Body(usize, usize),
    Held(usize),
    Refused(usize, &'static str),
}

/// Where the machine says that the parts are, httparse finds them.
fn carry(head: &[u8], layout: &Layout) {
    let parts = read::request(&Bytes::copy_from_slice(head), layout).expect("valid to the http types");
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    assert_eq!(parsed.parse(head), Ok(httparse::Status::Complete(head.len())));
    assert_eq!(parts.headers.len(), parsed.headers.len());
    for field in parsed.headers.iter() {
        let mut values = parts.headers.get_all(field.name).iter();
        assert!(values.any(|value| value.as_bytes() == field.value.trim_ascii()));
    }
}

fn run(limits: Limits, stream: &[u8], cut: usize) -> Vec<Event> {
    let (mut framer, mut layout) = (RequestFramer::new(limits), Layout::default());
    let mut events: Vec<Event> = Vec::new();
    let mut at = 0;
    let mut end = 0;
    while end < stream.len() {
        end = (end + cut).min(stream.len());
        loop {
            match framer.step(&stream[at..end], &mut layout) {
                Ok(Step::Head { len, .. }) => {
                    carry(&stream[at..at + len], &layout);
                    events.push(Event::Head(at, len));
                    at += len;
                }
                Ok(step @ (Step::Body { len } | Step::Framing { len } | Step::Trailers { len })) => {
                    assert!(len > 0);
                    if let Step::Trailers { .. } = step {
                        let section = Bytes::copy_from_slice(&stream[at..at + len]);
                        read::trailers(&section, &layout).expect("trailers that the codec carries");
                    }
                    match events.last_mut() {
                        Some(Event::Body(_, total)) => *total += len,
                        _ => events.push(Event::Body(at, len)),
                    }
                    at += len;
                }
                Ok(Step::More) => break,
                Ok(Step::Held) => {
                    events.push(Event::Held(at));
                    framer.decline_upgrade();
                }
                Ok(Step::Opaque) => unreachable!("nothing was accepted"),
                Err(refusal) => {
                    for more in [&b""[..], b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
                        assert_eq!(framer.step(more, &mut layout), Err(refusal), "released after a refusal");
                    }
                    events.push(Event::Refused(at, refusal.name()));
                    return events;
                }
            }
        }
    }
    events
}

fn check_head(head: &[u8], body: bool) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(
        request.parse(head),
        Ok(httparse::Status::Complete(head.len()))
    );
    let version = request.version.expect("complete");
    let target = request.path.expect("complete");
    target
        .parse::<http::Uri>()
        .expect("a target that the codec carries");
    http::Method::from_bytes(request.method.expect("complete").as_bytes()).expect("a method");
    let (mut lengths, mut encodings, mut hosts) = (Vec::new(), 0, 0);
    for field in request.headers.iter() {
        let name = http::HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
        let value = http::HeaderValue::from_bytes(field.value).expect("a value");
        match name.as_str() {
            "content-length" => lengths.push(
                value
                    .to_str()
                    .expect("digits")
                    .parse::<u64>()
                    .expect("a length"),
            ),
            "transfer-encoding" => {
                encodings += 1;
                assert!(value.as_bytes().eq_ignore_ascii_case(b"chunked"));
            }
            "host" => {
                hosts += 1;
                value
                    .to_str()
                    .expect("ascii")
                    .parse::<http::uri::Authority>()
                    .expect("an authority");
            }
            _ => {}
        }
    }
    assert!(lengths.len() + encodings <= 1, "two framings passed");
    assert!(hosts == 1 || (hosts == 0 && version == 0));
    assert!(encodings == 0 || version == 1);
    assert!(
        !body || encodings == 1 || lengths[0] > 0,
        "a body that nobody declared"
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let limits = if choice & 1 == 0 {
        Limits::default()
    } else {
        Limits {
            max_headers: 4,
            max_head_bytes: 120,
            max_target_bytes: 16,
            max_trailers: 1,
            max_trailer_bytes: 24,
            max_chunk_extension_bytes: 8,
            max_interim: 1,
            underscores: Underscores::Reject,
        }
    };
    let whole = run(limits, stream, usize::MAX / 2);
    for cut in [1, 2 + usize::from(choice >> 1)] {
        assert_eq!(run(limits, stream, cut), whole, "cut every {cut}");
    }
    for (at, event) in whole.iter().enumerate() {
        if let Event::Head(start, len) = *event {
            check_head(
                &stream[start..start + len],
                matches!(whole.get(at + 1), Some(Event::Body(..))),
            );
        }
    }
});
