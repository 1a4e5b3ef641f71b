//! What is written is read back as it was, however the bytes are cut.

use super::{
    Encoder, Misfit, Outbox, ReadBuffer, read,
    write::{self, Content, Framing, Own},
};
use crate::{
    framing::{
        Expected, Layout, Left, Limits, Part, Persistence, Progress, RequestFramer, ResponseFramer, Standing, Step,
    },
    io::Socket,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use proptest::prelude::*;
use std::{future::poll_fn, task::Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// What an outbox writes.
async fn written(out: &mut Outbox) -> Vec<u8> {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut socket = Socket::Memory(ours);
    poll_fn(|cx| out.poll_flush(&mut socket, cx, |_| {})).await.unwrap();
    drop(socket);
    let mut bytes = Vec::new();
    theirs.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[derive(Debug, Clone)]
struct Message {
    method: Method,
    target: String,
    fields: Vec<(String, String)>,
    frames: Vec<Vec<u8>>,
    chunked: bool,
    trailers: Vec<(String, String)>,
}

fn message() -> impl Strategy<Value = Message> {
    let name = "x-[a-z]{1,12}|accept|user-agent|cookie|x-Mixed-Case";
    let value = "[ -~]{0,40}".prop_map(|value| value.trim().to_owned());
    (
        prop::sample::select(vec![Method::GET, Method::POST, Method::PUT, Method::from_bytes(b"PURGE").unwrap()]),
        "/[a-z0-9/]{0,20}(\\?[a-z=&]{0,10})?",
        prop::collection::vec((name, value.clone()), 0..8),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5_000), 0..4),
        any::<bool>(),
        prop::collection::vec(("x-t[a-z]{0,6}", value), 0..3),
    )
        .prop_map(|(method, target, fields, frames, chunked, trailers)| {
            let trailers = if chunked { trailers } else { Vec::new() };
            Message { method, target, fields, frames, chunked, trailers }
        })
}

fn map(fields: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

impl Message {
    fn content(&self) -> Vec<u8> {
        self.frames.concat()
    }

    fn framing(&self) -> Framing {
        if self.chunked { Framing::Chunked } else { Framing::Length(self.content().len() as u64) }
    }

    async fn body(&self, headers: &HeaderMap, out: &mut Outbox) -> Vec<u8> {
        let mut encoder = Encoder::new(self.framing());
        encoder.promise(headers);
        let mut wire = Vec::new();
        for frame in &self.frames {
            if !out.has_room() {
                wire.extend(written(out).await);
            }
            encoder.data(Bytes::copy_from_slice(frame), out).unwrap();
        }
        wire.extend(written(out).await);
        if self.trailers.is_empty() {
            encoder.end(out).unwrap();
        } else {
            encoder.trailers(&map(&self.trailers), out).unwrap();
        }
        assert!(encoder.is_done());
        wire.extend(written(out).await);
        assert!(out.is_empty());
        wire
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = map(&self.fields);
        headers.insert(header::HOST, HeaderValue::from_static("a"));
        for (name, _) in &self.trailers {
            headers.append(header::TRAILER, HeaderValue::from_str(name).unwrap());
        }
        headers
    }

    async fn as_request(&self) -> Vec<u8> {
        let (headers, mut out) = (self.headers(), Outbox::default());
        let uri: Uri = self.target.parse().unwrap();
        write::request(out.buffer(), &self.method, &uri, &headers, self.framing());
        self.body(&headers, &mut out).await
    }

    async fn as_response(&self) -> Vec<u8> {
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers = self.headers();
        let mut out = Outbox::default();
        write::response(out.buffer(), &head, self.framing(), Own::default());
        self.body(&head.headers, &mut out).await
    }

    /// The fields without those that frame the body.
    fn check(&self, mut headers: HeaderMap, content: &[u8], trailers: &HeaderMap) {
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRANSFER_ENCODING);
        assert_eq!(headers, self.headers());
        assert!(content == self.content());
        assert_eq!(*trailers, map(&self.trailers));
    }
}

/// A stream in pieces of these lengths by turns.
fn pieces<'a>(stream: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    cuts.iter().cycle().map_while(move |&cut| {
        let (piece, after) = rest.split_at_checked(cut.min(rest.len()).max(1)).filter(|_| !rest.is_empty())?;
        rest = after;
        Some(piece)
    })
}

