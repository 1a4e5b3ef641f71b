//! What the guard and the codec cost beside the h2 crate alone: `cargo test --profile profiling -- --ignored cost`.
//!
//! Byte flow: 32 GET in one write → duplex → (guard → h2 → codec → service) or (h2 → the same answer) → 32 responses.

use crate::{peer::model, wire::*};
use bytes::Bytes;
use http::Response;
use pillion_core::{
    body::Incoming,
    downstream::codec::{
        Decoded,
        http2::{Settings, serve},
    },
    drain::Register,
};
use std::{future::Future, rc::Rc, time::Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{LocalSet, spawn_local},
};

const BATCH: u32 = 32;
const BATCHES: u32 = 10_000;

async fn service(_: Decoded) -> Response<Incoming> {
    Response::new(Incoming::Full(Bytes::from_static(b"hello")))
}

async fn bare(socket: DuplexStream) {
    let mut connection = h2::server::Builder::new().max_concurrent_streams(100).handshake(socket).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        spawn_local(async move {
            let (_, receive) = request.into_parts();
            let mut response = Response::new(());
            response.headers_mut().insert("date", pillion_core::downstream::codec::date());
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
            drop(receive);
        });
    }
}

async fn ours(socket: DuplexStream) {
    let registration = Rc::<Register>::default().enter(0);
    let settings = Rc::new(Settings::new(&model()));
    serve(socket, Bytes::new(), settings, Rc::clone(registration.control()), service).await;
}

fn nanoseconds<F: Future<Output = ()> + 'static>(server: impl FnOnce(DuplexStream) -> F) -> u128 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (mut io, socket) = duplex(64 * 1024);
        let server = spawn_local(server(socket));
        io.write_all(&[PREFACE, &settings(&[]), &frame(SETTINGS, ACK, 0, b"")].concat()).await.unwrap();
        let mut block = vec![0x82, 0x86, 0x84, 0x01, 12];
        block.extend(b"test.example");
        block.extend(field("accept", "*/*"));
        block.extend(field("user-agent", "cost/1.0"));
        let mut buf = vec![0; 64 * 1024];
        let mut stream = 1;
        let began = Instant::now();
        for _ in 0..BATCHES {
            let mut requests = window_update(0, BATCH * 5);
            for _ in 0..BATCH {
                requests.extend(headers(WHOLE, stream, &block));
                stream += 2;
            }
            io.write_all(&requests).await.unwrap();
            // Each response ends with the only five-byte DATA, END_STREAM on it.
            let mut ended = 0;
            let mut left = 0;
            let mut held = Vec::new();
            while ended < BATCH {
                let taken = io.read(&mut buf).await.unwrap();
                assert!(taken > 0, "closed after stream {stream}");
                held.extend(&buf[..taken]);
                let mut at = 0;
                while held.len() - at >= 9 {
                    left = 9 + u32::from_be_bytes([0, held[at], held[at + 1], held[at + 2]]) as usize;
                    if held.len() - at < left {
                        break;
                    }
                    ended += u32::from(held[at + 3] == DATA && held[at + 4] & END_STREAM != 0);
                    at += left;
                }
                held.drain(..at);
            }
            assert!(left > 0);
        }
        let spent = began.elapsed().as_nanos() / u128::from(BATCH * BATCHES);
        drop(io);
        server.await.unwrap();
        spent
    })
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_small_request() {
    let (mut least_bare, mut least_ours) = (u128::MAX, u128::MAX);
    for _ in 0..5 {
        least_bare = least_bare.min(nanoseconds(bare));
        least_ours = least_ours.min(nanoseconds(ours));
    }
    eprintln!("h2 alone {least_bare} ns a request, guard and codec {least_ours} ns, client included in both");
}

#[test]
fn futures_stay_small() {
    // The connection's future holds h2's connection; a stream's is a task of its own.
    let registration = Rc::<Register>::default().enter(0);
    let settings = Rc::new(Settings::new(&model()));
    let (_, socket) = duplex(64);
    let connection = serve(socket, Bytes::new(), settings, Rc::clone(registration.control()), service);
    let size = std::mem::size_of_val(&connection);
    eprintln!("{size} bytes a connection's future");
    assert!(size <= 6 * 1024, "{size}");
}
