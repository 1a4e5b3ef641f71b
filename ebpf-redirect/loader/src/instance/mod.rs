//! An instance's life: attached, replaced while connections flow, switched off, detached.
//!
//! ```text
//!  attach   lock ► load over the pinned maps ► verdict into PROGRAMS, stub onto SOCKETS ► self-test ► links, pinned ► ON
//!  replace  the same in a scratch instance first ► verdict and links exchanged one by one ► self-test ► or all put back;
//!           the kill switch stays as it was. Links whose cgroup has gone are made anew, a living one elsewhere is refused
//!  detach   OFF ► links gone ► maps stay while a socket is in them: taking a live one out would lose what waits in it
//! ```

mod error;
mod exchange;
mod foreign;
mod links;
mod options;
mod settings;
mod trial;

pub use error::AttachError;
pub(crate) use error::hook;
pub use foreign::{Foreign, foreign};
pub(crate) use links::severed;
pub use options::{BUDGET, Capture, LARGE, Options, Proxy, SOCKETS};
pub(crate) use trial::try_inbound;
pub use trial::try_out;

use crate::{
    ended::{self, Ended, Store},
    maps::{self, Maps, Occupancy, Totals},
    mounts,
    object::{self, Loaded, Lookups},
    pins::{self, PinError, Pins},
    self_test::Report,
};
use exchange::{Before, exchange_lookups, link_all, put_verdict, unlink_capture};
use redirect_common::{Control, mode, port};
use settings::configure;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use trial::{prove, scratch};

/// What attaching did.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The self-test, all of it.
    pub report: Report,
    /// What loading and verifying took.
    pub load_time: Duration,
    /// Whether another version stood there before, on this cgroup.
    pub replaced: bool,
    /// Whether it redirects. A replacement leaves the kill switch as it found it.
    pub on: bool,
    /// Network namespaces whose proxies have claimed what comes in and are not given it, or not any more, since it is attached without
    /// [`Options::inbound`].
    pub let_go: usize,
    /// Ends of connections that its map of sockets has room for: what was asked for, unless it was there before.
    pub room: u64,
}

/// What detaching did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detached {
    /// Nothing was there.
    Absent,
    /// Everything is gone.
    Gone,
    /// The maps stay until these ends of connections have closed; they go on through TCP.
    Draining(u64),
    /// No connection is left, but proxies listen who have claimed what comes into so many network namespaces. The maps stay, so that whoever
    /// attaches next gives it to them at once: nobody else could make their listeners known again.
    Claimed(usize),
    /// It was another layout's. Nothing of it is attached any more; claims have gone with it, which their proxies make anew.
    Foreign {
        /// Which: `v6`.
        layout: String,
        /// Ends of connections that go on through TCP, for which its maps stay until they have closed.
        ends: u64,
    },
}

/// How an instance stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// Names of the attached programs.
    pub links: Vec<String>,
    /// Those of them whose cgroup has gone: they do nothing any more.
    pub severed: Vec<String>,
    /// The number of the cgroup that the others are attached to ([`crate::cgroup_path`] finds it).
    pub cgroup: Option<u64>,
    /// Whether the kill switch lets it work.
    pub on: bool,
    /// Its settings.
    pub control: Control,
    /// The proxy's ports.
    pub ports: BTreeSet<u16>,
    /// Whether what comes into network namespaces is captured: whether claims are taken.
    pub inbound: bool,
    /// Network namespaces whose connections are given to their proxies.
    pub captured: usize,
    /// Those that were claimed and are not: the inodes of their files.
    pub waiting: BTreeSet<u32>,
    /// Counters.
    pub totals: Totals,
    /// How full its maps are.
    pub occupancy: Occupancy,
    /// What is known of connections that ended, by whoever takes the events; `None`: it is kept nowhere.
    pub ended: Option<Ended>,
}

