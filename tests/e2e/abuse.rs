//! Abuse, against the real program: memory stays bounded (the figure is printed), others are served meanwhile, and
//! afterwards a fresh connection gets its answer. The cases frame by frame are the core's own tests.

use pillion_tests::{
    client::{Client, End},
    frames::{END_HEADERS, END_STREAM, Frames, block, encoded, kind, request},
    load::Load,
    origin::{Origin, pattern},
    proxy::{Proxy, Shape},
    wait::{self, SOON},
};
use std::{
    io::Write as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// Runs an attack beside a well-behaved client, then holds the proxy to its bounds.
fn under_attack(name: &str, listener: &str, memory: u64, attack: impl FnOnce(&Proxy)) -> Proxy {
    let origin = Origin::start();
    // What others wait for is looked at below; a busy machine alone must not end it.
    let proxy = Shape { listener, route: "timeout: 2m", ..Shape::default() }.start(origin.address);
    proxy.assert_healthy();
    let before = proxy.resident();
    let others = Load::gets(proxy.address, 2, Duration::from_millis(2));
    others.await_more(50);
    attack(&proxy);
    let figures = others.stop();
    let grown = proxy.resident_peak().saturating_sub(before);
    println!(
        "{name}: memory grew by {} KiB; others: {} requests, p50 {:?}, p99 {:?}",
        grown / 1024,
        figures.answered,
        figures.quantile(0.5),
        figures.quantile(0.99)
    );
    figures.assert_clean();
    assert!(grown < memory, "{name}: resident memory grew by {grown} bytes");
    // Not a figure of speed: the build is not optimised and other tests run beside it. Nobody may be starved.
    assert!(figures.quantile(0.99) < Duration::from_secs(2), "{name}: others' p99 is {:?}", figures.quantile(0.99));
    proxy.assert_healthy();
    drop(origin);
    proxy
}

/// Keeps sending on HTTP/2 until the proxy ends the connection; panics where it never does.
fn until_refused(name: &str, mut send: impl FnMut(u32) -> std::io::Result<()>) -> u32 {
    let begun = Instant::now();
    for round in 0.. {
        if send(round).is_err() {
            return round;
        }
        assert!(begun.elapsed() < SOON * 2, "{name}: {round} rounds and no end");
    }
    unreachable!("the loop ends by return or by the clock")
}

const SHORT: &str = "timeouts: { header: 500ms, body: 500ms, write: 700ms }";
/// For those who send their requests in time, whenever this machine lets them.
const SHORT_WRITE: &str = "timeouts: { header: 2m, write: 700ms }";

#[test]
fn slowloris_is_cut_at_the_deadline() {
    under_attack("slowloris", SHORT, 16 << 20, |proxy| {
        let mut slow: Vec<_> = (0..200).map(|_| proxy.connect()).collect();
        let begun = Instant::now();
        for client in &mut slow {
            // On a busy machine the first may have had their deadline before the last was connected.
            drop(client.try_send("GET / HTTP/1.1\r\nHost: test\r\n"));
        }
        // A byte now and then does not buy time: the deadline is for the whole head.
        while begun.elapsed() < Duration::from_millis(1200) {
            for client in &mut slow {
                drop(client.try_send("X"));
            }
            thread::sleep(Duration::from_millis(100));
        }
        for client in &mut slow {
            match client.end_within(SOON) {
                End::Bytes(bytes) => {
                    assert!(bytes.starts_with(b"HTTP/1.1 408"), "{:?}", String::from_utf8_lossy(&bytes))
                }
                End::Closed | End::Reset => {}
                End::Open => panic!("still open after {:?}", begun.elapsed()),
            }
        }
    });
}

#[test]
fn a_slow_body_is_cut_at_the_deadline() {
    under_attack("slow body", SHORT, 16 << 20, |proxy| {
        let mut slow: Vec<_> = (0..50).map(|_| proxy.connect()).collect();
        for client in &mut slow {
            drop(client.try_send("POST /sink HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nhello"));
        }
        for client in &mut slow {
            match client.end_within(SOON) {
                End::Bytes(bytes) => {
                    assert!(bytes.starts_with(b"HTTP/1.1 408"), "{:?}", String::from_utf8_lossy(&bytes))
                }
                End::Closed | End::Reset => {}
                End::Open => panic!("a body that does not come is waited for"),
            }
        }
    });
}

#[test]
fn a_slow_reader_is_cut_at_the_deadline() {
    let proxy = under_attack("slow read", SHORT_WRITE, 24 << 20, |proxy| {
        let mut slow: Vec<_> = (0..50).map(|_| Client::connect_narrow(proxy.address, 4096)).collect();
        for client in &mut slow {
            client.send("GET /bytes/100000000 HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        // The clients keep their connections open and read nothing.
        let cut = ["reason=\"write_timeout\""];
        proxy.await_metric("pillion_guard_refusals_total", &cut, |count| count >= 50.0);
        proxy.await_metric("pillion_exchange_requests_active", &[], |active| active <= 3.0);
        drop(slow);
    });
    drop(proxy);
}

#[test]
fn idle_connections_go_and_their_memory_with_them() {
    let origin = Origin::start();
    let proxy = Shape { listener: "timeouts: { idle: 5s }", ..Shape::default() }.start(origin.address);
    proxy.assert_healthy();
    let before = proxy.resident();
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let mut client = proxy.connect();
        assert_eq!(client.get("/").status, 200);
        idle.push(client);
    }
    let full = proxy.resident();
    proxy.await_metric("pillion_accept_connections_active", &[], |open| open <= 1.0);
    let grown = full.saturating_sub(before);
    let after = wait::until("the memory of what is gone to be given back", SOON, || {
        Some(proxy.resident()).filter(|after| *after < before + grown / 2 + (4 << 20))
    });
    println!(
        "1000 idle connections: {} bytes each; {} KiB before, {} KiB full, {} KiB after",
        grown / 1000,
        before / 1024,
        full / 1024,
        after / 1024
    );
    assert!(grown < 1000 * 60_000, "{} bytes a connection", grown / 1000);
    proxy.assert_healthy();
}

#[test]
fn rapid_reset_ends_the_connection() {
    let proxy = under_attack("rapid reset", "", 24 << 20, |proxy| {
        let mut frames = Frames::connect(proxy.address);
        let head = block(&request("GET", "/slow/1000"));
        let rounds = until_refused("rapid reset", |round| {
            let stream = round * 2 + 1;
            let pair = [
                encoded(kind::HEADERS, END_HEADERS | END_STREAM, stream, &head),
                encoded(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
            ];
            frames.bytes(&pair.concat())
        });
        println!("refused after {rounds} resets at the latest");
    });
    let refusals = proxy.metrics().sum("pillion_guard_refusals_total", &[]);
    assert!(refusals >= 1.0, "the refusal is not counted");
}

#[test]
fn resets_that_the_client_provokes_end_the_connection() {
    under_attack("made you reset", "", 24 << 20, |proxy| {
        let mut frames = Frames::connect(proxy.address);
        let head = block(&request("GET", "/slow/1000"));
        // A window update of zero is a stream error: the proxy itself resets (RFC 9113 §6.9).
        until_refused("made you reset", |round| {
            let stream = round * 2 + 1;
            let pair = [
                encoded(kind::HEADERS, END_HEADERS | END_STREAM, stream, &head),
                encoded(kind::WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()),
            ];
            frames.bytes(&pair.concat())
        });
    });
}

#[test]
fn a_continuation_flood_ends_the_connection() {
    under_attack("CONTINUATION flood", "", 16 << 20, |proxy| {
        let mut frames = Frames::connect(proxy.address);
        let head = block(&request("GET", "/"));
        frames.frame(kind::HEADERS, END_STREAM, 1, &head).expect("a head is begun");
        let piece = block(&[("x-a", "b")]);
        let rounds = until_refused("CONTINUATION flood", |_| frames.frame(kind::CONTINUATION, 0, 1, &piece));
        println!("refused after {rounds} frames at the latest");
    });
}

#[test]
fn header_bombs_are_refused() {
    under_attack("HTTP/2 bomb", "", 32 << 20, |proxy| {
        for _ in 0..20 {
            let mut frames = Frames::connect_with(proxy.address, &[(4, 0)]);
            // One entry of 4,000 bytes in the dynamic table, then a thousand references to it: one byte each.
            let mut head = block(&request("GET", "/"));
            head.extend([0x40, 1, b'x', 0x7f]);
            head.extend([(3900 - 127) as u8 & 0x7f | 0x80, ((3900 - 127) >> 7) as u8]);
            head.extend(vec![b'a'; 3900]);
            head.extend(vec![0xbe; 1000]);
            drop(frames.frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &head));
            let end = frames.outcome_within(1, SOON);
            use pillion_tests::frames::Outcome;
            assert!(
                matches!(
                    end,
                    Outcome::Answered(400..=499, _) | Outcome::Reset(_) | Outcome::GoAway(_) | Outcome::Closed
                ),
                "{end:?}"
            );
        }
    });
}

#[test]
fn cookie_crumbs_are_counted_one_by_one() {
    under_attack("cookie crumbs", "", 32 << 20, |proxy| {
        let mut frames = Frames::connect(proxy.address);
        let mut fields: Vec<_> = request("GET", "/").iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        fields.extend((0..1000).map(|number| ("cookie", format!("c{number}=v"))));
        drop(frames.headers(1, &fields, true));
        let end = frames.outcome(1);
        assert!(!matches!(end, pillion_tests::frames::Outcome::Answered(200, _)), "{end:?}");
    });
}

#[test]
fn floods_of_control_frames_end_the_connection() {
    let frames: [(&str, u8, u32, &[u8]); 5] = [
        ("PING", kind::PING, 0, &[0; 8]),
        ("SETTINGS", kind::SETTINGS, 0, &[]),
        ("WINDOW_UPDATE", kind::WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
        ("PRIORITY", kind::PRIORITY, 5, &[0, 0, 0, 0, 1]),
        ("unknown type", 0xee, 0, &[0; 16]),
    ];
    for (name, kind, stream, payload) in frames {
        under_attack(name, "", 16 << 20, |proxy| {
            let mut frames = Frames::connect(proxy.address);
            // Many in one segment, so that the answers the flood wants pile up where they are not bounded.
            let burst = encoded(kind, 0, stream, payload).repeat(200);
            until_refused(name, |_| frames.bytes(&burst));
        });
    }
}

#[test]
fn a_flood_of_empty_data_ends_the_connection() {
    under_attack("empty DATA", "", 16 << 20, |proxy| {
        let mut frames = Frames::connect(proxy.address);
        frames.headers(1, &request("POST", "/sink"), false).expect("a head is sent");
        let burst = encoded(kind::DATA, 0, 1, &[]).repeat(100);
        until_refused("empty DATA", |_| frames.bytes(&burst));
    });
}

#[test]
fn a_stream_stalled_by_a_zero_window_is_reaped() {
    // Five hundred streams, each with what came together with its response's head.
    let proxy = under_attack("zero window", SHORT_WRITE, 24 << 20, |proxy| {
        // Nobody may send a byte of any response.
        let mut stalled: Vec<_> = (0..10).map(|_| Frames::connect_with(proxy.address, &[(4, 0)])).collect();
        for frames in &mut stalled {
            for stream in 0..50 {
                drop(frames.get(stream * 2 + 1, "/bytes/10000000"));
            }
        }
        for frames in &mut stalled {
            let mut reaped = 0;
            while reaped < 50 {
                let frame = frames.next(SOON).expect("every stream is reset");
                reaped += u32::from(frame.kind == kind::RST_STREAM);
            }
        }
        proxy.await_metric("pillion_exchange_requests_active", &[], |active| active <= 3.0);
        drop(stalled);
    });
    drop(proxy);
}

#[test]
fn more_streams_than_allowed_are_refused_one_by_one() {
    under_attack("too many streams", "", 24 << 20, |proxy| {
        let mut frames = Frames::connect(proxy.address);
        for stream in 0..150 {
            frames.get(stream * 2 + 1, "/slow/300").expect("a request is sent");
        }
        // The first hundred are served.
        assert!(matches!(frames.outcome(1), pillion_tests::frames::Outcome::Answered(200, _)));
    });
}

#[test]
fn an_upload_nobody_reads_costs_a_window_and_no_more() {
    let origin = pillion_tests::scripted::Scripted::start(|mut peer| {
        if peer.head().is_ok() {
            thread::sleep(Duration::from_secs(3));
        }
    });
    let proxy = Proxy::to(origin.address);
    let before = proxy.resident();
    let uploads: Vec<_> = (0..10)
        .map(|_| {
            let address = proxy.address;
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("loopback can be connected to");
                stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a socket takes a timeout");
                drop(stream.write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n"));
                let piece = pattern(0, 1 << 20);
                let mut sent = 0_usize;
                while sent < 200 && stream.write_all(&piece).is_ok() {
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let sent: usize = uploads.into_iter().map(|upload| upload.join().expect("an upload does not panic")).sum();
    let grown = proxy.resident_peak().saturating_sub(before);
    println!("ten uploads, {sent} MiB taken, memory grew by {} KiB", grown / 1024);
    assert!(grown < 16 << 20, "resident memory grew by {grown} bytes");
}

#[test]
fn a_thousand_connections_that_reset_leave_nothing_behind() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    proxy.assert_healthy();
    let before = proxy.descriptors();
    for number in 0..1000 {
        let mut client = proxy.connect();
        match number % 4 {
            0 => {}
            1 => drop(client.try_send("GET / HT")),
            2 => drop(client.try_send("GET /slow/500 HTTP/1.1\r\nHost: test\r\n\r\n")),
            _ => drop(client.try_send("POST /sink HTTP/1.1\r\nHost: test\r\nContent-Length: 50\r\n\r\nx")),
        }
        client.reset();
    }
    proxy.await_metric("pillion_accept_connections_active", &[], |open| open == 0.0);
    proxy.await_metric("pillion_exchange_requests_active", &[], |active| active == 0.0);
    proxy.assert_healthy();
    wait::until_true("the descriptors to be closed", || proxy.descriptors() <= before + 4);
}
