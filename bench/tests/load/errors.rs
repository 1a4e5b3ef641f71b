//! What is not the expected answer is an error, of the right kind.

use crate::{
    assert_all_good, load, origin,
    scripted::{answering, ok, read_head, server},
};
use pillion_bench::load::Outcome;
use socket2::SockRef;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

#[track_caller]
fn assert_only(outcome: &Outcome, kind: &str, count: u64) {
    assert_eq!(outcome.requests, 0, "{outcome}");
    let errors: Vec<_> = outcome.errors.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(errors, [(kind, count)], "{outcome}");
}

/// Ten requests to a server that gives each this answer and then closes.
fn once_and_close(answer: &'static [u8]) -> Outcome {
    ten(server(move |mut connection, _| {
        if read_head(&mut connection) {
            connection.write_all(answer).ok();
        }
    }))
}

fn ten(target: SocketAddr) -> Outcome {
    load(&format!("--target {target} --protocol http1 --rate 20 --duration 0.5 --new-connection-per-request"))
}

#[test]
fn a_status_that_is_not_2xx() {
    let target = server(|connection, _| {
        answering(|_| Some(b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno".to_vec()), connection);
    });
    let outcome = load(&format!("--target {target} --protocol http1 --rate 20 --duration 0.5"));
    assert_only(&outcome, "status", 10);
    assert_eq!(outcome.non_2xx.get("503"), Some(&10));
    assert_eq!(outcome.connections_opened, 1, "the connection is good");
}

#[test]
fn a_body_cut_short() {
    assert_only(&once_and_close(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"), "short_body", 10);
    assert_only(&once_and_close(b"HTTP/1.1 200 OK\r\nContent-"), "short_body", 10);
    assert_only(
        &once_and_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        "short_body",
        10,
    );
}

#[test]
fn a_connection_closed_without_an_answer() {
    assert_only(&once_and_close(b""), "closed", 10);
}

#[test]
fn a_reset() {
    let target = server(|mut connection, _| {
        if read_head(&mut connection) {
            SockRef::from(&connection).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    assert_only(&ten(target), "reset", 10);
}

#[test]
fn what_is_not_http() {
    assert_only(&once_and_close(b"SSH-2.0-OpenSSH\r\n\r\n"), "malformed", 10);
    assert_only(&once_and_close(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy"), "malformed", 10);
}

#[test]
fn a_body_of_another_length_than_expected() {
    let origin = origin("");
    let target = origin.listening.http1;
    let sixteen = format!("--target {target} --protocol http1 --rate 20 --duration 0.5 --expect-bytes");
    assert_only(&load(&format!("{sixteen} 17")), "short_body", 10);
    assert_only(&load(&format!("{sixteen} 15")), "long_body", 10);
}

#[test]
fn an_answer_that_is_not_the_origins() {
    for other in [
        "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nabcdefghijklmnoX",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabcdefgh\r\n8\r\nXjklmnop\r\n0\r\n\r\n",
    ] {
        let target = server(|connection, _| answering(|_| Some(other.as_bytes().to_vec()), connection));
        let twenty = format!("--target {target} --protocol http1 --rate 20 --duration 0.5 --expect-bytes 16");
        assert_only(&load(&format!("{twenty} --same-bytes")), "mismatch", 10);
        assert_all_good(&load(&twenty), 10);
    }
}

#[test]
fn a_target_that_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_only(&ten(free), "connect", 10);
}

#[test]
fn an_echo_that_differs() {
    let target = server(|mut connection, _| {
        let mut bytes = [0; 8];
        while connection.read_exact(&mut bytes).is_ok() {
            bytes[7] ^= 1;
            connection.write_all(&bytes).ok();
        }
    });
    let outcome = load(&format!("--target {target} --protocol tcp-small --body-bytes 8 --rate 20 --duration 0.5"));
    assert_only(&outcome, "mismatch", 10);
}

#[test]
fn a_server_that_says_it_closes_is_believed() {
    let target = server(|connection, _| {
        let close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let mut left = 3;
        let answer = |_| {
            left -= 1;
            (left >= 0).then(|| if left == 0 { close.to_vec() } else { ok() })
        };
        answering(answer, connection);
    });
    let outcome = load(&format!("--target {target} --protocol http1 --rate 60 --duration 0.5"));
    crate::assert_all_good(&outcome, 30);
    assert_eq!(outcome.connections_opened, 10);
}
