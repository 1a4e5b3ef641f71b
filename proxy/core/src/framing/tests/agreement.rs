//! What the machines let through, others read the same way: hyper and httparse are fed the same bytes.

use std::cell::RefCell;
use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::streams;
use super::{Event, Layout, Limits, RequestFramer, requests};
use crate::http1::read;

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
    fn a_head_that_passes_is_read_as_httparse_reads_it(stream in streams::stream()) {
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
                    let (mut framer, mut layout) = (RequestFramer::new(Limits::default()), Layout::default());
                    framer.step(&stream[at..at + len], &mut layout).expect("the same verdict");
                    let head = read::request(&Bytes::copy_from_slice(&stream[at..at + len]), &layout);
                    let head = head.expect("valid to the http types");
                    prop_assert_eq!(head.method.as_str(), request.method.expect("complete"));
                    prop_assert_eq!(head.uri, target.parse::<http::Uri>().expect("valid"));
                    prop_assert_eq!(head.version == http::Version::HTTP_11, request.version == Some(1));
                    let mut fields = http::HeaderMap::new();
                    for field in request.headers.iter() {
                        let name = http::HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
                        fields.append(name, http::HeaderValue::from_bytes(field.value.trim_ascii()).expect("a value"));
                    }
                    prop_assert_eq!(head.headers, fields, "{}", stream.escape_ascii());
                    at += len;
                }
                Event::Body(len) => at += len,
                _ => {}
            }
        }
    }
}
