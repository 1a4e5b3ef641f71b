//! An instance's life: attached, replaced while connections flow, switched off, detached.
//!
//! ```text
//!  attach   lock ► load over the pinned maps ► verdict into PROGRAMS, stub onto SOCKETS ► self-test ► links, pinned ► ON
//!  replace  the same in a scratch instance first ► verdict and links exchanged one by one ► self-test ► or all put back
//!  detach   OFF ► links gone ► maps stay while a socket is in them: taking a live one out would lose what waits in it
//! ```

use crate::{
    maps::{self, Maps, Occupancy, Totals},
    mounts::{self, MountError},
    object::{self, ATTACHMENTS, Attachment, LoadError, Loaded, Object, STUB, VERDICT},
    pins::{PinError, Pins},
    self_test::{self, Outcome, Property, Report, SelfTestError},
    sys,
};
use aya::maps::{MapError, lpm_trie::Key};
use redirect_common::{Address, Control, Identity, LAYOUT, identity, mode, port};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Unread bytes at a receiver beyond which its sender goes through TCP: a small message's queue, not a bulk stream's.
pub const BUDGET: u32 = 256 * 1024;

/// Messages of so many bytes go through TCP unless said otherwise: pieces of larger ones look like this, and at 1 MiB
/// redirecting loses (ebpf-redirect/README.md).
pub const LARGE: u32 = 64 * 1024;

/// Who the proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// A process, by its number as the initial process namespace has it.
    Process(u32),
    /// A user, by number.
    User(u32),
    /// Whatever runs in a cgroup itself, not below it.
    Cgroup(PathBuf),
}

/// Which outbound connections are taken to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The proxy's port for them, on loopback.
    pub port: u16,
    /// Destinations left alone. Loopback always is.
    pub exclude: Vec<(IpAddr, u8)>,
    /// Destination ports left alone.
    pub exclude_ports: BTreeSet<u16>,
}

/// What an instance is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name.
    pub instance: String,
    /// The cgroup (version 2) whose connections may be redirected, with all below it.
    pub cgroup: PathBuf,
    /// The ports that the proxy listens on.
    pub ports: BTreeSet<u16>,
    /// Who opens the proxy's upstream connections.
    pub proxies: Vec<Proxy>,
    /// Outbound connections to take to the proxy.
    pub capture: Option<Capture>,
    /// See [`BUDGET`].
    pub budget: u32,
    /// See [`LARGE`].
    pub large: u32,
    /// Whether ends of connections are reported.
    pub events: bool,
    /// Properties that may fail: nothing on this node needs them.
    pub waived: Vec<Property>,
    /// The programs.
    pub object: Object,
}

impl Options {
    /// With every default.
    #[must_use]
    pub fn new(instance: impl Into<String>, cgroup: impl Into<PathBuf>) -> Self {
        Self {
            instance: instance.into(),
            cgroup: cgroup.into(),
            ports: BTreeSet::new(),
            proxies: Vec::new(),
            capture: None,
            budget: BUDGET,
            large: LARGE,
            events: true,
            waived: Vec::new(),
            object: Object::default(),
        }
    }
}

/// Why nothing was attached, or nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The build has no programs.
    #[error("this build embeds no programs: build them with ebpf-redirect/build")]
    NoObject,
    /// The cgroup.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The pins.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The programs.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The maps.
    #[error("a map cannot be used: {0}")]
    Map(#[from] MapError),
    /// The self-test could not be made.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// It failed: this kernel has a fault, and everything stays on plain TCP.
    #[error("the self-test failed: {}: {}", .0.property, .0.failure.as_deref().unwrap_or("no reason"))]
    Declined(Outcome),
    /// A prefix that is longer than its address.
    #[error("{0}/{1} is no prefix")]
    Prefix(IpAddr, u8),
    /// A hook of the kernel.
    #[error("{hook}: {error}")]
    Hook {
        /// Which.
        hook: String,
        /// What the kernel said.
        error: io::Error,
    },
}

impl AttachError {
    /// A word for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoObject => "no_object",
            Self::Mount(_) => "mount",
            Self::Pin(_) => "pins",
            Self::Load(LoadError::Forbidden { .. }) => "forbidden",
            Self::Load(LoadError::Btf(_)) => "btf",
            Self::Load(_) => "load",
            Self::Map(_) => "map",
            Self::SelfTest(_) => "self_test",
            Self::Declined(outcome) => outcome.property.name(),
            Self::Prefix(..) => "prefix",
            Self::Hook { .. } => "hook",
        }
    }
}

