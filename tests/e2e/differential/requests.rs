//! HTTP/1 requests through HTTP/1: the harness and the hand-written table.

use super::{
    recorder::{Arrival, Recorder, normal, read_all},
    table,
};
use pillion_tests::{
    client::End,
    proxy::{Proxy, Shape},
    received::Received,
    wait::SOON,
};
use std::fmt::Write as _;

/// A message and what must become of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) input: Vec<u8>,
    pub(super) answers: Vec<Answer>,
    pub(super) reaches: Reaches,
}

/// One answer the client reads.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    statuses: Vec<u16>,
    is_head: bool,
    ends: Ends,
}

/// Whether the connection ends with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Where the request was refused.
    WhenRefused,
    /// In any case.
    Always,
    /// It may, where the request was refused.
    Perhaps,
}

/// What must reach the server.
#[derive(Debug, Clone)]
pub(super) enum Reaches {
    /// Exactly these, in order; `None` is one request of any form.
    Whole(Vec<Option<Received>>),
    /// At most one, without its end.
    Cut,
    /// At most one without its end where it is refused, or this one where it is not.
    CutOr(Box<Received>),
}

/// Answers in the notation of the table.
pub(super) fn answers(text: &str) -> Vec<Answer> {
    let one = |text: &str| {
        let ends = match text {
            _ if text.contains('c') => Ends::Always,
            _ if text.contains('k') => Ends::Perhaps,
            _ => Ends::WhenRefused,
        };
        let is_head = text.contains('h');
        let statuses = text.split('/').map(|status| {
            let digits = status.trim_end_matches(['c', 'h', 'k']);
            digits.parse().unwrap_or_else(|_| panic!("not a status: {text}"))
        });
        Answer { statuses: statuses.collect(), is_head, ends }
    };
    text.split(',').map(one).collect()
}

fn reaches(text: &str, input: &[u8]) -> Reaches {
    let whole = |text: &str| read_all(&table::bytes(text)).into_iter().map(|request| Some(normal(request)));
    if let Some(request) = text.strip_prefix("cut-or ") {
        let request = whole(request).next().flatten().unwrap_or_else(|| panic!("no request: {text}"));
        return Reaches::CutOr(Box::new(request));
    }
    match text {
        "" => Reaches::Whole(Vec::new()),
        "cut" => Reaches::Cut,
        "=" => Reaches::Whole(read_all(input).into_iter().map(|request| Some(normal(request))).collect()),
        many => Reaches::Whole(
            many.split("++").flat_map(|one| if one == "*" { vec![None] } else { whole(one).collect() }).collect(),
        ),
    }
}

/// Runs rows through one proxy and panics with everything that went wrong.
pub(super) fn run(rows: &[Row]) {
    let recorder = Recorder::start();
    let proxy = Shape { listener: DEFAULTS, ..Shape::default() }.start(recorder.server.address);
    let mut wrong = String::new();
    let mut failures = 0;
    for row in rows {
        if let Err(what) = check(row, &proxy, &recorder) {
            failures += 1;
            // What it left behind is not the next row's.
            drop(recorder.take_settled(&proxy));
            writeln!(wrong, "{}: {what}\n    sent {:?}", row.name, shown(&row.input)).expect("text can be written");
        }
    }
    let stray = recorder.take_settled(&proxy);
    assert!(stray.is_empty(), "of some row that was to forward nothing: {stray:?}");
    proxy.assert_healthy();
    assert!(failures == 0, "{failures} of {} rows:\n{wrong}", rows.len());
}

/// Nothing beyond the defaults: the table is about what stands in the box.
const DEFAULTS: &str = "";

