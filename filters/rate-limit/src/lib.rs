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
//! | `key` (`"source"`) | who is counted: `"all"`, `"source"` (the client's address without its port), `{"header": NAME}` (who has none: together) |
//! | `slots` (4096) | buckets at most, so that strangers cannot fill the host's memory |
//! | `when_busy` (`"allow"`) | when other threads changed the bucket [`ATTEMPTS`] times in a row, or the host has no room for it, so that nobody can be counted: `"allow"` or `"refuse"` |
//!
//! Filters of one `vm_id` (all that have none, too), and a filter's `configuration` on a route, count into the same buckets: one
//! that is to count for itself is a filter of its own with a `vm_id`.
//!
//! A bucket is free again when it is full. Buckets come in groups of 16, and whose group has none free shares the one that is
//! fullest: with 4096, of 1000 clients that come at once not one in 100,000, of 2000 one in 150, of 4096 half. Nobody can
//! choose a header's value that shares another's.
//!
//! A group takes half a KiB in the host's store, so 4096 slots 140 KB. Pillion has that always, where no other filter of the `vm_id` stores anything; beyond
//! 256 KiB it refuses writes where the container's memory is short, and beyond 64 MiB of all that the `vm_id` stores
//! (`pillion_wasm_shared_refused_total`). Who is limited against attack gives the filter a `vm_id` of its own.
//!
//! `"source"` in Envoy is the client's address only where its HTTP connection manager has `use_remote_address: true`; by default it
//! is what the client wrote into `x-forwarded-for`, and this no limit.
//!
//! A request too many is answered 429 with `retry-after`; every answer has `ratelimit-limit` and `ratelimit-remaining`.

#[cfg(target_arch = "wasm32")]
mod guest;

use serde::Deserialize;
use sha2::{Digest, Sha256};

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
    /// Groups of buckets, and buckets of each.
    groups: u64,
    ways: usize,
    /// What happens under contention, and where there is no room.
    when_busy: WhenBusy,
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

/// What became of a write to shared data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// It is stored.
    Done,
    /// Another thread was quicker.
    Lost,
    /// The host has no room for it.
    NoRoom,
}

impl Swap {
    /// What the host's status says.
    #[must_use]
    pub fn of(status: u32) -> Self {
        match status {
            0 => Self::Done,
            // CasMismatch.
            8 => Self::Lost,
            _ => Self::NoRoom,
        }
    }
}

/// What happens when the bucket cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhenBusy {
    /// The request passes.
    Allow,
    /// The request is refused.
    Refuse,
}

/// Whose bucket, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The group's key in shared data.
    pub slot: String,
    /// Whose it is in the group.
    owner: Owner,
}

/// Half of a SHA-256: as good as who it is of, and of one length.
type Owner = [u8; 16];

/// A bucket: whose it is, and the time at which it will be full again, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Bucket(Owner, u64);

/// Bytes of a bucket in shared data.
const BUCKET: usize = size_of::<Owner>() + size_of::<u64>();

/// Buckets of a group: few groups are full while most buckets are free, and one is 384 bytes to read and write.
const WAYS: u64 = 16;