/// What attaching did.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The self-test, all of it.
    pub report: Report,
    /// What loading and verifying took.
    pub load_time: Duration,
    /// Whether another version stood there before.
    pub replaced: bool,
}

/// What detaching did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    /// Nothing was there.
    Absent,
    /// Everything is gone.
    Gone,
    /// The maps stay until these ends of connections have closed; they go on through TCP.
    Draining(u64),
}

/// How an instance stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// Names of the attached programs.
    pub links: Vec<String>,
    /// Whether the kill switch lets it work.
    pub on: bool,
    /// Its settings.
    pub control: Control,
    /// The proxy's ports.
    pub ports: BTreeSet<u16>,
    /// Counters.
    pub totals: Totals,
    /// How full its maps are.
    pub occupancy: Occupancy,
}

/// Attaches an instance, or replaces the programs and settings of the one that is there.
///
/// # Errors
///
/// What is said by [`AttachError`]. An instance that stood before stands as it did; a new one leaves nothing behind.
pub fn attach(options: &Options) -> Result<Attached, AttachError> {
    if options.object.is_empty() {
        return Err(AttachError::NoObject);
    }
    mounts::cgroup_number(&options.cgroup)?;
    let pins = Pins::of(&options.instance)?;
    let lock = pins.lock()?;
    if pins.are_there() && !pins.links().is_empty() {
        return replace(options, &pins);
    }
    // What a crash left: maps in part, or whole with sockets in them, which are taken over.
    if !pins.are_there() {
        pins.remove()?;
        drop(lock);
        let _lock = pins.lock()?;
        let attached = fresh(options, &pins);
        if attached.is_err() {
            pins.remove()?;
        }
        return attached;
    }
    fresh(options, &pins)
}

fn fresh(options: &Options, pins: &Pins) -> Result<Attached, AttachError> {
    let loaded = object::load(&options.object, pins)?;
    let mut maps = Maps::open(pins)?;
    maps.set_control(Control {
        layout: LAYOUT,
        mode: mode::OFF,
        budget: options.budget,
        large: options.large,
        events: 0,
        capture: 0,
    })?;
    put_verdict(pins, &loaded)?;
    let report = prove(&loaded, &mut maps, &options.waived)?;
    configure(&mut maps, options, false)?;
    let attached = link_all(&loaded, pins, options, &[]).and_then(|_| configure(&mut maps, options, true));
    if let Err(error) = attached {
        pins.detach_links()?;
        maps.set_mode(false)?;
        return Err(error);
    }
    Ok(Attached { report, load_time: loaded.took, replaced: false })
}

/// Tries the object in an instance of its own and exchanges the programs if it is good.
fn replace(options: &Options, pins: &Pins) -> Result<Attached, AttachError> {
    let report = scratch(&options.object, &options.waived)?;
    let loaded = object::load(&options.object, pins)?;
    let mut maps = Maps::open(pins)?;
    let before = Before::of(pins)?;
    let exchanged = put_verdict(pins, &loaded)
        .and_then(|()| link_all(&loaded, pins, options, &before.names()))
        .and_then(|_| prove(&loaded, &mut maps, &options.waived))
        .and_then(|_| configure(&mut maps, options, true));
    if let Err(error) = exchanged {
        before.restore(pins, &mut maps)?;
        return Err(error);
    }
    Ok(Attached { report, load_time: loaded.took, replaced: true })
}

/// What stood before a replacement, held so that it can stand again.
struct Before {
    verdict: Option<OwnedFd>,
    links: Vec<(String, OwnedFd)>,
    control: Control,
}

impl Before {
    fn of(pins: &Pins) -> Result<Self, AttachError> {
        let array = sys::pinned(&pins.map("PROGRAMS")).map_err(hook("PROGRAMS"))?;
        let verdict = sys::program_at(array.as_fd(), 0).and_then(|number| sys::program(number).ok());
        let mut links = Vec::new();
        for name in pins.links() {
            let link = sys::pinned(&pins.link(&name)).map_err(hook(&name))?;
            let number = sys::link_program(link.as_fd()).map_err(hook(&name))?;
            links.push((name.clone(), sys::program(number).map_err(hook(&name))?));
        }
        Ok(Self { verdict, links, control: Maps::open(pins)?.control()? })
    }

