//! Listeners that go, connections that leave.

use crate::{
    client::{answer, closed, fetch, get, http2, request},
    server::{HELLO, canned, serve},
    world::{PLAIN, Queue, Setup, run, settle},
};
use std::time::Duration;
use tokio::{io::AsyncWriteExt, time::sleep};

#[test]
fn a_removed_listener_serves_its_connections_with_the_clusters_it_was_made_with() {
    run(
        PLAIN,
        |_, to| match to.ip().to_string().as_str() {
            "10.0.0.1" => canned(HELLO),
            _ => canned("HTTP/1.1 500 Wrong\r\ncontent-length: 0\r\n\r\n"),
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert_eq!(answer(&mut client).await.status, 200);
            // The same listener at another address, over clusters in another place.
            let other = Setup { endpoints: "[\"10.0.0.9:80\"]", ..PLAIN };
            let queue = Queue::default();
            world.apply(other, vec![queue.source("web")]);
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let last = answer(&mut client).await;
            assert_eq!((last.status, last.field("connection")), (200, Some("close")));
            assert!(closed(&mut client).await);
            let mut fresh = queue.connect("192.0.2.7:1".parse().unwrap());
            fresh.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert_eq!(answer(&mut fresh).await.status, 500);
        },
    );
}

#[test]
fn what_the_kernel_queued_is_served_while_draining() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut queued = world.connect();
            queued.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let sender = world.connect();
            world.worker.drain();
            let (mut sender, connection) = h2::client::handshake(sender).await.unwrap();
            tokio::task::spawn_local(connection);
            let response = sender.send_request(request("GET", "/").body(()).unwrap(), true).unwrap().0;
            let last = answer(&mut queued).await;
            assert_eq!((last.status, last.field("connection")), (200, Some("close")));
            assert_eq!(response.await.unwrap().status(), 200);
            drop(sender);
            world.worker.idle().await;
            let late = world.connect();
            settle().await;
            assert_eq!(world.queue.waiting(), 1, "nobody accepts any more");
            drop(late);
        },
    );
}

#[test]
fn old_connections_are_asked_to_leave() {
    let aged = Setup { listener: "    max_connection_age: 10s", ..PLAIN };
    run(
        aged,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            let mut sender = http2(&world).await;
            fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
            let began = tokio::time::Instant::now();
            loop {
                client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let last = answer(&mut client).await;
                assert_eq!(last.status, 200);
                if last.field("connection") == Some("close") {
                    break;
                }
                sleep(Duration::from_millis(200)).await;
            }
            assert!((8_900..11_300).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
            assert!(closed(&mut client).await);
            sleep(Duration::from_secs(3)).await;
            assert!(sender.ready().await.is_err(), "told to go away");
        },
    );
}

#[test]
fn a_panic_costs_one_connection() {
    run(
        PLAIN,
        |nth, _| {
            assert!(nth > 0, "a bug in the proxy");
            serve(|mut stream| async move {
                crate::server::head(&mut stream).await;
                stream.write_all(HELLO.as_bytes()).await.unwrap();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert!(closed(&mut client).await);
            assert_eq!(world.record().await.end(), (0, "LR", "panic", "proxy"));
            assert_eq!(get(&world, "/").await.status, 200);
            settle().await;
            assert_eq!((world.process.connections.taken(), world.worker.register.open()), (0, 1), "the listener alone");
        },
    );
}
