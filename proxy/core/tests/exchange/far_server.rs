//! Downloads from a server that is far away. The way is long by the paused clock.

use crate::{
    client::{request, send},
    far::{WAY, late},
    server::{Step, serve},
    world::{PLAIN, Setup, World, run},
};
use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use std::future::poll_fn;
use tokio::{
    io::{duplex, split},
    task::spawn_local,
    time::{Instant, sleep, timeout},
};

const H2: Setup = Setup { cluster: "    protocol: http2", ..PLAIN };

/// Gives as many bytes as the path says, as fast as its windows let it.
fn far_server() -> Step {
    serve(|stream| async move {
        let (near, theirs) = duplex(64 << 20);
        let (from_proxy, to_proxy) = split(stream);
        let (from_server, to_server) = split(theirs);
        spawn_local(late(from_proxy, to_server));
        spawn_local(late(from_server, to_proxy));
        let mut builder = h2::server::Builder::new();
        let mut connection = builder.max_send_buffer_size(64 << 20).handshake::<_, Bytes>(near).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            spawn_local(async move {
                let mut left: usize = request.uri().path()[1..].parse().unwrap();
                let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                while left > 0 {
                    stream.reserve_capacity(left.min(16_384));
                    let Some(Ok(window)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
                    let now = window.min(left);
                    left -= now;
                    stream.send_data(Bytes::from_static(&[b'x'; 16_384]).slice(..now), left == 0).unwrap();
                }
            });
        }
    })
}

/// A client whose streams' windows have this size.
async fn client(world: &World, window: u32) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 30);
    let (sender, connection) = builder.handshake::<_, Bytes>(world.connect()).await.unwrap();
    spawn_local(connection);
    sender.ready().await.unwrap()
}

async fn download(client: &mut SendRequest<Bytes>, bytes: usize) -> RecvStream {
    let (response, _) = send(client, request("GET", &format!("/{bytes}")).body(()).unwrap(), true).await;
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

/// One that was well ahead as its window became smaller owes the difference, and goes on all the same.
#[test]
fn downloads_go_on_where_others_that_stand_still_have_their_windows_made_smaller() {
    for begun_before in [1, 2, 3, 4, 5, 6, 8, 10, 13] {
        run(
            H2,
            |_, _| far_server(),
            move |world| async move {
                let mut reads = client(&world, 16 << 20).await;
                // It grows to what such a way needs.
                assert_eq!(take(download(&mut reads, 20_000_000).await).await, 20_000_000);
                let mut stands = client(&world, 0).await;
                let reading = spawn_local(async move {
                    let begun = Instant::now();
                    assert_eq!(take(download(&mut reads, 8_000_000).await).await, 8_000_000);
                    begun.elapsed().as_millis() / (2 * WAY).as_millis()
                });
                sleep(begun_before * WAY / 4).await;
                let mut standing = Vec::new();
                for _ in 0..30 {
                    standing.push(download(&mut stands, 2_000_000).await);
                }
                // 123 round trips at the window that it began with.
                let trips = timeout(300 * WAY, reading).await.expect("it goes on").unwrap();
                assert!(trips < 140, "{trips} round trips");
                drop(standing);
            },
        );
    }
}