    fn names(&self) -> Vec<&str> {
        self.links.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn restore(&self, pins: &Pins, maps: &mut Maps) -> Result<(), AttachError> {
        if let Some(verdict) = &self.verdict {
            let array = sys::pinned(&pins.map("PROGRAMS")).map_err(hook("PROGRAMS"))?;
            sys::set_program_at(array.as_fd(), 0, verdict.as_fd()).map_err(hook(VERDICT))?;
        }
        for (name, program) in &self.links {
            let link = sys::pinned(&pins.link(name)).map_err(hook(name))?;
            sys::update(link.as_fd(), program.as_fd()).map_err(hook(name))?;
        }
        Ok(maps.set_control(self.control)?)
    }
}

fn hook(name: &str) -> impl FnOnce(io::Error) -> AttachError {
    let hook = name.to_owned();
    move |error| AttachError::Hook { hook, error }
}

/// The new verdict is the one that every enrolled socket meets from now on, by way of the stub that it was enrolled with.
fn put_verdict(pins: &Pins, loaded: &Loaded) -> Result<(), AttachError> {
    let array = sys::pinned(&pins.map("PROGRAMS")).map_err(hook("PROGRAMS"))?;
    sys::set_program_at(array.as_fd(), 0, loaded.fd(VERDICT)?.as_fd()).map_err(hook(VERDICT))?;
    let sockets = sys::pinned(&pins.map("SOCKETS")).map_err(hook("SOCKETS"))?;
    sys::attach_to_map(loaded.fd(STUB)?.as_fd(), sockets.as_fd(), sys::Hook::SkMsg).map_err(hook(STUB))
}

/// Links every program that is wanted, in the place of its predecessor where there is one.
fn link_all(loaded: &Loaded, pins: &Pins, options: &Options, there: &[&str]) -> Result<(), AttachError> {
    let cgroup = File::open(&options.cgroup).map_err(hook(&options.cgroup.display().to_string()))?;
    let wanted = |attachment: &&Attachment| !attachment.for_capture || options.capture.is_some();
    for Attachment { name, hook: at, .. } in ATTACHMENTS.iter().filter(wanted) {
        let program = loaded.fd(name)?;
        let place = pins.link(name);
        if there.contains(name) {
            let link = sys::pinned(&place).map_err(hook(name))?;
            sys::update(link.as_fd(), program.as_fd()).map_err(hook(name))?;
        } else {
            let link = sys::link(program.as_fd(), cgroup.as_fd(), *at).map_err(hook(name))?;
            sys::pin(link.as_fd(), &place).map_err(hook(name))?;
        }
    }
    Ok(())
}

fn configure(maps: &mut Maps, options: &Options, on: bool) -> Result<(), AttachError> {
    maps::make(&mut maps.ports, &options.ports.iter().map(|number| (u32::from(*number), port::LISTENER)).collect())?;
    let mut proxies = BTreeMap::new();
    for proxy in &options.proxies {
        let (kind, number) = match proxy {
            Proxy::Process(number) => (identity::PROCESS, u64::from(*number)),
            Proxy::User(number) => (identity::USER, u64::from(*number)),
            Proxy::Cgroup(path) => (identity::CGROUP, mounts::cgroup_number(path)?),
        };
        proxies.insert(Identity { kind, zero: 0, number }, 1);
    }
    maps::make(&mut maps.proxies, &proxies)?;
    let mut capture = 0;
    if let Some(wanted) = &options.capture {
        capture = u32::from(wanted.port);
        maps::make(&mut maps.excluded_ports, &wanted.exclude_ports.iter().map(|port| (u32::from(*port), 1)).collect())?;
        let mut keys = Vec::new();
        for (address, bits) in &wanted.exclude {
            let (address, bits, most) = match address {
                IpAddr::V4(v4) => (Address::v4(u32::from_ne_bytes(v4.octets())), u32::from(*bits) + 96, 128),
                IpAddr::V6(v6) => (Address::v6(words(v6.octets())), u32::from(*bits), 128),
            };
            if bits > most {
                let (address, bits) = wanted.exclude[keys.len()];
                return Err(AttachError::Prefix(address, bits));
            }
            keys.push((bits, address.0));
        }
        for (bits, address) in &keys {
            maps.excluded.insert(&Key::new(*bits, *address), 1, 0)?;
        }
        let gone: Vec<_> = maps
            .excluded
            .keys()
            .filter_map(Result::ok)
            .filter(|key| !keys.contains(&(key.prefix_len(), key.data())))
            .collect();
        for key in gone {
            maps.excluded.remove(&key)?;
        }
    }
    Ok(maps.set_control(Control {
        layout: LAYOUT,
        mode: if on { mode::ON } else { mode::OFF },
        budget: options.budget,
        large: options.large,
        events: options.events.into(),
        capture,
    })?)
}

fn words(octets: [u8; 16]) -> [u32; 4] {
    let word = |at: usize| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

/// The self-test inside these programs, over these maps, from the cgroup of this process.
fn prove(loaded: &Loaded, maps: &mut Maps, waived: &[Property]) -> Result<Report, AttachError> {
    let report = test(loaded, maps)?;
    match report.failed(waived) {
        Some(outcome) => Err(AttachError::Declined(outcome.clone())),
        None => Ok(report),
    }
}

fn test(loaded: &Loaded, maps: &mut Maps) -> Result<Report, AttachError> {
    let own = mounts::own_cgroup()?;
    let cgroup = File::open(&own).map_err(hook(&own.display().to_string()))?;
    // Gone with the descriptor, also where this process dies.
    let _link = sys::link(loaded.fd("enrol")?.as_fd(), cgroup.as_fd(), sys::Hook::SockOps).map_err(hook("enrol"))?;
    Ok(self_test::run(maps)?)
}

/// The self-test of an object in an instance made for it and removed again.
///
/// # Errors
///
/// It could not be made. That a property failed is in the report.
pub fn try_out(object: &Object) -> Result<(Report, Duration), AttachError> {
    if object.is_empty() {
        return Err(AttachError::NoObject);
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pins = Pins::of(&format!("try-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))?;
    let lock = pins.lock()?;
    let tried = || -> Result<_, AttachError> {
        let loaded = object::load(object, &pins)?;
        let mut maps = Maps::open(&pins)?;
        maps.set_control(Control {
            layout: LAYOUT,
            mode: mode::OFF,
            budget: BUDGET,
            large: u32::MAX,
            events: 0,
            capture: 0,
        })?;
        put_verdict(&pins, &loaded)?;
        Ok((test(&loaded, &mut maps)?, loaded.took))
    };
    let tried = tried();
    drop(lock);
    pins.remove()?;
    tried
}

fn scratch(object: &Object, waived: &[Property]) -> Result<Report, AttachError> {
    let (report, _) = try_out(object)?;
    match report.failed(waived) {
        Some(outcome) => Err(AttachError::Declined(outcome.clone())),
        None => Ok(report),
    }
}

/// Detaches an instance. Connections that are redirected go on through TCP, none loses a byte.
///
/// # Errors
///
/// Pins of another version, or the file system.
pub fn detach(instance: &str) -> Result<Detached, AttachError> {
    let pins = Pins::of(instance)?;
    if !pins.exist() {
        return Ok(Detached::Absent);
    }
    let _lock = pins.lock()?;
    if !pins.are_there() {
        pins.remove()?;
        return Ok(Detached::Gone);
    }
    let mut maps = Maps::open(&pins)?;
    maps.set_mode(false)?;
    pins.detach_links()?;
    if maps.has_sockets() {
        return Ok(Detached::Draining(maps.occupancy().sockets));
    }
    pins.remove()?;
    Ok(Detached::Gone)
}

/// Pulls the kill switch of an attached instance, or puts it back.
///
/// # Errors
///
/// It is not attached.
pub fn switch(instance: &str, on: bool) -> Result<(), AttachError> {
    let pins = Pins::of(instance)?;
    pins.check()?;
    Ok(Maps::open(&pins)?.set_mode(on)?)
}

/// Replaces the proxy's ports of an attached instance.
///
/// # Errors
///
/// It is not attached.
pub fn set_ports(instance: &str, ports: &BTreeSet<u16>) -> Result<(), AttachError> {
    let pins = Pins::of(instance)?;
    pins.check()?;
    let mut maps = Maps::open(&pins)?;
    Ok(maps::make(&mut maps.ports, &ports.iter().map(|number| (u32::from(*number), port::LISTENER)).collect())?)
}

/// How an instance stands; `None`: there is none.
///
/// # Errors
///
/// Its pins are of another version, or cannot be read.
pub fn status(instance: &str) -> Result<Option<Status>, AttachError> {
    let pins = Pins::of(instance)?;
    if !pins.exist() {
        return Ok(None);
    }
    pins.check()?;
    let maps = Maps::open(&pins)?;
    let control = maps.control()?;
    let mut links = pins.links();
    links.sort();
    let ports = maps
        .ports
        .iter()
        .filter_map(Result::ok)
        .filter(|(_, kind)| *kind == port::LISTENER)
        .filter_map(|(number, _)| u16::try_from(number).ok())
        .collect();
    Ok(Some(Status {
        links,
        on: control.mode == mode::ON,
        control,
        ports,
        totals: maps.totals()?,
        occupancy: maps.occupancy(),
    }))
}
