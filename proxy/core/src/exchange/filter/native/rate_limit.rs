//! rate_limit: a token bucket for each key, over all workers; 429 beyond it.
//!
//! A bucket is one number, the time at which it would be full again (the generic cell rate algorithm): nothing runs in
//! the background, and a bucket that is full is like one that was never there. The table is bounded; the bucket longest
//! unused makes room. It is behind one lock, held for a look-up: requests that pass no such filter never see it.

use crate::{
    exchange::filter::{
        End, Factory, Failed, Filter, HeadStatus, Instance, Interest, LocalReply, Map, Services, Stream,
    },
    telemetry::ResponseFlag,
};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pillion_config::model::{RateKey, RateLimit};
use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Bytes of a key that are kept as they are; of longer ones a digest is, so that a table's size follows from its entries.
const LONG_KEY: usize = 64;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// A rate limit, its buckets included.
pub(super) struct RateLimiter(Arc<Limiter>);

struct Limiter {
    rate: Rate,
    keys: Vec<RateKey>,
    /// Shared by all workers: a limit is the process's.
    table: Mutex<Table>,
    since: Instant,
}

/// How fast tokens come back and how many there are, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    /// From one token to the next.
    interval: u64,
    /// Tokens of a full bucket.
    burst: u64,
}

/// What a bucket says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// Not for this long; and full again after that.
    Wait(Duration, Duration),
}

struct Worker(Arc<Limiter>);

struct One(Arc<Limiter>);

impl RateLimiter {
    pub(super) fn new(limit: &RateLimit) -> Self {
        let per = u64::try_from(limit.per.as_nanos()).unwrap_or(u64::MAX);
        Self(Arc::new(Limiter {
            rate: Rate { interval: (per / u64::from(limit.requests.get())).max(1), burst: limit.burst.get().into() },
            keys: limit.keys.clone(),
            table: Mutex::new(Table::new(limit.most_keys)),
            since: Instant::now(),
        }))
    }
}

impl Factory for RateLimiter {
    fn instance(&self, _: Services) -> Rc<dyn Instance> {
        Rc::new(Worker(Arc::clone(&self.0)))
    }
}

impl Instance for Worker {
    fn interest(&self) -> Interest {
        Interest::REQUEST_HEADERS
    }

    fn open(&self, _: &Stream) -> Result<Box<dyn Filter>, Failed> {
        Ok(Box::new(One(Arc::clone(&self.0))))
    }
}

impl Filter for One {
    fn request_headers(&mut self, stream: &Stream, _: End) -> Result<HeadStatus, Failed> {
        let key = self.0.key(stream);
        let now = u64::try_from(self.0.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let verdict = {
            let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
            let full_at = table.entry(&key);
            let (verdict, then) = self.0.rate.take(*full_at, now);
            *full_at = then;
            verdict
        };
        match verdict {
            Verdict::Pass => Ok(HeadStatus::Continue),
            Verdict::Wait(wait, full) => {
                // A stream that was answered meanwhile needs no second answer.
                stream.reply_as(self.0.refusal(wait, full), ResponseFlag::RateLimited).ok();
                Ok(HeadStatus::StopAllIterationAndWatermark)
            }
        }
    }
}

impl Limiter {
    /// What tells this request's bucket from others.
    fn key(&self, stream: &Stream) -> Vec<u8> {
        let mut all = Vec::new();
        if self.keys.is_empty() {
            return all;
        }
        let facts = stream.facts();
        for key in &self.keys {
            let begun = all.len();
            match key {
                RateKey::Route => {
                    all.extend_from_slice(
                        facts.route.as_ref().map_or(&b""[..], |route| route.name.as_str().as_bytes()),
                    );
                }
                RateKey::Client => match facts.client.ip().to_canonical() {
                    IpAddr::V4(address) => all.extend_from_slice(&address.octets()),
                    // One customer has a /64 at least.
                    IpAddr::V6(address) => all.extend_from_slice(&address.octets()[..8]),
                },
                RateKey::PeerIdentity => {
                    let id = facts.connection.peer().and_then(|peer| peer.id.as_ref());
                    all.extend_from_slice(id.map_or(&b""[..], |id| id.as_str().as_bytes()));
                }
                RateKey::Header(name) => {
                    let name = name.as_str().as_bytes();
                    stream.read_headers(Map::RequestHeaders, |head| {
                        all.extend_from_slice(head.get(name).unwrap_or_default());
                    });
                }
            }
            // Lengths between, so that no two requests run together into one key.
            let length = all.len() - begun;
            all.extend_from_slice(&length.to_be_bytes());
        }
        if all.len() > LONG_KEY { digest(&SHA256, &all).as_ref().to_vec() } else { all }
    }