/// Feeds a buffer as reads do.
fn feed(buffer: &mut ReadBuffer, piece: &[u8]) {
    let mut all = buffer.take_all().to_vec();
    all.extend_from_slice(piece);
    *buffer = ReadBuffer::starting_with(all.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_request_is_read_as_it_was_written(message in message(), cuts in prop::collection::vec(1usize..3_000, 1..6)) {
        let wire = run(message.as_request());
        let (mut framer, mut layout) = (RequestFramer::new(Limits::default()), Layout::lent());
        let (mut buffer, mut head, mut content, mut trailers) = (ReadBuffer::default(), None, Vec::new(), HeaderMap::new());
        for piece in pieces(&wire, &cuts) {
            feed(&mut buffer, piece);
            loop {
                match framer.step(buffer.bytes(), &mut layout).unwrap() {
                    Step::Head { len, .. } => head = Some(read::request(&buffer.take(len), &layout).unwrap()),
                    Step::Body { len } => content.extend_from_slice(&buffer.take(len)),
                    Step::Framing { len } => buffer.skip(len),
                    Step::Trailers { len } => trailers = read::trailers(&buffer.take(len), &layout).unwrap(),
                    Step::More => break,
                    Step::Held | Step::Opaque => unreachable!(),
                }
            }
        }
        prop_assert_eq!((framer.standing(), framer.left()), (Standing::Between, Left::Nothing));
        let head = head.unwrap();
        prop_assert_eq!(head.method, message.method.clone());
        prop_assert_eq!(head.uri.to_string(), message.target.clone());
        message.check(head.headers, &content, &trailers);
    }

    #[test]
    fn a_response_is_read_as_it_was_written(message in message(), cuts in prop::collection::vec(1usize..3_000, 1..6)) {
        let wire = run(message.as_response());
        let (mut framer, mut layout) = (ResponseFramer::new(Limits::default()), Layout::lent());
        framer.expect(Expected::Plain);
        let (mut buffer, mut head, mut content, mut trailers) = (ReadBuffer::default(), None, Vec::new(), HeaderMap::new());
        for piece in pieces(&wire, &cuts) {
            feed(&mut buffer, piece);
            loop {
                match framer.step(buffer.bytes(), &mut layout).unwrap() {
                    Part::Head { len, .. } => head = Some(read::response(&buffer.take(len), &layout).unwrap()),
                    Part::Body { len } => content.extend_from_slice(&buffer.take(len)),
                    Part::Framing { len } => buffer.skip(len),
                    Part::Trailers { len } => trailers = read::trailers(&buffer.take(len), &layout).unwrap(),
                    Part::More => break,
                    Part::Opaque => unreachable!(),
                }
            }
        }
        prop_assert_eq!((framer.progress(), framer.left()), (Progress::Idle, Left::Nothing));
        message.check(head.unwrap().headers, &content, &trailers);
    }
}

/// The head of a request, as one read brings it.
fn read_request(wire: &'static str) -> (http::request::Parts, Layout) {
    let (mut framer, mut layout) = (RequestFramer::new(Limits::default()), Layout::default());
    let Ok(Step::Head { len, .. }) = framer.step(wire.as_bytes(), &mut layout) else { panic!("{wire}") };
    (read::request(&Bytes::from_static(&wire.as_bytes()[..len]), &layout).unwrap(), layout)
}

#[test]
fn every_form_of_target_is_carried() {
    for (wire, target) in [
        ("GET /a?b=c HTTP/1.1\r\nhost: a\r\n\r\n", "/a?b=c"),
        ("GET http://a/b HTTP/1.1\r\nhost: a\r\n\r\n", "http://a/b"),
        ("GET https://a:81?q HTTP/1.1\r\nhost: a:81\r\n\r\n", "https://a:81/?q"),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "*"),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", "a:443"),
        ("\r\nGET /behind-an-empty-line HTTP/1.1\r\nhost: a\r\n\r\n", "/behind-an-empty-line"),
    ] {
        assert_eq!(read_request(wire).0.uri.to_string(), target);
    }
}

