//! Which protocol, told from the first bytes however they are cut.

use crate::{
    client::{answer, closed},
    server::{HELLO, canned},
    world::{PLAIN, run, settle},
};
use tokio::io::AsyncWriteExt;

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