    fn refusal(&self, wait: Duration, full: Duration) -> LocalReply {
        // RFC 9110 §10.2.3: whole seconds; too early would only be refused again.
        let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let mut reply = LocalReply::new(StatusCode::TOO_MANY_REQUESTS, "local_rate_limited");
        reply.body = Bytes::from_static(b"local_rate_limited");
        reply.headers = vec![
            (header::RETRY_AFTER, HeaderValue::from(seconds(wait).max(1))),
            (LIMIT, HeaderValue::from(self.rate.burst)),
            (REMAINING, HeaderValue::from(0)),
            (RESET, HeaderValue::from(seconds(full).max(1))),
        ];
        reply
    }
}

impl Rate {
    /// Takes a token out of the bucket that would be full at `full_at`; when it would be full then.
    fn take(self, full_at: u64, now: u64) -> (Verdict, u64) {
        let base = full_at.max(now);
        // A bucket is `burst` intervals deep; this much of it is empty.
        let empty = base - now;
        let room = self.interval.saturating_mul(self.burst);
        if empty.saturating_add(self.interval) <= room {
            return (Verdict::Pass, base.saturating_add(self.interval));
        }
        let wait = empty.saturating_add(self.interval) - room;
        (Verdict::Wait(Duration::from_nanos(wait), Duration::from_nanos(empty)), full_at)
    }
}

/// Buckets by key, in the order of their last use.
struct Table {
    places: HashMap<Arc<[u8]>, usize>,
    entries: Vec<Entry>,
    /// The one used last, and the one longest unused.
    first: usize,
    last: usize,
    most: usize,
}

struct Entry {
    key: Arc<[u8]>,
    full_at: u64,
    before: usize,
    after: usize,
}

/// No entry.
const NONE: usize = usize::MAX;

impl Table {
    fn new(most: usize) -> Self {
        Self { places: HashMap::new(), entries: Vec::new(), first: NONE, last: NONE, most: most.max(1) }
    }

    /// The bucket of this key, made if there is none.
    fn entry(&mut self, key: &[u8]) -> &mut u64 {
        let at = match self.places.get(key) {
            Some(at) => {
                let at = *at;
                if self.first != at {
                    self.unlink(at);
                    self.link(at);
                }
                at
            }
            None => self.insert(key.into()),
        };
        &mut self.entries[at].full_at
    }

    fn insert(&mut self, key: Arc<[u8]>) -> usize {
        let entry = Entry { key: Arc::clone(&key), full_at: 0, before: NONE, after: NONE };
        let at = if self.entries.len() < self.most {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let at = self.last;
            self.unlink(at);
            let gone = std::mem::replace(&mut self.entries[at], entry);
            self.places.remove(&gone.key);
            at
        };
        self.places.insert(key, at);
        self.link(at);
        at
    }

    fn unlink(&mut self, at: usize) {
        let (before, after) = (self.entries[at].before, self.entries[at].after);
        match before {
            NONE => self.first = after,
            before => self.entries[before].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.entries[after].before = before,
        }
    }

    fn link(&mut self, at: usize) {
        self.entries[at].before = NONE;
        self.entries[at].after = self.first;
        match self.first {
            NONE => self.last = at,
            first => self.entries[first].before = at,
        }
        self.first = at;
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("rate", &self.0.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate { interval: 100, burst: 3 };
        let mut full_at = 0;
        for (now, expected) in [
            (1000, Verdict::Pass),
            (1000, Verdict::Pass),
            (1000, Verdict::Pass),
            (1000, Verdict::Wait(Duration::from_nanos(100), Duration::from_nanos(300))),
            (1099, Verdict::Wait(Duration::from_nanos(1), Duration::from_nanos(201))),
            (1100, Verdict::Pass),
            (1100, Verdict::Wait(Duration::from_nanos(100), Duration::from_nanos(300))),
            (9999, Verdict::Pass),
        ] {
            let (verdict, then) = rate.take(full_at, now);
            assert_eq!(verdict, expected, "at {now}");
            full_at = then;
        }
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(
            steps in proptest::collection::vec(0u64..400, 1..200), burst in 1u64..10, interval in 1u64..200,
        ) {
            let rate = Rate { interval, burst };
            let (mut full_at, mut now, mut passed) = (0, 1_000_000, 0u64);
            let begun = now;
            for step in steps {
                now += step;
                let (verdict, then) = rate.take(full_at, now);
                full_at = then;
                passed += u64::from(verdict == Verdict::Pass);
                prop_assert!(passed <= burst + (now - begun) / interval);
            }
        }

        #[test]
        fn a_table_keeps_the_keys_used_last(keys in proptest::collection::vec(0u8..12, 1..200), most in 1usize..8) {
            let mut table = Table::new(most);
            let mut order: Vec<u8> = Vec::new();
            for key in keys {
                let known = order.iter().position(|known| *known == key);
                let bucket = table.entry(&[key]);
                prop_assert_eq!(*bucket > 0, known.is_some());
                *bucket = 1;
                known.map(|at| order.remove(at));
                order.push(key);
                if order.len() > most {
                    order.remove(0);
                }
                prop_assert!(table.places.len() <= most && table.entries.len() <= most);
            }
        }
    }
}