#[test]
fn a_head_says_what_becomes_of_its_connection() {
    for (wire, version, persistence) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", Version::HTTP_11, Persistence::Keep),
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: te, Close\r\n\r\n", Version::HTTP_11, Persistence::Close),
        ("GET / HTTP/1.0\r\n\r\n", Version::HTTP_10, Persistence::Close),
        ("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n", Version::HTTP_10, Persistence::Keep),
        ("GET / HTTP/1.0\r\nconnection: close\r\nconnection: keep-alive\r\n\r\n", Version::HTTP_10, Persistence::Close),
    ] {
        let (head, layout) = read_request(wire);
        assert_eq!((head.version, layout.persistence()), (version, persistence), "{wire}");
    }
    let (_, layout) = read_request("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\ncontent-length: 1\r\n\r\n");
    assert!(layout.expects_continue());
    assert!(!read_request("GET / HTTP/1.1\r\nhost: a\r\n\r\n").1.expects_continue());
}

#[test]
fn how_a_body_is_framed() {
    let with_length = |length: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        headers
    };
    for (headers, content, framing) in [
        (HeaderMap::new(), Content::Nothing, Framing::Nothing),
        (with_length("0"), Content::Nothing, Framing::Nothing),
        (HeaderMap::new(), Content::Known(3), Framing::Length(3)),
        (with_length("7"), Content::Unknown, Framing::Length(7)),
        (HeaderMap::new(), Content::Unknown, Framing::Chunked),
    ] {
        assert_eq!(write::frame_request(&headers, content), framing, "{headers:?} {content:?}");
    }
    for (status, method, client, content, framing) in [
        (200, Method::GET, Version::HTTP_11, Content::Unknown, Framing::Chunked),
        (200, Method::GET, Version::HTTP_10, Content::Unknown, Framing::UntilClose),
        (200, Method::GET, Version::HTTP_11, Content::Known(3), Framing::Length(3)),
        (200, Method::GET, Version::HTTP_11, Content::Nothing, Framing::Length(0)),
        (200, Method::HEAD, Version::HTTP_11, Content::Unknown, Framing::Nothing),
        (200, Method::CONNECT, Version::HTTP_11, Content::Unknown, Framing::Nothing),
        (204, Method::GET, Version::HTTP_11, Content::Nothing, Framing::Nothing),
        (304, Method::GET, Version::HTTP_11, Content::Nothing, Framing::Nothing),
        (103, Method::GET, Version::HTTP_11, Content::Nothing, Framing::Nothing),
    ] {
        let head = Response::builder().status(status).body(()).unwrap().into_parts().0;
        assert_eq!(write::frame_response(&head, content, &method, client), framing, "{status} {method}");
    }
}

#[test]
fn one_framing_is_written_whatever_the_head_held() {
    let (mut head, ()) = Request::new(()).into_parts();
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0007"));
    head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("gzip, chunked"));
    for (framing, said) in [
        (Framing::Length(7), "content-length: 7\r\n"),
        (Framing::Chunked, "transfer-encoding: chunked\r\n"),
        (Framing::UntilClose, ""),
        (Framing::Nothing, "content-length: 0007\r\n"),
    ] {
        let mut out = Vec::new();
        write::request(&mut out, &head.method, &head.uri, &head.headers, framing);
        assert_eq!(String::from_utf8(out).unwrap(), format!("GET / HTTP/1.1\r\n{said}\r\n"));
    }
}

