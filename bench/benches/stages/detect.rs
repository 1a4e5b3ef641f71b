//! detect: which protocol do these first bytes speak?

use divan::{Bencher, black_box};
use pillion_core::downstream::detect::{Among, decide};

/// First 455 bytes of a connection → a verdict, by their first byte.
#[divan::bench]
fn http1_from_first_read(bencher: Bencher<'_, '_>) {
    bencher.bench(|| decide(black_box(crate::BROWSER_GET), Among::Http));
}

/// The 24 bytes of HTTP/2's preface → a verdict, by all of them.
#[divan::bench]
fn http2_from_preface(bencher: Bencher<'_, '_>) {
    bencher.bench(|| decide(black_box(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Among::Http));
}

/// The same 455 bytes on a port where anything may be spoken → a verdict, by the whole request line.
#[divan::bench]
fn http1_among_anything(bencher: Bencher<'_, '_>) {
    bencher.bench(|| decide(black_box(crate::BROWSER_GET), Among::Any));
}
