//! Notices that a file of the configuration says something else.
//!
//! Watched are the directories in which a name on the way to a file could be replaced: an editor's rename, an
//! overwrite in place, and Kubernetes' swap of the `..data` symbolic link all show there. Events are only a reason
//! to look; what counts is the content. While nothing happens nothing wakes up: only where the kernel has no inotify
//! instance left (a node's usual limit is 128) files are looked at every two seconds.
//!
//! On file systems whose changes are made elsewhere (NFS) no event comes; SIGHUP and `POST /reload` work there.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::{
    collections::{BTreeSet, VecDeque, hash_map::DefaultHasher},
    ffi::{OsStr, OsString},
    fs,
    hash::{Hash, Hasher},
    mem::MaybeUninit,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::unix::pipe,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Watches files for a change of content.
#[derive(Debug, Default)]
pub struct Watcher {
    files: Vec<PathBuf>,
    /// Of the contents last reported.
    seen: u64,
    /// A file changed while it was being read for the first time: what was read may be old already.
    doubtful: bool,
    /// The first event since the files were last looked at.
    stirred: Option<Instant>,
    /// When files are looked at without an event.
    poll_at: Option<Instant>,
    events: Option<Events>,
}

/// Why files are to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// One says something else.
    Changed,
    /// One was written so shortly before it was read, or while it was, that what was read may be the state before. Usually
    /// it is not: whoever writes a file and starts a process that reads it is that fast.
    Doubt,
}

#[derive(Debug)]
struct Events {
    /// To the runtime a pipe, since all that it does with one is to wait until it can be read, and of a pipe it is sure that
    /// the descriptor stays what it is.
    inotify: pipe::Receiver,
    names: BTreeSet<OsString>,
}

/// Quiet demanded after an event, so that a burst of writes is one reload.
const QUIET: Duration = Duration::from_millis(50);
/// A directory that is never quiet is looked at after this time all the same.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often files are looked at where there is no inotify.
const POLL: Duration = Duration::from_secs(2);
/// The kernel stamps files with the time of its last tick, which may be this long ago.
const TICK: Duration = Duration::from_millis(20);

impl Watcher {
    /// Watches these files instead of those before. `since`: when reading them began; a file that changed after that
    /// is reported as changed once more, since what was read may be the state before. Call within a runtime.
    pub fn watch(&mut self, files: &[PathBuf], since: SystemTime) {
        (self.stirred, self.poll_at) = (None, None);
        self.files = files.to_vec();
        // First the watches, then the look: what changes in between shows in one of both.
        self.events = if files.is_empty() { None } else { Events::new(files).ok() };
        self.seen = fingerprint(files);
        let since = since.checked_sub(TICK).unwrap_or(UNIX_EPOCH);
        self.doubtful = files.iter().any(|file| changed_at(file).is_some_and(|at| at >= since));
    }

    /// What the files say now is about to be read for another reason, and is reported no more.
    pub fn look(&mut self) {
        if !self.files.is_empty() {
            self.doubtful = false;
            self.seen = fingerprint(&self.files);
        }
    }

    /// Waits until a file's content differs from what was last reported. Never ready without files. Cancel-safe.
    pub async fn changed(&mut self) -> Reason {
        if self.files.is_empty() {
            return std::future::pending().await;
        }
        loop {
            if self.doubtful {
                sleep(QUIET).await;
                self.doubtful = false;
                return Reason::Doubt;
            }
            // Dropping this future between two awaits loses nothing: what happened is written down first.
            if self.stirred.is_none() {
                match &self.events {
                    Some(events) => events.event().await,
                    None => sleep_until(*self.poll_at.get_or_insert_with(|| Instant::now() + POLL)).await,
                }
                self.stirred = Some(Instant::now());
            }
            if let (Some(events), Some(since)) = (&self.events, self.stirred) {
                while since.elapsed() < PATIENCE && timeout(QUIET, events.event()).await.is_ok() {}
            }
            (self.stirred, self.poll_at) = (None, None);
            // A name on the way may lead elsewhere now.
            self.events = Events::new(&self.files).ok();
            let now = fingerprint(&self.files);
            if now != self.seen {
                self.seen = now;
                return Reason::Changed;
            }
        }
    }
}

