//! Buckets over time, and whose they are.

use super::*;

fn limit(text: &str) -> Limit {
    Limit::read(text.as_bytes()).expect("the configuration is right")
}

/// Requests of some clients, one after another, with what is stored of them.
struct Clients {
    limit: Limit,
    stored: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Clients {
    fn of(text: &str) -> Self {
        Self { limit: limit(text), stored: std::collections::BTreeMap::new() }
    }

    /// What is left for the client, or when to come again.
    fn ask(&mut self, who: &str, now: u64) -> Result<u64, u64> {
        let place = self.limit.place(who.as_bytes());
        match self.limit.decide(self.stored.get(&place.slot).map(Vec::as_slice), &place, now) {
            Decision::Allow { stored, remaining } => {
                self.stored.insert(place.slot, stored);
                Ok(remaining)
            }
            Decision::Refuse { retry_after } => Err(retry_after),
        }
    }

    fn buckets(&self) -> usize {
        self.stored.values().map(|group| group.len() / BUCKET).sum()
    }
}

#[test]
fn a_burst_passes_then_the_rate_holds() {
    let mut clients = Clients::of(r#"{"requests": 2, "per_seconds": 1, "burst": 3}"#);
    let now = 1_000 * SECOND;
    let asked = [(); 4].map(|()| clients.ask("a", now));
    assert_eq!(asked, [Ok(2), Ok(1), Ok(0), Err(1)]);
    // Half a second brings one token at two a second.
    let now = now + SECOND / 2;
    assert_eq!([clients.ask("a", now), clients.ask("a", now)], [Ok(0), Err(1)]);
}

#[test]
fn never_more_than_the_rate_over_any_window() {
    let mut clients = Clients::of(r#"{"requests": 7, "per_seconds": 3, "burst": 5}"#);
    let mut passed = 0_u64;
    let begin = 5_000 * SECOND;
    let mut now = begin;
    // Irregular arrivals for a minute.
    for step in 0..20_000_u64 {
        now = begin + step * 3_000_000 + (step * step) % 2_000_000;
        passed += u64::from(clients.ask("a", now).is_ok());
    }
    let allowed = 5 + (now - begin) * 7 / (3 * SECOND) + 1;
    assert!(passed <= allowed && passed + 2 >= allowed, "{passed} of {allowed}");
}

#[test]
fn an_old_bucket_is_full_and_a_clock_set_back_does_not_lock_out() {
    let limit = limit(r#"{"requests": 10}"#);
    let place = limit.place(b"a");
    let stored = |full_at| written(&[Bucket(place.owner, full_at)]);
    let old = limit.decide(Some(&stored(1)), &place, 50 * SECOND);
    assert!(matches!(old, Decision::Allow { remaining: 9, .. }));
    let ahead = limit.decide(Some(&stored(u64::MAX)), &place, 50 * SECOND);
    assert_eq!(ahead, Decision::Refuse { retry_after: 1 });
}

#[test]
fn clients_do_not_share_while_there_is_room() {
    let mut clients = Clients::of(r#"{"requests": 1, "per_seconds": 60}"#);
    for number in 0..1_000 {
        assert_eq!(clients.ask(&format!("customer-{number}"), SECOND), Ok(0), "{number}");
    }
    for number in 0..1_000 {
        assert_eq!(clients.ask(&format!("customer-{number}"), 2 * SECOND), Err(59), "{number}");
    }
    assert_eq!(clients.ask("", SECOND), Ok(0));
}

#[test]
fn beyond_the_room_they_share_and_gain_nothing() {
    let mut clients = Clients::of(r#"{"requests": 1, "per_seconds": 60, "slots": 64}"#);
    let passed = (0..5_000).filter(|number| clients.ask(&format!("client-{number}"), SECOND).is_ok()).count();
    assert_eq!((passed, clients.buckets(), clients.stored.len()), (64, 64, 4));
    // When the buckets are full again they are anybody's.
    assert_eq!(clients.ask("client-4999", 62 * SECOND), Ok(0));
    let mut few = Clients::of(r#"{"requests": 1, "per_seconds": 60, "slots": 3}"#);
    let passed = (0..50).filter(|number| few.ask(&format!("client-{number}"), SECOND).is_ok()).count();
    assert_eq!((passed, few.buckets()), (3, 3));
}

#[test]
fn who_has_to_share_has_the_fullest() {
    let mut clients = Clients::of(r#"{"requests": 5, "per_seconds": 100, "slots": 2}"#);
    let now = 1_000 * SECOND;
    assert_eq!([(); 3].map(|()| clients.ask("busy", now)), [Ok(4), Ok(3), Ok(2)]);
    assert_eq!([clients.ask("calm", now), clients.ask("late", now)], [Ok(4), Ok(3)]);
    assert_eq!(clients.ask("busy", now), Ok(1));
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
    let limit = limit(r#"{"requests": 3}"#);
    let place = limit.place(b"a");
    for foreign in [b"abc".as_slice(), &[0xff; 8], b""] {
        let decision = limit.decide(Some(foreign), &place, SECOND);
        assert!(matches!(decision, Decision::Allow { remaining: 2, .. }), "{decision:?}");
    }
    // More buckets than a group has.
    let many = written(&[Bucket([7; 16], 9 * SECOND); 40]);
    let Decision::Allow { stored, .. } = limit.decide(Some(&many), &place, 9 * SECOND - 9) else {
        panic!("a token is left")
    };
    assert_eq!(stored.len(), BUCKET * 16);
}

#[test]
fn the_largest_of_all_is_what_it_says() {
    let mut clients = Clients::of(r#"{"requests": 1, "per_seconds": 86400, "burst": 36500}"#);
    // 2100.
    let now = 4_102_444_800 * SECOND;
    assert_eq!([clients.ask("a", now), clients.ask("a", now)], [Ok(36_499), Ok(36_498)]);
}

#[test]
fn a_host_can_be_counted_too() {
    assert_eq!(limit(r#"{"requests": 1, "key": {"header": ":authority"}}"#).key, Key::Header(":authority".to_owned()));
}

#[test]
fn mistakes_are_named() {
    for (text, words) in [
        ("", "EOF"),
        (r#"{"requests": 0}"#, "requests: 0 is not within 1 and 1000000"),
        (r#"{"requests": 1, "per_seconds": 0}"#, "per_seconds"),
        (r#"{"requests": 1, "key": "nobody"}"#, "unknown variant `nobody`"),
        (r#"{"request": 1}"#, "unknown field `request`"),
        (r#"{"requests": 1, "key": {"header": "a b"}}"#, "key: \"a b\" is no header name"),
        (r#"{"requests": 1, "key": {"header": ""}}"#, "key: \"\" is no header name"),
        (r#"{"requests": 1, "key": {"header": ":paths"}}"#, "key: \":paths\" is no header name"),
        (
            r#"{"requests": 1, "per_seconds": 86400, "burst": 1000000}"#,
            "burst: 1000000 at 1 in 86400 s takes more than",
        ),
    ] {
        let error = Limit::read(text.as_bytes()).expect_err(text);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn who_cannot_be_counted_is_judged_as_configured() {
    let allowed = Decision::Allow { stored: Vec::new(), remaining: 0 };
    assert_eq!(limit(r#"{"requests": 2}"#).uncounted(), allowed);
    let refuses = limit(r#"{"requests": 2, "when_busy": "refuse"}"#);
    assert_eq!(refuses.uncounted(), Decision::Refuse { retry_after: 1 });
    // Ok, CasMismatch, InternalFailure, and what no host says.
    assert_eq!([0, 8, 10, 77].map(Swap::of), [Swap::Done, Swap::Lost, Swap::NoRoom, Swap::NoRoom]);
}
