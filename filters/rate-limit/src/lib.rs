//! So many requests in so much time, counted by the host for all its threads: token buckets in shared data, changed by
//! compare-and-swap.
//!
//! ```json
//! { "requests": 100, "per_seconds": 60, "burst": 20, "key": { "header": "x-api-key" }, "when_busy": "allow" }
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | `requests`, `per_seconds` (1) | the rate |
//! | `burst` (`requests`) | how many may come at once |
//! | `key` (`"source"`) | who is counted: `"all"`, `"source"` (the client's address without its port), `{"header": NAME}` |
//! | `slots` (4096) | buckets at most; clients beyond share theirs, so that strangers cannot fill the host's memory |
//! | `when_busy` (`"allow"`) | when other threads changed the bucket [`ATTEMPTS`] times in a row: `"allow"` or `"refuse"` |
//!
//! Filters of one `vm_id` (all that have none, too), and a filter's `configuration` on a route, count into the same buckets: one
//! that is to count for itself is a filter of its own with a `vm_id`.
//!
//! A request too many is answered 429 with `retry-after`; every answer has `ratelimit-limit` and `ratelimit-remaining`.

#[cfg(target_arch = "wasm32")]
mod guest;

use serde::Deserialize;

/// How often a swap is tried. Each failure means that another thread succeeded, so more than this is contention that
/// should not hold a worker.
pub const ATTEMPTS: usize = 8;

/// The plugin's configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Nanoseconds in which one token comes back.
    interval: u64,
    /// Tokens of a full bucket.
    burst: u64,
    /// What is counted by.
    pub key: Key,
    slots: u64,
    /// What happens under contention.
    pub when_busy: WhenBusy,
}

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Everyone together.
    All,
    /// Each client address.
    Source,
    /// Each value of a header; requests without it share a bucket.
    Header(String),
}

/// What happens when the bucket cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// The request passes.
    Allow,
    /// The request is refused.
    Refuse,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It passes once `state` is stored; so many more would pass now.
    Allow {
        /// The bucket afterwards.
        state: u64,
        /// Tokens left.
        remaining: u64,
    },
    /// It does not; the next token comes in so many seconds, rounded up.
    Refuse {
        /// Whole seconds, at least 1.
        retry_after: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    requests: u64,
    #[serde(default = "one")]
    per_seconds: u64,
    burst: Option<u64>,
    #[serde(default = "source")]
    key: Key,
    #[serde(default = "slots")]
    slots: u64,
    #[serde(default = "allow")]
    when_busy: WhenBusy,
}

fn one() -> u64 {
    1
}

fn source() -> Key {
    Key::Source
}

fn slots() -> u64 {
    4096
}

fn allow() -> WhenBusy {
    WhenBusy::Allow
}

const SECOND: u64 = 1_000_000_000;

impl Limit {
    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("rate-limit: {error}"))?;
        let within = |field: &str, value: u64, most: u64| {
            if (1..=most).contains(&value) {
                return Ok(value);
            }
            Err(format!("rate-limit: {field}: {value} is not within 1 and {most}"))
        };
        let requests = within("requests", document.requests, 1_000_000)?;
        let period = within("per_seconds", document.per_seconds, 86_400)?;
        let burst = within("burst", document.burst.unwrap_or(requests), 1_000_000)?;
        let slots = within("slots", document.slots, 1 << 20)?;
        Ok(Self {
            interval: (period * SECOND).div_ceil(requests),
            burst,
            key: document.key,
            slots,
            when_busy: document.when_busy,
        })
    }

    /// Tokens of a full bucket.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// The generic cell rate algorithm: a bucket is one number, the time at which it will be full again. `now` and the
    /// state are nanoseconds since 1970; a state that lies further ahead than a bucket can (a clock set back) counts as empty.
    #[must_use]
    pub fn decide(&self, state: Option<u64>, now: u64) -> Decision {
        let depth = self.burst.saturating_mul(self.interval);
        let full_at = state.unwrap_or(now).clamp(now, now.saturating_add(depth));
        let after = full_at.saturating_add(self.interval);
        let latest = now.saturating_add(depth);
        if after > latest {
            return Decision::Refuse { retry_after: (after - latest).div_ceil(SECOND).max(1) };
        }
        Decision::Allow { state: after, remaining: (latest - after) / self.interval }
    }

    /// The bucket's key in shared data: one of `slots`, so that what clients send cannot make more.
    #[must_use]
    pub fn slot(&self, who: &[u8]) -> String {
        // FNV-1a: short keys, no wish to resist those who look for collisions, who gain a shared limit.
        let hash = who
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        format!("rate-limit/{}", hash % self.slots)
    }
}

