//! A pod's grace period, in which its drain must end. Pure.

use super::{
    configuration::duration,
    goodbye::{self, Goodbye},
    pod::Problem,
    settings::{self, PREFIX, Settings},
    value::{Map, Value},
};
use std::time::Duration;

/// The pod's grace period where none is written, in seconds.
const GRACE: i128 = 30;
/// How long before its end what is still open is cut, so that it can be recorded; a quarter of short ones.
const RECORDING: Duration = Duration::from_secs(5);

/// Makes the phases of the drain end before the kubelet kills: of what is not the pod's own a delay takes at most half of its
/// grace period, or what its containers' hooks take, and what is open is cut early enough to be recorded. What somebody chose and is not kept is noted.
pub(super) fn fit(pod: &Value, settings: &mut Settings, notes: &mut Vec<String>) -> Option<Problem> {
    let grace = pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_int).unwrap_or(GRACE);
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0).min(86_400));
    let [delay, deadline] = ["drain-delay", "drain-deadline"].map(|name| format!("{PREFIX}{name}"));
    let own = |name: &str| pod.at(&["metadata", "annotations", name]).is_some();
    let beyond = |name: &str, what: &str| {
        let words = format!(
            "the kubelet kills the pod {} s after it was told to end, before {what} is over: raise \
             spec.terminationGracePeriodSeconds, or shorten it",
            grace.as_secs()
        );
        Some(Problem::new(&["metadata", "annotations", name], words))
    };
    // Of a configuration that is not generated nobody knows what holds.
    let generated = settings.config.is_none();
    let shortened = |name: &str, chosen: &str, fits: Duration| {
        generated.then(|| {
            format!(
                "{name} is {fits:?} and not {chosen}, which the pod's grace period of {grace:?} has no room for: raise \
                 terminationGracePeriodSeconds, or write {PREFIX}{name}"
            )
        })
    };
    let half = grace / 2;
    let recording = RECORDING.min(grace / 4);
    if !own(&delay) {
        let chosen = settings.drain_delay;
        settings.drain_delay = chosen.min(half);
        // Who works on behind that has clients: by endpoints that are not forgotten yet, or by connections that they keep.
        let Goodbye { longest, unknown } = pod.get("spec").map(goodbye::of).unwrap_or_default();
        let cut = settings.drain_deadline.filter(|_| own(&deadline));
        let room = grace.saturating_sub(cut.unwrap_or(recording * 2));
        settings.drain_delay = settings.drain_delay.max(longest.min(room));
        let default = Settings::default().drain_delay;
        if longest > settings.drain_delay {
            let sleeps = format!("{longest:?}, as long as a preStop sleeps");
            notes.extend(shortened("drain-delay", &sleeps, settings.drain_delay));
        } else if chosen > settings.drain_delay && chosen != default {
            notes.extend(shortened("drain-delay", &format!("{chosen:?}"), settings.drain_delay));
        } else if chosen < settings.drain_delay && chosen != default && generated {
            notes.push(format!(
                "drain-delay is {:?} and not {chosen:?}, since a preStop sleeps and has clients until then: write {delay}, which \
                 goes before that, if it has none",
                settings.drain_delay
            ));
        }
        if generated && !unknown.is_empty() {
            notes.push(format!(
                "how long the preStop of {} takes cannot be read, and nobody new is let in {:?} after the pod was told to end: \
                 write {delay}, as long as the hook takes",
                unknown.join(", "),
                settings.drain_delay
            ));
        }
    } else if settings.drain_delay >= grace && !settings.drain_delay.is_zero() {
        return beyond(&delay, "this delay");
    }
    let left = grace.saturating_sub(recording).saturating_sub(settings.drain_delay);
    match settings.drain_deadline {
        Some(most) if own(&deadline) && settings.drain_delay.saturating_add(most) > grace => {
            return beyond(&deadline, "what begins behind drain-delay");
        }
        Some(_) if own(&deadline) => {}
        Some(most) if most > left => {
            notes.extend(shortened("drain-deadline", &format!("{most:?}"), left));
            settings.drain_deadline = Some(left);
        }
        Some(_) => {}
        None => settings.drain_deadline = Some(left),
    }
    None
}

/// The same behind an injection, of what its configuration says about the drain: a container that came since may work on for
/// longer. `None`: none does, or the delay is the pod's own.
pub(super) fn lengthen(pod: &Value, drain: &mut Map) -> Option<()> {
    let mut settings = Settings::default();
    for (field, name) in [("delay", "drain-delay"), ("deadline", "drain-deadline")] {
        settings.set(settings::key(name)?, drain.get(field)?.as_str()?).ok()?;
    }
    let was = settings.drain_delay;
    if fit(pod, &mut settings, &mut Vec::new()).is_some() || settings.drain_delay <= was {
        return None;
    }
    drain.set("delay", duration(settings.drain_delay));
    drain.set("deadline", duration(settings.drain_deadline?));
    Some(())
}