#[test]
fn a_response_says_its_date_and_what_becomes_of_the_connection_once() {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::from_u16(599).unwrap();
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("x"));
    let own = Own { date: Some(|| HeaderValue::from_static("now")), connection: Some("close") };
    let mut out = Vec::new();
    write::response(&mut out, &head, Framing::Nothing, own);
    assert_eq!(String::from_utf8_lossy(&out), "HTTP/1.1 599 \r\nconnection: close\r\ndate: now\r\n\r\n");
    head.headers.insert(header::DATE, HeaderValue::from_static("then"));
    out.clear();
    write::response(&mut out, &head, Framing::Nothing, own);
    assert_eq!(String::from_utf8_lossy(&out), "HTTP/1.1 599 \r\ndate: then\r\nconnection: close\r\n\r\n");
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_a_misfit() {
    let mut out = Outbox::default();
    let mut encoder = Encoder::new(Framing::Length(3));
    assert_eq!(encoder.data(Bytes::from_static(b"four"), &mut out), Err(Misfit::TooLong));
    encoder.data(Bytes::from_static(b"on"), &mut out).unwrap();
    assert_eq!(encoder.end(&mut out), Err(Misfit::TooShort));
    let mut encoder = Encoder::new(Framing::Nothing);
    assert_eq!(encoder.data(Bytes::from_static(b"x"), &mut out), Err(Misfit::TooLong));
}

#[test]
fn trailers_that_nobody_promised_stay_here() {
    let mut headers = HeaderMap::new();
    let trailers = map(&[("x-sum".into(), "1".into()), ("x-other".into(), "2".into())]);
    for (promised, wire) in [("X-Sum", "0\r\nx-sum: 1\r\n\r\n"), ("", "0\r\n\r\n")] {
        headers.insert(header::TRAILER, HeaderValue::from_static(promised));
        let (mut encoder, mut out) = (Encoder::new(Framing::Chunked), Outbox::default());
        encoder.promise(&headers);
        encoder.trailers(&trailers, &mut out).unwrap();
        assert_eq!(String::from_utf8(run(written(&mut out))).unwrap(), wire);
    }
    let (mut encoder, mut out) = (Encoder::new(Framing::Chunked), Outbox::default());
    encoder.welcome();
    encoder.trailers(&trailers, &mut out).unwrap();
    let wire = String::from_utf8(run(written(&mut out))).unwrap();
    assert_eq!(wire, "0\r\nx-sum: 1\r\nx-other: 2\r\n\r\n", "whoever asked for trailers gets them all");
}

#[test]
fn large_pieces_are_written_from_where_they_lie_through_a_narrow_pipe() {
    run(async {
        let (ours, mut theirs) = duplex(700);
        let mut socket = Socket::Memory(ours);
        let content = Bytes::from(vec![b'x'; 100_000]);
        let (mut out, mut encoder) = (Outbox::default(), Encoder::new(Framing::Chunked));
        out.buffer().extend_from_slice(b"head\r\n\r\n");
        encoder.data(content.clone(), &mut out).unwrap();
        assert!(!out.has_room());
        encoder.end(&mut out).unwrap();
        assert!(!content.is_unique(), "shared with the outbox");
        let mut counted = 0;
        let sending = async {
            poll_fn(|cx| out.poll_flush(&mut socket, cx, |len| counted += len)).await.unwrap();
            assert!(out.is_empty());
            drop(socket);
        };
        let mut wire = Vec::new();
        let (read, ()) = tokio::join!(theirs.read_to_end(&mut wire), sending);
        read.unwrap();
        assert_eq!(counted, wire.len());
        assert!(wire.starts_with(b"head\r\n\r\n186a0\r\nxxx") && wire.ends_with(b"xxx\r\n0\r\n\r\n"));
        assert!(content.is_unique(), "given back");
    });
}

