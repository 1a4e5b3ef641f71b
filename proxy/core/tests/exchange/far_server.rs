//! Downloads from a server that is far away. The way is long by the paused clock.

use crate::{
    client::{request, send},
    far::{WAY, late},
    server::{Step, serve},
    world::{PLAIN, Setup, World, run},
};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use std::{cell::Cell, future::poll_fn, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, split},
    task::spawn_local,
    time::{sleep, timeout},
};

/// Gives as many bytes as the path says, as fast as its windows let it, and after a while as many more as it says behind that.
/// Once it is `deaf` it hears no PING.
fn far_server(deaf: Rc<Cell<bool>>) -> Step {
    serve(|stream| async move {
        let (near, theirs) = duplex(64 << 20);
        let (from_proxy, to_proxy) = split(stream);
        let (from_server, to_server) = split(theirs);
        let (heard, hears) = duplex(64 << 20);
        spawn_local(hears_no_ping(from_proxy, heard, deaf));
        spawn_local(late(hears, to_server));
        spawn_local(late(from_server, to_proxy));
        let mut builder = h2::server::Builder::new();
        let mut connection = builder.max_send_buffer_size(64 << 20).handshake::<_, Bytes>(near).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            spawn_local(async move {
                let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                for part in request.uri().path()[1..].split('/') {
                    give(&mut stream, part.parse().unwrap()).await;
                    sleep(PAUSE).await;
                }
                stream.send_data(Bytes::new(), true).ok();
            });
        }
    })
}

/// Gives on what a client sends, without PING from when it is `deaf` on.
async fn hears_no_ping(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, deaf: Rc<Cell<bool>>) {
    let mut preface = [0; 24];
    from.read_exact(&mut preface).await.unwrap();
    to.write_all(&preface).await.unwrap();
    let mut head = [0; 9];
    while from.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        from.read_exact(&mut payload).await.unwrap();
        if head[3] != PING || !deaf.get() {
            to.write_all(&[&head[..], &payload].concat()).await.ok();
        }
    }
}

const PING: u8 = 6;

/// How long it waits.
const PAUSE: Duration = Duration::from_secs(2);

async fn give(stream: &mut SendStream<Bytes>, mut bytes: usize) {
    while bytes > 0 {
        stream.reserve_capacity(bytes.min(16_384));
        let Some(Ok(window)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let now = window.min(bytes);
        bytes -= now;
        stream.send_data(Bytes::from_static(&[b'x'; 16_384]).slice(..now), false).unwrap();
    }
}

/// A client whose streams' windows have this size.
async fn client(world: &World, window: u32) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 30);
    let (sender, connection) = builder.handshake::<_, Bytes>(world.connect()).await.unwrap();
    spawn_local(connection);
    sender.ready().await.unwrap()
}

async fn download(client: &mut SendRequest<Bytes>, path: &str) -> RecvStream {
    let (response, _) = send(client, request("GET", path).body(()).unwrap(), true).await;
    response.await.unwrap().into_body()
}

async fn take(mut body: RecvStream) -> usize {
    let mut taken = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        taken += data.len();
    }
    taken
}

/// What was given of it, all of which was taken, is owed to it as its window becomes smaller: it goes on all the same, whether its server
/// answers PING then or never.
#[test]
fn a_download_goes_on_where_others_that_stand_still_have_its_window_made_smaller() {
    for deaf_then in [false, true] {
        let deaf = Rc::<Cell<bool>>::default();
        let hears = Rc::clone(&deaf);
        run(
            Setup { cluster: "    protocol: http2", ..PLAIN },
            move |_, _| far_server(Rc::clone(&hears)),
            |world| async move {
                let mut reads = client(&world, 16 << 20).await;
                // It grows to what such a way needs.
                assert_eq!(take(download(&mut reads, "/20000000").await).await, 20_000_000);
                deaf.set(deaf_then);
                // Less than the part of its window for which credit is given back.
                let reading = spawn_local(take(download(&mut reads, "/1000000/3000000").await));
                sleep(10 * WAY).await;
                let mut stands = client(&world, 0).await;
                let mut standing = Vec::new();
                for _ in 0..30 {
                    standing.push(download(&mut stands, "/2000000").await);
                }
                let taken = timeout(PAUSE + 140 * WAY, reading).await.expect("it goes on").unwrap();
                assert_eq!(taken, 4_000_000, "deaf: {deaf_then}");
            },
        );
    }
}
