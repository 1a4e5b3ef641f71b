//! How much of an upload moves in a round trip, counted in round trips: a client that is far away sends what it may, then hears what
//! came of it. What it is asked, it answers with what it sends next.

use crate::{
    peer::{Event, Frame, Peer, model, run},
    wire::*,
};
use pillion_config::model::Http;
use pillion_core::downstream::{codec::http2::End, guard::http2::Breach};
use std::{collections::BTreeMap, time::Duration};

const FIRST: i64 = 65_536;

/// With a window for each of its streams, as is the default.
fn roomy() -> Http {
    let mut model = model();
    model.http2.connection_window = 100 * FIRST as u32;
    model.http2.connection_most = 400 * FIRST as u32;
    model
}

/// What it does with what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manners {
    Answers,
    /// PING alone.
    Pongs,
    /// Neither that nor SETTINGS but the first.
    Silent,
}

struct Far {
    peer: Peer,
    manners: Manners,
    next_stream: u32,
    /// What may be sent on each that is open, and its bytes that are left.
    streams: BTreeMap<u32, (i64, usize)>,
    connection: i64,
    initial: i64,
    /// Windows of streams it was told of, in their order.
    told: Vec<i64>,
    pings: u32,
    /// What it says in the next round trip, and bytes of DATA in that.
    owed: Vec<u8>,
    sent: i64,
}

impl Far {
    async fn open(model: &Http, manners: Manners) -> Self {
        let mut peer = Peer::connect_to(model, 32 << 20);
        peer.patience = Duration::from_millis(10);
        let mut far = Self {
            peer,
            manners,
            next_stream: 1,
            streams: BTreeMap::new(),
            connection: 65_535,
            initial: 65_535,
            told: Vec::new(),
            pings: 0,
            // What comes back does not wait for it.
            owed: [PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, 1 << 30)]), &window_update(0, 1 << 30)].concat(),
            sent: 0,
        };
        far.trip().await;
        far
    }

    /// Begins a request with so many bytes to send.
    fn begin(&mut self, block: &[u8], bytes: usize) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.owed.extend(headers(END_HEADERS, stream, block));
        self.streams.insert(stream, (self.initial, bytes));
        self.fill();
        stream
    }

    /// Gives a stream up.
    fn give_up(&mut self, stream: u32) {
        self.owed.extend(reset(stream, CANCEL));
        self.streams.remove(&stream);
    }

    /// Sends what it may.
    fn fill(&mut self) {
        for (stream, (window, left)) in &mut self.streams {
            while *left > 0 {
                let most = (*window).min(self.connection).min(16_384);
                let Ok(now @ 1..) = usize::try_from(most.min(*left as i64)) else { break };
                *left -= now;
                *window -= now as i64;
                self.connection -= now as i64;
                self.sent += now as i64;
                self.owed.extend(data(if *left == 0 { END_STREAM } else { 0 }, *stream, &vec![b'x'; now]));
            }
        }
    }

    /// A round trip: how many bytes of DATA went.
    async fn trip(&mut self) -> i64 {
        let bytes = std::mem::take(&mut self.owed);
        let sent = std::mem::take(&mut self.sent);
        self.peer.send(&bytes).await;
        loop {
            match self.peer.next().await {
                Event::Frame(frame) => {
                    self.hear(&frame);
                    self.fill();
                }
                Event::Closed => panic!("closed"),
                Event::Silence => return sent,
            }
        }
    }

    fn hear(&mut self, frame: &Frame) {
        let number = |at: usize| i64::from(u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap()));
        match frame.kind {
            WINDOW_UPDATE if frame.stream == 0 => self.connection += number(0),
            WINDOW_UPDATE => {
                if let Some((window, _)) = self.streams.get_mut(&frame.stream) {
                    *window += number(0);
                }
            }
            SETTINGS if frame.flags & ACK == 0 => {
                for at in (0..frame.payload.len()).step_by(6) {
                    if frame.payload[at..at + 2] == INITIAL_WINDOW_SIZE.to_be_bytes() {
                        self.initial(number(at + 2));
                    }
                }
                if self.manners == Manners::Answers || self.told.len() == 1 {
                    self.owed.extend(crate::wire::frame(SETTINGS, ACK, 0, b""));
                }
            }
            PING => {
                self.pings += 1;
                if self.manners != Manners::Silent {
                    self.owed.extend(crate::wire::frame(PING, ACK, 0, &frame.payload));
                }
            }
            RST_STREAM | GOAWAY => panic!("{frame:?}"),
            _ => {}
        }
    }

    /// Streams may send so much from their beginning. There are clients that do not bear to have sent more than they might by it.
    fn initial(&mut self, window: i64) {
        self.told.push(window);
        if self.manners != Manners::Answers && self.told.len() > 1 {
            return;
        }
        for (stream, (sendable, left)) in &mut self.streams {
            *sendable += window - self.initial;
            assert!(*sendable >= 0 || *left == 0, "stream {stream} owes {sendable}");
        }
        self.initial = window;
    }

    /// Sends all there is; in how many round trips.
    async fn send_all(&mut self) -> usize {
        for trips in 1..2_000 {
            self.trip().await;
            if self.streams.values().all(|(_, left)| *left == 0) {
                self.streams.clear();
                // What was answered to it.
                self.trip().await;
                return trips;
            }
        }
        panic!("it takes for ever: {:?}", self.streams);
    }

    async fn upload(&mut self, bytes: usize) -> usize {
        self.begin(&post("/bytes/5"), bytes);
        self.send_all().await
    }
}

