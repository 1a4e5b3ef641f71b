//! Which protocol, told from the first bytes however they are cut.

use crate::{
    client::{answer, closed},
    server::{HELLO, canned},
    world::{PLAIN, run, settle},
};
use std::time::Duration;
use tokio::{io::AsyncWriteExt, time::Instant};

#[test]
fn one_byte_at_a_time() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            for byte in b"PRIVATE / HTTP/1.1\r\nhost: a\r\n\r\n" {
                client.write_all(&[*byte]).await.unwrap();
                settle().await;
            }
            assert_eq!(answer(&mut client).await.status, 200);
            assert!(closed(&mut world.connect()).await, "a silent client is closed in time");
            assert_eq!(world.recorded.get("pillion_detect_outcomes_total{listener=web,outcome=timeout}"), 1.0);
        },
    );
}

#[test]
fn a_tls_handshake_on_a_clear_text_port_is_closed_at_once() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let begun = Instant::now();
            let mut client = world.connect();
            // The beginning of a ClientHello (RFC 8446 §4.1.2), in two pieces.
            client.write_all(&[0x16]).await.unwrap();
            settle().await;
            client.write_all(&[0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]).await.unwrap();
            assert!(closed(&mut client).await, "no answer that TLS does not know");
            assert!(begun.elapsed() < Duration::from_secs(1), "it waits for more");
            assert_eq!(world.recorded.get("pillion_detect_outcomes_total{listener=web,outcome=tls}"), 1.0);
            assert!(world.records().await.is_empty(), "there was no request");
        },
    );
}
