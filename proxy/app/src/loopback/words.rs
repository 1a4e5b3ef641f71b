//! The redirect's state for people and for programs.

use redirect::{Ended, Foreign, Histogram, Look, Reading, Standing, Status, Totals};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Why there is another room for sockets than was asked for, and what to do about it.
pub(crate) const ANOTHER_ROOM: &str = "the map of sockets that is there has another size, and goes on being used: connections are in it. It is \
                                       made anew by whoever attaches after a detach, when the last of them has closed";

/// For people.
pub(crate) fn status_text(status: &Status) -> String {
    let mut text = String::new();
    let severed = !status.links.is_empty() && status.severed.len() == status.links.len();
    let state = match (status.links.is_empty(), status.on) {
        (true, _) => "detached: connections go on through TCP until they close",
        _ if severed => {
            "attached to a cgroup that has gone: nothing is enrolled any more; attach it anew, or detach it"
        }
        (false, true) => "attached",
        (false, false) => "attached, switched off: connections go through TCP",
    };
    // A String takes everything.
    let _ = writeln!(text, "redirect: {state}");
    match status.cgroup.map(|number| (number, redirect::cgroup_path(number))) {
        Some((_, Some(path))) => drop(writeln!(text, "cgroup: {}", path.display())),
        Some((number, None)) => drop(writeln!(text, "cgroup: number {number}, which is not seen from here")),
        None => {}
    }
    if !severed && !status.severed.is_empty() {
        let _ = writeln!(text, "of a cgroup that has gone: {}", status.severed.join(", "));
    }
    let _ = writeln!(text, "programs: {}", status.links.join(", "));
    let ports: Vec<_> = status.ports.iter().map(u16::to_string).collect();
    let _ = writeln!(text, "ports: {}", ports.join(", "));
    let _ = writeln!(text, "large messages: {} bytes and more stay on TCP", status.control.large);
    if status.control.capture != 0 {
        let whose = if status.control.claimed_only == 0 { "" } else { ", of network namespaces that are claimed" };
        let _ = writeln!(text, "outbound: taken to port {}{whose}", status.control.capture);
    }
    let (captured, waiting) = (status.captured, status.waiting.len());
    if status.links.is_empty() && waiting > 0 {
        let _ = writeln!(text, "inbound: claims to {waiting} network namespaces are kept for who attaches next");
    } else if !status.inbound && waiting > 0 {
        let _ = writeln!(
            text,
            "inbound: attached without --capture-inbound: claims to {waiting} network namespaces are kept, and what comes into them \
             is let go"
        );
    } else if captured + waiting > 0 {
        let _ = writeln!(text, "inbound: of {captured} network namespaces given to their proxies");
        if waiting > 0 {
            let inodes: Vec<_> = status.waiting.iter().map(u32::to_string).collect();
            let _ = writeln!(
                text,
                "claimed and not given: the namespaces of inodes {} (`lsns -t net`); the agent's log says why",
                inodes.join(", ")
            );
        }
    }
    let occupancy = status.occupancy;
    let _ = writeln!(
        text,
        "maps: {} of {} sockets, {} pairs, {} original destinations",
        occupancy.sockets, occupancy.room, occupancy.pairs, occupancy.originals
    );
    if occupancy.is_full() {
        let _ = writeln!(
            text,
            "full: connections beyond go through TCP; --sockets, or redirect.sockets, gives room for more, once it is made anew"
        );
    }
    for (counter, count) in status.totals.iter() {
        let _ = writeln!(text, "{:<22} {count}", counter.name());
    }
    if let Some(Ended { by_reason: [in_order, aborted, half_closed], .. }) = &status.ended {
        let _ = writeln!(text, "ended: {in_order} in order, {aborted} aborted, {half_closed} half closed");
    }
    text
}

/// What another version attached, for people: as far as this one may read it.
pub(crate) fn foreign_text(instance: &str, foreign: &[Foreign]) -> String {
    let mut text = String::new();
    for Foreign { layout, links, namespaces, on, ends } in foreign {
        let state = match (links.is_empty(), on) {
            (true, _) => "detached: connections go on through TCP until they close",
            (false, Some(true)) => "attached",
            (false, Some(false)) => "attached, switched off: connections go through TCP",
            (false, None) => "attached; whether it is switched off cannot be read",
        };
        // A String takes everything.
        let _ = writeln!(text, "redirect: {state}");
        let _ = writeln!(text, "layout: {layout}, of another version of pillion, so its counters are not read");
        let _ = writeln!(text, "programs: {}", links.join(", "));
        let _ = writeln!(text, "inbound: of {namespaces} network namespaces given to their proxies");
        let _ = writeln!(text, "maps: {ends} sockets");
        if !links.is_empty() {
            let _ = writeln!(
                text,
                "`pillion redirect switch` and `pillion redirect detach --instance {instance}` work on it; nothing else does before it \
                 is detached"
            );
        }
    }
    text
}

