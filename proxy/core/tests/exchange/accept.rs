//! Limits, errors and pressure before a byte is read.

use crate::{
    client::{answer, closed, get},
    server::{HELLO, canned},
    world::{PLAIN, Setup, run, settle},
};
use pillion_core::downstream::limit::Pressure;
use std::{io, time::Duration};
use tokio::{io::AsyncWriteExt, time::sleep};

#[test]
fn a_full_listener_lets_the_next_one_wait() {
    let one = Setup { listener: "    connections: 1", ..PLAIN };
    run(
        one,
        |_, _| canned(HELLO),
        |world| async move {
            let first = world.connect();
            settle().await;
            let (mut second, _third) = (world.connect(), world.connect());
            second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            sleep(Duration::from_millis(500)).await;
            assert_eq!(world.queue.waiting(), 1, "one waits in hand, the others in the queue");
            drop(first);
            assert_eq!(answer(&mut second).await.status, 200);
        },
    );
}

#[test]
fn a_lack_of_descriptors_is_back_pressure() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut idle = world.connect();
            idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            answer(&mut idle).await;
            for errno in [24, 23, 103] {
                world.queue.push(Err(io::Error::from_raw_os_error(errno)));
            }
            assert!(closed(&mut idle).await, "an idle connection makes room");
            assert_eq!(get(&world, "/").await.status, 200);
            let errors =
                |error: &str| world.recorded.get(&format!("pillion_accept_errors_total{{error={error},listener=web}}"));
            assert_eq!((errors("process_descriptors"), errors("system_descriptors")), (1.0, 1.0));
        },
    );
}

#[test]
fn short_memory_refuses_new_connections() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            world.process.pressure.set(Pressure::Refuse);
            assert!(closed(&mut world.connect()).await);
            world.process.pressure.set(Pressure::Normal);
            assert_eq!(get(&world, "/").await.status, 200);
            settle().await;
            assert_eq!(world.process.connections.taken(), 0);
        },
    );
}