/// Attaches an instance, or replaces the programs and settings of the one that is there, but for its kill switch.
///
/// # Errors
///
/// What is said by [`AttachError`]. An instance that stood before stands as it did; a new one leaves nothing behind.
pub fn attach(options: &Options) -> Result<Attached, AttachError> {
    if options.object.is_empty() {
        return Err(AttachError::NoObject);
    }
    mounts::cgroup_number(&options.cgroup)?;
    pins::sweep()?;
    let pins = Pins::of(&options.instance)?;
    let lock = pins.lock()?;
    foreign::tidy(&pins)?;
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
    let loaded = load(options, pins)?;
    Store::make(pins).map_err(hook(ended::PIN))?;
    let mut maps = Maps::open(pins)?;
    maps.change(|_| Control {
        mode: mode::ATTACHING,
        budget: options.budget,
        large: options.large,
        ..Control::default()
    })?;
    let let_go = let_go(options, pins, &maps);
    put_verdict(pins, &loaded)?;
    let report = prove(&loaded, &mut maps, &options.waived)?;
    let attached = configure(&mut maps, options)
        .and_then(|()| link_all(&loaded, pins, options, &[]))
        .and_then(|()| Ok(maps.forget_closed()?))
        .and_then(|()| switch_on(&mut maps));
    match attached {
        Ok(on) => Ok(Attached { report, load_time: loaded.took, replaced: false, on, let_go, room: maps.room() }),
        Err(error) => {
            pins.detach_links()?;
            maps.set_mode(false)?;
            Err(error)
        }
    }
}

/// Network namespaces that are captured, or whose proxies wait for it, where it is not asked for.
fn let_go(options: &Options, pins: &Pins, maps: &Maps) -> usize {
    if options.inbound {
        return 0;
    }
    let claimed: BTreeSet<u64> = pins.namespaces().into_iter().chain(maps.listening()).collect();
    claimed.len()
}

/// Loads the programs; that those load which are attached to network namespaces later is known then.
fn load(options: &Options, pins: &Pins) -> Result<Loaded, AttachError> {
    let loaded = object::load(&options.object, pins, options.inbound, options.sockets)?;
    if options.inbound {
        Lookups::new(&options.object, pins).load(&0)?;
    }
    Ok(loaded)
}

/// Everything is attached: it begins to work, unless somebody has pulled the switch already. Whether it works.
fn switch_on(maps: &mut Maps) -> Result<bool, AttachError> {
    let mut on = false;
    maps.change(|now| {
        on = now.mode != mode::OFF;
        Control { mode: if on { mode::ON } else { mode::OFF }, ..now }
    })?;
    Ok(on)
}

/// Tries the object in an instance of its own and exchanges the programs if it is good. The kill switch stays as it is:
/// whoever pulled it, an operator or the watchdog, had a reason that a new setting does not answer.
fn replace(options: &Options, pins: &Pins) -> Result<Attached, AttachError> {
    let before = Before::of(pins, options)?;
    let report = scratch(&options.object, &options.waived)?;
    let loaded = load(options, pins)?;
    Store::make(pins).map_err(hook(ended::PIN))?;
    let mut maps = Maps::open(pins)?;
    let let_go = let_go(options, pins, &maps);
    let exchanged = put_verdict(pins, &loaded)
        .and_then(|()| before.make_room(pins))
        .and_then(|()| link_all(&loaded, pins, options, &before.names()))
        .and_then(|()| exchange_lookups(pins, options, &before))
        .and_then(|()| prove(&loaded, &mut maps, &options.waived))
        .and_then(|_| configure(&mut maps, options))
        .and_then(|()| unlink_capture(pins, options, &maps))
        .and_then(|()| switch_on(&mut maps));
    match exchanged {
        Ok(on) => Ok(Attached {
            report,
            load_time: loaded.took,
            replaced: before.is_attached(),
            on,
            let_go,
            room: maps.room(),
        }),
        Err(error) => {
            before.restore(pins, &mut maps)?;
            Err(error)
        }
    }
}

/// Detaches an instance. Connections that are redirected go on through TCP, none loses a byte.
///
/// # Errors
///
/// The file system.
pub fn detach(instance: &str) -> Result<Detached, AttachError> {
    pins::sweep()?;
    let Some(pins) = Pins::seen(instance)?.filter(Pins::exist) else { return Ok(Detached::Absent) };
    let _lock = pins.lock_any()?;
    let other = foreign::detach(&pins)?;
    if !pins.are_there() {
        let attached = pins.is_attached();
        pins.remove()?;
        return Ok(other.unwrap_or(if attached { Detached::Gone } else { Detached::Absent }));
    }
    let mut maps = Maps::open(&pins)?;
    maps.set_mode(false)?;
    pins.detach_links()?;
    if maps.has_sockets() {
        return Ok(Detached::Draining(maps.occupancy().sockets));
    }
    let listening = maps.listening().len();
    if listening > 0 {
        return Ok(Detached::Claimed(listening));
    }
    pins.remove()?;
    Ok(Detached::Gone)
}

