//! exchange: a whole request and its answer over kept-alive connections, all sockets being pipes in memory. No route has
//! filters: an empty chain is not built, so that its cost is a look at a pointer within these figures.
//!
//! The client's and the server's own work is in the figure: next to nothing over HTTP/1, the h2 crate on both ends over
//! HTTP/2, which is why its two ends without a worker between them stand beside it.

use crate::memory::{Speaks, World};
use bytes::Bytes;
use divan::Bencher;
use h2::client::SendRequest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::{LocalSet, spawn_local},
};

/// 35 bytes of request → worker → HTTP/1 → 16 bytes of body → worker → the response.
#[divan::bench]
fn http1_to_http1_small_get(bencher: Bencher<'_, '_>) {
    http1(bencher, crate::SMALL_GET);
}

/// The same with 455 bytes of request: nine fields.
#[divan::bench]
fn http1_to_http1_browser_get(bencher: Bencher<'_, '_>) {
    http1(bencher, crate::BROWSER_GET);
}

/// One stream of an HTTP/2 connection → worker → one stream of another → 16 bytes of body → worker → the response.
#[divan::bench]
fn http2_to_http2_small_get(bencher: Bencher<'_, '_>) {
    let World { runtime, local, client, _worker } = World::new(Speaks::Http2);
    let mut send = local.block_on(&runtime, connect(client));
    bencher.bench_local(|| local.block_on(&runtime, get(&mut send)));
}

/// The same without a worker: what of the figure above are the h2 crate's client and server.
#[divan::bench]
fn http2_client_and_server_alone(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let local = LocalSet::new();
    let (client, server) = duplex(64 * 1024);
    let mut send = local.block_on(&runtime, async {
        spawn_local(crate::memory::serve_http2(server));
        connect(client).await
    });
    bencher.bench_local(|| local.block_on(&runtime, get(&mut send)));
}

fn http1(bencher: Bencher<'_, '_>, request: &'static [u8]) {
    let World { runtime, local, mut client, _worker } = World::new(Speaks::Http1);
    let mut answer = [0; 4096];
    // Answers are all of one length: the first tells it.
    let length = local.block_on(&runtime, async {
        client.write_all(request).await.expect("the worker reads");
        let mut end = 0;
        while !answer[..end].ends_with(b"abcdefghijklmnop") {
            end += client.read(&mut answer[end..]).await.expect("the worker answers");
        }
        end
    });
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    bencher.bench_local(|| {
        local.block_on(&runtime, async {
            client.write_all(request).await.expect("the worker reads");
            client.read_exact(&mut answer[..length]).await.expect("the worker answers");
        });
    });
}

async fn connect(client: tokio::io::DuplexStream) -> SendRequest<Bytes> {
    let (send, connection) = h2::client::handshake(client).await.expect("the worker speaks HTTP/2");
    spawn_local(connection);
    let mut send = send.ready().await.expect("the worker takes streams");
    get(&mut send).await;
    send
}

async fn get(send: &mut SendRequest<Bytes>) {
    let request = http::Request::get("http://test/small").body(()).expect("a request");
    let (response, _) = send.send_request(request, true).expect("a stream");
    let response = response.await.expect("an answer");
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        let data = data.expect("a body");
        body.flow_control().release_capacity(data.len()).expect("capacity");
    }
}
