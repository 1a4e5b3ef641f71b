//! The open loop: what is due does not depend on what is answered.

use crate::{
    assert_all_good, load, origin,
    scripted::{answering, ok, read_head, server},
};
use socket2::SockRef;
use std::{io::Write as _, thread, time::Duration};

#[test]
fn as_many_requests_are_due_as_the_rate_says() {
    let origin = origin("");
    let target = origin.listening.http1;
    let outcome = load(&format!("--target {target} --protocol http1 --connections 4 --rate 300 --duration 1"));
    assert_all_good(&outcome, 300);
    assert_eq!(outcome.send_delay.count, 300);
    let outcome = load(&format!(
        "--target {target} --protocol http1 --connections 5 --threads 2 --rate 300 --duration 1 --warmup 0.5"
    ));
    // A request at the very edge may fall on either side of it.
    assert!((298..=302).contains(&outcome.requests), "{outcome}");
    assert_eq!(outcome.connections_opened, 5);
}

/// Coordinated omission: a generator that waits for the stalled answer before it sends again would see one slow request.
#[test]
fn a_stall_is_charged_to_every_request_that_was_due_meanwhile() {
    let target = server(|connection, _| {
        let answer = |number| {
            if number == 20 {
                thread::sleep(Duration::from_secs(1));
            }
            Some(ok())
        };
        answering(answer, connection);
    });
    let outcome = load(&format!("--target {target} --protocol http1 --connections 1 --rate 100 --duration 2"));
    assert_all_good(&outcome, 200);
    // Due within the first half of the stall, whenever that was: 50, give or take the edges; none is answered before
    // the stall's end.
    let half = Duration::from_millis(500).as_nanos() as u64;
    let slow = outcome.latency.histogram().unwrap().count_between(half, u64::MAX);
    assert!(slow >= 45, "{slow} requests were slow: {outcome}");
    assert!(outcome.latency.max_us >= 950_000.0, "{outcome}");
}

#[test]
fn requests_without_an_answer_are_errors_and_in_the_histogram_with_their_age() {
    let target = server(|connection, _| {
        answering(|_| Some(Vec::new()), connection);
    });
    let outcome =
        load(&format!("--target {target} --protocol http1 --connections 2 --rate 50 --duration 1 --grace 0.5"));
    assert_eq!(outcome.errors.get("unanswered"), Some(&50), "{outcome}");
    assert_eq!((outcome.requests, outcome.latency.count, outcome.failed_after.count), (0, 50, 50));
    let youngest = outcome.latency.histogram().unwrap().min();
    assert!(youngest >= Duration::from_millis(499).as_nanos() as u64, "{youngest} ns");
}

/// A server that stops for half a second and then resets everything: nobody's wait is lost because it came to nothing.
#[test]
fn what_waits_and_then_fails_is_charged_with_its_wait() {
    let stall = Duration::from_millis(500);
    let target = server(move |mut connection, number| {
        // The connections made first answer ten requests each.
        let mut left = if number < 2 { 10 } else { usize::MAX };
        while read_head(&mut connection) {
            if left == 0 {
                thread::sleep(stall);
                SockRef::from(&connection).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            left -= 1;
            connection.write_all(&ok()).unwrap();
        }
    });
    let outcome = load(&format!("--target {target} --protocol http1 --connections 2 --rate 50 --duration 1"));
    assert_eq!(outcome.errors.get("reset"), Some(&2), "{outcome}");
    assert_eq!((outcome.requests, outcome.latency.count, outcome.failed_after.count), (48, 48, 2));
    let shortest = outcome.failed_after.histogram().unwrap().min();
    assert!(shortest >= stall.as_nanos() as u64 * 99 / 100, "{shortest} ns");
    // And who had to wait for one of the two connections, though answered then, waited as long.
    assert!(outcome.latency.max_us > 300_000.0, "{outcome}");
    assert!(outcome.to_string().contains("failed after"), "{outcome}");
}

#[test]
fn a_stalled_connection_does_not_hold_the_others_back() {
    let target = server(|connection, number| {
        answering(|_| Some(if number == 0 { Vec::new() } else { ok() }), connection);
    });
    let outcome =
        load(&format!("--target {target} --protocol http1 --connections 3 --rate 100 --duration 1 --grace 1"));
    assert_eq!(outcome.errors.get("unanswered"), Some(&1), "{outcome}");
    assert_eq!(outcome.requests, 99);
}
