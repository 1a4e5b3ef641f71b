//! [`Directory`]: where artefacts are kept, and what makes them ours.

use super::{
    hex, sha256,
    unfinished::{self, Kept},
};
use crate::loader::MOST_MODULE;
use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{Context, HMAC_SHA256, Key},
    rand,
};
use rustix::{
    fs::{Mode, OFlags},
    process::geteuid,
};
use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Artefacts and fetched modules kept; the ones used longest ago go. A proxy runs a handful, over a few versions of each.
const MOST_KEPT: usize = 64;

/// The file of the key.
const KEY: &str = "key";

/// What artefacts' names end in.
const SUFFIX: &str = ".aot";

/// What names of modules fetched from elsewhere end in.
const FETCHED: &str = ".wasm";

/// Bytes of an artefact: code is some ten times its module.
const MOST_ARTEFACT: u64 = 16 * MOST_MODULE;

/// Files that are looked at for one artefact: there is one, and any other was put there; more than are kept go when one is made.
const MOST_TRIED: usize = MOST_KEPT;

/// Where artefacts are kept.
pub struct Directory(Place);

enum Place {
    Private(PathBuf, Box<Key>),
    /// No directory can be written: artefacts live in memory, and each start of the proxy compiles anew.
    Memory,
}

/// A directory that cannot be used, and why.
struct PassedOver {
    path: PathBuf,
    error: io::Error,
}

impl PassedOver {
    /// That another one is used in its place. Homes that do not exist or file systems that are not to be written are
    /// usual in containers and no news; a directory that was used, or was asked for by name, is.
    fn tell(&self, instead: &Path) {
        let Self { path, error } = self;
        let (path, instead) = (path.display(), instead.display());
        if fs::symlink_metadata(&self.path).is_ok() || super::asked_for().as_deref() == Some(&self.path) {
            tracing::warn!("{path}: not used for compiled wasm modules, which are kept in {instead}: {error}");
        } else {
            tracing::debug!("{path}: not used for compiled wasm modules, which are kept in {instead}: {error}");
        }
    }
}

impl Directory {
    /// The first of these that is private or can be made so. One that is there and cannot be used is told to the log,
    /// each on a line of its own; where none can be, that is told with all reasons.
    #[must_use]
    pub fn open(candidates: &[PathBuf]) -> Self {
        let mut reasons = Vec::new();
        for path in candidates {
            match private(path).and_then(|()| key(path)) {
                Ok(key) => {
                    unfinished::forget(path);
                    reasons.iter().for_each(|passed_over: &PassedOver| passed_over.tell(path));
                    return Self(Place::Private(path.clone(), Box::new(key)));
                }
                Err(error) => reasons.push(PassedOver { path: path.clone(), error }),
            }
        }
        let reasons: Vec<_> =
            reasons.iter().map(|PassedOver { path, error }| format!("{}: {error}", path.display())).collect();
        tracing::warn!(
            "no directory for compiled wasm modules: they are compiled anew at each start and kept in memory ({}); set \
             PILLION_WASM_CACHE to a directory that only this user can write",
            reasons.join("; ")
        );
        Self(Place::Memory)
    }

    /// Artefacts in memory only.
    #[must_use]
    pub fn memory() -> Self {
        Self(Place::Memory)
    }

    /// Where it is; `None`: in memory.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Private(directory, _) => Some(directory),
            Place::Memory => None,
        }
    }

    /// The artefact kept under this name, if it is there and authentic. One that is not is removed.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<File> {
        let Place::Private(directory, key) = &self.0 else { return None };
        let mut tried = 0;
        for entry in fs::read_dir(directory).ok()?.flatten() {
            let file_name = entry.file_name();
            let Some(mac) = file_name.to_str().and_then(|file| file.strip_prefix(name)?.strip_suffix(SUFFIX)) else {
                continue;
            };
            let Some(mac) = mac.strip_prefix('.') else { continue };
            tried += 1;
            if tried > MOST_TRIED {
                break;
            }
            match authentic(&entry.path(), key, name, mac) {
                Ok(file) => {
                    // Told to what forgets the oldest; it is no harm if that cannot be.
                    file.set_modified(SystemTime::now()).ok();
                    return Some(file);
                }
                Err(error) => {
                    let path = entry.path();
                    tracing::warn!("{}: {error}; the module is compiled anew", path.display());
                    fs::remove_file(path).ok();
                }
            }
        }
        None
    }

    /// A module that was fetched before, by its SHA-256, which it is held to.
    #[must_use]
    pub fn fetched(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let Place::Private(directory, _) = &self.0 else { return None };
        let path = directory.join(hex(digest) + FETCHED);
        let file = private_file().read(true).open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        (&file).take(MOST_MODULE + 1).read_to_end(&mut bytes).ok()?;
        if sha256(&bytes) != *digest {
            return None;
        }
        // As an artefact that is found.
        file.set_modified(SystemTime::now()).ok();
        Some(bytes)
    }

    /// A module that was fetched, if it is there, is none of those used longest ago.
    pub fn use_fetched(&self, digest: &[u8; 32]) {
        let Place::Private(directory, _) = &self.0 else { return };
        if let Ok(file) = private_file().read(true).write(true).open(directory.join(hex(digest) + FETCHED)) {
            // As an artefact that is found.
            file.set_modified(SystemTime::now()).ok();
        }
    }

    /// Keeps a module that was fetched, so that a start needs nobody else. That it cannot be kept is told to the log.
    pub fn keep_fetched(&self, digest: &[u8; 32], bytes: &[u8]) {
        let Place::Private(directory, _) = &self.0 else { return };
        let kept = self.new_file().and_then(|mut kept| {
            kept.file.write_all(bytes)?;
            kept.named(&directory.join(hex(digest) + FETCHED))
        });
        match kept {
            Ok(()) => forget_oldest(directory),
            Err(error) => tracing::warn!("a fetched wasm module cannot be kept: {error}"),
        }
    }

    /// A file for a new artefact.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn new_file(&self) -> io::Result<Kept> {
        match &self.0 {
            Place::Private(directory, _) => Kept::begin(directory),
            Place::Memory => Kept::in_memory(),
        }
    }

    /// Keeps a new artefact under a name; the file, to be read.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn keep(&self, name: &str, mut kept: Kept) -> io::Result<File> {
        if let Place::Private(directory, key) = &self.0 {
            kept.file.sync_data()?;
            let length = kept.file.metadata()?.len();
            let mac = mac(key, name, &kept.file, length)?;
            kept.named(&directory.join(format!("{name}.{}{SUFFIX}", hex(&mac))))?;
            forget_oldest(directory);
        }
        let mut file = kept.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }
}

pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    // A pipe in a file's place must not hold up who opens it; to a file that flag means nothing.
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
    options
}

/// What the system's word for it does not say.
fn in_words(error: io::Error) -> io::Error {
    match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::LOOP) => refused("it is a symbolic link, which is not followed; remove it"),
        Some(rustix::io::Errno::ISDIR) => refused("it is a directory; remove it"),
        _ => error,
    }
}

pub(super) fn refused(why: &'static str) -> io::Error {
    io::Error::other(why)
}

/// Whether this user alone can write it.
fn ours(metadata: &Metadata) -> io::Result<()> {
    if metadata.uid() != geteuid().as_raw() {
        return Err(refused("it belongs to another user; remove it, or name another directory in PILLION_WASM_CACHE"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(refused("others may enter or read it (its mode must be 0700 for a directory, 0600 for a file)"));
    }
    Ok(())
}

/// Makes the directory, or checks that it is private.
fn private(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(refused("it is no directory"));
    }
    ours(&metadata)?;
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
    // A directory can be ours and lie on a file system that is not to be written.
    let probe = rustix::fs::open(path, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match probe {
        Ok(_) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The key of the directory, made if there is none, and made anew if what is there is none: cut short by a full disk, or
/// zeroed by a crash. Nothing the lost key vouched for is believed then; each module is compiled once more.
fn key(directory: &Path) -> io::Result<Key> {
    let path = directory.join(KEY);
    let told = |error: io::Error| io::Error::new(error.kind(), format!("its key {}: {error}", path.display()));
    for _ in 0..3 {
        let damaged = match read_key(&path) {
            Ok(Some(bytes)) => return Ok(Key::new(HMAC_SHA256, &bytes)),
            Ok(None) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(told(error)),
        };
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes).map_err(|_| refused("no randomness"))?;
        let mut fresh = Kept::begin(directory)?;
        let written = fresh.file.write_all(&bytes).and_then(|()| fresh.file.sync_data());
        // Either way it is there whole or not at all; another process may have been first.
        match written.and_then(|()| if damaged { fresh.named(&path) } else { fresh.linked(&path) }) {
            Ok(()) if damaged => tracing::warn!(
                "{}: the key of the compiled wasm modules was damaged and is made anew; each module is compiled once \
                 more. If this comes again, look at the disk under it or name another directory in PILLION_WASM_CACHE",
                path.display()
            ),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(told(error)),
        }
    }
    Err(refused("its key comes and goes: is another process removing it?"))
}

/// A key's bytes; `None`: it is ours, and is no key.
fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let file = private_file().read(true).open(path).map_err(in_words)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("it is no file; remove it, it is made anew"));
    }
    ours(&metadata)?;
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let key = <[u8; KEY_BYTES]>::try_from(bytes).ok();
    Ok(key.filter(|key| key.iter().any(|byte| *byte != 0)))
}

/// The MAC of a name and a file of this length.
fn mac(key: &Key, name: &str, file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut context = Context::with_key(key);
    context.update(name.as_bytes());
    context.update(&[0]);
    let mut buffer = vec![0; 64 * 1024];
    let mut at = 0;
    while at < length {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
        at += read as u64;
    }
    // A file that grows is longer than what was read of it, and one that shrinks shorter.
    if at == length && file.metadata()?.len() == length {
        return Ok(context.sign().as_ref().to_vec());
    }
    Err(refused("somebody else is writing it"))
}

/// Opens an artefact whose MAC is the one in its name.
fn authentic(path: &Path, key: &Key, name: &str, expected: &str) -> io::Result<File> {
    let file = private_file().read(true).write(true).open(path).map_err(in_words)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("it is no file"));
    }
    ours(&metadata)?;
    if metadata.len() > MOST_ARTEFACT {
        return Err(refused("it is larger than compiled modules are"));
    }
    let mac = hex(&mac(key, name, &file, metadata.len())?);
    verify_slices_are_equal(mac.as_bytes(), expected.as_bytes())
        .map_err(|_| refused("it is not what this directory's key vouches for"))?;
    Ok(file)
}

/// Removes what is more than is kept, and what was begun and left.
fn forget_oldest(directory: &Path) {
    unfinished::forget(directory);
    let Ok(entries) = fs::read_dir(directory) else { return };
    let artefact = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.ends_with(SUFFIX) || name.ends_with(FETCHED))
    };
    let age = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok()?;
        // What cannot be removed must not count, or all others would go.
        (!metadata.is_dir()).then_some((metadata.modified().ok()?, entry.path()))
    };
    let mut all: Vec<_> = entries.flatten().filter(artefact).filter_map(age).collect();
    all.sort();
    let over = all.len().saturating_sub(MOST_KEPT);
    for (_, path) in all.into_iter().take(over) {
        fs::remove_file(path).ok();
    }
}
