//! What the proxy's admin page says of a redirect that an agent attaches: what this process can see of it, and why not more.

use super::{status_json, status_text};
use redirect::{AttachError, PinError, Seen, Status};
use serde_json::{Value, json};

/// A page in both forms.
#[derive(Debug)]
pub(crate) struct Page {
    /// For people.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: Value,
}

/// The instance of an agent, as far as this process may look.
pub(crate) fn beside_agent(instance: &str) -> Page {
    page(instance, redirect::status(instance), || redirect::seen(instance))
}

fn page(
    instance: &str,
    status: Result<Option<Status>, AttachError>,
    seen: impl FnOnce() -> Result<Seen, PinError>,
) -> Page {
    let refused = match status {
        Ok(Some(status)) => {
            let mut json = status_json(&status);
            json["by"] = "agent".into();
            return Page { text: format!("by an agent\n{}", status_text(&status)), json };
        }
        Ok(None) => None,
        Err(error) => Some(error.to_string()),
    };
    let beside =
        format!("`pillion redirect status --instance {instance}` beside the agent tells, and its --metrics address");
    let (attached, programs, words) = match seen() {
        Ok(Seen::Programs(programs)) if programs.is_empty() => {
            (Some(false), programs, "detached: connections that are left go on through TCP".to_owned())
        }
        Ok(Seen::Programs(programs)) => {
            let why = refused.map_or_else(String::new, |error| format!(" ({error})"));
            let words = format!(
                "attached by an agent: {}; counters and the switch cannot be read by this process{why}: {beside}",
                programs.join(", ")
            );
            (Some(true), programs, words)
        }
        Ok(Seen::Absent { at }) => {
            let words = format!(
                "by an agent, which has attached nothing here: {} is not there, so plain TCP is used, unless its `--instance` \
                 is another than `redirect.instance`",
                at.display()
            );
            (Some(false), Vec::new(), words)
        }
        Ok(Seen::NoBpffs) => {
            let words = format!(
                "by an agent: no bpf file system is mounted where this process runs, so it does not see whether it is \
                 attached: {beside}"
            );
            (None, Vec::new(), words)
        }
        Ok(Seen::Hidden { at, error }) => {
            let words = format!(
                "by an agent: this process may not look into {} ({error}), so it does not see whether it is attached: {beside}",
                at.display()
            );
            (None, Vec::new(), words)
        }
        Err(error) => {
            (None, Vec::new(), format!("by an agent, whose instance cannot be looked for from here: {error}"))
        }
    };
    let json = json!({ "by": "agent", "attached": attached, "programs": programs, "words": words });
    Page { text: words + "\n", json }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn what_is_not_seen_is_said_with_the_reason() {
        let refused = || Err(AttachError::Hook { hook: "CONTROL".into(), error: io::Error::from_raw_os_error(1) });
        let hidden =
            Seen::Hidden { at: "/sys/fs/bpf/pillion/a/v5/links".into(), error: io::Error::from_raw_os_error(13) };
        for (status, seen, attached, words) in [
            (Ok(None), Seen::NoBpffs, None, "no bpf file system is mounted"),
            (Ok(None), hidden, None, "may not look into /sys/fs/bpf/pillion/a/v5/links (Permission denied"),
            (Ok(None), Seen::Absent { at: "/sys/fs/bpf/pillion/a".into() }, Some(false), "plain TCP is used"),
            (refused(), Seen::Programs(vec!["enrol".into()]), Some(true), "attached by an agent: enrol; counters"),
            (refused(), Seen::Programs(Vec::new()), Some(false), "detached"),
        ] {
            let page = page("a", status, || Ok(seen));
            assert!(page.text.contains(words) && page.text.ends_with('\n'), "{}", page.text);
            assert_eq!((&page.json["by"], &page.json["attached"]), (&"agent".into(), &json!(attached)), "{words}");
        }
    }
}
