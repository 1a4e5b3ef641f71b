//! trial: the self-test, in an instance or in one made for it.

use super::{
    error::{AttachError, hook},
    exchange::put_verdict,
    options::{BUDGET, SOCKETS},
};
use crate::{
    maps::Maps,
    mounts,
    object::{self, ENROL_TEST, HOLD_TEST, Loaded, Lookups, Object},
    pins::{self, PinError, Pins},
    self_test::{self, Property, Report},
    sys,
};
use redirect_common::{Control, mode};
use std::{
    fs::File,
    os::fd::AsFd,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// The self-test inside these programs, over these maps, from the cgroup of this process.
pub(super) fn prove(loaded: &Loaded, maps: &mut Maps, waived: &[Property]) -> Result<Report, AttachError> {
    let report = test(loaded, maps)?;
    match report.declined(waived) {
        Some(declined) => Err(AttachError::Declined(declined)),
        None => Ok(report),
    }
}

fn test(loaded: &Loaded, maps: &mut Maps) -> Result<Report, AttachError> {
    let own = mounts::own_cgroup()?;
    let cgroup = File::open(&own).map_err(hook(&own.display().to_string()))?;
    // Whatever else is in this cgroup and below it, which may be the whole node, is not for these programs. Gone with the
    // descriptors, also where this process dies.
    let link = |name, at| sys::link(loaded.fd(name)?.as_fd(), cgroup.as_fd(), at).map_err(hook(name));
    let hold = link(HOLD_TEST, sys::Hook::Setsockopt)?;
    let enrol = link(ENROL_TEST, sys::Hook::SockOps)?;
    let report = self_test::run(maps);
    drop((hold, enrol));
    // What TCP has not finished by now ends where these programs do not see it.
    maps.forget_self_test()?;
    Ok(report?)
}

/// Names that are tried before one is given up as taken.
const MOST_NAMES: u32 = 16;

/// The self-test of an object in an instance made for it and removed again.
///
/// # Errors
///
/// It could not be made. That a property failed is in the report.
pub fn try_out(object: &Object) -> Result<(Report, Duration), AttachError> {
    if object.is_empty() {
        return Err(AttachError::NoObject);
    }
    in_scratch(|pins| {
        let loaded = object::load(object, pins, false, SOCKETS)?;
        let mut maps = Maps::open(pins)?;
        maps.change(|_| Control { mode: mode::OFF, budget: BUDGET, large: u32::MAX, ..Control::default() })?;
        put_verdict(pins, &loaded)?;
        Ok((test(&loaded, &mut maps)?, loaded.took))
    })
}

/// Whether an object's programs load by which inbound connections are captured, which nobody's are meanwhile.
///
/// # Errors
///
/// They do not.
pub(crate) fn try_inbound(object: &Object) -> Result<(), AttachError> {
    in_scratch(|pins| {
        object::load(object, pins, true, SOCKETS)?;
        Ok(Lookups::new(object, pins).load(&0).map(drop)?)
    })
}

/// Does something with an instance made for it and removed again.
fn in_scratch<T>(run: impl FnOnce(&Pins) -> Result<T, AttachError>) -> Result<T, AttachError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    pins::sweep()?;
    let mut names = 0;
    let (pins, lock) = loop {
        names += 1;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let pins = Pins::of(&format!("{}{}-{number}", pins::TRIAL, std::process::id()))?;
        match pins.lock() {
            // A process of the same number in another namespace of processes is at it.
            Err(PinError::Busy(_)) if names < MOST_NAMES => {}
            locked => break (pins, locked?),
        }
    };
    let tried = run(&pins);
    // Under the lock: nobody takes it for one that was left behind.
    let removed = pins.remove();
    drop(lock);
    let tried = tried?;
    removed?;
    Ok(tried)
}

/// The same, as a verdict.
pub(super) fn scratch(object: &Object, waived: &[Property]) -> Result<Report, AttachError> {
    let (report, _) = try_out(object)?;
    match report.declined(waived) {
        Some(declined) => Err(AttachError::Declined(declined)),
        None => Ok(report),
    }
}
