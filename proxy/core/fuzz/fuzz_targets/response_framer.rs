//! Any bytes, as an upstream's side of a connection. The first byte chooses the cuts and what was asked.
//!
//! Held: the verdict does not depend on the cuts; a violation is final; what passes is a whole head to httparse.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pillion_core::framing::{Expected, Layout, Limits, Part, Progress, ResponseFramer};
use pillion_core::http1::read;

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Head(usize, usize, u16),
    Body(usize, usize),
    Opaque(usize),
    Violated(usize, &'static str),
}

/// Where the machine says that the parts are, httparse finds them.
fn carry(head: &[u8], layout: &Layout) {
    let parts = read::response(&Bytes::copy_from_slice(head), layout).expect("valid to the http types");
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut fields);
    assert_eq!(parsed.parse(head), Ok(httparse::Status::Complete(head.len())));
    assert_eq!(parts.headers.len(), parsed.headers.len());
    for field in parsed.headers.iter() {
        let mut values = parts.headers.get_all(field.name).iter();
        assert!(values.any(|value| value.as_bytes() == field.value.trim_ascii()));
    }
}

fn run(stream: &[u8], first: Expected, cut: usize) -> Vec<Event> {
    let (mut framer, mut layout) = (ResponseFramer::new(Limits::default()), Layout::default());
    let mut next = [first, Expected::Plain, Expected::Head].into_iter();
    let mut events: Vec<Event> = Vec::new();
    let mut at = 0;
    let mut end = 0;
    while end < stream.len() {
        end = (end + cut).min(stream.len());
        loop {
            if framer.progress() == Progress::Idle
                && let Some(expected) = next.next()
            {
                framer.expect(expected);
            }
            match framer.step(&stream[at..end], &mut layout) {
                Ok(Part::Head { len, status }) => {
                    carry(&stream[at..at + len], &layout);
                    events.push(Event::Head(at, len, status));
                    at += len;
                }
                Ok(Part::Body { len } | Part::Framing { len } | Part::Trailers { len }) => {
                    assert!(len > 0);
                    match events.last_mut() {
                        Some(Event::Body(_, total)) => *total += len,
                        _ => events.push(Event::Body(at, len)),
                    }
                    at += len;
                }
                Ok(Part::More) => break,
                Ok(Part::Opaque) => {
                    events.push(Event::Opaque(at));
                    return events;
                }
                Err(violation) => {
                    assert_eq!(
                        framer.step(b"HTTP/1.1 200 OK\r\n\r\n", &mut layout),
                        Err(violation),
                        "released after a violation"
                    );
                    events.push(Event::Violated(at, violation.name()));
                    return events;
                }
            }
        }
    }
    events
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let first = match choice & 3 {
        0 => Expected::Plain,
        1 => Expected::Head,
        2 => Expected::Connect,
        _ => Expected::Upgrade,
    };
    let whole = run(stream, first, usize::MAX / 2);
    for cut in [1, 2 + usize::from(choice >> 2)] {
        assert_eq!(run(stream, first, cut), whole, "cut every {cut}");
    }
    for event in &whole {
        if let Event::Head(start, len, status) = *event {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut response = httparse::Response::new(&mut fields);
            assert_eq!(
                response.parse(&stream[start..start + len]),
                Ok(httparse::Status::Complete(len))
            );
            assert_eq!(response.code, Some(status));
            let framing = |name: &str| {
                response
                    .headers
                    .iter()
                    .filter(|field| field.name.eq_ignore_ascii_case(name))
                    .count()
            };
            assert!(
                framing("content-length") + framing("transfer-encoding") <= 1,
                "two framings passed"
            );
        }
    }
});