const LARGE: usize = 16_000_000;

#[test]
fn an_upload_that_its_window_holds_up_gets_a_larger_one() {
    run(async {
        let mut far = Far::open(&roomy(), Manners::Answers).await;
        let trips = far.upload(LARGE).await;
        // 245 with windows of 64 KiB.
        assert!(trips <= 40, "{trips} round trips, {:?}, {} asked", far.told, far.pings);
        assert_eq!(far.told, [FIRST, 4 * FIRST, 16 * FIRST]);
        let trips = far.upload(LARGE).await;
        assert!(trips <= 25, "{trips} round trips");
        assert!(far.pings <= 10, "{} asked", far.pings);
        assert_eq!(far.peer.leave().await.end, End::Closed);
    });
}

#[test]
fn a_tunnel_gets_a_larger_one_too() {
    run(async {
        let mut far = Far::open(&roomy(), Manners::Answers).await;
        let connect = block(&[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "test.example"),
        ]);
        far.begin(&connect, 4_000_000);
        let trips = far.send_all().await;
        assert!(trips <= 25, "{trips} round trips, {:?}", far.told);
    });
}

#[test]
fn small_ones_are_asked_nothing() {
    run(async {
        let mut far = Far::open(&roomy(), Manners::Answers).await;
        for _ in 0..300 {
            far.upload(60_000).await;
        }
        assert_eq!((far.pings, far.told.len()), (0, 1));
    });
}

#[test]
fn a_client_that_answers_nothing_keeps_its_window_and_is_served() {
    run(async {
        let mut far = Far::open(&roomy(), Manners::Silent).await;
        let trips = far.upload(4_000_000).await;
        assert!((60..100).contains(&trips), "{trips} round trips");
        assert_eq!(far.pings, 1);
        far.peer.serves(far.next_stream).await;
        assert_eq!(far.peer.leave().await.end, End::Closed);
    });
    run(async {
        let mut far = Far::open(&roomy(), Manners::Pongs).await;
        let trips = far.upload(4_000_000).await;
        assert!((60..100).contains(&trips), "{trips} round trips");
        assert_eq!(far.told, [FIRST, 4 * FIRST], "not said again");
        far.peer.serves(far.next_stream).await;
        assert_eq!(far.peer.leave().await.end, End::Closed);
    });
}

/// Of what we ask nothing is counted; of what it says by itself all is.
#[test]
fn answers_are_not_counted() {
    run(async {
        let mut model = roomy();
        model.http2.pings = 0;
        // Its own.
        model.http2.settings = 1;
        let mut far = Far::open(&model, Manners::Answers).await;
        assert!(far.upload(LARGE).await <= 40);
        assert!(far.pings > 1);
        // More than its answer earned.
        far.peer.send(&frame(PING, ACK, 0, &[0; 8]).repeat(25)).await;
        assert_eq!(far.peer.goaway().await, ENHANCE_YOUR_CALM);
        assert_eq!(far.peer.leave().await.end, End::Breach(Breach::Pings));
    });
}

