//! What a proxy leaves for the one that a kubelet starts in its place: that the application was let go, and what was seen of it.
//!
//! A proxy that was killed when its Job's application had ended would otherwise be followed by one that sees nobody, and waits for
//! ever. It lies in a volume that lives as long as the pod. Times are of the machine's clock since it started, which no
//! container has of its own; behind a restart of the machine they say less than is true.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    env, fs, io,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

/// The environment variable with the file's name.
pub const VARIABLE: &str = "PILLION_APPLICATION_RECORD";
/// Bytes of a file that is believed: a name of each container of a pod.
const LONGEST: u64 = 64 << 10;

/// What is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// When the application was let go, in seconds since the machine started.
    let_go: u64,
    /// Somebody was seen of it.
    #[serde(default)]
    came: bool,
    /// The containers of it that were told apart.
    #[serde(default)]
    containers: BTreeSet<String>,
}

/// What an earlier proxy of this pod has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Earlier {
    /// How long ago it let the application go.
    pub ago: Duration,
    /// Whether it saw somebody of it.
    pub came: bool,
    /// The containers that it saw.
    pub containers: BTreeSet<String>,
}

/// When the application is let go, and the record of that.
#[derive(Debug, Clone, Default)]
pub struct Record(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The last process id that was given out before.
    before: Cell<Option<u32>>,
    file: Option<PathBuf>,
    content: RefCell<Option<Content>>,
}

impl Record {
    /// Where the environment says; without it nothing is written.
    #[must_use]
    pub fn of_environment() -> Self {
        Self::at(env::var_os(VARIABLE).map(PathBuf::from))
    }

    pub(super) fn at(file: Option<PathBuf>) -> Self {
        let content = file.as_ref().and_then(|file| match read(file) {
            Ok(content) => content,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "what an earlier proxy has left cannot be used");
                None
            }
        });
        Self(Rc::new(Inner { before: Cell::default(), file, content: RefCell::new(content) }))
    }

    /// What an earlier proxy has left. Asked for before anything is noted.
    pub(super) fn earlier(&self) -> Option<Earlier> {
        let content = self.0.content.borrow();
        let Content { let_go, came, containers } = content.clone()?;
        Some(Earlier { ago: Duration::from_secs(uptime().saturating_sub(let_go)), came, containers })
    }

    /// The last process id that was given out before the application was let go; `None`: it was not yet.
    pub(super) fn before(&self) -> Option<u32> {
        self.0.before.get()
    }

    /// Nothing of the application was started until now.
    pub fn let_go(&self) {
        if self.0.before.get().is_some() {
            return;
        }
        self.0.before.set(super::ids::last());
        let mut content = self.0.content.borrow_mut();
        if content.is_none() {
            self.write(content.insert(Content { let_go: uptime(), ..Content::default() }));
        }
    }

    /// Somebody was, and these are the containers that were seen so far.
    pub(super) fn saw(&self, containers: &BTreeSet<String>) {
        let mut content = self.0.content.borrow_mut();
        let content = content.get_or_insert_with(|| Content { let_go: uptime(), ..Content::default() });
        if !content.came || content.containers != *containers {
            content.came = true;
            content.containers.clone_from(containers);
            self.write(content);
        }
    }

    fn write(&self, content: &Content) {
        let Some(file) = &self.0.file else { return };
        // Whole or not at all.
        let new = file.with_extension("new");
        let text = serde_json::to_vec(content).unwrap_or_default();
        if let Err(error) = fs::write(&new, text).and_then(|()| fs::rename(&new, file)) {
            tracing::warn!(file = %file.display(), %error, "a proxy that is started anew will not know of the application");
        }
    }
}

fn read(file: &PathBuf) -> io::Result<Option<Content>> {
    use io::Read as _;
    let mut text = Vec::new();
    match fs::File::open(file).and_then(|open| open.take(LONGEST).read_to_end(&mut text)) {
        Ok(_) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Seconds since the machine started.
fn uptime() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_proxy_reads_what_this_one_wrote() {
        let file = env::temp_dir().join(format!("pillion-record-{}", std::process::id()));
        fs::remove_file(&file).ok();
        let first = Record::at(Some(file.clone()));
        assert_eq!((first.earlier(), first.before()), (None, None));
        first.let_go();
        assert!(first.before().is_some());
        let second = Record::at(Some(file.clone()));
        assert!(second.earlier().is_some_and(|earlier| !earlier.came));
        assert_eq!(second.before(), None, "its own hook lets it go again");
        let seen = BTreeSet::from(["a".to_owned()]);
        first.saw(&seen);
        let third = Record::at(Some(file.clone())).earlier().expect("it was written");
        assert_eq!((third.came, third.containers), (true, seen));
        for broken in ["", "{", r#"{"let_go": -1}"#, "[]"] {
            fs::write(&file, broken).unwrap();
            assert_eq!(Record::at(Some(file.clone())).earlier(), None, "{broken}");
        }
        fs::write(&file, r#"{"let_go": 18446744073709551615}"#).unwrap();
        assert_eq!(Record::at(Some(file.clone())).earlier().map(|earlier| earlier.ago), Some(Duration::ZERO));
        fs::remove_file(&file).unwrap();
        let none = Record::default();
        none.let_go();
        none.saw(&BTreeSet::new());
    }
}
