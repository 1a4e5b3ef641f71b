//! Connections as the codecs keep them.

use crate::{
    client::{answer, closed, next},
    server::{HELLO, canned},
    world::{PLAIN, run},
};
use tokio::io::AsyncWriteExt;

#[test]
fn pipelined_requests_are_answered_in_order_up_to_the_refused_one() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            let good = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
            client.write_all(format!("{good}{good}GET / HTTP/1.1\r\n\r\n{good}").as_bytes()).await.unwrap();
            let mut statuses = Vec::new();
            for _ in 0..3 {
                statuses.push(answer(&mut client).await.status);
            }
            assert_eq!(statuses, [200, 200, 400]);
            assert!(closed(&mut client).await);
            assert_eq!((world.records().await.len(), world.refusals("missing_host")), (3, 1.0));
        },
    );
}

#[test]
fn a_refusal_nobody_is_told_of_is_counted() {
    run(
        PLAIN,
        |_, _| canned("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall"),
        |world| async move {
            let mut client = world.connect();
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n")
                .await
                .unwrap();
            assert_eq!(answer(&mut client).await.status, 200);
            assert_eq!((world.records().await.len(), world.refusals("missing_host")), (1, 1.0));
        },
    );
}

#[test]
fn http10_is_kept_alive_when_it_asks() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            for _ in 0..2 {
                client.write_all(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
                let answer = next(&mut client, false).await;
                assert_eq!((answer.status, answer.field("connection")), (200, Some("keep-alive")));
            }
        },
    );
}
