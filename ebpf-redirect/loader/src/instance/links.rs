//! links: where the programs of an instance are attached, and whether that is there still.

use crate::{pins::Pins, sys};
use std::os::fd::AsFd;

/// The cgroup of each link; `None`: it was removed, and the link does nothing any more. The kernel cuts links from a cgroup that
/// has gone some time later, when it has time. One that is being detached meanwhile is left out.
pub(super) fn places(pins: &Pins, links: &[String]) -> Vec<(String, Option<u64>)> {
    let place = |name: &String| {
        let link = sys::pinned(&pins.link(name)).ok()?;
        Some((name.clone(), sys::link_info(link.as_fd()).ok()?.cgroup))
    };
    links.iter().filter_map(place).collect()
}

/// Whether an instance is attached to nothing but a cgroup that has gone.
pub(crate) fn severed(pins: &Pins, links: &[String]) -> bool {
    let places = places(pins, links);
    !places.is_empty() && places.iter().all(|(_, cgroup)| cgroup.is_none())
}