fn check(row: &Row, proxy: &Proxy, recorder: &Recorder) -> Result<(), String> {
    let mut client = proxy.connect();
    // A refusal may come while we are still sending.
    drop(client.try_send(&row.input));
    let mut statuses = Vec::new();
    let mut open = true;
    for (number, answer) in row.answers.iter().enumerate() {
        let method = if answer.is_head { "HEAD" } else { "GET" };
        let response = client
            .try_receive(method)
            .map_err(|error| format!("answer {number} of {statuses:?}: {error}; arrived {:?}", recorder.take()))?;
        statuses.push(response.status);
        if !answer.statuses.contains(&response.status) {
            return Err(format!("answered {statuses:?}, arrived {:?}", recorder.take()));
        }
        open = match answer.ends {
            Ends::Always => false,
            Ends::WhenRefused => response.status < 400,
            Ends::Perhaps => !response.closes(),
        };
    }
    let refused = statuses.last().is_some_and(|status| *status >= 400);
    if open {
        let probe =
            client.try_send("GET /probe HTTP/1.1\r\nHost: test\r\n\r\n").and_then(|()| client.try_receive("GET"));
        match probe {
            Ok(response) if response.text() == "/probe" => {}
            Ok(response) => return Err(format!("the next request got {}: {}", response.status, response.text())),
            Err(error) => return Err(format!("the next request on the connection: {error}")),
        }
    } else {
        match client.end_within(SOON) {
            End::Closed | End::Reset => {}
            End::Open => return Err(format!("{statuses:?}, but the connection stays open")),
            End::Bytes(bytes) => return Err(format!("{statuses:?}, then more: {:?}", shown(&bytes))),
        }
    }
    drop(client);
    // What was answered has arrived before; only what was cut may still be on its way.
    let arrivals = match row.reaches {
        Reaches::Cut | Reaches::CutOr(_) => recorder.take_settled(proxy),
        Reaches::Whole(_) => recorder.take(),
    };
    arrived(row, refused, open, arrivals)
}

fn arrived(row: &Row, refused: bool, open: bool, mut arrivals: Vec<Arrival>) -> Result<(), String> {
    if open {
        match arrivals.pop() {
            Some(Arrival::Whole(probe)) if probe.target() == "/probe" => {}
            other => return Err(format!("the probe arrived as {other:?}")),
        }
    }
    if let Some(unreadable) = arrivals.iter().find(|arrival| matches!(arrival, Arrival::Unreadable(_))) {
        return Err(format!("forwarded what cannot be read: {unreadable:?}"));
    }
    let cuts = arrivals.iter().filter(|arrival| matches!(arrival, Arrival::Cut)).count();
    let whole: Vec<_> = arrivals
        .into_iter()
        .filter_map(|arrival| match arrival {
            Arrival::Whole(request) => Some(normal(request)),
            Arrival::Cut | Arrival::Unreadable(_) => None,
        })
        .collect();
    let (expected, cuts_allowed): (&[Option<Received>], usize) = match &row.reaches {
        Reaches::Cut => (&[], 1),
        Reaches::CutOr(_) if refused => (&[], 1),
        Reaches::CutOr(request) => (&[Some((**request).clone())], 0),
        // Where a refusal was one of the choices and was taken, nothing more than the answered ones arrives.
        Reaches::Whole(requests) if refused => {
            let answered = row.answers.len() - 1;
            (&requests[..answered.min(requests.len())], 0)
        }
        Reaches::Whole(requests) => (requests, 0),
    };
    let same = whole.len() == expected.len()
        && whole.iter().zip(expected).all(|(got, want)| want.as_ref().is_none_or(|want| got == want));
    if !same {
        return Err(format!("arrived {whole:?}\n    instead of {expected:?}"));
    }
    if cuts > cuts_allowed { Err(format!("{cuts} requests arrived without their end")) } else { Ok(()) }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().take(400).map(char::from).collect()
}

/// The rows of a table in the notation of `requests.txt`.
pub(super) fn parse(text: &str) -> Vec<Row> {
    table::rows(text)
        .map(|(status, name, input, third)| {
            let input = table::bytes(input);
            let reaches = reaches(third, &input);
            Row { name: name.to_owned(), input, answers: answers(status), reaches }
        })
        .collect()
}

#[test]
fn every_hand_written_request_meets_its_fate() {
    let rows = parse(include_str!("requests.txt"));
    assert!(rows.len() >= 400, "{} rows", rows.len());
    let mut names: Vec<_> = rows.iter().map(|row| &row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "a name is used twice");
    run(&rows);
}