/// The same for programs.
pub(crate) fn foreign_json(foreign: &[Foreign]) -> Value {
    let one = |Foreign { layout, links, namespaces, on, ends }: &Foreign| {
        json!({
            "layout": layout,
            "attached": !links.is_empty(),
            "on": on,
            "programs": links,
            "namespaces": { "captured": namespaces },
            "maps": { "sockets": ends },
        })
    };
    json!({
        "attached": foreign.iter().any(|one| !one.links.is_empty()),
        "foreign": foreign.iter().map(one).collect::<Vec<_>>(),
    })
}

/// For programs.
pub(crate) fn status_json(status: &Status) -> Value {
    json!({
        "attached": !status.links.is_empty(),
        "on": status.on,
        "programs": status.links,
        "severed": status.severed,
        "cgroup_id": status.cgroup,
        "ports": status.ports,
        "budget": status.control.budget,
        "large_messages": status.control.large,
        "capture_port": status.control.capture,
        "namespaces": { "asked": status.inbound, "captured": status.captured, "waiting_inodes": status.waiting },
        "maps": {
            "sockets": status.occupancy.sockets,
            "sockets_room": status.occupancy.room,
            "pairs": status.occupancy.pairs,
            "originals": status.occupancy.originals,
        },
        "counters": counters(status.totals.iter().map(|(counter, count)| (counter.name(), count))),
        "ended": status.ended.as_ref().map(ended_json),
    })
}

fn counters<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Value {
    Value::Object(counts.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>())
}

fn since<'a>(reading: &'a Reading, before: &'a Totals) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    reading.totals.iter().map(|(counter, count)| (counter.name(), count.saturating_sub(before.get(counter))))
}

/// What changed since the reading before, for people; and what ended since the watch began.
pub(crate) fn look_text(look: &Look, before: &Totals, ended: &Ended) -> String {
    let mut text = format!("sockets {}", look.reading.occupancy.sockets);
    match look.standing {
        Standing::Detached | Standing::Gone => text.push_str("  detached"),
        Standing::Severed => text.push_str("  attached to a cgroup that has gone"),
        Standing::Anew => text.push_str("  attached again"),
        Standing::There => {}
    }
    for (name, count) in since(&look.reading, before).filter(|(_, count)| *count > 0) {
        let _ = write!(text, "  {name} +{count}");
    }
    let Ended { by_reason: [in_order, aborted, half_closed], connecting, round_trip, lived, retransmits, .. } = ended;
    let _ = write!(text, "  ended {in_order} in order, {aborted} aborted, {half_closed} half closed");
    for (name, histogram) in [("connect", connecting), ("tcp round trip", round_trip), ("lived", lived)] {
        if let (Some(half), Some(most)) = (histogram.quantile(0.5), histogram.quantile(0.99)) {
            let _ = write!(text, "  {name} p50 ≤ {half:.6} s p99 ≤ {most:.6} s");
        }
    }
    let _ = write!(text, "  retransmits {retransmits}");
    text
}

/// The same for programs.
pub(crate) fn look_json(look: &Look, before: &Totals, ended: &Ended) -> Value {
    json!({
        "sockets": look.reading.occupancy.sockets,
        "standing": match look.standing {
            Standing::There => "there",
            Standing::Severed => "severed",
            Standing::Detached => "detached",
            Standing::Gone => "gone",
            Standing::Anew => "anew",
        },
        "on": look.on,
        "since": counters(since(&look.reading, before)),
        "ended": ended_json(ended),
    })
}

fn ended_json(ended: &Ended) -> Value {
    let Ended {
        by_reason: [in_order, aborted, half_closed],
        connecting,
        round_trip,
        lived,
        redirected,
        retransmits,
        malformed,
    } = ended;
    json!({
        "in_order": in_order, "aborted": aborted, "half_closed": half_closed,
        "connect_seconds": histogram(connecting),
        "tcp_round_trip_seconds": histogram(round_trip),
        "lived_seconds": histogram(lived),
        "redirected_bytes": histogram(redirected),
        "retransmits": retransmits,
        "malformed_events": malformed,
    })
}

fn histogram(histogram: &Histogram) -> Value {
    json!({
        "count": histogram.count(),
        "sum": histogram.sum,
        "buckets": histogram.buckets().map(|(bound, samples)| json!([bound, samples])).collect::<Vec<_>>(),
    })
}
