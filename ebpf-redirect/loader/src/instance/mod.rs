//! An instance's life: attached, replaced while connections flow, switched off, detached.
//!
//! ```text
//!  attach   lock ► load over the pinned maps ► verdict into PROGRAMS, stub onto SOCKETS ► self-test ► links, pinned ► ON
//!  replace  the same in a scratch instance first ► verdict and links exchanged one by one ► self-test ► or all put back;
//!           the kill switch stays as it was
//!  detach   OFF ► links gone ► maps stay while a socket is in them: taking a live one out would lose what waits in it
//! ```

mod error;
mod exchange;
mod options;
mod settings;
mod trial;

pub use error::AttachError;
pub use options::{BUDGET, Capture, LARGE, Options, Proxy};
pub use trial::try_out;

use crate::{
    maps::{self, Maps, Occupancy, Totals},
    mounts, object,
    pins::Pins,
    self_test::Report,
};
use exchange::{Before, link_all, put_verdict};
use redirect_common::{Control, Counter, LAYOUT, mode, port};
use settings::configure;
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};
use trial::{prove, scratch};

/// How long the self-test's connections may take to end.
const SELF_TEST_ENDS: Duration = Duration::from_secs(1);

/// What attaching did.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The self-test, all of it.
    pub report: Report,
    /// What loading and verifying took.
    pub load_time: Duration,
    /// Whether another version stood there before.
    pub replaced: bool,
    /// Whether it redirects. A replacement leaves the kill switch as it found it.
    pub on: bool,
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
    // Ends of an earlier life may be in the maps still: they are counted when they close.
    let new = !maps.has_sockets();
    let report = prove(&loaded, &mut maps, &options.waived)?;
    if new && ended(&maps)? {
        maps.forget_totals()?;
    }
    configure(&mut maps, options, false)?;
    let attached = link_all(&loaded, pins, options, &[]).and_then(|_| configure(&mut maps, options, true));
    if let Err(error) = attached {
        pins.detach_links()?;
        maps.set_mode(false)?;
        return Err(error);
    }
    Ok(Attached { report, load_time: loaded.took, replaced: false, on: true })
}

/// Waits until the self-test's connections are gone, which the kernel ends after their last descriptor is closed; whether they are.
fn ended(maps: &Maps) -> Result<bool, AttachError> {
    for _ in 0..SELF_TEST_ENDS.as_millis() {
        let totals = maps.totals()?;
        if totals.get(Counter::Closed) >= totals.get(Counter::Enrolled) && !maps.has_sockets() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}

/// Tries the object in an instance of its own and exchanges the programs if it is good.
fn replace(options: &Options, pins: &Pins) -> Result<Attached, AttachError> {
    let report = scratch(&options.object, &options.waived)?;
    let loaded = object::load(&options.object, pins)?;
    let mut maps = Maps::open(pins)?;
    let before = Before::of(pins)?;
    // Whoever pulled the switch, an operator or the watchdog, had a reason that a new setting does not answer.
    let on = before.is_on();
    let exchanged = put_verdict(pins, &loaded)
        .and_then(|()| link_all(&loaded, pins, options, &before.names()))
        .and_then(|_| prove(&loaded, &mut maps, &options.waived))
        .and_then(|_| configure(&mut maps, options, on));
    if let Err(error) = exchanged {
        before.restore(pins, &mut maps)?;
        return Err(error);
    }
    Ok(Attached { report, load_time: loaded.took, replaced: true, on })
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
    let others = maps.ports.iter().filter_map(Result::ok).filter(|(_, kind)| *kind != port::LISTENER);
    let mut wanted: BTreeMap<u32, u32> = others.collect();
    wanted.extend(ports.iter().map(|number| (u32::from(*number), port::LISTENER)));
    Ok(maps::make(&mut maps.ports, &wanted)?)
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
