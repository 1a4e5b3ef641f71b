//! How long containers work on after a pod was told to end, as their `preStop` hooks say. Pure.
//!
//! A kubelet begins with the hooks of all containers at once, ours among them, and signals each container behind its own: who
//! sleeps there has clients for so long.

use super::value::Value;
use std::time::Duration;

/// What stands behind a number of `sleep`'s, in seconds.
const UNITS: [(char, f64); 4] = [('s', 1.0), ('m', 60.0), ('h', 3600.0), ('d', 86_400.0)];
/// Longer ones are no pod's.
const MOST: f64 = 86_400.0;
/// What makes of a script more than commands behind each other.
const MORE: [char; 12] = ['$', '`', '|', '(', ')', '{', '}', '<', '>', '\'', '"', '\\'];
const WORDS: [&str; 9] = ["if", "for", "while", "until", "case", "exec", "trap", "wait", "!"];

/// What the hooks of a pod's containers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Goodbye {
    /// The longest time that can be read.
    pub(super) longest: Duration,
    /// The containers whose hook takes nobody knows how long.
    pub(super) unknown: Vec<String>,
}

/// Reads the hooks of a pod's containers, those that only set it up aside: these are gone by then.
pub(super) fn of(spec: &Value) -> Goodbye {
    let sidecars = spec.list("initContainers").iter().filter(|one| one.str("restartPolicy") == Some("Always"));
    let mut all = Goodbye::default();
    for container in spec.list("containers").iter().chain(sidecars) {
        let Some(hook) = container.at(&["lifecycle", "preStop"]).filter(|hook| !hook.is_empty()) else { continue };
        match time(hook) {
            Some(time) => all.longest = all.longest.max(time),
            None => all.unknown.push(container.str("name").unwrap_or_default().to_owned()),
        }
    }
    all
}

fn time(hook: &Value) -> Option<Duration> {
    if let Some(seconds) = hook.at(&["sleep", "seconds"]).and_then(Value::as_int) {
        return Some(Duration::from_secs(u64::try_from(seconds).ok()?));
    }
    let command = hook.at(&["exec", "command"])?.elements().iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
    match command[..] {
        [shell, "-c", script] if matches!(program(shell), "sh" | "bash" | "ash" | "dash") => of_script(script),
        _ => sleep(&command),
    }
}

/// The sleeps of a script that has some, beside commands that are over at once as far as one can tell.
fn of_script(script: &str) -> Option<Duration> {
    if script.contains(MORE) || script.replace("&&", "").contains('&') {
        return None;
    }
    let mut total = None;
    for command in script.replace("&&", ";").split([';', '\n']) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let Some(first) = words.first() else { continue };
        if WORDS.contains(first) {
            return None;
        }
        if program(first) == "sleep" {
            total = Some(total.unwrap_or(Duration::ZERO) + sleep(&words)?);
        }
    }
    total
}

fn sleep(command: &[&str]) -> Option<Duration> {
    let (_, times) = command.split_first().filter(|(name, times)| program(name) == "sleep" && !times.is_empty())?;
    let each = times.iter().map(|time| {
        let unit = UNITS.iter().find_map(|(unit, factor)| Some((time.strip_suffix(*unit)?, *factor)));
        let (number, factor) = unit.unwrap_or((time, 1.0));
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        plain.then(|| number.parse::<f64>().ok()).flatten().map(|number| number * factor)
    });
    let total = each.sum::<Option<f64>>()?;
    Some(Duration::from_millis((total.min(MOST) * 1000.0).ceil() as u64))
}

fn program(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(hook: &str) -> (u64, usize) {
        let text = format!("{{containers: [{{name: app, lifecycle: {{preStop: {hook}}}}}]}}");
        let spec = crate::inject::yaml::read(&text).unwrap().remove(0).value;
        let Goodbye { longest, unknown } = of(&spec);
        (u64::try_from(longest.as_millis()).unwrap(), unknown.len())
    }

    #[test]
    fn sleeps_are_read_and_what_is_none_is_told() {
        for (hook, time) in [
            ("{sleep: {seconds: 45}}", 45_000),
            ("{exec: {command: [sleep, '45']}}", 45_000),
            ("{exec: {command: [/bin/sleep, 1.5m, 2s]}}", 92_000),
            ("{exec: {command: [sh, -c, sleep 45]}}", 45_000),
            ("{exec: {command: [/bin/bash, -c, 'sleep 15; /usr/sbin/nginx -s quit']}}", 15_000),
            ("{exec: {command: [sh, -c, 'touch /tmp/bye && sleep 5 && sleep 0.5']}}", 5_500),
            ("{}", 0),
            ("null", 0),
        ] {
            assert_eq!(read(hook), (time, 0), "{hook}");
        }
        for hook in [
            "{httpGet: {path: /bye, port: 1}}",
            "{exec: {command: [/stop.sh]}}",
            "{exec: {command: [sleep, infinity]}}",
            "{exec: {command: [sleep]}}",
            "{exec: {command: [sh, -c, nginx -s quit]}}",
            "{exec: {command: [sh, -c, 'while sleep 1; do :; done']}}",
            "{exec: {command: [sh, -c, 'sleep $DELAY']}}",
            "{exec: {command: [sh, -c, 'sleep 30 & wait']}}",
            "{exec: {command: [python, -c, sleep 3]}}",
            "{sleep: {seconds: -1}}",
        ] {
            assert_eq!(read(hook), (0, 1), "{hook}");
        }
    }
}
