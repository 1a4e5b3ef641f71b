//! Pins: the directory in which an instance keeps its maps and links, so that they outlive who loaded them.
//!
//! ```text
//!  <bpffs>/pillion/<instance>/v7/CONTROL, SOCKETS, …         maps
//!  <bpffs>/pillion/<instance>/v7/ENDED                       what is known of connections that ended: no program's
//!  <bpffs>/pillion/<instance>/v7/links/enrol, connect4, …    what is attached
//!  <bpffs>/pillion/<instance>/v7/namespaces/<cookie>           what is attached to a network namespace
//!  <bpffs>/pillion/<instance>/v7/programs/verdict, enrol, …  what was attached last, to come back to: the kernel gives programs
//!                                                            by their numbers only to CAP_SYS_ADMIN
//! ```
//!
//! The layout's version is a directory of its own: whoever finds another one there detaches it if that is asked for, by its links and by
//! what every layout has had, and reads nothing else of it. One that is detached stays beside, until its last connection has ended;
//! so does, as `v7-1`, what bears our number and is not ours.

mod error;

pub use error::PinError;

use crate::{
    mounts,
    shapes::{MAPS, Shape},
    sys,
};
use error::failed;
use redirect_common::LAYOUT;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::{
    borrow::Cow,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The directory of all instances, below the BPF file system.
pub(crate) const FOLDER: &str = "pillion";

/// What the names of instances begin with that are made for a self-test and removed with it.
pub(crate) const TRIAL: &str = "try-";

/// How often a directory that another process removes is made again.
const MOST_ATTEMPTS: u32 = 16;

/// How long a lock is asked for before another process is said to be at work.
const FORKED: Duration = Duration::from_secs(1);

/// An instance's directory.
#[derive(Debug, Clone)]
pub struct Pins {
    instance: PathBuf,
    /// The name of the directory in it.
    layout: Cow<'static, str>,
}

/// Held while an instance is changed.
#[derive(Debug)]
pub(crate) struct Lock {
    _directory: OwnedFd,
}

impl Pins {
    /// That of an instance. The file system is mounted where it was not, nothing else is made.
    ///
    /// # Errors
    ///
    /// No BPF file system, or a name that cannot be a directory's.
    pub fn of(instance: &str) -> Result<Self, PinError> {
        fits(instance)?;
        Ok(Self::below(&mounts::bpf()?, instance))
    }

    /// That of an instance, to look at it: nothing is mounted. `None`: no BPF file system is mounted here.
    ///
    /// # Errors
    ///
    /// A name that cannot be a directory's.
    pub fn seen(instance: &str) -> Result<Option<Self>, PinError> {
        fits(instance)?;
        Ok(mounts::mounted_bpf()?.map(|mount| Self::below(&mount, instance)))
    }

    /// The same; that none can be there is an error.
    pub(crate) fn there(instance: &str) -> Result<Self, PinError> {
        Self::seen(instance)?.ok_or_else(|| PinError::Absent(instance.into()))
    }

    fn below(mount: &Path, instance: &str) -> Self {
        Self::at(mount.join(FOLDER).join(instance))
    }

    fn at(instance: PathBuf) -> Self {
        Self { instance, layout: Cow::Owned(format!("v{LAYOUT}")) }
    }

    /// All instances that have a directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn all() -> Result<Vec<(String, Self)>, PinError> {
        let Some(mount) = mounts::mounted_bpf()? else { return Ok(Vec::new()) };
        let folder = mount.join(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PinError::Io { at: folder, error }),
        };
        let mut all: Vec<_> = entries
            .flatten()
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, Self::at(entry.path()))))
            .collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(all)
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.instance
    }

    fn version(&self) -> PathBuf {
        self.instance.join(&*self.layout)
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.version().join(name)
    }

    /// A map that may be another build's; `None`: it is not there.
    pub(crate) fn open(&self, name: &str) -> Result<Option<OwnedFd>, PinError> {
        let at = self.map(name);
        match sys::pinned(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(|error| failed(&at, error)),
        }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.version().join("programs").join(name)
    }

    pub(crate) fn link(&self, name: &str) -> PathBuf {
        self.version().join("links").join(name)
    }

    /// The link to a network namespace.
    pub(crate) fn namespace(&self, cookie: u64) -> PathBuf {
        self.version().join("namespaces").join(cookie.to_string())
    }

    /// Whether all maps are there.
    pub(crate) fn are_there(&self) -> bool {
        MAPS.iter().all(|map| self.map(map.name).exists())
    }

    /// A number of the maps that are pinned, which others in their place do not have; `None`: there are none.
    pub(crate) fn generation(&self) -> Option<u64> {
        fs::metadata(self.map("CONTROL")).ok().map(|data| data.ino())
    }

    /// Whether anything is there.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.instance.exists()
    }

    /// Refuses what another version attached, and what is nobody's. What another one has left is let be.
    pub(crate) fn check(&self) -> Result<(), PinError> {
        for found in self.entries()? {
            let other = if found == *self.layout {
                self.check_maps()?;
                continue;
            } else {
                self.other(found.clone())
            };
            if !is_version(&found) {
                return Err(PinError::Stray { at: self.instance.clone(), found });
            }
            if other.is_attached() {
                return Err(PinError::Foreign { at: self.instance.clone(), found });
            }
        }
        Ok(())
    }

    /// Refuses maps that are not what this version has.
    fn check_maps(&self) -> Result<(), PinError> {
        for Shape { name, form } in MAPS {
            let (at, Some(map)) = (self.map(name), self.open(name)?) else { continue };
            let found = sys::form(map.as_fd()).map_err(|error| failed(&at, error))?;
            if found != *form {
                return Err(PinError::Form { at, found, wanted: *form });
            }
        }
        Ok(())
    }

    /// The names of what lies in the instance's directory.
    fn entries(&self) -> Result<Vec<String>, PinError> {
        let entries = match fs::read_dir(&self.instance) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(error)),
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            Ok(entry.map_err(|error| self.failed(error))?.file_name().to_string_lossy().into_owned())
        };
        entries.map(name).collect()
    }

    fn other(&self, layout: String) -> Self {
        Self { instance: self.instance.clone(), layout: Cow::Owned(layout) }
    }

    /// What other layouts have here, attached or left behind; what bears our number and is none of ours among them.
    pub(crate) fn others(&self) -> Result<Vec<Self>, PinError> {
        let mut others = Vec::new();
        for found in self.entries()? {
            let is_other = match found == *self.layout {
                false => is_version(&found),
                true => match self.check_maps() {
                    Err(PinError::Form { .. }) => true,
                    checked => checked.map(|()| false)?,
                },
            };
            if is_other {
                others.push(self.other(found));
            }
        }
        others.sort_by(|one, two| one.layout.cmp(&two.layout));
        Ok(others)
    }

    /// The layout's name, as its directory has it.
    pub(crate) fn layout(&self) -> &str {
        &self.layout
    }

    /// Whether anything is attached.
    pub(crate) fn is_attached(&self) -> bool {
        !self.links().is_empty() || !self.namespaces().is_empty()
    }

    /// Out of the way of what this version makes: connections are left in maps that bear its number.
    pub(crate) fn put_aside(&self) -> Result<(), PinError> {
        let there = self.entries()?;
        let free = (1..).map(|number: u32| format!("{}-{number}", self.layout)).find(|name| !there.contains(name));
        let to = self.instance.join(free.unwrap_or_default());
        fs::rename(self.version(), to).map_err(|error| self.failed(error))
    }

    /// Makes the directory, refuses a foreign one, and keeps others out until the lock is dropped.
    pub(crate) fn lock(&self) -> Result<Lock, PinError> {
        self.check()?;
        self.hold(|| self.make())
    }

    /// The lock of a directory that is there, whatever lies in it.
    pub(crate) fn lock_any(&self) -> Result<Lock, PinError> {
        self.hold(|| Ok(()))
    }

    fn hold(&self, make: impl Fn() -> Result<(), PinError>) -> Result<Lock, PinError> {
        let (begun, mut attempts) = (Instant::now(), 0);
        loop {
            attempts += 1;
            let locked = make().and_then(|()| self.locked());
            match locked {
                Ok(Some(lock)) => return Ok(lock),
                // Whoever held the lock has removed the directory meanwhile.
                Ok(None) if attempts < MOST_ATTEMPTS => {}
                // A process that was forked from the one before holds it until it executes its program.
                Err(PinError::Busy(_)) if begun.elapsed() < FORKED => {
                    attempts -= 1;
                    thread::sleep(Duration::from_millis(10));
                }
                Err(PinError::Io { error, .. })
                    if error.kind() == io::ErrorKind::NotFound && attempts < MOST_ATTEMPTS => {}
                Ok(None) => return Err(PinError::Busy(self.instance.clone())),
                Err(error) => return Err(error),
            }
        }
    }

    /// The lock of an instance that is there, at once or not at all.
    pub(crate) fn try_lock(&self) -> Result<Lock, PinError> {
        self.locked()?.ok_or_else(|| PinError::Busy(self.instance.clone()))
    }

    fn make(&self) -> Result<(), PinError> {
        for folder in ["links", "programs", "namespaces"] {
            fs::create_dir_all(self.version().join(folder)).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// The lock of a directory that is there; `None`: it has been removed by who held it.
    fn locked(&self) -> Result<Option<Lock>, PinError> {
        let directory = open(&self.instance)?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| PinError::Busy(self.instance.clone()))?;
        let number = rustix::fs::fstat(&directory).map_err(|error| self.failed(error.into()))?.st_ino;
        let stands = fs::metadata(&self.instance).is_ok_and(|data| data.ino() == number);
        Ok(stands.then_some(Lock { _directory: directory }))
    }

    /// Held while [`redirect_common::Control`] is read and written back: for two calls, so others wait.
    pub(crate) fn lock_control(&self) -> Result<Lock, PinError> {
        let at = self.version();
        let directory = open(&at)?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)
            .map_err(|error| PinError::Io { at, error: error.into() })?;
        Ok(Lock { _directory: directory })
    }

    /// Held by the one process that takes the events; `None`: another one does.
    pub(crate) fn lock_events(&self) -> Result<Option<Lock>, PinError> {
        let directory = open(&self.version().join("links"))?;
        let locked = rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive);
        Ok(locked.ok().map(|()| Lock { _directory: directory }))
    }

    /// The names of the links that are pinned.
    pub(crate) fn links(&self) -> Vec<String> {
        fs::read_dir(self.version().join("links"))
            .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
            .unwrap_or_default()
    }

    /// The cookies of the network namespaces that something is attached to.
    pub(crate) fn namespaces(&self) -> Vec<u64> {
        fs::read_dir(self.version().join("namespaces"))
            .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
            .unwrap_or_default()
    }

    /// Detaches every link and forgets it. Connections that are enrolled stay so, and so do those that were captured.
    pub(crate) fn detach_links(&self) -> Result<(), PinError> {
        // First what is found by way of the others: an instance without links is one that was detached.
        self.namespaces().into_iter().try_for_each(|cookie| self.detach_namespace(cookie))?;
        self.links().iter().try_for_each(|name| self.detach_link(name))
    }

    /// Detaches one.
    pub(crate) fn detach_link(&self, name: &str) -> Result<(), PinError> {
        cut(self.link(name))
    }

    /// Detaches what is attached to a network namespace.
    pub(crate) fn detach_namespace(&self, cookie: u64) -> Result<(), PinError> {
        cut(self.namespace(cookie))?;
        self.forget_program(&of_namespace(cookie))
    }

    /// Keeps a program no longer.
    pub(crate) fn forget_program(&self, name: &str) -> Result<(), PinError> {
        let at = self.program(name);
        match fs::remove_file(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PinError::Io { at, error }),
            _ => Ok(()),
        }
    }

    /// Keeps a program as the one that is in force, in the place of its predecessor.
    pub(crate) fn keep_program(&self, name: &str, program: BorrowedFd<'_>) -> Result<(), PinError> {
        let at = self.program(name);
        // A name with a dot is not allowed there.
        let new = self.program(&format!("{name}-new"));
        let kept = match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sys::pin(program, &new).and_then(|()| fs::rename(&new, &at)),
        };
        kept.map_err(|error| PinError::Io { at, error })
    }

    /// The programs that are kept.
    fn programs(&self) -> Vec<PathBuf> {
        fs::read_dir(self.version().join("programs"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default()
    }

    /// The pins of maps: what else may lie beside them is nobody's here.
    fn maps(&self) -> Vec<PathBuf> {
        let is_maps = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        fs::read_dir(self.version())
            .map(|entries| entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_maps)).collect())
            .map(|entries: Vec<_>| entries.iter().map(fs::DirEntry::path).collect())
            .unwrap_or_default()
    }

    /// Removes everything. Only to be called when the map of sockets is empty.
    pub(crate) fn remove(&self) -> Result<(), PinError> {
        self.detach_links()?;
        for pin in self.maps().into_iter().chain(self.programs()) {
            match fs::remove_file(&pin) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&pin, error)),
                _ => {}
            }
        }
        let version = self.version();
        let within = ["links", "programs", "namespaces"].map(|folder| version.join(folder));
        for folder in within.into_iter().chain([version]) {
            match fs::remove_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&folder, error)),
                _ => {}
            }
        }
        match fs::remove_dir(&self.instance) {
            // Another layout's, whose connections are not at their ends; or what is nobody's.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: io::Error) -> PinError {
        failed(&self.instance, error)
    }
}

