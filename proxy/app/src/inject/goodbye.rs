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
/// What makes of a script more than commands behind each other, in quotation marks and outside of them.
const MORE_QUOTED: [char; 3] = ['$', '`', '\\'];
const MORE: [char; 11] = ['$', '`', '\\', '|', '&', '(', ')', '{', '}', '<', '>'];
const WORDS: [&str; 8] = ["if", "for", "while", "until", "case", "trap", "wait", "!"];

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
    let mut total = None;
    for command in commands(script)? {
        let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
        // Nothing comes behind what takes the shell's place.
        let last = words.len() > 1 && words.first() == Some(&"exec");
        if last {
            words.remove(0);
        }
        let Some(first) = words.first() else { continue };
        if WORDS.contains(first) || first.starts_with('-') {
            return None;
        }
        if program(first) == "sleep" {
            total = Some(total.unwrap_or(Duration::ZERO) + sleep(&words)?);
        }
        if last {
            break;
        }
    }
    total
}

/// The words of each command of a script that is nothing but commands one behind the other.
fn commands(script: &str) -> Option<Vec<Vec<String>>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in script.replace("&&", ";").chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some('"'), _) if MORE_QUOTED.contains(&letter) => return None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ';' | '\n' | ' ' | '\t') => {
                all.last_mut()?.extend(word.take());
                if matches!(letter, ';' | '\n') {
                    all.push(Vec::new());
                }
            }
            (None, _) if MORE.contains(&letter) => return None,
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    all.last_mut()?.extend(word);
    quote.is_none().then_some(all)
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
            (r#"{exec: {command: [sh, -c, 'sleep "15"']}}"#, 15_000),
            (r#"{exec: {command: [sh, -c, "sleep '15'; echo \"bye; bye\" && sleep 1"]}}"#, 16_000),
            ("{exec: {command: [sh, -c, exec sleep 15]}}", 15_000),
            ("{exec: {command: [sh, -c, 'exec /bin/sleep 15; sleep 30']}}", 15_000),
            ("{exec: {command: [sh, -c, 'sleep 5; exec nginx -s quit']}}", 5_000),
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
            r#"{exec: {command: [sh, -c, 'sleep "15']}}"#,
            r#"{exec: {command: [sh, -c, 'sleep "$DELAY"']}}"#,
            r#"{exec: {command: [sh, -c, 'sleep "15 "']}}"#,
            "{exec: {command: [sh, -c, 'exec -a x sleep 15']}}",
            "{exec: {command: [sh, -c, 'exec nginx; sleep 15']}}",
            "{exec: {command: [sh, -c, 'sleep 5 || true']}}",
            "{sleep: {seconds: -1}}",
        ] {
            assert_eq!(read(hook), (0, 1), "{hook}");
        }
    }
}