#[test]
fn what_is_promised_is_read_in_as_few_pieces_as_the_bound_allows() {
    run(async {
        let (ours, mut theirs) = duplex(1 << 20);
        let (mut socket, mut buffer) = (Socket::Memory(ours), ReadBuffer::default());
        let mut fill = async |buffer: &mut ReadBuffer| match poll_fn(|cx| buffer.poll_fill(&mut socket, cx)).await {
            Ok(len) => {
                buffer.skip(len);
                len
            }
            Err(error) => panic!("{error}"),
        };
        // A promise alone takes no memory: who promises much may send little.
        theirs.write_all(b"hello").await.unwrap();
        buffer.promise(1 << 40);
        assert_eq!(fill(&mut buffer).await, 5);
        assert!(buffer.held() <= 4096, "{}", buffer.held());
        theirs.write_all(&[0; 64 * 1024]).await.unwrap();
        let mut left = 64 * 1024;
        let mut pieces = Vec::new();
        while left > 0 {
            buffer.promise(left);
            let len = fill(&mut buffer).await;
            left -= len as u64;
            pieces.push(len);
        }
        assert_eq!(pieces, [4 * 1024, 32 * 1024, 28 * 1024]);
    });
}

#[test]
fn the_memory_of_a_large_message_is_the_next_ones_unless_somebody_holds_it() {
    run(async {
        let (ours, mut theirs) = duplex(1 << 20);
        let mut socket = Socket::Memory(ours);
        // Where a message's large read lies, which is held or not while the next one is read.
        let mut large = async || {
            let mut buffer = ReadBuffer::default();
            theirs.write_all(&[0; 36 * 1024]).await.unwrap();
            let mut fill =
                async |buffer: &mut ReadBuffer| poll_fn(|cx| buffer.poll_fill(&mut socket, cx)).await.unwrap();
            assert_eq!(fill(&mut buffer).await, 4 * 1024);
            drop(buffer.take(4 * 1024));
            buffer.promise(32 * 1024);
            assert_eq!(fill(&mut buffer).await, 32 * 1024);
            (buffer.take(32 * 1024), buffer)
        };
        let (first, mut buffer) = large().await;
        let place = first.as_ptr();
        drop(first);
        buffer.release();
        assert_eq!(buffer.held(), 0);
        let (second, mut buffer) = large().await;
        assert_eq!(second.as_ptr(), place, "whose message it is does not matter");
        buffer.release();
        let (third, _buffer) = large().await;
        assert_ne!(third.as_ptr(), place, "the second is held still");
        assert!(second.iter().all(|byte| *byte == 0));
    });
}

#[test]
fn a_buffer_with_nothing_in_it_holds_nothing() {
    run(async {
        let (ours, mut theirs) = duplex(1 << 20);
        let (mut socket, mut buffer) = (Socket::Memory(ours), ReadBuffer::default());
        let mut fill =
            async |buffer: &mut ReadBuffer| poll_fn(|cx| Poll::Ready(buffer.poll_fill(&mut socket, cx))).await;
        assert!(fill(&mut buffer).await.is_pending());
        assert_eq!(buffer.held(), 0);
        theirs.write_all(b"hello").await.unwrap();
        assert!(matches!(fill(&mut buffer).await, Poll::Ready(Ok(5))));
        assert_eq!(buffer.bytes(), b"hello");
        assert_eq!(buffer.take(2), "he");
        buffer.release();
        assert!(buffer.held() > 0, "not while something is in it");
        buffer.skip(3);
        buffer.release();
        assert_eq!(buffer.held(), 0);
        // A pipe that is full is read in ever larger pieces, up to a bound.
        theirs.write_all(&[0; 400_000]).await.unwrap();
        let mut most = 0;
        for _ in 0..20 {
            if let Poll::Ready(Ok(len)) = fill(&mut buffer).await {
                most = most.max(len);
                buffer.skip(len);
            }
        }
        assert!((16 * 1024..=64 * 1024).contains(&most), "{most}");
        drop(theirs);
        while !matches!(fill(&mut buffer).await, Poll::Ready(Ok(0))) {
            let len = buffer.bytes().len();
            buffer.skip(len);
        }
    });
}
