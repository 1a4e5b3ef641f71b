//! exchange: programs take the place of their predecessors one by one, and give it back where one of them cannot.

use super::{
    error::{AttachError, hook},
    options::Options,
};
use crate::{
    maps::Maps,
    mounts,
    object::{ATTACHMENTS, Attachment, LOOKUP, Loaded, Lookups, STUB, VERDICT, When},
    pins::{self, Pins},
    sys,
};
use redirect_common::Control;
use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

/// What stood before a replacement, held so that it can stand again.
pub(super) struct Before {
    verdict: Option<OwnedFd>,
    links: Vec<(String, OwnedFd)>,
    /// Links whose cgroup has gone: they do nothing and take no program any more, and say that it is attached.
    severed: Vec<(String, OwnedFd)>,
    /// By their cookies.
    namespaces: Vec<(u64, OwnedFd)>,
    control: Control,
}

impl Before {
    /// Changes nothing.
    ///
    /// # Errors
    ///
    /// A link is to another cgroup than what is asked for.
    pub(super) fn of(pins: &Pins, options: &Options) -> Result<Self, AttachError> {
        let asked = mounts::cgroup_number(&options.cgroup)?;
        let (mut alive, mut severed) = (Vec::new(), Vec::new());
        for name in pins.links() {
            let link = sys::pinned(&pins.link(&name)).map_err(hook(&name))?;
            let info = settled(&link, asked).map_err(hook(&name))?;
            match info.cgroup {
                Some(there) if there != asked => {
                    return Err(AttachError::Elsewhere {
                        instance: options.instance.clone(),
                        there: mounts::cgroup_path(there).map_or_else(
                            || format!("a cgroup that is not seen from here (number {there})"),
                            |path| path.display().to_string(),
                        ),
                        asked: options.cgroup.display().to_string(),
                    });
                }
                Some(_) => alive.push((name, info.program)),
                None => severed.push((name, link)),
            }
        }
        let held = |(name, number): (String, u32)| kept(pins, &name, number).map(|program| (name, program));
        let links = alive.into_iter().map(held).collect::<Result<_, _>>()?;
        let array = sys::pinned(&pins.map("PROGRAMS")).map_err(hook("PROGRAMS"))?;
        let verdict = sys::program_at(array.as_fd(), 0).map(|number| kept(pins, VERDICT, number)).transpose()?;
        let mut namespaces = Vec::new();
        for cookie in pins.namespaces() {
            let link = sys::pinned(&pins.namespace(cookie)).map_err(hook(LOOKUP))?;
            // One that has gone meanwhile is for who keeps them.
            if let Some(number) = sys::namespace_program(link.as_fd()).map_err(hook(LOOKUP))? {
                namespaces.push((cookie, kept(pins, &pins::of_namespace(cookie), number)?));
            }
        }
        Ok(Self { verdict, links, severed, namespaces, control: Maps::open(pins)?.control()? })
    }

    /// Drops the links whose cgroup has gone, in whose place others are about to be made.
    pub(super) fn make_room(&self, pins: &Pins) -> Result<(), AttachError> {
        self.severed.iter().try_for_each(|(name, _)| Ok(pins.detach_link(name)?))
    }

