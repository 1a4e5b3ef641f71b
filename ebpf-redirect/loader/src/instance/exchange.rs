//! exchange: programs take the place of their predecessors one by one, and give it back where one of them cannot.

use super::{
    error::{AttachError, hook},
    options::Options,
};
use crate::{
    maps::Maps,
    object::{ATTACHMENTS, Attachment, Loaded, STUB, VERDICT},
    pins::Pins,
    sys,
};
use redirect_common::{Control, mode};
use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

/// What stood before a replacement, held so that it can stand again.
pub(super) struct Before {
    verdict: Option<OwnedFd>,
    links: Vec<(String, OwnedFd)>,
    control: Control,
}

impl Before {
    pub(super) fn of(pins: &Pins) -> Result<Self, AttachError> {
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

    /// Whether its kill switch let it work.
    pub(super) fn is_on(&self) -> bool {
        self.control.mode == mode::ON
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.links.iter().map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn restore(&self, pins: &Pins, maps: &mut Maps) -> Result<(), AttachError> {
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

/// The new verdict is the one that every enrolled socket meets from now on, by way of the stub that it was enrolled with.
pub(super) fn put_verdict(pins: &Pins, loaded: &Loaded) -> Result<(), AttachError> {
    let array = sys::pinned(&pins.map("PROGRAMS")).map_err(hook("PROGRAMS"))?;
    sys::set_program_at(array.as_fd(), 0, loaded.fd(VERDICT)?.as_fd()).map_err(hook(VERDICT))?;
    let sockets = sys::pinned(&pins.map("SOCKETS")).map_err(hook("SOCKETS"))?;
    sys::attach_to_map(loaded.fd(STUB)?.as_fd(), sockets.as_fd(), sys::Hook::SkMsg).map_err(hook(STUB))
}

/// Links every program that is wanted, in the place of its predecessor where there is one.
pub(super) fn link_all(loaded: &Loaded, pins: &Pins, options: &Options, there: &[&str]) -> Result<(), AttachError> {
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
