//! Uploads of a client that is far away, to either kind of upstream and behind filters. The way is long by the paused clock.

use crate::{
    client::{body, fetch, request, send},
    scripted::{Do, Event, script},
    server::{HELLO, Step, head, http2 as h2_server, length, serve},
    world::{PLAIN, Setup, World, run},
};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{Request, Response};
use pillion_core::exchange::filter::{Map, Stream};
use std::{cell::Cell, collections::VecDeque, future::poll_fn, net::SocketAddr, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, split},
    task::spawn_local,
    time::{Instant, sleep, sleep_until},
};

/// One way.
pub(crate) const WAY: Duration = Duration::from_millis(20);

const LARGE: usize = 6_000_000;

/// Gives all on, each byte that much later.
pub(crate) async fn late(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
    let mut on_its_way = VecDeque::<(Instant, BytesMut)>::new();
    let mut buffer = BytesMut::new();
    loop {
        let arrives = on_its_way.front().map(|(arrives, _)| *arrives);
        tokio::select! {
            biased;
            () = async { sleep_until(arrives.unwrap()).await }, if arrives.is_some() => {
                let (_, bytes) = on_its_way.pop_front().unwrap();
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            read = from.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => on_its_way.push_back((Instant::now() + WAY, buffer.split())),
            }
        }
    }
}

/// A client of HTTP/2 that is far away.
async fn far(world: &World) -> SendRequest<Bytes> {
    let (near, theirs) = duplex(64 << 20);
    let (from_proxy, to_proxy) = split(world.connect());
    let (from_client, to_client) = split(theirs);
    spawn_local(late(from_proxy, to_client));
    spawn_local(late(from_client, to_proxy));
    let (sender, connection) = h2::client::Builder::new().max_send_buffer_size(64 << 20).handshake(near).await.unwrap();
    spawn_local(connection);
    sender.ready().await.unwrap()
}

/// Sends so many bytes as its window opens, and counts them.
async fn upload(
    client: &mut SendRequest<Bytes>,
    path: &str,
    bytes: usize,
    sent: &Cell<usize>,
) -> Response<h2::RecvStream> {
    let (response, mut stream) = send(client, request("POST", path).body(()).unwrap(), false).await;
    let mut left = bytes;
    while left > 0 {
        stream.reserve_capacity(left.min(16_384));
        let Some(Ok(window)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
        let now = window.min(left);
        stream.send_data(Bytes::from_static(&[b'x'; 16_384]).slice(..now), now == left).unwrap();
        left -= now;
        sent.set(sent.get() + now);
    }
    response.await.unwrap()
}

/// The round trips that an upload of many megabytes takes.
async fn trips(client: &mut SendRequest<Bytes>) -> u128 {
    let begun = Instant::now();
    let mut response = upload(client, "/taken", LARGE, &Cell::default()).await;
    assert_eq!(body(response.body_mut()).await.unwrap().0, "hello");
    begun.elapsed().as_millis() / (2 * WAY).as_millis()
}

/// Takes all, but for `/held`, of which it takes nothing.
fn http1(_: usize, _: SocketAddr) -> Step {
    serve(|mut stream| async move {
        while let Some(head) = head(&mut stream).await {
            if head.starts_with("POST /held") {
                return std::future::pending().await;
            }
            let mut rest = Vec::new();
            if length(&head) > 0 {
                stream.read_exact(&mut vec![0; length(&head)]).await.unwrap();
            } else if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
                while !rest.ends_with(b"\r\n0\r\n\r\n") {
                    rest.drain(..rest.len().saturating_sub(7));
                    assert!(stream.read_buf(&mut rest).await.unwrap() > 0);
                }
            }
            stream.write_all(HELLO.as_bytes()).await.unwrap();
        }
    })
}

async fn takes(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    if request.uri().path() == "/held" {
        // Until it is given up: others of its connection need the window.
        poll_fn(|cx| respond.poll_reset(cx)).await.ok();
        return drop(request);
    }
    body(&mut request.into_body()).await.unwrap();
    respond.send_response(Response::new(()), false).unwrap().send_data("hello".into(), true).unwrap();
}

fn both(setup: Setup, test: impl AsyncFn(Rc<World>) + Copy) {
    run(setup, http1, |world| async move { test(world).await });
    run(
        Setup { cluster: "    protocol: http2", ..setup },
        |_, _| h2_server(takes),
        |world| async move { test(world).await },
    );
}

#[test]
fn a_far_client_uploads_at_more_than_its_first_window_a_round_trip() {
    both(PLAIN, async |world| {
        let mut client = far(&world).await;
        // 92 with windows of 64 KiB.
        let first = trips(&mut client).await;
        assert!(first <= 20, "{first} round trips");
        let next = trips(&mut client).await;
        assert!(next <= 12, "{next} round trips");
        world.assert_quiet().await;
    });
}

#[test]
fn a_body_that_filters_let_through_moves_as_fast() {
    both(Setup { filters: &["a"], ..PLAIN }, async |world| {
        script("a", |_, _| Do::Continue);
        let mut client = far(&world).await;
        let first = trips(&mut client).await;
        assert!(first <= 20, "{first} round trips");
    });
}

/// What is held is not taken, whoever holds it.
#[test]
fn an_upload_that_is_not_taken_gets_no_larger_window() {
    both(Setup { filters: &["a"], ..PLAIN }, async |world| {
        script("a", |event, stream: &Stream| {
            let held =
                stream.headers(Map::RequestHeaders, |head| head.get(b":path").is_some_and(|path| path == b"/filtered"));
            match event {
                Event::RequestHeaders(_) if held == Some(true) => Do::PauseAll,
                _ => Do::Continue,
            }
        });
        let mut client = far(&world).await;
        // What a filter has room for was taken, and what fits into the pipe to the server, or its own window.
        for (path, most) in [("/filtered", 1 << 20), ("/held", 256 * 1024)] {
            let (sent, mut client) = (Rc::<Cell<usize>>::default(), client.clone());
            let counted = Rc::clone(&sent);
            let uploading = spawn_local(async move {
                upload(&mut client, path, LARGE, &counted).await;
            });
            sleep(100 * WAY).await;
            assert!(sent.get() <= 65_535 + most, "{} sent to {path}", sent.get());
            uploading.abort();
        }
        // Another one of the connection is none the worse for it.
        let mut response = fetch(&mut client, request("GET", "/taken").body(()).unwrap()).await.unwrap();
        assert_eq!(body(response.body_mut()).await.unwrap().0, "hello");
        let after = trips(&mut client).await;
        assert!(after <= 20, "{after} round trips");
    });
}