/// Whether a name is that of a layout's directory, as `v6`, or of one that was put aside, as `v6-1`.
fn is_version(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix('v').is_some_and(|number| match number.split_once('-') {
        Some((number, aside)) => is_number(number) && is_number(aside),
        None => is_number(number),
    })
}

/// The name of the program that is kept for a network namespace.
pub(crate) fn of_namespace(cookie: u64) -> String {
    format!("lookup-{cookie}")
}

/// Detaches a link, and forgets it.
fn cut(at: PathBuf) -> Result<(), PinError> {
    if let Ok(link) = sys::pinned(&at) {
        // Another descriptor of it may be open elsewhere; where the kernel is too old for this, or what it is attached to has
        // gone, forgetting the name is all there is to do.
        drop(sys::detach(link.as_fd()));
    }
    fs::remove_file(&at).map_err(|error| failed(&at, error))
}

/// Whether a name can be a directory's.
fn fits(instance: &str) -> Result<(), PinError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if instance.is_empty() || instance.len() > 64 || !instance.bytes().all(fits) {
        return Err(PinError::Name(instance.into()));
    }
    Ok(())
}

fn open(at: &Path) -> Result<OwnedFd, PinError> {
    rustix::fs::open(at, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed(at, error.into()))
}

/// Removes what self-tests left that were killed: an instance of theirs that nobody holds. What cannot be removed, as another
/// user's, stays.
pub(crate) fn sweep() -> Result<(), PinError> {
    for (name, pins) in Pins::all()? {
        let made =
            name.strip_prefix(TRIAL).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
        if made
            && pins.check().is_ok()
            && let Ok(Some(_lock)) = pins.locked()
            && pins.links().is_empty()
        {
            drop(pins.remove());
        }
    }
    Ok(())
}