    /// Whether any of its programs was attached to the cgroup.
    pub(super) fn is_attached(&self) -> bool {
        !self.links.is_empty()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.links.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Everything stands as it did, but for the kill switch, which may have been pulled meanwhile.
    pub(super) fn restore(&self, pins: &Pins, maps: &mut Maps) -> Result<(), AttachError> {
        if let Some(verdict) = &self.verdict {
            let array = sys::pinned(&pins.map("PROGRAMS")).map_err(hook("PROGRAMS"))?;
            sys::set_program_at(array.as_fd(), 0, verdict.as_fd()).map_err(hook(VERDICT))?;
            pins.keep_program(VERDICT, verdict.as_fd())?;
        }
        for (name, program) in &self.links {
            let link = sys::pinned(&pins.link(name)).map_err(hook(name))?;
            sys::update(link.as_fd(), program.as_fd()).map_err(hook(name))?;
            pins.keep_program(name, program.as_fd())?;
        }
        for name in pins.links() {
            if !self.names().contains(&name.as_str()) {
                pins.detach_link(&name)?;
            }
        }
        // Without them it would be seen as detached by somebody, and not be attached again.
        for (name, link) in &self.severed {
            sys::pin(link.as_fd(), &pins.link(name)).map_err(hook(name))?;
        }
        for (cookie, program) in &self.namespaces {
            put_lookup(pins, *cookie, program.as_fd())?;
        }
        maps.change(|now| Control { mode: now.mode, ..self.control })
    }
}

/// How long a cgroup that has gone may hold its links: the kernel lets go of them later, when the machine has time.
const LETS_GO: Duration = Duration::from_secs(10);

/// What is said of a link, once its cgroup is the one that is asked for, or seen elsewhere, or has let it go.
fn settled(link: &OwnedFd, asked: u64) -> io::Result<sys::LinkInfo> {
    let begun = Instant::now();
    loop {
        let info = sys::link_info(link.as_fd())?;
        let hidden = info.cgroup.is_some_and(|there| there != asked && mounts::cgroup_path(there).is_none());
        if !hidden || begun.elapsed() > LETS_GO {
            return Ok(info);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A program that is in force: by its pin; by its number where that is missing, since who attached it died in between.
fn kept(pins: &Pins, name: &str, number: u32) -> Result<OwnedFd, AttachError> {
    sys::pinned(&pins.program(name)).or_else(|_| sys::program(number)).map_err(hook(name))
}

/// The new verdict is the one that every enrolled socket meets from now on, by way of the stub that it was enrolled with.
pub(super) fn put_verdict(pins: &Pins, loaded: &Loaded) -> Result<(), AttachError> {
    let array = sys::pinned(&pins.map("PROGRAMS")).map_err(hook("PROGRAMS"))?;
    sys::set_program_at(array.as_fd(), 0, loaded.fd(VERDICT)?.as_fd()).map_err(hook(VERDICT))?;
    let sockets = sys::pinned(&pins.map("SOCKETS")).map_err(hook("SOCKETS"))?;
    sys::attach_to_map(loaded.fd(STUB)?.as_fd(), sockets.as_fd(), sys::Hook::SkMsg).map_err(hook(STUB))?;
    Ok(pins.keep_program(VERDICT, loaded.fd(VERDICT)?.as_fd())?)
}

/// Links every program that is wanted, in the place of its predecessor where there is one.
pub(super) fn link_all(loaded: &Loaded, pins: &Pins, options: &Options, there: &[&str]) -> Result<(), AttachError> {
    let cgroup = File::open(&options.cgroup).map_err(hook(&options.cgroup.display().to_string()))?;
    for Attachment { name, hook: at, .. } in ATTACHMENTS.iter().filter(|attachment| is_wanted(attachment, options)) {
        let program = loaded.fd(name)?;
        let place = pins.link(name);
        if there.contains(name) {
            let link = sys::pinned(&place).map_err(hook(name))?;
            sys::update(link.as_fd(), program.as_fd()).map_err(hook(name))?;
        } else {
            let link = sys::link(program.as_fd(), cgroup.as_fd(), *at).map_err(hook(name))?;
            sys::pin(link.as_fd(), &place).map_err(hook(name))?;
        }
        pins.keep_program(name, program.as_fd())?;
    }
    Ok(())
}

fn is_wanted(attachment: &Attachment, options: &Options) -> bool {
    match attachment.when {
        When::Always => true,
        When::Outbound => options.capture.is_some(),
        When::Inbound => options.inbound,
    }
}

/// The network namespaces that are attached to follow, one by one.
pub(super) fn exchange_lookups(pins: &Pins, options: &Options, before: &Before) -> Result<(), AttachError> {
    if !options.inbound || before.namespaces.is_empty() {
        return Ok(());
    }
    let mut lookups = Lookups::new(&options.object, pins);
    for (cookie, _) in &before.namespaces {
        put_lookup(pins, *cookie, lookups.load(cookie)?.fd(LOOKUP)?.as_fd())?;
    }
    Ok(())
}

/// Puts a program in the place of the one that is attached to a network namespace. One that has gone needs none.
fn put_lookup(pins: &Pins, cookie: u64, program: BorrowedFd<'_>) -> Result<(), AttachError> {
    let link = sys::pinned(&pins.namespace(cookie)).map_err(hook(LOOKUP))?;
    match sys::update(link.as_fd(), program) {
        Err(_) if sys::namespace_program(link.as_fd()).is_ok_and(|program| program.is_none()) => return Ok(()),
        updated => updated.map_err(hook(LOOKUP))?,
    }
    Ok(pins.keep_program(&pins::of_namespace(cookie), program)?)
}

/// Takes away what only captured connections need, where nothing is captured any more and none of them is left.
pub(super) fn unlink_capture(pins: &Pins, options: &Options, maps: &Maps) -> Result<(), AttachError> {
    if !options.inbound {
        pins.namespaces().into_iter().try_for_each(|cookie| pins.detach_namespace(cookie))?;
    }
    let there = pins.links();
    for attachment in ATTACHMENTS.iter().filter(|attachment| !is_wanted(attachment, options)) {
        let Attachment { name, when, .. } = attachment;
        let needed = *when == When::Outbound && maps.occupancy().originals > 0;
        if !needed && there.iter().any(|link| link == name) {
            pins.detach_link(name)?;
        }
    }
    Ok(())
}
