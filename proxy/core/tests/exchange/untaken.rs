//! Uploads by HTTP/2 whose server takes nothing: what waits for it counts, and where there is no room for more whoever sends more is refused.

use crate::{
    client::{fetch, http2, request, send},
    server::{Step, head, http2 as h2_server, serve},
    world::{PLAIN, Setup, World, run},
};
use bytes::Bytes;
use h2::{SendStream, client::ResponseFuture};
use http::Response;
use std::{future::pending, time::Duration};
use tokio::time::{sleep, timeout};

/// What a stream may be ahead of its server; of it a pipe of 64 KiB takes nothing where several share it.
const UPLOAD: usize = 60_000;

/// Uploads at once.
const MANY: usize = 20;

/// What is on its way to a server over HTTP/1, at most: each has a pipe of its own.
const PIPE: usize = 64 * 1024;

/// A server that takes the head, and nothing of what is uploaded.
fn http1() -> Step {
    serve(|mut stream| async move {
        while let Some(head) = head(&mut stream).await {
            if head.starts_with("POST") {
                pending::<()>().await;
            }
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
        }
    })
}

async fn soon() {
    sleep(Duration::from_millis(100)).await;
}

/// Sends so many uploads, each as much as its window lets it and twice what a pipe takes.
async fn upload(world: &World) -> Vec<(ResponseFuture, SendStream<Bytes>)> {
    let mut client = http2(world).await;
    let mut uploads = Vec::new();
    for _ in 0..MANY {
        let (response, mut stream) = send(&mut client, request("POST", "/").body(()).unwrap(), false).await;
        stream.send_data(vec![b'u'; 2 * PIPE + UPLOAD].into(), false).unwrap();
        uploads.push((response, stream));
    }
    soon().await;
    uploads
}

fn both(test: impl AsyncFn(&World) + Copy) {
    run(PLAIN, |_, _| http1(), |world| async move { test(&world).await });
    run(
        Setup { cluster: "    protocol: http2", ..PLAIN },
        |_, _| {
            h2_server(|request, mut respond| async move {
                if request.method() == "POST" {
                    pending::<()>().await;
                }
                respond.send_response(Response::new(()), true).unwrap();
            })
        },
        |world| async move { test(&world).await },
    );
}

#[test]
fn what_no_server_takes_is_counted_until_it_is_gone() {
    both(async |world| {
        let held = || world.process.unfinished.held();
        // Nobody counts without a limit of memory.
        let uploads = upload(world).await;
        assert_eq!(held(), 0);
        drop(uploads);
        soon().await;
        world.process.unfinished.allow(1 << 30);
        let uploads = upload(world).await;
        let all = MANY * UPLOAD;
        assert!((all * 2 / 3..all * 2).contains(&held()), "{} of {all}", held());
        drop(uploads);
        soon().await;
        assert_eq!(held(), 0);
        world.assert_quiet().await;
    });
}

#[test]
fn where_memory_is_short_an_upload_that_no_server_takes_is_refused() {
    both(async |world| {
        let room = 8 * UPLOAD;
        world.process.unfinished.allow(room);
        let uploads = upload(world).await;
        let held = world.process.unfinished.held();
        assert!(held > room / 2 && held <= room + room / 8, "{held} of {room}");
        let mut refused = 0;
        let mut wait = Vec::new();
        for (mut response, stream) in uploads {
            match timeout(Duration::from_millis(10), &mut response).await {
                Ok(Ok(response)) => {
                    assert_eq!(response.status(), 503);
                    refused += 1;
                }
                Ok(Err(error)) => panic!("{error}"),
                Err(_) => wait.push((response, stream)),
            }
        }
        assert!(refused > 0 && wait.len() > 3, "{refused} refused, {} wait", wait.len());
        let told =
            world.records().await.iter().filter(|line| line.end() == (503, "OM", "short_memory", "proxy")).count();
        assert_eq!(told, refused);
        // Others are served.
        let mut other = http2(world).await;
        assert_eq!(fetch(&mut other, request("GET", "/").body(()).unwrap()).await.unwrap().status(), 200);
        drop(wait);
        soon().await;
        assert_eq!(world.process.unfinished.held(), 0);
    });
}

#[test]
fn what_waits_for_a_connection_counts_likewise() {
    let setup = Setup { cluster: "    limits: { connections: 1, pending: 100 }", ..PLAIN };
    run(
        setup,
        |_, _| http1(),
        |world| async move {
            let held = || world.process.unfinished.held();
            world.process.unfinished.allow(1 << 30);
            let uploads = upload(&world).await;
            let all = MANY * UPLOAD;
            assert!((all * 2 / 3..all * 2).contains(&held()), "{} of {all}", held());
            drop(uploads);
            soon().await;
            assert_eq!(held(), 0);
            let room = 8 * UPLOAD;
            world.process.unfinished.allow(room);
            let uploads = upload(&world).await;
            assert!(held() > room / 2 && held() <= room + room / 8, "{} of {room}", held());
            drop(uploads);
            soon().await;
            assert_eq!(held(), 0);
            world.assert_quiet().await;
        },
    );
}