/// What became of an instance that was detached with connections left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tidied {
    /// Nothing is left of it.
    Gone,
    /// Connections are left.
    Draining,
    /// Somebody has attached it again: it is his.
    Attached,
}

/// Removes what is left of an instance that was detached, once its last connection has ended. One that is attached is left alone.
///
/// # Errors
///
/// Pins of another version, or the file system.
pub fn tidy(instance: &str) -> Result<Tidied, AttachError> {
    let Some(pins) = Pins::seen(instance)?.filter(Pins::exist) else { return Ok(Tidied::Gone) };
    let _lock = match pins.lock() {
        // Whoever is at work on it says by the next time what came of it.
        Err(PinError::Busy(_)) => return Ok(Tidied::Draining),
        locked => locked?,
    };
    foreign::tidy(&pins)?;
    if !pins.links().is_empty() {
        return Ok(Tidied::Attached);
    }
    if pins.are_there() {
        let maps = Maps::open(&pins)?;
        if maps.has_sockets() || !maps.listening().is_empty() {
            return Ok(Tidied::Draining);
        }
    }
    pins.remove()?;
    Ok(Tidied::Gone)
}

/// Pulls the kill switch of an attached instance, or puts it back, whatever layout it is of.
///
/// # Errors
///
/// It is not attached.
pub fn switch(instance: &str, on: bool) -> Result<(), AttachError> {
    let pins = Pins::there(instance)?;
    if foreign::switch(&pins, on)? {
        return Ok(());
    }
    Maps::attached(&pins, instance)?.set_mode(on)
}

/// Replaces the proxy's ports of an attached instance.
///
/// # Errors
///
/// It is not attached.
pub fn set_ports(instance: &str, ports: &BTreeSet<u16>) -> Result<(), AttachError> {
    let mut maps = Maps::attached(&Pins::there(instance)?, instance)?;
    let others = maps.ports.iter().filter_map(Result::ok).filter(|(_, kind)| *kind != port::LISTENER);
    let mut wanted: BTreeMap<u32, u32> = others.collect();
    wanted.extend(ports.iter().map(|number| (u32::from(*number), port::LISTENER)));
    Ok(maps::make(&mut maps.ports, &wanted)?)
}

/// How an instance stands; `None`: there is none. Mounts and makes nothing.
///
/// # Errors
///
/// Its pins are of another version, or cannot be read.
pub fn status(instance: &str) -> Result<Option<Status>, AttachError> {
    let Some(pins) = Pins::seen(instance)?.filter(Pins::exist) else { return Ok(None) };
    pins.check()?;
    if !pins.are_there() {
        // Connections of another layout's, perhaps, that are not at their ends.
        return Ok(None);
    }
    let maps = Maps::open(&pins)?;
    let control = maps.control()?;
    let mut links = pins.links();
    links.sort();
    let places = links::places(&pins, &links);
    let namespaces = pins.namespaces();
    let ports = maps
        .ports
        .iter()
        .filter_map(Result::ok)
        .filter(|(_, kind)| *kind == port::LISTENER)
        .filter_map(|(number, _)| u16::try_from(number).ok())
        .collect();
    Ok(Some(Status {
        severed: places.iter().filter(|(_, cgroup)| cgroup.is_none()).map(|(name, _)| name.clone()).collect(),
        cgroup: places.iter().find_map(|(_, cgroup)| *cgroup),
        inbound: links.iter().any(|name| name == object::CLAIM),
        captured: namespaces.len(),
        waiting: maps
            .claims()
            .iter()
            .filter(|(cookie, _)| !namespaces.contains(cookie))
            .map(|(_, claimed)| claimed.inode)
            .collect(),
        links,
        on: control.mode == mode::ON,
        control,
        ports,
        totals: maps.totals()?,
        occupancy: maps.occupancy(),
        ended: Store::open(&pins).map(|store| store.read()).transpose()?,
    }))
}
