//! trial: the self-test, in an instance or in one made for it.

use super::{
    error::{AttachError, hook},
    exchange::put_verdict,
    options::BUDGET,
};
use crate::{
    maps::Maps,
    mounts,
    object::{self, ENROL, HOLD, Loaded, Object},
    pins::Pins,
    self_test::{self, Property, Report},
    sys,
};
use redirect_common::{Control, LAYOUT, mode};
use std::{
    fs::File,
    os::fd::AsFd,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// The self-test inside these programs, over these maps, from the cgroup of this process.
pub(super) fn prove(loaded: &Loaded, maps: &mut Maps, waived: &[Property]) -> Result<Report, AttachError> {
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
    let _hold = sys::link(loaded.fd(HOLD)?.as_fd(), cgroup.as_fd(), sys::Hook::Setsockopt).map_err(hook(HOLD))?;
    let _enrol = sys::link(loaded.fd(ENROL)?.as_fd(), cgroup.as_fd(), sys::Hook::SockOps).map_err(hook(ENROL))?;
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

/// The same, as a verdict.
pub(super) fn scratch(object: &Object, waived: &[Property]) -> Result<Report, AttachError> {
    let (report, _) = try_out(object)?;
    match report.failed(waived) {
        Some(outcome) => Err(AttachError::Declined(outcome.clone())),
        None => Ok(report),
    }
}
