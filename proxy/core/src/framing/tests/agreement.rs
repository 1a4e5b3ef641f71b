//! What the machines let through, the codec reads the same way: hyper itself is fed the same bytes.

use std::cell::RefCell;
use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::streams;
use super::{Event, Limits, requests};

/// What hyper made of a stream: the body length of each request it served, and all it answered.
fn hyper_reads(stream: &[u8]) -> (Vec<usize>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let served = RefCell::new(Vec::new());
    let answers = runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(stream).await.expect("room for the stream");
        client.shutdown().await.expect("shut down");
        let service = hyper::service::service_fn(|request: http::Request<Incoming>| async {
            let length = request.into_body().collect().await.map(|body| body.to_bytes().len());
            served.borrow_mut().push(length.unwrap_or(usize::MAX));
            Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(b"ok"))))
        });
        let serving =
            hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
        let mut answers = Vec::new();
        let (_, read) = tokio::join!(serving, client.read_to_end(&mut answers));
        read.expect("answers");
        answers
    });
    (served.into_inner(), answers)
}

/// Body bytes on the wire; for comparing, what each message has of them.
fn framed(stream: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    for event in requests(Limits::default(), stream, &[]) {
        match event {
            Event::Head { .. } => lengths.push(0),
            Event::Body(len) => *lengths.last_mut().expect("a head before a body") = len,
            other => panic!("refused a good stream: {other:?}"),
        }
    }
    lengths
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn hyper_finds_the_same_messages(stream in streams::good()) {
        let framed = framed(&stream);
        let (served, answers) = hyper_reads(&stream);
        // On the wire the chunked bodies are 42 bytes long (15 of data) and 5 (none).
        let payload: Vec<usize> =
            framed.iter().map(|wire| match wire { 42 => 15, 5 => 0, plain => *plain }).collect();
        prop_assert_eq!(served, payload, "{}", stream.escape_ascii());
        prop_assert!(!answers.windows(12).any(|part| part == b"HTTP/1.1 400"));
    }

    #[test]
    fn a_head_that_passes_is_whole_and_valid_to_the_codec(stream in streams::stream()) {
        let mut at = 0;
        for event in requests(Limits::default(), &stream, &[]) {
            match event {
                Event::Head { len, .. } => {
                    let mut fields = [httparse::EMPTY_HEADER; 100];
                    let mut request = httparse::Request::new(&mut fields);
                    let parsed = request.parse(&stream[at..at + len]);
                    prop_assert_eq!(parsed, Ok(httparse::Status::Complete(len)), "{}", stream.escape_ascii());
                    let target = request.path.expect("complete");
                    prop_assert!(target.parse::<http::Uri>().is_ok(), "{target:?}");
                    for field in request.headers.iter() {
                        prop_assert!(http::HeaderName::from_bytes(field.name.as_bytes()).is_ok());
                        prop_assert!(http::HeaderValue::from_bytes(field.value).is_ok());
                    }
                    at += len;
                }
                Event::Body(len) => at += len,
                _ => {}
            }
        }
    }
}
