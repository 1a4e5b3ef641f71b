//! Cases as a table: what is sent, and what must come of it.

use crate::{
    peer::{Event, Peer, healthy, run},
    wire::*,
};
use std::future::Future;

pub(crate) enum Step {
    Send(Vec<u8>),
    /// Wait for END_STREAM on this stream.
    End(u32),
}

pub(crate) enum Expect {
    /// GOAWAY with one of these codes, then the end.
    Connection(&'static [u32]),
    /// RST_STREAM on this stream with one of these codes; the connection goes on.
    Stream(u32, &'static [u32]),
    /// RST_STREAM on this stream or GOAWAY, with this code.
    Either(u32, u32),
    /// The response on this stream; the connection goes on.
    Response(u32, u16),
    /// An acknowledged PING with this payload; the connection goes on.
    Pong([u8; 8]),
    /// A single octet of DATA on this stream, and no more; the connection goes on.
    Octet(u32),
    /// Acknowledged SETTINGS.
    SettingsAck,
    /// No answer, and the connection goes on.
    Nothing,
    /// The end, with a GOAWAY or without.
    Closed,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
    pub(crate) expect: Expect,
}

pub(crate) fn case(name: &'static str, bytes: Vec<u8>, expect: Expect) -> Case {
    Case { name, steps: vec![Step::Send(bytes)], expect }
}

pub(crate) fn steps(name: &'static str, steps: Vec<Step>, expect: Expect) -> Case {
    Case { name, steps, expect }
}

/// Plays every case on a connection of its own, then asks for something healthy. All failures are told at once.
pub(crate) fn play(cases: Vec<Case>) {
    let mut failures = Vec::new();
    for case in cases {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(async {
                let mut peer = Peer::open().await;
                one(&mut peer, case.steps, &case.expect).await;
                healthy().await;
            });
        }));
        if let Err(panic) = played {
            let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            failures.push(format!("{}: {message}", case.name));
        }
    }
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

/// Plays one case that is more than bytes and an expectation.
pub(crate) fn alone(name: &str, case: impl Future<Output = ()>) {
    println!("{name}");
    run(async {
        case.await;
        healthy().await;
    });
}

async fn one(peer: &mut Peer, steps: Vec<Step>, expect: &Expect) {
    for step in steps {
        match step {
            Step::Send(bytes) => peer.send(&bytes).await,
            Step::End(stream) => {
                peer.finish(stream).await;
            }
        }
    }
    match expect {
        Expect::Connection(codes) => {
            let code = peer.goaway().await;
            assert!(codes.contains(&code), "GOAWAY with {code}, not {codes:?}");
            assert_eq!(until_end(peer).await, Event::Closed);
        }
        Expect::Stream(stream, codes) => {
            let reset = peer.find(RST_STREAM, *stream).await;
            let code = u32::from_be_bytes(reset.payload[..4].try_into().unwrap());
            assert!(codes.contains(&code), "RST_STREAM with {code}, not {codes:?}");
            peer.serves(1001).await;
        }
        Expect::Either(stream, code) => loop {
            match peer.next().await {
                Event::Frame(frame) if frame.kind == GOAWAY => {
                    assert_eq!(frame.payload[4..8], code.to_be_bytes());
                    break;
                }
                Event::Frame(frame) if frame.kind == RST_STREAM && frame.stream == *stream => {
                    assert_eq!(frame.payload[..4], code.to_be_bytes());
                    break;
                }
                Event::Frame(frame) if frame.kind == HEADERS => {
                    panic!("answered {}", status(&frame.payload))
                }
                Event::Frame(_) => {}
                other => panic!("{other:?}"),
            }
        },
        Expect::Response(stream, status) => {
            assert_eq!(peer.status(*stream).await, *status);
            peer.serves(1001).await;
        }
        Expect::Pong(payload) => {
            let pong = peer.find(PING, 0).await;
            assert_eq!((pong.flags & ACK, &pong.payload[..]), (ACK, &payload[..]));
            peer.serves(1001).await;
        }
        Expect::Octet(stream) => {
            assert_eq!(peer.find(DATA, *stream).await.payload.len(), 1);
            peer.send(&settings(&[(INITIAL_WINDOW_SIZE, 65_535)])).await;
            peer.serves(1001).await;
        }
        Expect::SettingsAck => {
            let settings = peer.find(SETTINGS, 0).await;
            assert_eq!((settings.flags & ACK, settings.payload.len()), (ACK, 0));
            peer.serves(1001).await;
        }
        Expect::Nothing => {
            // Our own window for the connection may still be on its way.
            let next = loop {
                match peer.next().await {
                    Event::Frame(frame) if frame.kind == WINDOW_UPDATE => {}
                    other => break other,
                }
            };
            assert_eq!(next, Event::Silence);
            peer.serves(1001).await;
        }
        Expect::Closed => assert_eq!(until_end(peer).await, Event::Closed),
    }
}

/// Passes over frames; what comes then.
async fn until_end(peer: &mut Peer) -> Event {
    loop {
        match peer.next().await {
            Event::Frame(_) => {}
            other => return other,
        }
    }
}
