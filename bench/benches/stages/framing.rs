//! framing: where does this HTTP/1 message end, and may it pass?

use divan::{Bencher, black_box, counter::BytesCount};
use pillion_core::framing::{Expected, Layout, Limits, RequestFramer, ResponseFramer};

/// The bytes of a request's head, whole → its length, every field judged and its place noted.
#[divan::bench]
fn request_head_of_one_field(bencher: Bencher<'_, '_>) {
    request_head(bencher, crate::SMALL_GET);
}

/// The same with the nine fields of a browser.
#[divan::bench]
fn request_head_of_nine_fields(bencher: Bencher<'_, '_>) {
    request_head(bencher, crate::BROWSER_GET);
}

fn request_head(bencher: Bencher<'_, '_>, head: &'static [u8]) {
    // One framer for all, as on a kept-alive connection.
    let (mut framer, mut layout) = (RequestFramer::new(Limits::default()), Layout::default());
    bencher.counter(BytesCount::of_slice(head)).bench_local(move || framer.step(black_box(head), &mut layout));
}

/// The bytes of a response's head and its 16 bytes of body → the lengths of both.
#[divan::bench]
fn response_of_three_fields(bencher: Bencher<'_, '_>) {
    let response: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nabcdefghijklmnop";
    let body = response.len() - 16;
    let (mut framer, mut layout) = (ResponseFramer::new(Limits::default()), Layout::default());
    bencher.counter(BytesCount::of_slice(response)).bench_local(move || {
        framer.expect(Expected::default());
        (framer.step(black_box(response), &mut layout), framer.step(black_box(&response[body..]), &mut layout))
    });
}