impl Events {
    fn new(files: &[PathBuf]) -> std::io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut names = BTreeSet::new();
        for (directory, name) in files.iter().flat_map(|file| trail(file)) {
            // ATTRIB: one that could not be read until its mode or owner changed.
            let flags = WatchFlags::CLOSE_WRITE
                | WatchFlags::ATTRIB
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF;
            inotify::add_watch(&inotify, &directory, flags)?;
            names.insert(name);
        }
        Ok(Self { inotify: pipe::Receiver::from_owned_fd_unchecked(inotify)?, names })
    }

    /// Waits for an event that concerns us.
    async fn event(&self) {
        loop {
            // An error of the descriptor is a reason to look, too.
            if self.inotify.readable().await.is_err() || self.concerns_us() {
                return;
            }
            // Nothing is left, and the runtime learns so. What came meanwhile has no room in one byte and stays (inotify(7)).
            self.inotify.try_read(&mut [0]).ok();
        }
    }

    fn concerns_us(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut concerns = false;
        while let Ok(event) = events.next() {
            let ours = event.file_name().is_none_or(|name| self.names.contains(OsStr::from_bytes(name.to_bytes())));
            concerns |= ours || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        }
        concerns
    }
}

/// Every directory and name in it through which `file` is reached and that could be replaced: each symbolic link on
/// the way, and the file itself.
#[must_use]
pub fn trail(file: &Path) -> Vec<(PathBuf, OsString)> {
    /// As many links as the kernel follows (path_resolution(7)).
    const LINKS: usize = 40;
    let Ok(file) = std::path::absolute(file) else { return Vec::new() };
    let mut trail = Vec::new();
    let mut links = 0;
    let mut at = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = names_of(&file).collect();
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        if let Ok(target) = fs::read_link(&next) {
            trail.push((at.clone(), name));
            links += 1;
            if links > LINKS {
                break;
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for name in names_of(&target).collect::<Vec<_>>().into_iter().rev() {
                rest.push_front(name);
            }
        } else if rest.is_empty() {
            trail.push((at.clone(), name));
        } else {
            at = next;
        }
    }
    trail
}

