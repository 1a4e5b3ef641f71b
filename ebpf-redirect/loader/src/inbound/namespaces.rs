//! namespaces: the node agent's side. Where a claim stands and its listener is there, the namespace's file is found and the program
//! attached to it; where a namespace has gone, nothing of it is kept.
//!
//! ```text
//!  claims counted more than at the last look? ─► CLAIMS ─► listens? ─► file of that inode? ─► lookup, linked, pinned
//!                                                  ▲          no, or none: again, and said once why
//!                                                  └── every few seconds: links whose namespace has gone, claims of nobody
//! ```
//!
//! A namespace's cookie is its own for ever, its inode is another's as soon as it has gone. That a listener of the cookie is in the map
//! says that the namespace lives; the file is open then, so its namespace lives too, and two that live have two inodes.

use crate::{
    AttachError, Counter, Object, Options,
    instance::hook,
    maps::Maps,
    object::{CLAIM, LOOKUP, Loaded, Lookups},
    pins::{PinError, Pins, of_namespace},
    sys,
};
use redirect_common::{Claimed, MOST_NAMESPACES};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    io,
    mem::discriminant,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where files of network namespaces are by custom: container runtimes and `ip netns` bind them there.
pub const NAMESPACES: &str = "/run/netns";

/// How often claims that wait are looked at, while the last one is new and later.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_secs(2);

/// How long the last claim is new: the time that a runtime and a proxy may take over it.
const NEW: Duration = Duration::from_secs(10);

/// How often it is looked after what has gone.
const SWEEP: Duration = Duration::from_secs(2);

/// How long a claim is kept of which nothing is seen to live. A proxy listens in the moment after it.
const KEPT: Duration = Duration::from_secs(60);

/// The same while there is no room for others.
const KEPT_WHEN_FULL: Duration = Duration::from_secs(10);

/// `NSFS_MAGIC` (linux/magic.h).
const NSFS: i64 = 0x6e73_6673;

/// Why a namespace that is claimed is not captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The proxy does not listen, or not any more.
    Listener,
    /// None of the files is that namespace's.
    File {
        /// Where it was looked for.
        among: Vec<PathBuf>,
    },
    /// It is this process's own: the node's, where the agent is in that.
    Own,
    /// The kernel refuses.
    Refused(String),
}

impl Waiting {
    /// A word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Listener => "no_listener",
            Self::File { .. } => "no_file",
            Self::Own => "own",
            Self::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener => f.write_str("its proxy does not listen"),
            Self::File { among } => {
                let among: Vec<_> = among.iter().map(|folder| folder.display().to_string()).collect();
                write!(
                    f,
                    "no file in {} is that namespace: the directory where the container runtime keeps them must be seen here \
                     as it is on the node, mounts that come later included (a hostPath volume with `mountPropagation: \
                     HostToContainer`), and named by --namespaces",
                    among.join(", ")
                )
            }
            Self::Own => f.write_str(
                "it is the agent's own: a proxy of a pod with `hostNetwork` cannot have all that comes to the node",
            ),
            Self::Refused(error) => f.write_str(error),
        }
    }
}

/// What a look has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// From now on the proxy is given what comes in.
    Captured {
        /// The inode of the namespace's file.
        inode: u32,
        /// That file.
        file: PathBuf,
    },
    /// It is not, for this reason, which was not so before.
    Waiting {
        /// As above.
        inode: u32,
        /// The reason.
        why: Waiting,
    },
    /// Its namespace has gone, and what was known of it.
    Gone {
        /// As above; `None`: it is not known any more.
        inode: Option<u32>,
    },
    /// Somebody has attached the instance without [`Options::inbound`]: nothing is captured any more.
    LetGo {
        /// Namespaces whose proxies listen for what comes in.
        namespaces: usize,
    },
    /// Claims were not taken for want of room, of which none were in the minute before.
    Full {
        /// Namespaces that are claimed.
        claims: usize,
    },
}