/// Nanoseconds that a bucket may take to fill: a hundred years, which clocks of 64 bits have room for.
const LONGEST: u64 = 100 * 365 * 86_400 * SECOND;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It passes once `stored` is; so many more would pass now.
    Allow {
        /// The group afterwards.
        stored: Vec<u8>,
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
        let interval = (period * SECOND).div_ceil(requests);
        if burst.checked_mul(interval).is_none_or(|depth| depth > LONGEST) {
            return Err(format!(
                "rate-limit: burst: {burst} at {requests} in {period} s takes more than a hundred years to come back; write a \
                 smaller one"
            ));
        }
        if let Key::Header(name) = &document.key
            && !is_name(name)
        {
            return Err(format!("rate-limit: key: {name:?} is no header name"));
        }
        let ways = WAYS.min(slots);
        Ok(Self {
            interval,
            burst,
            key: document.key,
            groups: slots / ways,
            ways: usize::try_from(ways).unwrap_or(1),
            when_busy: document.when_busy,
        })
    }

    /// Tokens of a full bucket.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Takes a token from a bucket of the group that is stored, by the generic cell rate algorithm: a bucket is one number, the
    /// time at which it will be full again. `now` is nanoseconds since 1970; a bucket further ahead than one can be (a clock set
    /// back) counts as empty.
    #[must_use]
    pub fn decide(&self, stored: Option<&[u8]>, place: &Place, now: u64) -> Decision {
        let mut group = read(stored.unwrap_or_default());
        // One that is full is as good as none.
        group.retain(|Bucket(_, full_at)| *full_at > now);
        group.truncate(self.ways);
        let bucket = match group.iter().position(|Bucket(owner, _)| *owner == place.owner) {
            Some(own) => &mut group[own],
            None if group.len() < self.ways => group.push_mut(Bucket(place.owner, now)),
            None => match group.iter_mut().min_by_key(|Bucket(_, full_at)| *full_at) {
                Some(shared) => {
                    shared.0 = place.owner;
                    shared
                }
                // A group has one at least.
                None => return Decision::Refuse { retry_after: 1 },
            },
        };
        let depth = self.burst.saturating_mul(self.interval);
        let full_at = bucket.1.clamp(now, now.saturating_add(depth));
        let after = full_at.saturating_add(self.interval);
        let latest = now.saturating_add(depth);
        if after > latest {
            return Decision::Refuse { retry_after: (after - latest).div_ceil(SECOND).max(1) };
        }
        bucket.1 = after;
        Decision::Allow { stored: written(&group), remaining: (latest - after) / self.interval }
    }

    /// What becomes of a request that cannot be counted.
    #[must_use]
    pub fn uncounted(&self) -> Decision {
        match self.when_busy {
            WhenBusy::Allow => Decision::Allow { stored: Vec::new(), remaining: 0 },
            WhenBusy::Refuse => Decision::Refuse { retry_after: 1 },
        }
    }

    /// Where a client's bucket is: in one of so many groups, so that what clients send cannot make more.
    #[must_use]
    pub fn place(&self, who: &[u8]) -> Place {
        let hash = Sha256::digest(who);
        let (mut owner, mut group) = (Owner::default(), [0; 8]);
        owner.copy_from_slice(&hash[..16]);
        group.copy_from_slice(&hash[16..24]);
        Place { slot: format!("rate-limit/{}", u64::from_le_bytes(group) % self.groups), owner }
    }
}

/// A group as shared data holds it; what is none has no bucket.
fn read(bytes: &[u8]) -> Vec<Bucket> {
    if !bytes.len().is_multiple_of(BUCKET) {
        return Vec::new();
    }
    let bucket = |bytes: &[u8]| {
        let (owner, full_at) = bytes.split_first_chunk()?;
        Some(Bucket(*owner, u64::from_le_bytes(*full_at.first_chunk()?)))
    };
    bytes.chunks_exact(BUCKET).filter_map(bucket).collect()
}

fn written(group: &[Bucket]) -> Vec<u8> {
    group.iter().flat_map(|Bucket(owner, full_at)| owner.iter().copied().chain(full_at.to_le_bytes())).collect()
}

/// A field name by RFC 9110 §5.1, or what ABI and hosts have in the place of one.
fn is_name(name: &str) -> bool {
    if [":authority", ":method", ":path", ":scheme"].contains(&name) {
        return true;
    }
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// The client's address without its port: `10.0.0.1:5`, `[::1]:5`.
#[must_use]
pub fn without_port(address: &[u8]) -> &[u8] {
    match address.iter().rposition(|&byte| byte == b':') {
        Some(at) if address[..at].ends_with(b"]") || !address[..at].contains(&b':') => &address[..at],
        _ => address,
    }
}

#[cfg(test)]
mod tests;