/// The client's address without its port: `10.0.0.1:5`, `[::1]:5`.
#[must_use]
pub fn without_port(address: &[u8]) -> &[u8] {
    match address.iter().rposition(|&byte| byte == b':') {
        Some(at) if address[..at].ends_with(b"]") || !address[..at].contains(&b':') => &address[..at],
        _ => address,
    }
}

/// A bucket as shared data holds it.
#[must_use]
pub fn stored(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Limit {
        Limit::read(text.as_bytes()).expect("the configuration is right")
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limit = limit(r#"{"requests": 2, "per_seconds": 1, "burst": 3}"#);
        let mut state = None;
        let mut now = 1_000 * SECOND;
        for left in [2, 1, 0] {
            let Decision::Allow { state: next, remaining } = limit.decide(state, now) else { panic!("{left}") };
            assert_eq!(remaining, left);
            state = Some(next);
        }
        assert_eq!(limit.decide(state, now), Decision::Refuse { retry_after: 1 });
        // Half a second brings one token at two a second.
        now += SECOND / 2;
        let Decision::Allow { state: next, remaining: 0 } = limit.decide(state, now) else { panic!("a token is back") };
        assert!(matches!(limit.decide(Some(next), now), Decision::Refuse { .. }));
    }

    #[test]
    fn never_more_than_the_rate_over_any_window() {
        let limit = limit(r#"{"requests": 7, "per_seconds": 3, "burst": 5}"#);
        let (mut state, mut passed) = (None, 0_u64);
        let begin = 5_000 * SECOND;
        let mut now = begin;
        // Irregular arrivals for a minute.
        for step in 0..20_000_u64 {
            now = begin + step * 3_000_000 + (step * step) % 2_000_000;
            if let Decision::Allow { state: next, .. } = limit.decide(state, now) {
                (state, passed) = (Some(next), passed + 1);
            }
        }
        let allowed = 5 + (now - begin) * 7 / (3 * SECOND) + 1;
        assert!(passed <= allowed && passed + 2 >= allowed, "{passed} of {allowed}");
    }

    #[test]
    fn an_old_bucket_is_full_and_a_clock_set_back_does_not_lock_out() {
        let limit = limit(r#"{"requests": 10}"#);
        assert!(matches!(limit.decide(Some(1), 50 * SECOND), Decision::Allow { remaining: 9, .. }));
        let Decision::Refuse { retry_after } = limit.decide(Some(u64::MAX), 50 * SECOND) else { panic!() };
        assert_eq!(retry_after, 1);
    }

    #[test]
    fn keys_are_bounded_and_spread() {
        let limit = limit(r#"{"requests": 1, "slots": 64}"#);
        let keys: std::collections::BTreeSet<_> =
            (0..5_000).map(|n| limit.slot(format!("client-{n}").as_bytes())).collect();
        assert_eq!(keys.len(), 64);
    }

    #[test]
    fn ports_are_cut_off() {
        assert_eq!(without_port(b"10.0.0.1:123"), b"10.0.0.1");
        assert_eq!(without_port(b"[::1]:123"), b"[::1]");
        assert_eq!(without_port(b"::1"), b"::1");
        assert_eq!(without_port(b"@pipe"), b"@pipe");
    }

    #[test]
    fn foreign_bytes_are_no_bucket() {
        assert_eq!(stored(b"abc"), None);
        assert_eq!(stored(&7_u64.to_le_bytes()), Some(7));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("", "EOF"),
            (r#"{"requests": 0}"#, "requests: 0 is not within 1 and 1000000"),
            (r#"{"requests": 1, "per_seconds": 0}"#, "per_seconds"),
            (r#"{"requests": 1, "key": "nobody"}"#, "unknown variant `nobody`"),
            (r#"{"request": 1}"#, "unknown field `request`"),
        ] {
            let error = Limit::read(text.as_bytes()).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