/// Keeps an instance's links to network namespaces.
pub struct Namespaces {
    instance: String,
    pins: Pins,
    folders: Vec<PathBuf>,
    object: Object,
    /// With the number of the pins that they were opened by.
    maps: Option<(u64, Maps)>,
    /// Claims that were counted when the last of them was seen, and when that was.
    claims: u64,
    claimed: Instant,
    /// When it is looked whatever was counted.
    due: Instant,
    waiting: BTreeMap<u64, Standing>,
    captured: usize,
    let_go: bool,
    full: Full,
}

/// Claims that were not taken for want of room.
#[derive(Default)]
struct Full {
    count: u64,
    /// When there were more of them last.
    last: Option<Instant>,
}

impl Full {
    /// Whether there are more than there were, for the first time in a while: who is refused asks again every few seconds.
    fn is_news(&mut self, count: u64, now: Instant) -> bool {
        if count == self.count {
            return false;
        }
        let last = self.last.replace(now);
        self.count = count;
        last.is_none_or(|last| now.duration_since(last) >= KEPT)
    }
}

/// A claim that is waiting.
struct Standing {
    inode: u32,
    why: Waiting,
    /// Since when nothing of its namespace is seen to live.
    dead: Option<Instant>,
}

impl Namespaces {
    /// Of an instance that is attached with these options, and the directories that have files of network namespaces.
    ///
    /// # Errors
    ///
    /// No BPF file system is there.
    pub fn new(options: &Options, folders: &[PathBuf]) -> Result<Self, AttachError> {
        let now = Instant::now();
        Ok(Self {
            instance: options.instance.clone(),
            pins: Pins::there(&options.instance)?,
            folders: folders.to_vec(),
            object: options.object.clone(),
            maps: None,
            claims: 0,
            claimed: now,
            due: now,
            waiting: BTreeMap::new(),
            captured: 0,
            let_go: false,
            full: Full::default(),
        })
    }

    /// Namespaces whose connections are given to their proxies.
    #[must_use]
    pub fn captured(&self) -> usize {
        self.captured
    }

    /// Whether the instance is attached without [`Options::inbound`], by somebody else.
    #[must_use]
    pub fn is_let_go(&self) -> bool {
        self.let_go
    }

    /// Namespaces that are claimed and are not, by the inodes of their files, and why.
    pub fn waiting(&self) -> impl Iterator<Item = (u32, &Waiting)> {
        self.waiting.values().map(|standing| (standing.inode, &standing.why))
    }

    /// Looks whether there is something to do, and does it. To be asked some times a second: where nothing has changed it takes one
    /// call to know.
    ///
    /// # Errors
    ///
    /// The pins or the maps cannot be used. That another process is at work on them is none: it is done the next time.
    pub fn look(&mut self) -> Result<Vec<Change>, AttachError> {
        let Some(generation) = self.pins.generation() else {
            // Detached by somebody else.
            (self.maps, self.captured, self.let_go) = (None, 0, false);
            self.waiting.clear();
            return Ok(Vec::new());
        };
        let now = Instant::now();
        if self.maps.as_ref().is_none_or(|(of, _)| *of != generation) {
            let Ok(maps) = Maps::attached(&self.pins, &self.instance) else { return Ok(Vec::new()) };
            // What was counted beneath an agent before is its affair.
            self.full = Full { count: maps.totals()?.get(Counter::ClaimsFull), last: None };
            self.maps = Some((generation, maps));
            (self.claims, self.due) = (0, now);
            self.waiting.clear();
        }
        let Some((_, maps)) = &mut self.maps else { return Ok(Vec::new()) };
        let totals = maps.totals()?;
        let claims = totals.get(Counter::Claims);
        let mut changes = Vec::new();
        if self.full.is_news(totals.get(Counter::ClaimsFull), now) {
            changes.push(Change::Full { claims: maps.claims().len() });
        }
        if claims != self.claims {
            // Also where another process is at work now.
            (self.claims, self.claimed, self.due) = (claims, now, now);
        } else if now < self.due {
            return Ok(changes);
        }
        let _lock = match self.pins.try_lock() {
            Err(PinError::Busy(_)) => return Ok(changes),
            locked => locked?,
        };
        if !self.pins.link(CLAIM).exists() {
            // Detached by somebody else, with claims that are kept for the next; or attached anew without this.
            (self.captured, self.due) = (0, now + SWEEP);
            self.waiting.clear();
            let let_go = !self.pins.links().is_empty();
            let said = std::mem::replace(&mut self.let_go, let_go);
            changes.extend((let_go && !said).then(|| Change::LetGo { namespaces: maps.listening().len() }));
            return Ok(changes);
        }
        self.let_go = false;
        // Where this look fails, too.
        self.due = now + LATER;
        let mut round =
            Round { pins: &self.pins, object: &self.object, folders: &self.folders, maps, files: None, changes };
        let (waiting, captured) = round.look(std::mem::take(&mut self.waiting), now)?;
        let changes = round.changes;
        let wait = match waiting.is_empty() {
            true => SWEEP,
            false if now.duration_since(self.claimed) < NEW => SOON,
            false => LATER,
        };
        (self.waiting, self.captured, self.due) = (waiting, captured, now + wait);
        Ok(changes)
    }
}