#[test]
fn who_is_not_read_gets_none() {
    run(async {
        let mut far = Far::open(&roomy(), Manners::Answers).await;
        far.begin(&post("/hang"), LARGE);
        let mut sent = 0;
        for _ in 0..100 {
            sent += far.trip().await;
        }
        assert_eq!((sent, far.pings), (FIRST, 0));
    });
}

/// No client is told of less, see `initial`: not even between two uploads, since it begins the next one by what it knew.
#[test]
fn it_never_goes_back() {
    run(async {
        let mut far = Far::open(&roomy(), Manners::Answers).await;
        far.upload(LARGE).await;
        assert_eq!(std::mem::take(&mut far.told), [FIRST, 4 * FIRST, 16 * FIRST]);
        let held: Vec<_> = (0..3).map(|_| far.begin(&post("/hang"), LARGE)).collect();
        let mut sent = 0;
        for _ in 0..10 {
            sent += far.trip().await;
        }
        assert_eq!(sent, 3 * 16 * FIRST);
        // Another one is served meanwhile.
        far.begin(&post("/bytes/5"), 1_000_000);
        for _ in 0..10 {
            far.trip().await;
        }
        assert!(far.streams.values().any(|(_, left)| *left == 0), "{:?}", far.streams);
        far.streams.retain(|_, (_, left)| *left > 0);
        for stream in held {
            far.give_up(stream);
            far.trip().await;
        }
        far.trip().await;
        assert!(far.connection > 50 * FIRST, "what was held is given back: {}", far.connection);
        let trips = far.upload(LARGE).await;
        assert!(trips < 25, "{trips} round trips");
        assert!(far.told.is_empty(), "{:?}", far.told);
    });
}

#[test]
fn the_more_upload_the_less_each_of_them_gets() {
    for (many, told) in [(1, 16), (3, 16), (6, 4), (14, 4), (60, 1)] {
        run(async move {
            let mut far = Far::open(&roomy(), Manners::Answers).await;
            for _ in 0..many {
                far.begin(&post("/bytes/5"), LARGE);
            }
            for _ in 0..40 {
                far.trip().await;
            }
            assert_eq!(far.told.last().unwrap_or(&FIRST) / FIRST, told, "{many} of them");
        });
    }
}

/// Their answers are waited for: what they sent is all there is.
#[test]
fn those_that_have_ended_are_none_of_them() {
    for ended in [1, 60_000] {
        run(async move {
            let mut far = Far::open(&roomy(), Manners::Answers).await;
            for _ in 0..40 {
                far.begin(&post("/hang"), ended);
                far.trip().await;
            }
            let trips = far.upload(LARGE).await;
            assert!(trips <= 60, "{trips} round trips, {:?}", far.told);
        });
    }
}

/// Twenty of a megabyte each are more than the connection's window is for the streams that it may have.
#[test]
fn those_that_stand_still_with_large_windows_do_not_stop_another_one() {
    run(async {
        let mut far = Far::open(&roomy(), Manners::Answers).await;
        far.upload(LARGE).await;
        let mut sent = 0;
        // One of them was there before.
        far.begin(&post("/bytes/5"), usize::MAX / 2);
        for _ in 0..20 {
            far.begin(&post("/hang"), LARGE);
            sent += far.trip().await;
        }
        for _ in 0..10 {
            far.trip().await;
        }
        assert!(sent >= 16 << 20, "{sent}");
        let goes_on = far.trip().await;
        assert!(goes_on >= FIRST, "{goes_on} in a round trip");
        let stream = far.begin(&post("/bytes/5"), 1_000_000);
        for _ in 0..20 {
            far.trip().await;
        }
        assert_eq!(far.streams[&stream].1, 0, "{:?}, {}", far.streams, far.connection);
        // What they hold is bounded: the rest of the connection waits.
        for _ in 0..30 {
            far.begin(&post("/hang"), LARGE);
        }
        for _ in 0..20 {
            far.trip().await;
        }
        let held: usize =
            far.streams.values().filter(|(_, left)| (1..=LARGE).contains(left)).map(|(_, left)| LARGE - left).sum();
        assert!((20 << 20..26 << 20).contains(&held), "{held} held");
    });
}
