//! HTTP/1 responses: what the client sees, and that a connection in doubt carries nothing more.

use super::table;
use pillion_tests::{proxy::Proxy, scripted::Scripted};
use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

struct Row {
    name: String,
    statuses: Vec<u16>,
    letters: String,
    sends: Vec<u8>,
    body: Vec<u8>,
}

fn parse(text: &str) -> Vec<Row> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            // A row may end after its second column's `||`: a server that sends nothing.
            let line = if line.ends_with(" ||") { format!("{line} ") } else { line.to_owned() };
            let (status, name, sends, body) = table::rows(&line).next().map_or_else(
                || panic!("not a row: {line}"),
                |(status, name, sends, body)| {
                    (status.to_owned(), name.to_owned(), table::bytes(sends), table::bytes(body))
                },
            );
            let letters: String = status.chars().filter(char::is_ascii_alphabetic).collect();
            let numbers = status.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).split('/');
            let statuses = numbers.map(|number| number.parse().expect("a status is a number")).collect();
            Row { name, statuses, letters, sends, body }
        })
        .collect()
}

/// A server that answers `/row/N` with row N's bytes, everything else with 200, and notes which connection carried what.
fn server(rows: &Arc<Vec<Row>>, carried: &Arc<Mutex<HashMap<usize, Vec<String>>>>) -> Scripted {
    let (rows, carried) = (Arc::clone(rows), Arc::clone(carried));
    Scripted::start(move |mut peer| {
        while let Ok(request) = peer.request() {
            let target = request.target().to_owned();
            carried.lock().unwrap_or_else(PoisonError::into_inner).entry(peer.number).or_default().push(target.clone());
            let row =
                target.strip_prefix("/row/").and_then(|number| number.parse().ok()).and_then(|at: usize| rows.get(at));
            let Some(row) = row else {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsound");
                continue;
            };
            peer.send(&row.sends);
            if row.letters.contains('c') {
                return;
            }
        }
    })
}

#[test]
fn every_hand_written_response_meets_its_fate() {
    let rows = Arc::new(parse(include_str!("responses.txt")));
    assert!(rows.len() >= 100, "{} rows", rows.len());
    let carried = Arc::default();
    let server = server(&rows, &carried);
    let proxy = Proxy::to(server.address);
    let mut wrong = String::new();
    let mut failures = 0;
    for (number, row) in rows.iter().enumerate() {
        if let Err(what) = check(number, row, &proxy, &carried) {
            failures += 1;
            let sent: String = row.sends.escape_ascii().map(char::from).collect();
            writeln!(wrong, "{}: {what}\n    server sent {sent}", row.name).expect("text can be written");
        }
    }
    proxy.assert_healthy();
    assert!(failures == 0, "{failures} of {} rows:\n{wrong}", rows.len());
}

fn check(number: usize, row: &Row, proxy: &Proxy, carried: &Mutex<HashMap<usize, Vec<String>>>) -> Result<(), String> {
    let method = if row.letters.contains('h') { "HEAD" } else { "GET" };
    let mut client = proxy.connect();
    client.send(format!("{method} /row/{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
    let must_end_early = row.letters.contains('t');
    let refused = loop {
        match client.try_receive(method) {
            Ok(response) if (100..200).contains(&response.status) && response.status != 101 => {}
            Ok(response) if !row.statuses.contains(&response.status) => {
                return Err(format!("client saw {}: {:?}", response.status, response.text()));
            }
            Ok(response) if matches!(response.status, 502 | 503) => break true,
            Ok(response) if must_end_early => {
                return Err(format!("client saw a whole response: {:?}", response.text()));
            }
            Ok(response) if response.body != row.body => {
                return Err(format!("client saw the body {:?}", response.text()));
            }
            Ok(_) => break false,
            Err(error) if must_end_early && error.kind() == std::io::ErrorKind::UnexpectedEof => break false,
            Err(error) => return Err(format!("client saw {error}")),
        }
    };
    // Enough of them that a pool that kept the connection would use it.
    for probe in 0..3 {
        let response = proxy.get(&format!("/probe/{number}/{probe}"));
        if response.status != 200 || response.body != b"sound" {
            return Err(format!("then another client saw {}: {:?}", response.status, response.text()));
        }
    }
    if refused || row.letters.contains('n') || must_end_early {
        let carried = carried.lock().unwrap_or_else(PoisonError::into_inner);
        let target = format!("/row/{number}");
        for requests in carried.values() {
            if requests.iter().rev().skip(1).any(|request| *request == target) {
                return Err(format!("the server's connection went on to carry {:?}", requests.last()));
            }
        }
    }
    Ok(())
}