/// One look at everything, under the instance's lock.
struct Round<'a> {
    pins: &'a Pins,
    object: &'a Object,
    folders: &'a [PathBuf],
    maps: &'a mut Maps,
    /// Files of namespaces by their inodes, once one is asked for.
    files: Option<BTreeMap<u64, PathBuf>>,
    changes: Vec<Change>,
}

impl<'a> Round<'a> {
    fn look(
        &mut self,
        before: BTreeMap<u64, Standing>,
        now: Instant,
    ) -> Result<(BTreeMap<u64, Standing>, usize), AttachError> {
        let mut claims = self.maps.claims();
        let mut linked = self.sweep(&mut claims)?;
        let listening = self.maps.listening();
        // Of inodes that claims have whose namespaces live: any other claim's has gone.
        let alive: BTreeSet<u32> = claims
            .iter()
            .filter(|(cookie, _)| linked.contains(cookie) || listening.contains(cookie))
            .map(|(_, claimed)| claimed.inode)
            .collect();
        let kept = if claims.len() < MOST_NAMESPACES { KEPT } else { KEPT_WHEN_FULL };
        let mut waiting = BTreeMap::new();
        let mut lookups = None;
        for (cookie, Claimed { inode, .. }) in &claims {
            let (cookie, inode) = (cookie, *inode);
            if linked.contains(cookie) {
                continue;
            }
            let known = before.get(cookie);
            let (why, lives) = if listening.contains(cookie) {
                match self.capture(cookie, inode, &mut lookups) {
                    Ok(file) => {
                        linked.insert(*cookie);
                        self.changes.push(Change::Captured { inode, file });
                        continue;
                    }
                    Err(why) => (why, true),
                }
            } else {
                let lives = !alive.contains(&inode) && self.file(inode).is_some();
                (Waiting::Listener, lives)
            };
            let dead = if lives { None } else { Some(known.and_then(|known| known.dead).unwrap_or(now)) };
            if dead.is_some_and(|since| now.duration_since(since) >= kept) {
                self.maps.forget_claim(*cookie)?;
                self.changes.push(Change::Gone { inode: Some(inode) });
                continue;
            }
            // That one does not listen yet is nothing to tell, nor that it is about to again. A verifier says how long it took, too.
            if why != Waiting::Listener && known.is_none_or(|known| discriminant(&known.why) != discriminant(&why)) {
                self.changes.push(Change::Waiting { inode, why: why.clone() });
            }
            waiting.insert(*cookie, Standing { inode, why, dead });
        }
        Ok((waiting, linked.len()))
    }

