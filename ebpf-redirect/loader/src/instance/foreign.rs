//! foreign: what a build with another layout attached, and this one has to leave as it is, to switch or to detach.
//!
//! Its links are links whoever made them. Of its maps two are known: `CONTROL`, whose value has begun with layout and mode ever since
//! there were any, and `SOCKETS`, of which it is asked whether there are entries.

use super::{Detached, error::AttachError, error::hook};
use crate::{
    pins::{PinError, Pins},
    sys,
};
use redirect_common::mode;
use std::{io, os::fd::AsFd};

/// An instance that another layout's build attached, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The layout, as its directory has it: `v6`.
    pub layout: String,
    /// Names of the attached programs; none: it was detached, and connections are left.
    pub links: Vec<String>,
    /// Network namespaces that something is attached to.
    pub namespaces: usize,
    /// Whether the kill switch lets it work, where that can be read.
    pub on: Option<bool>,
    /// Ends of connections in its maps.
    pub ends: u64,
}

/// What of an instance is another layout's.
///
/// # Errors
///
/// A name that cannot be a directory's, or a directory that cannot be read.
pub fn foreign(instance: &str) -> Result<Vec<Foreign>, AttachError> {
    let Some(pins) = Pins::seen(instance)? else { return Ok(Vec::new()) };
    let seen = |other: &Pins| {
        let mut links = other.links();
        links.sort();
        Ok(Foreign {
            layout: other.layout().to_owned(),
            links,
            namespaces: other.namespaces().len(),
            on: mode_of(other)?.map(|mode| mode == mode::ON),
            ends: ends(other)?,
        })
    };
    pins.others()?.iter().map(seen).collect()
}

/// Detaches what others attached, and removes what no connection needs. Under the instance's lock. `None`: there was nothing of theirs.
pub(super) fn detach(pins: &Pins) -> Result<Option<Detached>, AttachError> {
    let (mut layouts, mut left) = (Vec::new(), 0);
    for other in pins.others()? {
        let attached = other.is_attached();
        // What cannot be switched any more is detached all the same.
        drop(set_mode(&other, false));
        other.detach_links()?;
        let ends = remove(pins, &other)?;
        left += ends;
        // An empty directory of that name was nobody's work.
        if attached || ends > 0 {
            layouts.push(other.layout().to_owned());
        }
    }
    Ok((!layouts.is_empty()).then(|| Detached::Foreign { layout: layouts.join(", "), ends: left }))
}

/// Removes what is left of others, once their last connections have ended. Under the instance's lock.
pub(super) fn tidy(pins: &Pins) -> Result<(), AttachError> {
    for other in pins.others()?.iter().filter(|other| !other.is_attached()) {
        remove(pins, other)?;
    }
    Ok(())
}

/// The ends of connections for which it was not removed.
fn remove(pins: &Pins, other: &Pins) -> Result<u64, AttachError> {
    let ends = ends(other)?;
    if ends == 0 {
        other.remove()?;
    } else if other.layout() == pins.layout() {
        other.put_aside()?;
    }
    Ok(ends)
}

/// Switches what others have attached. Whether that is all there is.
pub(super) fn switch(pins: &Pins, on: bool) -> Result<bool, AttachError> {
    let others: Vec<_> = pins.others()?.into_iter().filter(Pins::is_attached).collect();
    for other in &others {
        set_mode(other, on)?;
    }
    let ours = pins.is_attached() && others.iter().all(|other| other.layout() != pins.layout());
    Ok(!others.is_empty() && !ours)
}

/// Where the mode stands in [`redirect_common::Control`] of every layout.
const MODE: std::ops::Range<usize> = 4..8;

fn set_mode(other: &Pins, on: bool) -> Result<(), AttachError> {
    let _lock = other.lock_control()?;
    let map = other
        .open("CONTROL")?
        .ok_or_else(|| PinError::Io { at: other.map("CONTROL"), error: io::ErrorKind::NotFound.into() })?;
    let form = sys::form(map.as_fd()).map_err(hook("CONTROL"))?;
    if !form.is_control() {
        return Err(PinError::Foreign {
            at: other.directory().to_owned(),
            found: format!("{}, whose CONTROL is of no known form ({form})", other.layout()),
        }
        .into());
    }
    let mut value = sys::entry(map.as_fd(), form.value).map_err(hook("CONTROL"))?;
    value[MODE].copy_from_slice(&if on { mode::ON } else { mode::OFF }.to_ne_bytes());
    sys::set_entry(map.as_fd(), &value).map_err(hook("CONTROL"))
}

/// `None`: it is not of a known form, or not there.
fn mode_of(other: &Pins) -> Result<Option<u32>, AttachError> {
    let Some(map) = other.open("CONTROL")? else { return Ok(None) };
    let form = sys::form(map.as_fd()).map_err(hook("CONTROL"))?;
    if !form.is_control() {
        return Ok(None);
    }
    let value = sys::entry(map.as_fd(), form.value).map_err(hook("CONTROL"))?;
    Ok(value.get(MODE).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes))
}

/// Ends of connections that are enrolled still: a map of sockets that goes away would take unread bytes with it.
fn ends(other: &Pins) -> Result<u64, AttachError> {
    let Some(map) = other.open("SOCKETS")? else { return Ok(0) };
    let form = sys::form(map.as_fd()).map_err(hook("SOCKETS"))?;
    if !form.is_of_sockets() {
        return Ok(0);
    }
    sys::count(map.as_fd(), form.key).map_err(hook("SOCKETS"))
}