fn names_of(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        // What is no regular file, a document from a pipe among them, is not read again: it might wait for a writer.
        match pillion_config::read_referenced(file) {
            Ok(content) => content.hash(&mut hasher),
            Err(error) => (error.kind(), error.raw_os_error()).hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// When anything on the way to `file` changed last.
fn changed_at(file: &Path) -> Option<SystemTime> {
    let stamp = |at: PathBuf| {
        let meta = fs::symlink_metadata(at).ok()?;
        let (seconds, nanos) = (u64::try_from(meta.ctime()).ok()?, u32::try_from(meta.ctime_nsec()).ok()?);
        Some(UNIX_EPOCH + Duration::new(seconds, nanos))
    };
    trail(file).into_iter().filter_map(|(directory, name)| stamp(directory.join(name))).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory of its own for each test, gone at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pillion-watch-{name}-{}", std::process::id()));
            fs::remove_dir_all(&path).ok();
            fs::create_dir_all(&path).unwrap();
            // Long enough ago for a watch that begins now.
            std::thread::sleep(TICK * 2);
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    async fn reports(watcher: &mut Watcher) -> bool {
        timeout(Duration::from_secs(30), watcher.changed()).await.is_ok()
    }

    async fn is_quiet(watcher: &mut Watcher) -> bool {
        timeout(Duration::from_millis(300), watcher.changed()).await.is_err()
    }

    /// Writes, and waits until the kernel's clock would tell this from what comes next.
    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        std::thread::sleep(TICK * 2);
    }

    #[tokio::test]
    async fn an_overwrite_and_an_editors_rename_are_seen_an_equal_content_is_not() {
        let directory = Directory::new("plain");
        let file = directory.file("pillion.yaml");
        write(&file, "one");
        let mut watcher = Watcher::default();
        watcher.watch(std::slice::from_ref(&file), SystemTime::now());
        assert!(is_quiet(&mut watcher).await);
        fs::write(&file, "two").unwrap();
        assert!(reports(&mut watcher).await);
        fs::write(&file, "two").unwrap();
        fs::write(directory.file("other"), "noise").unwrap();
        assert!(is_quiet(&mut watcher).await, "it says the same");
        fs::write(directory.file(".swap"), "three").unwrap();
        fs::rename(directory.file(".swap"), &file).unwrap();
        assert!(reports(&mut watcher).await);
        fs::write(&file, "four").unwrap();
        assert!(reports(&mut watcher).await, "the new inode is watched");
    }

    #[tokio::test]
    async fn a_symlink_swap_is_seen_again_and_again() {
        let directory = Directory::new("kubernetes");
        let version = |number: u32| {
            let name = format!("..{number}");
            fs::create_dir(directory.file(&name)).unwrap();
            fs::write(directory.file(&name).join("pillion.yaml"), number.to_string()).unwrap();
            symlink(&name, directory.file("..data_tmp")).unwrap();
            fs::rename(directory.file("..data_tmp"), directory.file("..data")).unwrap();
        };
        version(1);
        let file = directory.file("pillion.yaml");
        symlink("..data/pillion.yaml", &file).unwrap();
        std::thread::sleep(TICK * 2);
        let mut watcher = Watcher::default();
        watcher.watch(&[file], SystemTime::now());
        for number in 2..5 {
            version(number);
            assert!(reports(&mut watcher).await, "swap {number}");
            fs::remove_dir_all(directory.file(&format!("..{}", number - 1))).unwrap();
            assert!(is_quiet(&mut watcher).await, "the old version going is no news");
        }
    }

    #[tokio::test]
    async fn a_change_during_the_first_reading_is_reported() {
        let directory = Directory::new("doubt");
        let file = directory.file("pillion.yaml");
        let began = SystemTime::now();
        fs::write(&file, "written while it was read").unwrap();
        let mut watcher = Watcher::default();
        watcher.watch(std::slice::from_ref(&file), began);
        assert_eq!(timeout(Duration::from_secs(30), watcher.changed()).await, Ok(Reason::Doubt));
        assert!(is_quiet(&mut watcher).await, "once");
        fs::write(&file, "another").unwrap();
        assert_eq!(timeout(Duration::from_secs(30), watcher.changed()).await, Ok(Reason::Changed));
    }

    #[tokio::test]
    async fn what_is_read_for_another_reason_is_not_reported() {
        let directory = Directory::new("look");
        let file = directory.file("pillion.yaml");
        let began = SystemTime::now();
        fs::write(&file, "one").unwrap();
        let mut watcher = Watcher::default();
        watcher.watch(std::slice::from_ref(&file), began);
        fs::write(&file, "two").unwrap();
        watcher.look();
        assert!(is_quiet(&mut watcher).await);
        fs::write(&file, "three").unwrap();
        assert!(reports(&mut watcher).await);
    }

    #[tokio::test]
    async fn a_file_that_goes_and_comes_back_is_seen() {
        let directory = Directory::new("gone");
        let file = directory.file("pillion.yaml");
        write(&file, "one");
        let mut watcher = Watcher::default();
        watcher.watch(std::slice::from_ref(&file), SystemTime::now());
        fs::remove_file(&file).unwrap();
        assert!(reports(&mut watcher).await);
        fs::write(&file, "one").unwrap();
        assert!(reports(&mut watcher).await);
    }

    #[tokio::test]
    async fn a_change_of_mode_is_a_reason_to_look() {
        let directory = Directory::new("mode");
        let file = directory.file("pillion.yaml");
        write(&file, "one");
        let mut watcher = Watcher::default();
        watcher.watch(std::slice::from_ref(&file), SystemTime::now());
        // Nobody's mode keeps a test that root runs from reading: what the change of mode reveals is written without an event.
        let mut open = fs::OpenOptions::new().write(true).open(&file).unwrap();
        std::io::Write::write_all(&mut open, b"two").unwrap();
        assert!(is_quiet(&mut watcher).await, "it is still open");
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(reports(&mut watcher).await);
        drop(open);
    }

    #[tokio::test]
    async fn without_inotify_files_are_polled() {
        let directory = Directory::new("poll");
        let file = directory.file("pillion.yaml");
        write(&file, "one");
        let mut watcher = Watcher::default();
        watcher.watch(std::slice::from_ref(&file), SystemTime::now());
        watcher.events = None;
        fs::write(&file, "two").unwrap();
        assert!(reports(&mut watcher).await);
    }

    #[test]
    fn a_circle_of_links_ends() {
        let directory = Directory::new("circle");
        symlink("b", directory.file("a")).unwrap();
        symlink("a", directory.file("b")).unwrap();
        assert!(trail(&directory.file("a")).len() > 2);
    }
}