    /// Removes the links whose namespaces have gone, with their claims. The cookies of the others.
    fn sweep(&mut self, claims: &mut BTreeMap<u64, Claimed>) -> Result<BTreeSet<u64>, AttachError> {
        let mut linked = BTreeSet::new();
        for cookie in self.pins.namespaces() {
            let link = sys::pinned(&self.pins.namespace(cookie)).map_err(hook(LOOKUP))?;
            let lives = sys::namespace_program(link.as_fd()).map_err(hook(LOOKUP))?.is_some();
            if lives && claims.contains_key(&cookie) {
                linked.insert(cookie);
                continue;
            }
            drop(link);
            self.pins.detach_namespace(cookie)?;
            if !lives {
                self.maps.forget_claim(cookie)?;
                let inode = claims.remove(&cookie).map(|claimed| claimed.inode);
                self.changes.push(Change::Gone { inode });
            }
        }
        Ok(linked)
    }

    /// Attaches the program to a namespace whose listener is there.
    fn capture<'b>(
        &mut self,
        cookie: &'b u64,
        inode: u32,
        lookups: &mut Option<Lookups<'b>>,
    ) -> Result<PathBuf, Waiting>
    where
        'a: 'b,
    {
        if is_own(inode) {
            return Err(Waiting::Own);
        }
        let found = self.file(inode).and_then(|path| Some((open(&path, inode)?, path)));
        let (file, path) = found.ok_or_else(|| Waiting::File { among: self.folders.to_vec() })?;
        // The file holds its namespace from now on. Did the one of the cookie live until now, it is the same.
        if !self.maps.listening().contains(cookie) {
            return Err(Waiting::Listener);
        }
        let lookups = lookups.get_or_insert_with(|| Lookups::new(self.object, self.pins));
        let linked =
            lookups.load(cookie).map_err(AttachError::from).and_then(|loaded| self.link(*cookie, &loaded, &file));
        linked.map_err(|error| Waiting::Refused(error.to_string()))?;
        Ok(path)
    }

    fn link(&self, cookie: u64, loaded: &Loaded, file: &File) -> Result<(), AttachError> {
        let program = loaded.fd(LOOKUP)?.as_fd();
        // Before the link: who exchanges that finds what is in force.
        self.pins.keep_program(&of_namespace(cookie), program)?;
        let linked = sys::link(program, file.as_fd(), sys::Hook::SkLookup)
            .and_then(|link| sys::pin(link.as_fd(), &self.pins.namespace(cookie)));
        if linked.is_err() {
            self.pins.forget_program(&of_namespace(cookie))?;
        }
        linked.map_err(hook(LOOKUP))
    }

    fn file(&mut self, inode: u32) -> Option<PathBuf> {
        self.files.get_or_insert_with(|| files(self.folders)).get(&inode.into()).cloned()
    }
}

/// All files of namespaces in these directories.
fn files(folders: &[PathBuf]) -> BTreeMap<u64, PathBuf> {
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    entries
        .filter_map(|entry| {
            let path = entry.path();
            let inode = fs::metadata(&path).ok()?.ino();
            // A name that nothing is mounted on here has an inode of its own file system's.
            let there = rustix::fs::statfs(&path).is_ok_and(|system| system.f_type == NSFS);
            there.then_some((inode, path))
        })
        .collect()
}

/// A namespace's file, if it is that one's still.
fn open(path: &Path, inode: u32) -> Option<File> {
    let file = File::open(path).ok()?;
    let system = rustix::fs::fstatfs(&file).ok()?;
    let is = system.f_type == NSFS && file.metadata().is_ok_and(|data| data.ino() == u64::from(inode));
    is.then_some(file)
}

fn is_own(inode: u32) -> bool {
    let own: io::Result<_> = fs::metadata("/proc/thread-self/ns/net");
    own.is_ok_and(|data| data.ino() == u64::from(inode))
}
