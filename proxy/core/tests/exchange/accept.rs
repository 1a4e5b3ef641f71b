//! Limits, errors and pressure before a byte is read.

use crate::{
    client::{answer, closed, get, http2, request, send},
    server::{HELLO, canned, silent},
    world::{Line, PLAIN, Setup, run, settle},
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

#[test]
fn short_memory_answers_new_requests_of_connections_that_live() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut old = world.connect();
            old.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert_eq!(answer(&mut old).await.status, 200);
            let mut streams = http2(&world).await;
            // The proxy's end of it is accepted as well.
            settle().await;
            world.process.pressure.set(Pressure::Refuse);
            // Of the body nothing has come yet.
            let post = request("POST", "/").body(()).unwrap();
            let (response, _body) = send(&mut streams, post, false).await;
            assert_eq!(response.await.unwrap().status(), 503);
            old.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let told = answer(&mut old).await;
            assert_eq!((told.status, told.body.as_str()), (503, "overloaded\n"));
            let records = world.records().await;
            let said = |line: &Line| (line.status, line.flags.clone(), line.details.clone(), line.by.clone());
            let expected = (503, "OM".to_owned(), "short_memory".to_owned(), "proxy".to_owned());
            assert_eq!(records.len(), 3, "{records:#?}");
            assert!(records[1..].iter().all(|line| said(line) == expected), "{records:#?}");
            assert_eq!(world.refusals("short_memory"), 2.0);
            assert_eq!(world.dialed.borrow().len(), 1, "nothing was asked of the server");
            world.process.pressure.set(Pressure::Normal);
            old.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert_eq!(answer(&mut old).await.status, 200, "the connection goes on");
            world.assert_quiet().await;
        },
    );
}

#[test]
fn requests_beyond_what_memory_allows_are_answered_and_those_before_go_on() {
    run(
        PLAIN,
        |number, _| if number == 0 { silent() } else { canned(HELLO) },
        |world| async move {
            let mut first = world.connect();
            first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            settle().await;
            world.process.unfinished.allow_requests(1);
            let told = get(&world, "/").await;
            assert_eq!((told.status, told.body.as_str()), (503, "overloaded\n"));
            assert_eq!(world.record().await.end(), (503, "OM", "short_memory", "proxy"));
            world.process.unfinished.allow_requests(2);
            assert_eq!(get(&world, "/").await.status, 200);
            drop(first);
            world.assert_quiet().await;
        },
    );
}

#[test]
fn where_refusing_is_not_enough_the_connection_with_most_in_flight_is_cut_and_did_not_leave() {
    run(
        PLAIN,
        |_, _| silent(),
        |world| async move {
            let mut one = world.connect();
            one.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut streams = http2(&world).await;
            let mut open = Vec::new();
            for (method, ended) in [("GET", true), ("GET", true), ("POST", false)] {
                open.push(send(&mut streams, request(method, "/").body(()).unwrap(), ended).await);
            }
            settle().await;
            world.worker.register.relieve();
            for (response, _) in open {
                assert!(response.await.is_err());
            }
            let records = world.records().await;
            assert_eq!(records.len(), 3, "{records:#?}");
            let cut = (0, "OM", "short_memory", "proxy");
            assert!(records.iter().all(|line| line.end() == cut), "{records:#?}");
            assert_eq!(world.refusals("short_memory"), 1.0, "one connection");
            settle().await;
            assert_eq!(world.process.connections.taken(), 1, "the other goes on");
            world.worker.register.relieve();
            assert!(closed(&mut one).await);
            let records = world.records().await;
            assert_eq!(records.last().map(Line::end), Some(cut), "{records:#?}");
        },
    );
}
